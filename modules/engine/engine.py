"""The verb: a plan in, pictures out, with the model that it needs. It knows no jobs and writes no files."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modules.domain.errors import ModelLoadError
from modules.domain.plans import FacesPlan, HiresPlan, ImagePlan, ModelSpec, StartPlan
from modules.engine.canvas import Canvas, Drawn, finished, prepared
from modules.engine.faces import FaceTools
from modules.engine.film import FilmRoll, Frames
from modules.engine.generate import StartLatents, decode, sample, sample_from, sample_second
from modules.engine.hires import enlarged
from modules.engine.img2img import soft_overlays, start_latents
from modules.engine.preview import PreviewMaker, StepPacer
from modules.engine.resolve import PreviewOptions
from modules.engine.upscale import Upscaling
from modules.families.base import LoadedModel, ModelFacts
from modules.upscalers.models import UpscalerModels
from modules.weights.load import forget_frames, is_out_of_memory
from modules.weights.manager import ModelManager
from modules.weights.placement import release_memory
from modules.weights.preview_decoders import PreviewDecoders


class Stop(Exception):
    """What a watcher raises to end a batch. Where it is `rescue`, the engine adds the batch's pictures as far as they are."""

    def __init__(self, *, rescue: bool = False) -> None:
        super().__init__()
        self.rescue = rescue
        self.rescued: list[Drawn] = []


class Watcher(Protocol):
    """Who is told about a batch while it is made. Both may raise `Stop`."""

    def stage(self, text: str) -> None:
        """Something other than sampling begins."""
        ...

    def step(self, step: int, preview: bytes | None) -> None:
        """Sampling step `step` (from 1) is done; `preview` is a small JPEG."""
        ...


@dataclass(frozen=True, slots=True)
class _Used:
    """A model that took part in drawing a plan, and how what was added to it fitted. It is known while the model is there alone."""

    spec: ModelSpec
    facts: ModelFacts
    notes: tuple[str, ...]
    refused_words: frozenset[str]


class _Unstoppable:
    """A watcher that is told and can't raise `Stop` again."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    def stage(self, text: str) -> None:
        with suppress(Stop):
            self._watcher.stage(text)

    def step(self, step: int, preview: bytes | None) -> None:
        with suppress(Stop):
            self._watcher.step(step, preview)


Finish = Callable[[Tensor, list[Image.Image]], list[Drawn]]
"""Makes what is shown of a batch's latents (B, C, H, W) and its decoded pictures."""


def _as_they_are(latents: Tensor, pictures: list[Image.Image]) -> list[Drawn]:
    return [Drawn(image=picture) for picture in pictures]


class Engine:
    """Draws the batches of plans, one at a time."""

    def __init__(self, models: ModelManager, upscalers: UpscalerModels, decoders: PreviewDecoders, faces: FaceTools) -> None:
        self.models = models
        self.upscalers = upscalers
        self.faces = faces
        self._decoders = decoders
        self._tiled = False
        self._used: list[_Used] = []
        self._remarks: list[str] = []

    def run(self, plan: ImagePlan, previews: PreviewOptions, watcher: Watcher) -> list[Drawn]:
        """The batch's pictures. Raises the errors of loading and drawing, and what the watcher raises."""
        self._tiled, self._used, self._remarks = False, [], []
        if plan.start is not None:
            return self._from_picture(plan, plan.start, previews, watcher)
        frames, pictures = self._from_noise(plan, previews, watcher)
        return [Drawn(image=picture, extras=() if position else frames) for position, picture in enumerate(pictures)]

    def _from_picture(self, plan: ImagePlan, start: StartPlan, previews: PreviewOptions, watcher: Watcher) -> list[Drawn]:
        watcher.stage("Preparing the picture")
        canvas = prepared(start, (plan.width, plan.height))
        with ExitStack() as borrowed:
            refiner = _Refining(self, borrowed, watcher)
            with self.lent(plan.model, watcher) as model:
                watcher.stage("Encoding the picture")
                begin = start_latents(plan, start, canvas, model)
                pacer = self._pacer(plan, model, previews, watcher.step)
                roll = FilmRoll(plan.film, start.walked, pacer)
                finish = partial(_laid_out, start, canvas, begin)
                with self._rescuing(plan, model, lambda: pacer.latest, watcher, finish):
                    latents = sample_from(plan, start, begin, model, roll, refiner)
                    pacer.finish()
            with self.lent(refiner.spec or plan.model, watcher) as model, self._rescuing(plan, model, lambda: latents, watcher, finish):
                frames = roll.frames(plan, model, watcher.stage)
                pictures = self._decoded(plan, model, latents, watcher)
        drawn = _laid_out(start, canvas, begin, latents, pictures)
        return [replace(drawn[0], extras=(*drawn[0].extras, *frames)), *drawn[1:]]

    def _from_noise(self, plan: ImagePlan, previews: PreviewOptions, watcher: Watcher) -> tuple[Frames, list[Image.Image]]:
        """(the frames of the film, the pictures)."""
        frames, made = self._first_pass(plan, previews, watcher)
        if not isinstance(made, Tensor):
            return frames, made
        assert plan.hires is not None, "only a second pass begins from latents"
        # nothing here holds the first pass' models any more: the second may need their memory
        return frames, self._second_pass(plan, plan.hires, made, previews, watcher)

    def _first_pass(self, plan: ImagePlan, previews: PreviewOptions, watcher: Watcher) -> tuple[Frames, list[Image.Image] | Tensor]:
        """(the frames of the film, the pictures); where there is a second pass, the latents (B, C, H, W) that it begins from."""
        with ExitStack() as borrowed:
            refiner = _Refining(self, borrowed, watcher)
            with self.lent(plan.model, watcher) as model:
                pacer = self._pacer(plan, model, previews, watcher.step)
                roll = FilmRoll(plan.film, plan.steps, pacer)
                with self._rescuing(plan, model, lambda: pacer.latest, watcher):
                    latents = sample(plan, model, roll, refiner)
                    pacer.finish()
            with self.lent(refiner.spec or plan.model, watcher) as model, self._rescuing(plan, model, lambda: latents, watcher):
                frames = roll.frames(plan, model, watcher.stage)
                if plan.hires is None:
                    return frames, self._decoded(plan, model, latents, watcher)
                watcher.stage(f"Enlarging to {plan.last.width}x{plan.last.height}")
                return frames, enlarged(latents, plan, plan.hires, model, Upscaling(self.upscalers, watcher.stage))

    @contextmanager
    def lent(self, spec: ModelSpec, watcher: Watcher) -> Generator[LoadedModel]:
        """Lend a model, telling the watcher what takes time. Raises the errors of loading."""
        if not self.models.holds_bare(spec):
            watcher.stage(f"Loading {spec.checkpoint.stem}")
        elif not self.models.holds(spec):
            watcher.stage("Applying networks")
        with self.models.acquire(spec) as model:
            if all(used.spec != spec for used in self._used):
                self._used.append(_Used(spec, model.facts, self.models.notes, self.models.refused_words))
            yield model

    def _second_pass(
        self, plan: ImagePlan, hires: HiresPlan, latents: Tensor, previews: PreviewOptions, watcher: Watcher
    ) -> list[Image.Image]:
        def count_on(step: int, preview: bytes | None) -> None:
            watcher.step(plan.steps + step, preview)

        second = hires.second
        with ExitStack() as borrowed:
            refiner = _Refining(self, borrowed, watcher)
            with self.lent(second.model, watcher) as model:
                pacer = self._pacer(second, model, previews, count_on)
                with self._rescuing(second, model, lambda: latents if pacer.latest is None else pacer.latest, watcher):
                    drawn = sample_second(plan, hires, model, latents, pacer, refiner)
                    pacer.finish()
            with self.lent(refiner.spec or second.model, watcher) as model, self._rescuing(second, model, lambda: drawn, watcher):
                return self._decoded(second, model, drawn, watcher)

    @contextmanager
    def _rescuing(
        self, plan: ImagePlan, model: LoadedModel, so_far: Callable[[], Tensor | None], watcher: Watcher, finish: Finish = _as_they_are
    ) -> Generator[None]:
        """Within, a `Stop` that is `rescue` takes along what the batch has become, the latents (B, C, H, W) `so_far`, made ready by
        `finish`."""
        try:
            yield
        except Stop as stop:
            latents = so_far()
            if stop.rescue and latents is not None:
                told = _Unstoppable(watcher)
                stop.rescued = finish(latents, [self._decode(plan, model, latents, at, told) for at in range(len(latents))])
            raise

    def _decoded(self, plan: ImagePlan, model: LoadedModel, latents: Tensor, watcher: Watcher) -> list[Image.Image]:
        pictures = [self._decode(plan, model, latents, position, watcher) for position in range(len(latents))]
        return pictures if plan.faces is None else [self._restored(picture, plan.faces, watcher) for picture in pictures]

    def _restored(self, picture: Image.Image, plan: FacesPlan, watcher: Watcher) -> Image.Image:
        def on_face(number: int, count: int) -> None:
            watcher.stage(f"Restoring faces with {plan.restorer.kind}, face {number} of {count}")

        return Image.fromarray(self.faces.restored(np.asarray(picture), plan, watcher.stage, on_face)[0])

    def _decode(self, plan: ImagePlan, model: LoadedModel, latents: Tensor, position: int, watcher: Watcher) -> Image.Image:
        watcher.stage("Decoding" if len(latents) == 1 else f"Decoding {position + 1} of {len(latents)}")
        try:
            return Image.fromarray(decode(plan, model, latents[position]))
        except (RuntimeError, MemoryError) as error:
            if plan.vae_tiles != "automatic" or not is_out_of_memory(error):
                raise
            forget_frames(error)
        release_memory()
        watcher.stage("Decoding in pieces, since there is not enough memory for the whole")
        self._tiled = True
        return Image.fromarray(decode(plan, model, latents[position], tiled=True))

    def _pacer(
        self, plan: ImagePlan, model: LoadedModel, previews: PreviewOptions, report: Callable[[int, bytes | None], None]
    ) -> StepPacer:
        decoder = self._decoders.find(plan.model.checkpoint, model.facts) if previews.method == "tiny" else None
        return StepPacer(PreviewMaker(model, previews, (plan.width, plan.height), decoder), report, model.device)

    def load(self, spec: ModelSpec) -> ModelFacts:
        """Make the model of `spec` resident."""
        with self.models.acquire(spec) as model:
            return model.facts

    def notes(self, plan: ImagePlan) -> tuple[str, ...]:
        """What the user should know about how `run` has just drawn the plan, of every model that took part."""
        notes = dict.fromkeys((*(note for used in self._used for note in used.notes), *self._remarks))
        layers = self._first(plan).facts.text_layers
        if plan.clip_skip > layers:
            notes[f"Clip skip {plan.clip_skip} is more than this checkpoint's text encoder has layers: {layers} was used."] = None
        return tuple(notes)

    def remember(self, remark: str) -> None:
        """Put a sentence to what the user is told of this run."""
        self._remarks.append(remark)

    def as_drawn(self, plan: ImagePlan) -> ImagePlan:
        """The plan as `run` has just drawn it: without textual inversions that the model had no use for, decoded as it was possible."""
        first = self._first(plan)
        words = tuple(info for info in plan.model.embeddings if info.word not in first.refused_words)
        tiles = "always" if self._tiled else plan.vae_tiles
        start = plan.start
        if start is not None and not first.facts.is_inpainting:  # only inpainting networks read it
            start = replace(start, conditional_weight=None)
        return replace(plan, model=replace(plan.model, embeddings=words), start=start, vae_tiles=tiles)

    def _first(self, plan: ImagePlan) -> _Used:
        """The model that began to draw the plan, as `run` met it."""
        return next(used for used in self._used if used.spec == plan.model)

    def unload(self) -> None:
        """Give the memory of the model, of the upscaler and of the face restorer back."""
        self.upscalers.clear()
        self.faces.clear()
        self._decoders.clear()
        self.models.unload()


def _laid_out(start: StartPlan, canvas: Canvas, begin: StartLatents, latents: Tensor, pictures: list[Image.Image]) -> list[Drawn]:
    """The decoded pictures put back into what they began from."""
    soft = start.inpaint.soft if start.inpaint else None
    overlays = soft_overlays(soft, begin, latents, canvas) if soft else []
    masks: list[Image.Image | None] = [*overlays] or [None] * len(pictures)
    return [finished(start, canvas, picture, mask) for picture, mask in zip(pictures, masks, strict=True)]


class _Refining:
    """`engine.refiner.Refine` that remembers which model took over: as in A1111, that one's autoencoder finishes the picture."""

    def __init__(self, engine: Engine, borrowed: ExitStack, watcher: Watcher) -> None:
        self._engine = engine
        self._borrowed = borrowed
        self._watcher = watcher
        self.spec: ModelSpec | None = None

    def __call__(self, spec: ModelSpec) -> LoadedModel:
        # It is called in the middle of sampling; weights that are made in inference mode could never be trained.
        with torch.inference_mode(False):
            try:
                return self._lent(spec)
            except ModelLoadError as error:
                if not spec.networks:
                    raise
                why = str(error)
            # a LoRA is made for one architecture, and a refiner is often of another: then it draws without
            model = self._lent(replace(spec, networks=()))
            self._engine.remember(f"The refiner {spec.checkpoint.stem} drew without the prompt's LoRAs. {why}")
            return model

    def _lent(self, spec: ModelSpec) -> LoadedModel:
        model = self._borrowed.enter_context(self._engine.lent(spec, self._watcher))
        self.spec = spec
        return model
