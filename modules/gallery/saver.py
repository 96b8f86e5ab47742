"""How a staged picture gets its name: A1111's folders and counters, never over another file, never half.

The file is complete before it comes here and moves by a link or a rename. Knows folders and names; rows are the index's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from modules.domain.events import ImageDone
from modules.domain.extras import ExtrasRequest
from modules.domain.jobs import Job
from modules.domain.merging import MergeRequest
from modules.domain.results import UNFINISHED, step_of
from modules.domain.training import TrainRequest
from modules.imaging.filenames import file_name, folder_name, safe_name
from modules.settings.atomic import sync_directory
from modules.settings.schema import Saving

START_IMAGES_FOLDER = "init-images"

SUFFIXES = {
    "mask": "-mask",
    "mask_composite": "-mask-composite",
    "before_color_correction": "-before-color-correction",
    UNFINISHED: "-unfinished",
}
"""What is added to the name of a picture that is not simply the result, by its kind; but for the last one as in A1111."""

_NUMBER = re.compile(r"(\d{1,9})(?=[-.])")
_TRIES = 1000
_UPSCALER_BYTES = 40
"""What a whole name can spare for the upscaler's, beside a source's longest name and the number."""


class FolderCounters:
    """The next number of each folder: the highest that is there plus one. A folder is listed once, then counted on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next: dict[tuple[Path, str], int] = {}

    def take(self, folder: Path, prefix: str) -> int:
        """A number that this program has not given out in `folder` for names that begin with `prefix`."""
        with self._lock:
            key = (folder, prefix)
            number = self._next[key] if key in self._next else _highest(folder, prefix) + 1
            self._next[key] = number + 1
            return number


def destination(event: ImageDone, job: Job, fields: Mapping[str, str]) -> str:
    """The folder below the outputs, with forward slashes, that A1111 would save this picture in."""
    saving: Saving = job.settings.saving
    folder = f"{job.request.tab}-grids" if event.kind == "grid" else f"{job.request.tab}-images"
    dated = folder_name(saving.date_pattern, fields) if saving.use_date_folders else ""
    return f"{folder}/{dated}" if dated else folder


def is_saved(event: ImageDone, saving: Saving) -> bool:
    """Whether the settings want this picture as a file, and not only to be shown. Frames of a film are never wanted by themselves."""
    if step_of(event.kind) is not None:
        return False
    by_kind = {
        "grid": saving.save_grid,
        "mask": saving.save_images and saving.save_mask,
        "mask_composite": saving.save_images and saving.save_mask_composite,
        "before_color_correction": saving.save_images and saving.save_before_color_correction,
    }
    return by_kind.get(event.kind, saving.save_images)


def names(event: ImageDone, saving: Saving, fields: Mapping[str, str], folder: Path, counters: FolderCounters) -> Iterator[str]:
    """Names to try one after the other: `00012-<pattern>.png`, `grid-0003.png`, or the pattern alone where numbers are off."""
    suffix = Path(event.staged).suffix.lower()
    if event.kind == "grid":
        for _ in range(_TRIES):
            yield f"grid-{counters.take(folder, 'grid-'):04}{suffix}"
        return
    if "source" in fields:
        stem, ending = _extras_name(saving, fields)
        for _ in range(_TRIES):
            number = f"{stem}-{counters.take(folder, f'{stem}-'):04}" if stem else f"{counters.take(folder, ''):05}"
            yield f"{number}{ending}{suffix}"
        return
    pattern = saving.filename_pattern or ("[seed]" if saving.use_date_folders else "[seed]-[prompt_spaces]")
    text = file_name(pattern, fields) + SUFFIXES.get(event.kind, "")
    if saving.number_files or not text:
        for _ in range(_TRIES):
            yield f"{counters.take(folder, ''):05}{'-' if text else ''}{text}{suffix}"
        return
    yield f"{text}{suffix}"
    for number in range(1, _TRIES):
        yield f"{text}-{number}{suffix}"


def _extras_name(saving: Saving, fields: Mapping[str, str]) -> tuple[str, str]:
    """What stands before and behind the number of an enlarged picture's file, as A1111 has it; each may be empty."""
    stem = safe_name(Path(fields["source"]).stem) if saving.keep_source_names else ""
    upscaler = safe_name(fields.get("upscaler", ""), _UPSCALER_BYTES) if saving.name_upscaler else ""
    return stem, f"-{upscaler}" if upscaler else ""


def name_fields(event: ImageDone, job: Job) -> dict[str, str]:
    """What the tokens of a file-name pattern stand for; what the engine says wins over what was asked for."""
    request = job.request
    common = {"user": job.owner, "job_timestamp": time.strftime("%Y%m%d%H%M%S", time.localtime(job.created))}
    if isinstance(request, ExtrasRequest):
        return {**common, "source": request.name, **dict(event.name_fields)}
    if isinstance(request, TrainRequest):
        return {**common, "seed": str(event.seed), "prompt": event.prompt, **dict(event.name_fields)}
    if isinstance(request, MergeRequest):
        return {}
    # with a variation it is the variation's seed that counts up
    counted = 0 if request.seed.variation_strength else max(0, event.index)
    first = event.seed - counted
    fields = {
        **common,
        "seed": str(event.seed),
        "seed_first": str(first),
        "seed_last": str(first if request.seed.variation_strength else first + request.image_count - 1),
        "steps": str(request.steps),
        "cfg": f"{request.cfg_scale:g}",
        "width": str(request.width),
        "height": str(request.height),
        "sampler": request.sampler,
        "scheduler": request.schedule,
        "prompt": event.prompt or request.prompt,
        "negative_prompt": request.negative_prompt,
        "model_name": (request.checkpoint or "").rsplit("/", 1)[-1].rsplit(".", 1)[0],
        "batch_size": str(request.batch_size),
        "clip_skip": str(request.clip_skip or 1),
    }
    if event.index >= 0:
        fields["batch_number"] = str(event.index % request.batch_size + 1)
        fields["generation_number"] = str(event.index + 1)
    return {**fields, **dict(event.name_fields)}


def place(staged: Path, folder: Path, candidates: Iterator[str], reserve: Callable[[Path], None]) -> Path:
    """Move `staged` into `folder` under the first of the `candidates` that is free, and wait until both are on the disk.

    `reserve` is told each path just before it is tried. Raises OSError; `staged` is still there then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = _on_the_same_disk(staged, folder)
    try:
        _sync_file(source)
        for name in candidates:
            target = folder / name
            reserve(target)
            if _claim(source, target):
                sync_directory(folder)
                staged.unlink(missing_ok=True)
                return target
        raise FileExistsError(f"no free name in {folder}")
    finally:
        if source != staged:
            source.unlink(missing_ok=True)


def copied(source: Path, folder: Path, stem: str) -> Path:
    """A copy of `source` in `folder`, called `stem`, with a number behind it where something has that name. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    part = _copy_into(folder, source)
    try:
        for number in range(_TRIES):
            target = folder / f"{stem}{f'-{number}' if number else ''}{source.suffix}"
            if _claim(part, target):
                return target
        raise FileExistsError(f"no free name in {folder}")
    finally:
        part.unlink(missing_ok=True)


def _claim(source: Path, target: Path) -> bool:
    """Give `source` the name `target`, unless something has it; False then. On file systems without links an empty file holds the name."""
    try:
        os.link(source, target)
        return True
    except FileExistsError:
        return False
    except OSError:
        return _claim_by_rename(source, target)


def _claim_by_rename(source: Path, target: Path) -> bool:
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    except FileExistsError:
        return False
    try:
        source.replace(target)
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return True


def _on_the_same_disk(staged: Path, folder: Path) -> Path:
    """`staged` itself, or a copy of it in `folder` where that is on another disk."""
    return staged if staged.stat().st_dev == folder.stat().st_dev else _copy_into(folder, staged)


def _copy_into(folder: Path, source: Path) -> Path:
    handle, name = tempfile.mkstemp(prefix=".moving-", suffix=source.suffix, dir=folder)
    os.close(handle)
    copy = Path(name)
    try:
        shutil.copyfile(source, copy)
        copy.chmod(source.stat().st_mode & 0o777)
    except BaseException:
        with contextlib.suppress(OSError):
            copy.unlink()
        raise
    return copy


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY if os.name == "posix" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _highest(folder: Path, prefix: str) -> int:
    """The highest number behind `prefix` among the names in `folder`, -1 for none."""
    highest = -1
    with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(prefix):
                match = _NUMBER.match(entry.name, len(prefix))
                highest = max(highest, int(match.group(1))) if match else highest
    return highest
