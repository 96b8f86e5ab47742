"""How does a training job go? Pictures become lessons, lessons become steps, and what was learnt a file that the next prompt can name.

The resident model teaches and is not changed by it. What an interrupted or broken-off training has learnt lies in its folder below the
outputs; the same request goes on from there.
"""

from __future__ import annotations

import csv
import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from modules.domain.errors import ImageUnreadable, InvalidRequest, NotANumber, StorageError
from modules.domain.events import Cancelled, Finished, JobEvent, Stage, Started, StepDone
from modules.domain.plans import ImagePlan
from modules.domain.requests import GenerationRequest, Seed
from modules.domain.training import TrainRequest
from modules.engine.engine import Engine
from modules.engine.file_hashes import FileHashes
from modules.engine.output import PictureWriter
from modules.engine.resolve import PreviewOptions, output_options, resolve
from modules.families.base import Model
from modules.imaging.files import open_image
from modules.imaging.fit import fitted, flattened
from modules.jobs.protocol import Control, RunJob
from modules.prompts.tokenizer import clip_tokenizer
from modules.settings.paths import Paths, input_file
from modules.settings.schema import Settings
from modules.training.embedding import NewWord
from modules.training.learner import Learner
from modules.training.loop import Course, Lesson, Training, read_state, save_state
from modules.training.lora import LowRank

Say = Callable[[JobEvent], None]

SAVE_SECONDS = 60.0
TOLD_SECONDS = 0.25
"""The page hears of the steps at most this often."""

SAMPLE_STEPS = 20


class _Interrupted(Exception):
    """The user ended the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Homes:
    """Where a training's files are: the finished one, and its own folder."""

    file: Path
    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "state.pt"

    @property
    def curve(self) -> Path:
        return self.folder / "loss.csv"


def run_training(
    job: RunJob, request: TrainRequest, engine: Engine, paths: Paths, hashes: FileHashes, version: str, say: Say, control: Control
) -> JobEvent:
    """All of the job but its last event, which is returned. Raises the errors of loading, reading, learning and writing."""
    started = time.monotonic()
    if not engine.models.placement.holds_all:
        raise InvalidRequest("Training needs all networks on the device: start without --medvram and --lowvram.")
    homes = _homes(request, paths)
    state = _earlier(request, homes, first=job.attempt == 1)
    plan = _sample_plan(job, request)
    say(Started(job_id=job.job_id, attempt=job.attempt, image_count=request.image_count))
    watcher = _JobWatcher(job, say, control)
    writer = PictureWriter(job, replace(output_options(cast("Settings", job.settings)), grid=False), say, hashes, version)
    hashes.prepare(plan.model)
    try:
        with engine.lent(plan.model, watcher) as lent, torch.inference_mode(False):
            model = cast("Model", lent)
            for network in model.networks.values():
                engine.models.placement.use(network)  # what learns is made where the layers are that it is added to
                network.requires_grad_(False)
            lessons, notes = _lessons(job, request, model, watcher, retry=plan.vae_retry_float32)
            learner = _learner(request, model)
            with learner.attached(model):
                training = Training(model, learner, lessons, _course(request))
                if state is not None:
                    _take_up(training, state, homes)
                run = _Run(request, homes, training, watcher, lambda number: _draw(engine, model, plan, number, writer, watcher))
                run.to_the_end()
        _write(request, homes, learner, plan)
        writer.finish()
    except _Interrupted:
        writer.finish()
        return Cancelled(job_id=job.job_id, attempt=job.attempt, seconds=time.monotonic() - started)
    finally:
        writer.close()
    said = f"<lora:{request.name}:1>" if request.goal == "lora" else request.name
    notes = (*notes, f"{homes.file.name} is ready: write {said} into a prompt.", *writer.notes)
    return Finished(job_id=job.job_id, attempt=job.attempt, seconds=time.monotonic() - started, notes=notes)


class _Run:
    """The steps that are left, with their losses written down, states saved and samples drawn on the way."""

    def __init__(self, request: TrainRequest, homes: _Homes, training: Training, watcher: _JobWatcher, draw: Callable[[int], None]) -> None:
        self._request, self._homes, self._training, self._watcher, self._draw = request, homes, training, watcher, draw
        self._told = self._saved = time.monotonic()
        self._losses: list[tuple[int, float]] = []

    def to_the_end(self) -> None:
        """Raises what learning raises, and `_Interrupted`; what was learnt until then is saved."""
        request, training = self._request, self._training
        self._watcher.stage("Training")
        try:
            while training.step < request.steps:
                loss = training.learn()
                if not np.isfinite(loss):
                    raise NotANumber(f"The training went astray at step {training.step}: choose a smaller learning rate and begin anew.")
                self._losses.append((training.step, loss))
                self._tell(loss)
                if request.image_count and training.step % request.sample_every == 0:
                    self._draw(training.step // request.sample_every - 1)
        except _Interrupted:
            self._save()
            raise
        self._save()

    def _tell(self, loss: float) -> None:
        now = time.monotonic()
        if now - self._saved > SAVE_SECONDS:
            self._save()
        if now - self._told > TOLD_SECONDS or self._training.step in (1, self._request.steps):
            self._told = now
            self._watcher.learnt(self._training.step, self._request.steps, loss)
        else:
            self._watcher.check()

    def _save(self) -> None:
        self._saved = time.monotonic()
        homes = self._homes
        try:
            homes.folder.mkdir(parents=True, exist_ok=True)
            with homes.curve.open("a", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows((step, f"{loss:.6f}") for step, loss in self._losses)
            self._losses.clear()
            same = json.dumps(self._request.same_training, sort_keys=True)
            save_state(homes.state, {**self._training.state(), "training": same})
        except OSError as error:
            raise StorageError(f"What was learnt could not be saved in {homes.folder}: {error.strerror or error}.") from error


class _JobWatcher:
    """An `engine.Watcher`, and more: what happens becomes the job's events, the user's wish to end it `_Interrupted`."""

    def __init__(self, job: RunJob, say: Say, control: Control) -> None:
        self._job, self._say, self._control = job, say, control

    def check(self) -> None:
        """Raise `_Interrupted` where the user wants that."""
        if self._control.interrupted() or self._control.skipped():
            raise _Interrupted

    def stage(self, text: str) -> None:
        """Something begins."""
        self._say(Stage(job_id=self._job.job_id, attempt=self._job.attempt, text=text))
        self.check()

    def step(self, step: int, preview: bytes | None) -> None:
        """A step of a sample: the training's own are what is counted."""
        self.check()

    def learnt(self, step: int, steps: int, loss: float) -> None:
        """A step of the training is done."""
        self._say(StepDone(job_id=self._job.job_id, attempt=self._job.attempt, step=step, steps=steps, batch=1, batches=1, loss=loss))
        self.check()


def _homes(request: TrainRequest, paths: Paths) -> _Homes:
    home = paths.loras[0] if request.goal == "lora" else paths.embeddings
    return _Homes(file=home / f"{request.name}.safetensors", folder=paths.training / request.folder)


def _earlier(request: TrainRequest, homes: _Homes, *, first: bool) -> Mapping[str, Any] | None:
    """What an earlier training of the same name has learnt; None to begin with nothing. Raises `InvalidRequest`.

    A second attempt at the same job goes on with what the `first` one has learnt, also where that began anew.
    """
    if homes.file.exists() and not homes.folder.exists():
        raise InvalidRequest(f"There is a file {homes.file.name} already, which was not trained here. Choose another name.")
    if request.anew and first:
        for path in (homes.state, homes.curve):
            with suppress(FileNotFoundError):
                path.unlink()
        return None
    state = read_state(homes.state)
    if state is None:
        if homes.file.exists():
            raise InvalidRequest(f"What {request.name} has learnt is not there any more. Tick “Begin anew”, or choose another name.")
        return None
    if state.get("training") != json.dumps(request.same_training, sort_keys=True):
        sentence = "with other pictures or settings. Choose another name, or tick “Begin anew” to forget it."
        raise InvalidRequest(f"There is a training named {request.name} {sentence}")
    return state


def _take_up(training: Training, state: Mapping[str, Any], homes: _Homes) -> None:
    """Go on from `state`; the curve keeps what was before it."""
    try:
        training.take_up(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise InvalidRequest(f"What {homes.folder.name} has learnt so far can't be read. Tick “Begin anew”.") from error
    with suppress(FileNotFoundError):
        rows = [row for row in csv.reader(homes.curve.read_text("utf-8").splitlines()) if len(row) == 2 and int(row[0]) <= training.step]
        homes.curve.write_text("".join(f"{step},{loss}\r\n" for step, loss in rows), encoding="utf-8")


def _sample_plan(job: RunJob, request: TrainRequest) -> ImagePlan:
    """How a sample is drawn; its model is the one that teaches. Raises `InvalidRequest`."""
    settings = cast("Settings", job.settings)
    asked = GenerationRequest(
        prompt=request.sample_prompt,
        width=request.width,
        height=request.height,
        steps=SAMPLE_STEPS,
        seed=Seed(value=request.seed),
        checkpoint=request.checkpoint,
        vae=settings.models.vae,
        clip_skip=1,
    )
    plan = resolve(asked, settings, job.catalog, random.Random(0))[0]
    others = [info.word for info in plan.model.embeddings if info.word.casefold() != request.name.casefold()]
    if plan.model.networks or others:
        named = ", ".join([*(ref.mention or ref.info.stem for ref in plan.model.networks), *others])
        raise InvalidRequest(f"Sample prompt: no other networks can be used while one is trained, but it names {named}.")
    return replace(plan, model=replace(plan.model, networks=(), embeddings=(), tiling=False), notes=())


def _lessons(
    job: RunJob, request: TrainRequest, model: Model, watcher: _JobWatcher, *, retry: bool
) -> tuple[list[Lesson], tuple[str, ...]]:
    """The pictures as latents, and notes on those that can't be read. Raises `InvalidRequest` where none is left.

    `retry`: where the VAE gives NaN in float16, it goes on in float32.
    """
    watcher.stage("Encoding the pictures")
    lessons: list[Lesson] = []
    notes: list[str] = []
    for number, example in enumerate(request.examples, start=1):
        path = input_file(Path(job.inputs), example.image)
        try:
            if path is None:
                raise ImageUnreadable("it is no picture of the store")
            picture = fitted(flattened(open_image(path), "#ffffff"), (request.width, request.height), "crop_and_resize")
        except ImageUnreadable as error:
            notes.append(f"Picture {number} was left out: {error}")
            continue
        mirrored = _latent(model, picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), retry=retry) if request.mirrored else None
        lessons.append(Lesson(_latent(model, picture, retry=retry), example.words, mirrored))
        watcher.check()
    if not lessons:
        raise InvalidRequest(f"None of the pictures can be read: {notes[0]}")
    return lessons, tuple(notes)


@torch.no_grad()
def _latent(model: Model, picture: Image.Image, *, retry: bool) -> Tensor:
    pixels = np.asarray(picture)
    latent = model.encode_picture(pixels)
    if retry and not bool(torch.isfinite(latent).all()) and model.widen_autoencoder():
        latent = model.encode_picture(pixels)
    if not bool(torch.isfinite(latent).all()):
        raise NotANumber("The VAE gave numbers that are not finite for a picture. Start with --no-half-vae, or choose another VAE.")
    return latent.cpu()


def _learner(request: TrainRequest, model: Model) -> Learner:
    seed = request.seed % 2**63
    if request.goal == "embedding":
        return NewWord(model, clip_tokenizer(), request.name, count=request.vectors, begin_with=request.begin_with, seed=seed)
    return LowRank(
        model,
        rank=request.rank,
        alpha=request.alpha,
        convolutions=request.convolutions,
        text_encoder=request.text_encoder,
        seed=seed,
    )


def _course(request: TrainRequest) -> Course:
    return Course(
        name=request.name,
        lines=request.lines,
        steps=request.steps,
        batch_size=request.batch_size,
        rate=request.rate,
        seed=request.seed,
    )


def _draw(engine: Engine, model: Model, plan: ImagePlan, number: int, writer: PictureWriter, watcher: _JobWatcher) -> None:
    """Draw sample `number` (from 0) with what is learnt so far. The encodings of a prompt are of no use for learning, nor the other way."""
    model.forget_encodings()
    drawn = engine.run(plan, PreviewOptions(enabled=False), watcher)
    model.forget_encodings()
    writer.put(replace(plan, index=number), 0, drawn[0])
    watcher.stage("Training")


def _write(request: TrainRequest, homes: _Homes, learner: Learner, plan: ImagePlan) -> None:
    """Put the finished file in its place, whole. Raises `StorageError`."""
    part = homes.file.with_suffix(".part")
    try:
        homes.file.parent.mkdir(parents=True, exist_ok=True)
        # not by the library's own writer, which hides what was the matter with the disk in an error of its own
        part.write_bytes(save(dict(learner.file()), metadata=_metadata(request, plan)))
        part.chmod(0o644)
        part.replace(homes.file)
    except OSError as error:
        raise StorageError(f"{homes.file.name} could not be written to {homes.file.parent}: {error.strerror or error}.") from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _metadata(request: TrainRequest, plan: ImagePlan) -> dict[str, str]:
    """What programs read about the file, and what made it."""
    made = {
        "modelspec.title": request.name,
        "ss_output_name": request.name,
        "ss_sd_model_name": plan.model.checkpoint.name.rsplit("/", 1)[-1],
        "ss_steps": str(request.steps),
        "ss_learning_rate": f"{request.rate:g}",
        "ss_num_train_images": str(len(request.examples)),
        "ss_seed": str(request.seed),
        "ss_resolution": f"({request.width}, {request.height})",
    }
    if request.goal == "lora":
        made |= {"ss_network_module": "networks.lora", "ss_network_dim": str(request.rank), "ss_network_alpha": f"{request.alpha:g}"}
    return made
