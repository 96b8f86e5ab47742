"""What the engine's tests share: a runner over real tiny models, a job for it, and its events in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from modules.domain.catalog import Catalog
from modules.domain.events import ImageDone, JobEvent, StepDone
from modules.domain.requests import GenerationRequest, Seed
from modules.engine.engine import Engine
from modules.engine.faces import face_tools
from modules.engine.runner import EngineRunner
from modules.engine.upscale import upscaler_models
from modules.gallery.inputs import InputStore
from modules.jobs.protocol import RunJob
from modules.settings.paths import Paths
from modules.settings.schema import Settings
from modules.weights.hashes import HashCache
from modules.weights.manager import ModelManager
from modules.weights.preview_decoders import PreviewDecoders
from modules.weights.residency import DeviceOptions

CPU = DeviceOptions(use_cpu=True)


@dataclass
class Wishes:
    """A `Control` that is asked after every step: each wish gets the number of the question, from 1; `end_when` of the last question."""

    interrupt_when: Callable[[int], bool] = lambda asked: False
    end_when: Callable[[int], bool] = lambda asked: False
    skip_when: Callable[[int], bool] = lambda asked: False
    asked: int = 0

    def interrupted(self) -> bool:
        self.asked += 1
        return self.interrupt_when(self.asked)

    def ending(self) -> bool:
        return self.end_when(self.asked)

    def skipped(self) -> bool:
        return self.skip_when(self.asked)


@dataclass
class Studio:
    """A runner and what it needs to be given."""

    folder: Path
    catalog: Catalog
    settings: Settings = field(default_factory=Settings)

    def __post_init__(self) -> None:
        models = ModelManager(CPU)
        decoders = PreviewDecoders((self.folder / "VAE-approx",), models.placement.device, models.placement.dtype("vae"))
        self.engine = Engine(models, upscaler_models(models.placement), decoders, face_tools(models.placement))
        self.runner = EngineRunner(self.engine, HashCache(self.folder / "hashes.sqlite"), "0.1.0", self.paths)
        self.jobs = 0

    @property
    def paths(self) -> Paths:
        """The folders of a program whose data folder is the studio's."""
        models = self.folder / "models"
        return Paths(
            data=self.folder,
            models=models,
            checkpoints=(models,),
            vaes=(),
            loras=(self.folder / "Lora",),
            embeddings=self.folder / "embeddings",
            outputs=self.folder / "outputs",
        )

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs"

    def put(self, picture: Image.Image | npt.NDArray[np.uint8]) -> str:
        """Keep a start picture or mask; its id."""
        return InputStore(self.inputs).put_picture(picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).id

    def run(self, *, wishes: Wishes | None = None, done: frozenset[int] = frozenset(), entropy: int = 1, **request: Any) -> list[JobEvent]:
        """Run a job and return everything it said."""
        self.jobs += 1
        job = RunJob(
            job_id=f"job{self.jobs}",
            attempt=1,
            request=small_request(**request),
            settings=self.settings,
            catalog=self.catalog,
            entropy=entropy,
            staging=str(self.folder / "staging"),
            inputs=str(self.inputs),
            done=done,
        )
        events: list[JobEvent] = []
        self.runner.run(job, events.append, wishes or Wishes())
        return events

    def draw(self, **request: Any) -> list[npt.NDArray[np.uint8]]:
        """The pictures of a job that must succeed, grids left out."""
        return [pixels(event) for event in images(self.run(**request))]


def small_request(**values: Any) -> GenerationRequest:
    """A request for one quick picture, but for `values`; `seed` may be a number."""
    seed = values.pop("seed", 7)
    base: dict[str, Any] = {"prompt": "a red house", "negative_prompt": "fog", "width": 32, "height": 32, "steps": 3, "sampler": "euler"}
    return GenerationRequest(**{**base, **values}, seed=Seed(value=seed) if isinstance(seed, int) else seed)


def images(events: list[JobEvent], kind: str = "image") -> list[ImageDone]:
    """The finished pictures among events."""
    return [event for event in events if isinstance(event, ImageDone) and event.kind == kind]


def steps(events: list[JobEvent]) -> list[StepDone]:
    """The steps among events."""
    return [event for event in events if isinstance(event, StepDone)]


def pixels(event: ImageDone) -> npt.NDArray[np.uint8]:
    """The picture of an event, from its file."""
    with Image.open(event.staged) as image:
        return np.asarray(image.convert("RGB"))
