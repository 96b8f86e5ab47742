"""How is a finished picture enlarged and its faces restored? From its request to the staged file, told tile by tile and face by face.

No checkpoint is loaded for it.

A1111's rules: the first upscaler makes the picture, the second is mixed into it; "None" as the first leaves it as it is. Unlike there, the
size is the asked one to the pixel, and what is transparent stays so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from PIL import Image

from modules.domain.catalog import CODEFORMER, GFPGAN, Catalog
from modules.domain.errors import ImageUnreadable, InvalidRequest
from modules.domain.events import Cancelled, Finished, ImageDone, JobEvent, Stage, Started, StepDone
from modules.domain.extras import NO_UPSCALER, ExtrasRequest, enlarged_size
from modules.domain.plans import ExtrasPlan, ExtrasUpscaler, FacesPlan
from modules.engine.faces import FaceTools
from modules.engine.output import fitting_file, stage_file
from modules.engine.resolve import output_options, upscaler_plan
from modules.engine.upscale import Upscaling
from modules.imaging.files import encode_image, open_image
from modules.imaging.infotext import format_infotext, parse_infotext
from modules.jobs.protocol import Control, RunJob
from modules.settings.paths import input_file
from modules.settings.schema import Settings
from modules.upscalers.models import UpscalerModels
from modules.upscalers.resize import Pixels, resized

Say = Callable[[JobEvent], None]


class _Interrupted(Exception):
    """The user ended the job, or left its only picture."""


class Tools(Protocol):
    """What is in memory for such work."""

    upscalers: UpscalerModels
    faces: FaceTools


def run_extras(job: RunJob, request: ExtrasRequest, tools: Tools, say: Say, control: Control) -> JobEvent:
    """All of the job but its last event, which is returned. Raises the errors of loading, enlarging, restoring and writing."""
    started = time.monotonic()
    source = _source(job, request)
    plan = extras_plan(request, cast("Settings", job.settings), job.catalog, source)
    say(Started(job_id=job.job_id, attempt=job.attempt, image_count=request.image_count))
    try:
        picture, plan = worked_on(source, plan, tools, _JobWatcher(job, say, control, len(plan.upscalers) + len(plan.faces)))
    except _Interrupted:
        return Cancelled(job_id=job.job_id, attempt=job.attempt, seconds=time.monotonic() - started)
    event, note = _written(job, request, plan, picture)
    say(event)
    notes = (*plan.notes, *([note] if note else []))
    return Finished(job_id=job.job_id, attempt=job.attempt, seconds=time.monotonic() - started, notes=notes)


def extras_plan(request: ExtrasRequest, settings: Settings, catalog: Catalog, source: Image.Image) -> ExtrasPlan:
    """What will be done with the picture. Raises `InvalidRequest` for a name that is not in the catalogue and too large a result."""
    first, second = catalog.extras_upscaler(request.upscaler_1), catalog.extras_upscaler(request.upscaler_2)
    wants_second = second != NO_UPSCALER and request.upscaler_2_visibility > 0
    faces = _faces_plans(request, catalog)
    if first == NO_UPSCALER:
        more = f", and {second} is only mixed into what upscaler 1 makes" if wants_second else ""
        note = f"Upscaler 1 is None, so the picture was left {'at its size' if faces else 'as it was'}{more}."
        # a picture whose faces alone are to be restored needs no word about that
        return ExtrasPlan(image=request.image, enlarged=source.size, faces=faces, notes=() if faces and not more else (note,))
    chosen = [ExtrasUpscaler(label=first, model=upscaler_plan(first, settings, catalog))]
    if wants_second:
        model = upscaler_plan(second, settings, catalog)
        chosen.append(ExtrasUpscaler(label=second, model=model, visibility=request.upscaler_2_visibility))
    cut = request.size if request.crop else None
    fields: tuple[tuple[str, object], ...] = (
        ("Postprocess upscale to", f"{request.size[0]}x{request.size[1]}" if request.size else None),
        ("Postprocess upscale by", None if request.size else f"{request.resize_by:g}"),
        ("Postprocess crop to", f"{cut[0]}x{cut[1]}" if cut else None),
        ("Postprocess upscaler", first),
        ("Postprocess upscaler 2", second if wants_second else None),
        ("Postprocess upscaler 2 visibility", f"{request.upscaler_2_visibility:g}" if wants_second else None),
    )
    return ExtrasPlan(
        image=request.image,
        upscalers=tuple(chosen),
        enlarged=enlarged_size(request, source.size),
        cut=cut,
        faces=faces,
        upscale_first=request.upscale_first,
        fields=fields,
    )


def worked_on(source: Image.Image, plan: ExtrasPlan, tools: Tools, watcher: _JobWatcher) -> tuple[Image.Image, ExtrasPlan]:
    """(the picture enlarged and its faces restored, in the plan's order; the plan as it was done).

    Raises what loading and running networks and the watcher raise.
    """
    if plan.upscale_first:
        return _restored(enlarged(source, plan, tools.upscalers, watcher), plan, tools.faces, watcher)
    picture, done = _restored(source, plan, tools.faces, watcher)
    return enlarged(picture, plan, tools.upscalers, watcher), done


def enlarged(source: Image.Image, plan: ExtrasPlan, models: UpscalerModels, watcher: _JobWatcher) -> Image.Image:
    """The picture (RGB or RGBA, as the source is) as the plan says. Raises what loading and running upscalers and the watcher raise."""
    if not plan.upscalers:
        return source
    pixels, made = np.asarray(source.convert("RGB")), None
    for upscaler in plan.upscalers:
        watcher.begin(f"Upscaling with {upscaler.label}")
        more = Image.fromarray(_by_one(pixels, plan.enlarged, upscaler, Upscaling(models, watcher.stage, watcher.tile)))
        made = more if made is None else Image.blend(made, more, upscaler.visibility)
    assert made is not None
    if source.mode == "RGBA":
        made.putalpha(source.getchannel("A").resize(plan.enlarged, Image.Resampling.LANCZOS))
    return _middle(made, plan.cut) if plan.cut else made


def extras_text(plan: ExtrasPlan) -> str:
    """What was done, as A1111 writes it into the chunk `extras`; empty for nothing."""
    return format_infotext("", "", [*plan.fields, *(field for faces in plan.faces for field in faces.fields)])


def _by_one(pixels: Pixels, size: tuple[int, int], upscaler: ExtrasUpscaler, by_model: Upscaling) -> Pixels:
    return resized(pixels, size, upscaler.label) if upscaler.model is None else by_model(pixels, size, upscaler.model)


def _faces_plans(request: ExtrasRequest, catalog: Catalog) -> tuple[FacesPlan, ...]:
    visibility = {GFPGAN: request.gfpgan_visibility, CODEFORMER: request.codeformer_visibility}
    weight = {GFPGAN: 0.0, CODEFORMER: request.codeformer_weight}
    asked = request.face_restorers
    return tuple(FacesPlan(restorer=catalog.face_restorer(kind), visibility=visibility[kind], weight=weight[kind]) for kind in asked)


def _restored(picture: Image.Image, plan: ExtrasPlan, faces: FaceTools, watcher: _JobWatcher) -> tuple[Image.Image, ExtrasPlan]:
    """(the picture, RGB or RGBA as it was; the plan with what was done of it)."""
    if not plan.faces:
        return picture, plan
    pixels, done, notes = np.asarray(picture.convert("RGB")), list[FacesPlan](), list(plan.notes)
    for each in plan.faces:
        watcher.begin(f"Restoring faces with {each.restorer.kind}")
        pixels, count = faces.restored(pixels, each, watcher.stage, watcher.face)
        if count:
            done.append(each)
        else:
            notes.append(f"No faces were found for {each.restorer.kind} to restore.")
    made = Image.fromarray(pixels)
    if picture.mode == "RGBA":
        made.putalpha(picture.getchannel("A"))
    return made, replace(plan, faces=tuple(done), notes=tuple(notes))


def _middle(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of (width, height), which the picture has room for but for a rounding."""
    left, top = (picture.width - size[0]) // 2, (picture.height - size[1]) // 2
    return picture.crop((left, top, left + size[0], top + size[1]))


def _source(job: RunJob, request: ExtrasRequest) -> Image.Image:
    path = input_file(Path(job.inputs), request.image)
    try:
        if path is None:
            raise ImageUnreadable("it is no picture of the store")
        return open_image(path)
    except ImageUnreadable as error:
        raise InvalidRequest(f"The picture can't be read: {error} Choose it again.") from error


def _written(job: RunJob, request: ExtrasRequest, plan: ExtrasPlan, picture: Image.Image) -> tuple[ImageDone, str]:
    """(the event of the staged file, a note for the user or nothing)."""
    options = output_options(cast("Settings", job.settings))
    text = extras_text(plan)
    whole = _whole_infotext(request.infotext, text)

    def encode(fmt: str) -> bytes:
        if not options.embed_infotext:
            return encode_image(picture, fmt, quality=options.quality)
        if fmt == "png":
            return encode_image(picture, fmt, request.infotext, chunks={"extras": text} if text else {})
        return encode_image(picture, fmt, whole, options.quality)

    data, suffix, note = fitting_file(encode, options.image_format, picture.size)
    known = parse_infotext(request.infotext, defaults=False)
    seed = known.get("Seed", "")
    event = ImageDone(
        job_id=job.job_id,
        attempt=job.attempt,
        index=0,
        kind="image",
        staged=str(stage_file(job, f"0.{suffix}", data)),
        width=picture.width,
        height=picture.height,
        seed=int(seed) if seed.isdecimal() and len(seed) < 19 else -1,
        infotext=whole,
        prompt=known["Prompt"],
        name_fields=(("upscaler", plan.upscalers[0].label if plan.upscalers else ""),),
    )
    return event, note


def _whole_infotext(source: str, extras: str) -> str:
    """Both in one text, for what has room for one alone. What was done goes to the fields at the source's end, where there are any."""
    if not source or not extras:
        return source or extras
    has_fields = "Steps" in parse_infotext(source, defaults=False)
    return f"{source.rstrip()}{', ' if has_fields else chr(10)}{extras}"


class _JobWatcher:
    """Turns tiles and faces into a job's events, and the user's wishes into `_Interrupted`."""

    def __init__(self, job: RunJob, say: Say, control: Control, count: int) -> None:
        self._job, self._say, self._control, self._count = job, say, control, count
        self._number, self._label = 0, ""

    def begin(self, label: str) -> None:
        """The next upscaler or face restorer comes; `label` says what is done with it."""
        self._number, self._label = self._number + 1, label
        self.stage(label)

    def stage(self, text: str) -> None:
        """Something begins."""
        self._say(Stage(job_id=self._job.job_id, attempt=self._job.attempt, text=text))
        if self._control.interrupted() or self._control.skipped():
            raise _Interrupted

    def tile(self, number: int, count: int) -> None:
        """A tile (from 1) begins: those before it are the steps that are done."""
        self._step("tile", number, count)

    def face(self, number: int, count: int) -> None:
        """A face (from 1) begins, as a tile does."""
        self._step("face", number, count)

    def _step(self, what: str, number: int, count: int) -> None:
        step = StepDone(
            job_id=self._job.job_id, attempt=self._job.attempt, step=number - 1, steps=count, batch=self._number, batches=self._count
        )
        self._say(step)
        self.stage(f"{self._label}, {what} {number} of {count}")
