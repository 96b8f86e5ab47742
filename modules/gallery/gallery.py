"""The pictures: saving one, finding it again, showing it. What the queue and the front ends see of this folder.

A picture is saved exactly once: `commit` may be called again for the same picture of a job (a second attempt, a crash in between) and gives
the row that is there. It knows neither the queue nor the web.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from modules.domain.errors import ImageUnreadable, StorageError
from modules.domain.events import ImageDone
from modules.domain.extras import ExtrasRequest
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.domain.results import SavedImage
from modules.domain.viewers import Owners
from modules.gallery.index import GalleryIndex, Row
from modules.gallery.saver import START_IMAGES_FOLDER, FolderCounters, copied, destination, is_saved, name_fields, names, place
from modules.gallery.thumbnails import Thumbnails
from modules.gallery.words import WordIndex, words_of
from modules.imaging.filenames import safe_name
from modules.imaging.files import open_image, pixel_hash
from modules.settings.atomic import atomic_write
from modules.settings.paths import Paths, input_file
from modules.settings.schema import Saving

log = logging.getLogger(__name__)

Candidates = Callable[[Path], Iterator[str]]
"""The names to try in a folder."""

UNSAVED_KEPT = 200
"""How many pictures stay for the page to show when saving is switched off."""

_SEARCHED_AT_FIRST = 500
"""Texts with the words that are taken before it is known whether enough of them are shown; four times as many at each turn."""

_OUTPUTS, _RESCUE, _UNSAVED = "outputs", "rescue", "unsaved"


class Gallery:
    """All saved pictures. Every method may be called from any thread."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths
        self._roots = {_OUTPUTS: paths.outputs, _RESCUE: paths.rescue, _UNSAVED: paths.outputs / ".unsaved"}
        self._index = GalleryIndex(paths.gallery_db)
        self._thumbnails = Thumbnails(paths.thumbnails)
        self._counters = FolderCounters()
        self._saving = threading.Lock()
        self._searching = threading.Lock()
        self._words: WordIndex | None = None
        self._spared: Callable[[], Collection[str]] = frozenset
        self._params_of = ""
        for row in self._index.settle(self._arrived):
            log.info("picture %s had its name but no row when the program ended; it has one now", row.path)

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences for the user about the index' own file."""
        return self._index.problems

    def commit(self, event: ImageDone, job: Job) -> SavedImage:
        """Give a staged picture its name and row; both are on the disk when this returns.

        Where its folder can't be written the picture goes to the rescue folder and the image's `note` says so. Raises `StorageError`
        when it could be put nowhere; the staged file is left then.
        """
        with self._saving:
            known = self._index.find(job.id, event.index, event.kind)
            staged = Path(event.staged)
            if known is not None and self._file(known).is_file():
                with contextlib.suppress(OSError):
                    staged.unlink()
                return known.to_image()
            if known is not None:
                self._index.remove(known.id)
            row = self._copied_out(self._saved(staged, event, job), job)
            self._index.complete(row)
            if row.root == _UNSAVED:
                self._trim_unsaved(job.id)
            elif event.kind == "image" and isinstance(job.request, GenerationRequest) and job.id != self._params_of:
                self._params_of = job.id
                self._write_params(event.infotext)
                self._keep_start(job)
            return row.to_image()

    def spare(self, jobs: Callable[[], Collection[str]]) -> None:
        """Let go of no unsaved picture of the jobs that `jobs` names, however many there are."""
        self._spared = jobs

    def get(self, image_id: str, owners: Owners = None) -> SavedImage | None:
        """The picture with this id, if it is of these owners."""
        row = self._index.get(image_id)
        return None if row is None or (owners is not None and row.owner not in owners) else row.to_image()

    def for_job(self, job_id: str) -> list[SavedImage]:
        """The pictures of a job, its grid first."""
        return [row.to_image() for row in self._index.for_job(job_id)]

    def recent(
        self, limit: int, before: float | None = None, owners: Owners = None, *, words: str = "", favourites: bool = False
    ) -> list[SavedImage]:
        """The newest pictures first; `before` is the `created` of the last one on the page before.

        `words`: those alone whose prompt or parameters hold words that begin so. Raises `StorageError`.
        """
        latest, wanted = float("inf") if before is None else before, words_of(words)
        rows = (
            self._index.recent(limit, latest, owners, favourites=favourites)
            if not wanted
            else self._found(wanted, limit, latest, owners, favourites=favourites)
        )
        return [row.to_image() for row in rows]

    def set_favourite(self, image_id: str, favourite: bool) -> None:
        """Mark a picture as a favourite, or no more. Raises `StorageError`."""
        self._index.set_favourite(image_id, favourite)

    def delete(self, image_id: str) -> None:
        """Delete a picture, its file included; an unknown one is gone already. Raises `StorageError`."""
        row = self._index.get(image_id)
        if row is None:
            return
        with contextlib.suppress(ImageUnreadable):
            try:
                self._file(row).unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{Path(row.path).name} can't be deleted: {error.strerror or error}.") from error
        self._index.remove(image_id)
        self._thumbnails.forget(image_id)

    def saved_indices(self, job_id: str) -> frozenset[int]:
        """Which pictures of the job are saved, grids not counted."""
        return self._index.indices(job_id)

    def path(self, image_id: str) -> Path:
        """The picture's file, certain to lie where pictures lie; it may have been deleted since. Raises `ImageUnreadable`."""
        row = self._index.get(image_id)
        if row is None:
            raise ImageUnreadable("There is no such picture.")
        return self._file(row)

    def thumbnail(self, image_id: str, side: int) -> Path:
        """A small version, `side` pixels at most, also of a damaged file. Raises `ImageUnreadable` for an unknown id."""
        return self._thumbnails.get(image_id, self.path(image_id), side)

    def is_placeholder(self, thumbnail: Path) -> bool:
        """Whether this is the grey square of a file that can't be read now."""
        return self._thumbnails.is_placeholder(thumbnail)

    def close(self) -> None:
        """Close the index."""
        self._index.close()
        if self._words is not None:
            self._words.close()

    def _found(self, words: Sequence[str], limit: int, before: float, owners: Owners, *, favourites: bool) -> list[Row]:
        with self._searching:
            if self._words is None:
                self._words = WordIndex(self._paths.words_db, self._index.name)
            self._words.catch_up(self._index.texts_after)
        found: list[Row] = []
        start, taken = self._index.numbers_before(before), _SEARCHED_AT_FIRST
        while len(found) < limit and (numbers := self._words.matching(words, start, taken)):
            found += self._index.among(numbers, limit - len(found), before, owners, favourites=favourites)
            # Each turn looks the words up anew, which costs the more the more there is of them; so there must be few turns.
            start, taken = numbers[-1], taken * 4
        return found

    def _saved(self, staged: Path, event: ImageDone, job: Job) -> Row:
        """Move the file where it belongs, or to the rescue folder, and return its row. Raises `StorageError`."""
        saving: Saving = job.settings.saving
        fields = name_fields(event, job)
        row = self._new_row(staged, event, job)

        def candidates(target: Path) -> Iterator[str]:
            return names(event, saving, fields, target, self._counters)

        wanted = is_saved(event, saving)
        folder = destination(event, job, fields) if wanted else ""
        try:
            if wanted:
                return self._put(staged, row, _OUTPUTS, folder, candidates)
            return self._put(staged, row, _UNSAVED, "", lambda _: iter((f"{row.id}{staged.suffix.lower()}",)))
        except OSError as error:
            reason = f"{folder or 'The outputs folder'} can't be written ({error.strerror or error})"
            log.error("a picture can't be saved: %s", reason)
        rescue = f"the folder {self._paths.rescue.name} beside config.yaml"
        try:
            note = f"{reason}; pictures are saved to {rescue} instead."
            return self._put(staged, replace(row, note=note), _RESCUE, "", candidates)
        except OSError as error:
            self._index.release(row.id)
            told = f"A picture could not be saved: {reason}, and neither can {rescue} ({error.strerror or error})."
            raise StorageError(f"{told} Free some space or allow writing there, then generate it again.") from error

    def _put(self, staged: Path, row: Row, root: str, folder: str, candidates: Candidates) -> Row:
        """Move the file below `root` and return its row. Raises OSError."""
        base = self._roots[root]
        target = base / folder
        placed = row

        def reserve(path: Path) -> None:
            nonlocal placed
            placed = replace(row, root=root, path=path.relative_to(base).as_posix())
            self._index.reserve(placed)

        place(staged, target, candidates(target), reserve)
        return placed

    def _copied_out(self, row: Row, job: Job) -> Row:
        """The row of a picture that was also to be copied elsewhere, with a note where that did not work."""
        if not isinstance(job.request, ExtrasRequest) or not job.request.copy_to:
            return row
        folder, file = Path(job.request.copy_to).expanduser(), self._file(row)
        try:
            copied(file, folder, safe_name(Path(job.request.name).stem) or file.stem)
        except OSError as error:
            log.error("%s could not be copied to %s: %s", file.name, folder, error)
            return replace(row, note=f"{file.name} could not be copied to {folder} ({error.strerror or error}); it is among the outputs.")
        return row

    def _new_row(self, staged: Path, event: ImageDone, job: Job) -> Row:
        try:
            size = staged.stat().st_size
        except OSError as error:
            raise StorageError(f"A finished picture is gone before it could be saved: {staged.name}.") from error
        return Row(
            id=self._index.new_id(),
            job_id=job.id,
            idx=event.index,
            kind=event.kind,
            owner=job.owner,
            root=_OUTPUTS,
            path="",
            width=event.width,
            height=event.height,
            seed=event.seed,
            infotext=event.infotext,
            prompt=event.prompt or job.request.prompt,
            created=self._index.next_time(),
            size=size,
        )

    def _file(self, row: Row) -> Path:
        """The row's file. Raises `ImageUnreadable` when the row, which only we write, points out of its folder all the same."""
        base = self._roots.get(row.root)
        if base is not None:
            path = base / row.path
            if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(base)):
                return path
        raise ImageUnreadable("The picture's file does not lie where pictures lie.")

    def _arrived(self, row: Row) -> bool:
        try:
            return self._file(row).stat().st_size == row.size
        except (OSError, ImageUnreadable):
            return False

    def _trim_unsaved(self, job_id: str) -> None:
        rows = self._index.oldest_unsaved(UNSAVED_KEPT, job_id)
        spared = self._spared() if rows else ()
        for row in rows:
            if row.job_id in spared:
                continue
            with contextlib.suppress(OSError):
                self._file(row).unlink(missing_ok=True)
            self._thumbnails.forget(row.id)
            self._index.remove(row.id)

    def _keep_start(self, job: Job) -> None:
        """A1111's copy of the picture that a job began from, under the name that the infotext gives."""
        init = job.request.init if isinstance(job.request, GenerationRequest) else None
        if not job.settings.saving.save_start_image or init is None:
            return
        source = input_file(self._paths.inputs, init.image)
        folder = self._paths.outputs / START_IMAGES_FOLDER
        try:
            if source is not None:
                folder.mkdir(parents=True, exist_ok=True)
                target = folder / f"{pixel_hash(open_image(source))}.png"
                if not target.exists():
                    atomic_write(target, source.read_bytes())
        except (OSError, ImageUnreadable) as error:
            log.warning("the start picture could not be kept in %s: %s", START_IMAGES_FOLDER, error)

    def _write_params(self, infotext: str) -> None:
        """A1111's params.txt: the parameters of the last job, by its first picture."""
        try:
            atomic_write(self._paths.params_file, infotext.encode("utf-8", "replace"))
        except OSError as error:
            log.warning("%s could not be written: %s", self._paths.params_file.name, error)
