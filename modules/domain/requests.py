"""What was asked: one frozen, picklable, replayable value that the page, the HTTP API and a stored job all make.

It holds the user's own words and numbers, nothing resolved: a seed of -1 is still -1, a checkpoint is still the name on the screen.
`engine/resolve.py` turns it into plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from modules.domain.checks import check, check_range, check_text
from modules.domain.img2img import Img2Img, Inpaint, check_together

SIZE_STEP = 8
"""Width and height are multiples of this: the factor of every supported autoencoder divides it."""

MAX_SIDE = 8192
MAX_STEPS = 1000
MAX_BATCH = 64
MAX_SEED = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Seed:
    """Where the noise comes from. `value` and `variation` of -1 mean "draw one"; `resize_from` is (width, height)."""

    value: int = -1
    variation: int = -1
    variation_strength: float = 0.0
    resize_from: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        for name, number in (("Seed", self.value), ("Variation seed", self.variation)):
            check(-1 <= number <= MAX_SEED, f"{name} must be -1 (random) or a number from 0 to {MAX_SEED}, not {number}.")
        check_range("Variation strength", self.variation_strength, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class HiresPass:
    """A second pass over the enlarged picture. What is None, 0 or empty is as in the first pass.

    The size is `scale` times the first one's, or, where `width` or `height` is given, that: one side alone keeps the proportions, both cut
    off what is over.
    """

    upscaler: str = "Latent"
    denoising_strength: float = 0.7
    steps: int = 0
    scale: float = 2.0
    width: int = 0
    height: int = 0
    checkpoint: str | None = None
    sampler: str | None = None
    schedule: str | None = None
    prompt: str = ""
    negative_prompt: str = ""

    def __post_init__(self) -> None:
        check_range("Hires denoising strength", self.denoising_strength, 0.0, 1.0)
        check_range("Hires steps", self.steps, 0, MAX_STEPS)
        check_range("Upscale by", self.scale, 1.0, 16.0)
        check_text("Hires prompt", self.prompt)
        check_text("Hires negative prompt", self.negative_prompt)
        for name, side in (("Resize width to", self.width), ("Resize height to", self.height)):
            check(side == 0 or SIZE_STEP * 2 <= side <= MAX_SIDE, f"{name} must be 0 or from {SIZE_STEP * 2} to {MAX_SIDE}, not {side}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refiner:
    """Another checkpoint that takes over for the rest of the steps, once `switch_at` (a share, by noise level) of the way is gone."""

    checkpoint: str
    switch_at: float = 0.8

    def __post_init__(self) -> None:
        check(bool(self.checkpoint), "Refiner: choose a checkpoint.")
        check_range("Refiner: switch at", self.switch_at, 0.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """Pictures of the way that a batch's first picture takes: `frames` of them, evenly spread over the first pass' steps.

    They show what the network expects of the finished picture or, where they are `noisy`, what it looks at.
    """

    frames: int = 8
    noisy: bool = False

    def __post_init__(self) -> None:
        check_range("Frames", self.frames, 2, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One click on Generate. `sampler` and `schedule` are ids (`dpmpp_2m`, `automatic`), never labels.

    `checkpoint`, `vae` and `clip_skip` of None mean "what the settings say when the job was accepted".
    Raises `InvalidRequest` with a sentence for the user when a value is out of its range.
    """

    prompt: str = ""
    negative_prompt: str = ""
    width: int = 512
    height: int = 512
    steps: int = 20
    sampler: str = "dpmpp_2m"
    schedule: str = "automatic"
    cfg_scale: float = 7.0
    seed: Seed = field(default_factory=Seed)
    batch_size: int = 1
    batch_count: int = 1
    checkpoint: str | None = None
    vae: str | None = None
    clip_skip: int | None = None
    hires: HiresPass | None = None
    refiner: Refiner | None = None
    init: Img2Img | None = None
    inpaint: Inpaint | None = None
    overrides: tuple[tuple[str, str | int | float | bool], ...] = ()
    """Settings for this job alone, as A1111's (option key, value) pairs; the queue lays them over the snapshot it keeps with the job."""
    film: Film | None = None
    said: tuple[tuple[str, str], ...] = ()
    """What the infotext says besides: (field, value) pairs of whoever made the request, a script for example."""

    def __post_init__(self) -> None:
        check_text("The prompt", self.prompt)
        check_text("The negative prompt", self.negative_prompt)
        for name, side in (("Width", self.width), ("Height", self.height)):
            check_range(name, side, SIZE_STEP * 2, MAX_SIDE)
            low = side - side % SIZE_STEP
            check(side % SIZE_STEP == 0, f"{name} must be a multiple of {SIZE_STEP}: {side} is not, {low} or {low + SIZE_STEP} is.")
        check_range("Sampling steps", self.steps, 1, MAX_STEPS)
        check_range("CFG scale", self.cfg_scale, 0.0, 100.0)
        check_range("Batch size", self.batch_size, 1, MAX_BATCH)
        check_range("Batch count", self.batch_count, 1, 10_000)
        if self.clip_skip is not None:
            check_range("Clip skip", self.clip_skip, 1, 12)
        check_together(self.init, self.inpaint, hires=self.hires is not None)

    @property
    def inputs(self) -> tuple[str, ...]:
        """The ids of the pictures that the request begins from."""
        init = self.init
        found = (init.image if init else None, init.colors_of if init else None, self.inpaint.mask if self.inpaint else None)
        return tuple(each for each in found if each is not None)

    @property
    def tab(self) -> str:
        """What A1111 calls this kind of work: in folders' names and on the page."""
        return "txt2img" if self.init is None else "img2img"

    @property
    def image_count(self) -> int:
        """How many pictures the request asks for, grids not counted."""
        return self.batch_size * self.batch_count

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object from which `from_json` makes an equal request."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> GenerationRequest:
        """The request that `to_json` wrote; a field it does not know raises `InvalidRequest` rather than being dropped."""
        unknown = sorted(set(data) - {f.name for f in fields(cls)})
        check(not unknown, f"This version does not know the request fields {', '.join(unknown)}.")
        values = dict(data)
        if "seed" in values:
            seed = dict(values["seed"])
            if seed.get("resize_from") is not None:
                seed["resize_from"] = tuple(seed["resize_from"])
            values["seed"] = Seed(**seed)
        if values.get("hires") is not None:
            values["hires"] = HiresPass(**values["hires"])
        if values.get("refiner") is not None:
            values["refiner"] = Refiner(**values["refiner"])
        if values.get("film") is not None:
            values["film"] = Film(**values["film"])
        if values.get("init") is not None:
            values["init"] = Img2Img(**values["init"])
        if values.get("inpaint") is not None:
            values["inpaint"] = Inpaint.from_json(values["inpaint"])
        values["overrides"] = tuple((str(key), value) for key, value in values.get("overrides", ()))
        values["said"] = tuple((str(key), str(value)) for key, value in values.get("said", ()))
        return cls(**values)
