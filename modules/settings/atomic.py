"""How a small state file is written so that no crash, power cut or full disk ever leaves half of it.

The only place that replaces such a file; it knows bytes and paths, not what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from pathlib import Path

_NO_DIRECTORY_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}
"""What some network and overlay file systems answer to fsync on a folder: they order renames by themselves or not at all."""


def atomic_write(path: Path, data: bytes) -> None:
    """Make `path` hold exactly `data`, or leave it as it was; what this returned from is on the disk, not only in memory.

    A symbolic link is followed, so that a linked settings file stays a link. Raises OSError; the old content is untouched then.
    """
    target = Path(os.path.realpath(path))
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            temporary.chmod(_mode(target))
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_directory(target.parent)


def sync_directory(folder: Path) -> None:
    """Wait until the names in `folder` are on the disk; without this a rename may be undone by a power cut."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
    finally:
        os.close(handle)


def remove_leftovers(path: Path) -> None:
    """Delete temporary files of earlier writes of `path` that a killed process left behind."""
    for leftover in path.parent.glob(f".{path.name}.*.tmp"):
        with contextlib.suppress(OSError):
            leftover.unlink()


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.corrupt-<time>` and return the new path. Never overwrites. Raises OSError."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        kept = path.with_name(f"{path.name}.corrupt-{stamp}" + (f"-{number}" if number else ""))
        if not os.path.lexists(kept):
            path.rename(kept)
            return kept
    raise FileExistsError(errno.EEXIST, "too many damaged copies", str(path))


def _mode(target: Path) -> int:
    """The file's own mode, so that rewriting it never opens it to others; for a new file what the umask allows."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        return 0o644
