"""What will be done: everything that a request left open is decided here, and the infotext is a function of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from modules.domain.catalog import CODEFORMER, CheckpointInfo, FaceRestorerInfo, UpscalerInfo, VaeInfo
from modules.domain.img2img import Outpaint, SoftInpainting
from modules.domain.networks import EmbeddingInfo, NetworkRef
from modules.domain.requests import Film


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """The weights that a plan needs, as a hashable value: two equal specs are the same resident model.

    `vae` is None for the checkpoint's own autoencoder.
    """

    checkpoint: CheckpointInfo
    vae: VaeInfo | None = None
    networks: tuple[NetworkRef, ...] = ()
    """What is added to its weights, in this order."""
    embeddings: tuple[EmbeddingInfo, ...] = ()
    """Words that its text encoders know besides their own."""
    tiling: bool = False
    """Whether its pictures go on at their opposite edges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerOptions:
    """Numbers that change how a sampler walks; they come from the settings and, where not at their default, show in the infotext."""

    eta: float | None = None
    """Noise multiplier of ancestral samplers; None is the sampler's own default (1.0; DDIM 0.0)."""
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float | None = None
    """None is infinity (A1111 writes it as 0)."""
    s_noise: float = 1.0
    sigma_min: float | None = None
    sigma_max: float | None = None
    rho: float | None = None
    discard_penultimate: bool = False
    beta_alpha: float = 0.6
    beta_beta: float = 0.6
    sgm_noise: bool = False
    """Begin from noise * sqrt(1 + sigma^2) where others begin from noise * sigma."""
    min_negative_sigma: float = 0.0
    """Below this noise level every other network call (or each, with `min_negative_sigma_all`) leaves the negative prompt out."""
    min_negative_sigma_all: bool = False
    unipc_variant: str = "bh1"
    unipc_skip: str = "time_uniform"
    unipc_order: int = 3
    unipc_lower_order_final: bool = True
    extra_noise: float = 0.0
    """More noise on a latent that the walk starts from, in its unit: A1111's "Extra noise"."""
    skip_early_negative: float = 0.0
    """The share of the network calls, at the beginning, that leave the negative prompt out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """One batch: pictures that are sampled side by side. `prompts`, `negatives`, `seeds` and `variation_seeds` have equal lengths."""

    index: int
    """Position of the batch's first picture within the job; picture i of the batch is number `index + i`."""
    model: ModelSpec
    prompts: tuple[str, ...]
    negatives: tuple[str, ...]
    seeds: tuple[int, ...]
    variation_seeds: tuple[int, ...]
    variation_strength: float = 0.0
    seed_resize_from: tuple[int, int] | None = None
    noise_offset_seed: int = 0
    """A1111's "Eta noise seed delta" (ENSD)."""
    noise_source: str = "gpu"
    """gpu, cpu or nv: which generator the noise comes from."""
    width: int
    height: int
    steps: int
    sampler: str
    sampler_label: str
    schedule: str
    """The id that was chosen, never `automatic`."""
    schedule_label: str
    options: SamplerOptions = field(default_factory=SamplerOptions)
    cfg_scale: float
    clip_skip: int = 1
    emphasis: str = "original"
    comma_backtrack: int = 20
    crop: tuple[int, int] = (0, 0)
    """How many pixels SDXL is told are missing at the picture's top and left."""
    aesthetic_scores: tuple[float, float] = (6.0, 2.5)
    """What SDXL's refiner is told of the prompt and of the negative prompt."""
    old_prompt_timelines: bool = False
    """Read `[from:to:when]` as A1111 did before 1.6."""
    downcast_alphas: bool = False
    """Take the model's noise levels from cumulative products in float16, as A1111 did before 1.7.0-225."""
    pad_prompts: bool = False
    """Fill the shorter of prompt and negative prompt up to the longer's chunks."""
    batch_guidance: bool = True
    """Evaluate prompt and negative prompt in one network call where their lengths allow it."""
    vae_retry_float32: bool = True
    vae_tiles: str = "automatic"
    """When latents are decoded piece by piece: always, never, or automatic (where there is no memory for the whole)."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about what the request asks for and this plan does not do."""
    refiner: RefinerPlan | None = None
    hires: HiresPlan | None = None
    faces: FacesPlan | None = None
    """What restores the faces of the finished pictures."""
    start: StartPlan | None = None
    """The picture that it begins from; None for noise alone."""
    film: Film | None = None
    """Which pictures of the way to this one are wanted too."""
    said: tuple[tuple[str, str], ...] = ()
    """More (field, value) pairs for the infotext, as the request has them."""

    @property
    def batch_size(self) -> int:
        return len(self.seeds)

    @property
    def last(self) -> ImagePlan:
        """The pass that the finished pictures come from."""
        return self.hires.second if self.hires else self

    @property
    def all_steps(self) -> int:
        """The steps of all passes that are walked."""
        return (self.start.walked if self.start else self.steps) + (self.hires.second.steps if self.hires else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartPlan:
    """The picture that sampling begins from, and how it gets there."""

    image: str
    """Its file."""
    denoising_strength: float
    walked: int
    """How many steps are walked at this strength."""
    exact_steps: bool = False
    """The plan's `steps` are walked, rather than the share of them that the strength leaves."""
    resize_mode: str = "just_resize"
    noise_multiplier: float = 1.0
    conditional_weight: float | None = 1.0
    """How much of what is drawn anew an inpainting checkpoint does not see; None for other checkpoints."""
    color_correction: bool = False
    colors_of: str | None = None
    """The file of the picture whose colours that is about, where it is another one."""
    background: str = "#ffffff"
    """The colour behind what is transparent."""
    image_hash: str | None = None
    """The MD5 of its pixels, where it is kept under that name."""
    extras: tuple[str, ...] = ()
    """Which pictures are wanted beside the result: mask, mask_composite, before_color_correction."""
    inpaint: InpaintPlan | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InpaintPlan:
    """Which part of the start picture is drawn anew, from what, and how it is put back."""

    mask: str | None = None
    """The mask's file."""
    from_alpha: bool = False
    """Transparent parts of the picture are masked."""
    invert: bool = False
    blur_x: int = 4
    blur_y: int = 4
    content: str = "original"
    only_masked: bool = False
    padding: int = 32
    overlay: bool = True
    """The source is laid over the result where the mask is dark."""
    soft: SoftInpainting | None = None
    outpaint: Outpaint | None = None

    @property
    def has_mask(self) -> bool:
        """Whether something beside the picture's growth is masked."""
        return self.mask is not None or self.from_alpha


@dataclass(frozen=True, slots=True, kw_only=True)
class RefinerPlan:
    """The model that takes over within the pass, and when: as soon as more than the share `switch_at` of the timesteps is behind."""

    model: ModelSpec
    switch_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpscalerPlan:
    """An upscaler model and how a picture is cut for it: pixels per side of a tile (0 is the whole picture), and of their overlap."""

    info: UpscalerInfo
    tile: int = 192
    overlap: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrasUpscaler:
    """One of the upscalers of an `ExtrasPlan`. `visibility` is how strongly it is mixed into what those before it made."""

    label: str
    model: UpscalerPlan | None = None
    """Where that label is a model's."""
    visibility: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FacesPlan:
    """A face restorer and how strongly its faces are laid over the picture's."""

    restorer: FaceRestorerInfo
    visibility: float
    weight: float = 0.0
    """CodeFormer's fidelity; the other kind has none."""

    @property
    def fields(self) -> tuple[tuple[str, object], ...]:
        """What is written into the result about this, in A1111's words."""
        kind = self.restorer.kind
        weight = (("CodeFormer weight", f"{self.weight:g}"),) if kind == CODEFORMER else ()
        return ((f"{kind} visibility", f"{self.visibility:g}"), *weight)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrasPlan:
    """A finished picture to be enlarged, its faces to be restored. Without upscalers it keeps its size."""

    image: str
    """Its file."""
    upscalers: tuple[ExtrasUpscaler, ...] = ()
    enlarged: tuple[int, int]
    """(width, height) that it is enlarged to."""
    cut: tuple[int, int] | None = None
    """(width, height) of its middle that is kept; None for all of it."""
    faces: tuple[FacesPlan, ...] = ()
    upscale_first: bool = True
    """Whether faces are restored in the enlarged picture, or before it is enlarged."""
    fields: tuple[tuple[str, object], ...] = ()
    """What is written into the result about its enlarging, in A1111's words."""
    notes: tuple[str, ...] = ()
    """Sentences for the user about what was asked for and is not done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HiresPlan:
    """How the finished latents of the first pass become the start of a second one, which is a plan like any other."""

    upscaler: str
    """An upscaler's label; those of `LATENT_UPSCALERS` work on the latents, the others on the decoded picture."""
    upscaler_model: UpscalerPlan | None = None
    """Where that label is a model's."""
    enlarged: tuple[int, int]
    """(width, height) that it is enlarged to; what is over the second pass' size is then cut off on both sides."""
    denoising_strength: float
    second: ImagePlan
    scale: float | None = None
    """What was asked for, for the infotext: a factor, or else `resize`."""
    resize: tuple[int, int] | None = None
    own_steps: bool = False
    """Whether the number of steps was asked for, rather than being the first pass'."""
