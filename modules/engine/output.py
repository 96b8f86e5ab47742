"""How do finished pictures leave the engine? Encoded and staged in order by a thread, so that the next batch need not wait."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from PIL import Image

from modules.domain.errors import StorageError
from modules.domain.events import ImageDone, JobEvent
from modules.domain.plans import ImagePlan
from modules.domain.results import UNFINISHED
from modules.engine.canvas import Drawn
from modules.engine.file_hashes import FileHashes
from modules.engine.infotext import denoising_strength, image_infotext, number
from modules.engine.resolve import OutputOptions
from modules.imaging.files import encode_image
from modules.imaging.grid import grid_rows, image_grid
from modules.jobs.protocol import RunJob

log = logging.getLogger(__name__)

WAITING = 8
"""How many pictures may wait for the writer before the engine does."""

MAX_GRID_PIXELS = 200_000_000
"""Larger grids are not made, as in A1111."""

GRID = -1


class PictureWriter:
    """Writes one job's pictures. Use as a context manager: leaving it waits for what is still to be written."""

    def __init__(self, job: RunJob, options: OutputOptions, emit: Callable[[JobEvent], None], hashes: FileHashes, version: str) -> None:
        self._job = job
        self._options = options
        self._emit = emit
        self._hashes = hashes
        self._version = version
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="picture-writer")
        self._waiting: list[Future[None]] = []
        self._for_grid: list[Image.Image] = []
        self.notes: list[str] = []

    def put(self, plan: ImagePlan, position: int, drawn: Drawn) -> None:
        """Write the batch's picture at `position`, unless an earlier attempt has saved it. Raises `StorageError` for one before it."""
        index = plan.index + position
        if self._grid_is_possible(drawn.image):
            self._for_grid.append(drawn.image)
        if index not in self._job.done:
            for kind, picture in drawn.extras:
                self._submit(plan, position, picture, kind, index)
            self._submit(plan, position, drawn.image, "image", index)

    def put_unfinished(self, plan: ImagePlan, position: int, drawn: Drawn, step: int) -> None:
        """Write what became of the picture at `position` until the user ended it after `step`; it stays out of the grid."""
        plan = replace(plan, said=(*plan.said, ("Unfinished", f"{step} of {plan.all_steps} steps")))
        self._submit(plan, position, drawn.image, UNFINISHED, plan.index + position)

    def put_grid(self, plan: ImagePlan, *, complete: bool) -> None:
        """Write the grid of all pictures, where one is wanted; `plan` is the first batch's. Not `complete`: some were made in an earlier
        attempt and are not here."""
        wanted = self._options.grid and (self._job.request.image_count > 1 or not self._options.grid_only_if_multiple)
        if not wanted:
            return
        if not complete:
            self.notes.append("There is no grid, because some of the pictures were made before a restart.")
        elif len(self._for_grid) > 1 or (self._for_grid and not self._options.grid_only_if_multiple):
            rows = grid_rows(len(self._for_grid), self._options.grid_rows, plan.batch_size)
            self._submit(plan, 0, image_grid(self._for_grid, rows), "grid", GRID)

    def finish(self) -> None:
        """Wait until everything is written. Raises `StorageError` where something could not be."""
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            future.result()

    def close(self) -> None:
        """End the thread; what was put is written first."""
        self._thread.shutdown(wait=True)

    def _grid_is_possible(self, picture: Image.Image) -> bool:
        count = self._job.request.image_count
        return self._options.grid and count * picture.width * picture.height <= MAX_GRID_PIXELS

    def _submit(self, plan: ImagePlan, position: int, picture: Image.Image, kind: str, index: int) -> None:
        while self._waiting and (self._waiting[0].done() or len(self._waiting) >= WAITING):
            self._waiting.pop(0).result()
        self._waiting.append(self._thread.submit(self._write, plan, position, picture, kind, index))

    def _write(self, plan: ImagePlan, position: int, picture: Image.Image, kind: str, index: int) -> None:
        infotext = image_infotext(plan, position, short_hash=self._hashes.short, version=self._version)
        wanted = self._options.grid_format if kind == "grid" else self._options.image_format
        data, suffix = self._encode(picture, wanted, infotext if self._options.embed_infotext else None)
        part_of_name = {"image": str(index), "grid": "grid"}.get(kind, f"{index}-{kind}")
        path = stage_file(self._job, f"{part_of_name}.{suffix}", data)
        self._emit(
            ImageDone(
                job_id=self._job.job_id,
                attempt=self._job.attempt,
                index=index,
                kind=kind,
                staged=str(path),
                width=picture.width,
                height=picture.height,
                seed=plan.seeds[position],
                infotext=infotext,
                prompt=plan.prompts[position],
                name_fields=_name_fields(plan, position, self._hashes.short(plan.model.checkpoint)),
            )
        )

    def _encode(self, picture: Image.Image, wanted: str, infotext: str | None) -> tuple[bytes, str]:
        """(file, suffix), as `fitting_file` makes them."""

        def encode(fmt: str) -> bytes:
            return encode_image(picture, fmt, infotext, self._options.quality)

        data, suffix, note = fitting_file(encode, wanted, picture.size)
        self.notes += [note] if note else []
        return data, suffix


def fitting_file(encode: Callable[[str], bytes], wanted: str, size: tuple[int, int]) -> tuple[bytes, str, str]:
    """(file, suffix, a note for the user or ""). A picture that its format has no room for (WebP ends at 16383 pixels) becomes a PNG."""
    try:
        return encode(wanted), wanted, ""
    except (OSError, ValueError) as error:
        if wanted == "png":
            raise
        log.warning("%s can't hold a picture of %dx%d: %s", wanted, *size, error)
        return encode("png"), "png", f"A picture of {size[0]}x{size[1]} does not fit into {wanted} and was saved as png."


def stage_file(job: RunJob, name: str, data: bytes) -> Path:
    """Write a complete file of this attempt into the staging folder. Raises `StorageError`."""
    path = Path(job.staging) / f"{job.job_id}-{job.attempt}-{name}"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise StorageError(f"The picture could not be written to {path.parent}: {error.strerror or error}.") from error
    return path


def _name_fields(plan: ImagePlan, position: int, model_hash: str | None) -> tuple[tuple[str, str], ...]:
    """What the tokens of a file-name pattern stand for, as far as the plan decides it."""
    return (
        ("seed", str(plan.seeds[position])),
        ("steps", str(plan.steps)),
        ("cfg", number(plan.cfg_scale) or ""),
        ("width", str(plan.width)),
        ("height", str(plan.height)),
        ("sampler", plan.sampler_label),
        ("scheduler", plan.schedule_label),
        ("model_name", plan.model.checkpoint.stem),
        ("model_hash", model_hash or ""),
        ("vae_filename", plan.model.vae.name.rsplit("/", 1)[-1] if plan.model.vae else "NoneType"),
        ("clip_skip", str(plan.clip_skip)),
        ("denoising", number(denoising_strength(plan)) or ""),
        ("batch_size", str(plan.batch_size)),
        ("batch_number", str(position + 1)),
        ("generation_number", str(plan.index + position + 1)),
        ("prompt", plan.prompts[position]),
        ("negative_prompt", plan.negatives[position]),
    )
