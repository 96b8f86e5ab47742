"""Sizes and schedules of the starter model; `PRESETS` names the ones that have been thought about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
DEFAULT_FILE = REPO / "models" / "Stable-diffusion" / "starter.safetensors"
FONT_PATHS = (
    Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/fonts/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf"),
)


@dataclass(frozen=True)
class DataConfig:
    """How pictures are composed."""

    size: int = 64  # pixels per side
    common_names: bool = False  # teach the denoiser names.COMMON alone
    object_sizes: tuple[int, ...] = (53, 57)  # drawn widths of the sprite, in pixels
    angles: tuple[int, ...] = (0,)  # degrees
    shift: int = 2  # most pixels off centre
    flip: float = 0.0  # share of mirrored objects
    gradient: float = 0.3  # share of backgrounds with a soft vertical gradient
    colour_jitter: int = 8  # most a background channel differs from its named colour, of 255
    landscapes: float = 0.0  # share of pictures with a landscape in place of a plain background
    pairs: float = 0.0  # share of pictures with two different objects
    beside: float = 0.5  # share of those that are side by side, not one above the other
    counted: float = 0.0  # share of pictures with two or three of one kind
    styled: float = 0.0  # share of pictures in one of styles.STYLES
    shapes: tuple[tuple[int, int], ...] = ()  # (height, width) of the pictures that are not square, or of another size
    shaped: float = 0.0  # share of pictures of those shapes
    named_background: float = 0.6  # share of captions that name the background
    empty_caption: float = 0.1  # share of captions dropped, for classifier-free guidance


@dataclass(frozen=True)
class VaeConfig:
    """KL autoencoder: channels per level (factor is 2 ** (levels - 1)) and how it is trained."""

    channels: tuple[int, ...] = (32, 64, 96)
    layers: int = 1
    latent_channels: int = 4
    crop: int = 32  # training crops, in pixels; the network is convolutional but for the small middle attention
    batch: int = 16
    whole_after: float = 0.45  # share of the schedule from which whole pictures are used: as many pixels, fewer borders
    steps: int = 2000
    minutes: float = 0.0  # when above 0, the schedule follows the clock in place of the steps
    lr: float = 2e-3
    kl: float = 1e-5
    edge: float = 0.5  # weight of the loss on differences of neighbouring pixels
    ema: float = 0.995
    decoder_steps: int = 5000  # more steps for the decoder alone, once the latents are fixed
    decoder_minutes: float = 0.0
    decoder_batch: int = 4
    decoder_lr: float = 1e-3
    decoder_psnr: float = 0.0  # weight of a decibel in its loss


@dataclass(frozen=True)
class UnetConfig:
    """Denoiser and text encoder."""

    channels: tuple[int, ...] = (64, 128, 192)
    attention: tuple[bool, ...] = (False, True, False)  # per level; the middle always attends
    layers: int = 1
    heads: int = 4
    text_width: int = 128
    text_layers: int = 3
    text_heads: int = 2
    text_steps: int = 250  # of the text encoder alone, first
    text_batch: int = 32
    text_earlier: str = "objects"  # what an earlier file's encoder could say, and is held to: "objects" on plain grounds, or "scenes"
    text_frozen: bool = True  # after that; the denoiser's loss alone let it forget names over colours
    latents: int = 5120  # pictures in the latent cache
    batch: int = 16
    steps: int = 12000
    minutes: float = 0.0
    lr: float = 1e-3
    ema: float = 0.99
    prediction: str = "v"
    guidance: float = 4.0  # CFG scale that a page should show for the finished checkpoint


@dataclass(frozen=True)
class StarterConfig:
    """Everything a run needs; a run directory holds exactly one of these."""

    data: DataConfig = field(default_factory=DataConfig)
    vae: VaeConfig = field(default_factory=VaeConfig)
    unet: UnetConfig = field(default_factory=UnetConfig)
    seed: int = 20260
    device: str = "cpu"
    precision: str = "auto"  # of the networks while they learn: float32, bfloat16, or whichever this machine multiplies faster
    threads: int = 2
    save_every_s: float = 180.0
    log_every: int = 50
    held_out: int = 64  # pictures the autoencoder is measured on

    @property
    def factor(self) -> int:
        """Pixels per latent, along one side."""
        return 2 ** (len(self.vae.channels) - 1)

    @property
    def latent_size(self) -> int:
        """Latents per side of a native picture."""
        return self.data.size // self.factor


CPU64 = StarterConfig(data=DataConfig(common_names=True))

# What two processor cores with bfloat16 arithmetic can teach in two or three hours; SD1's own factor 8.
CPU128 = StarterConfig(
    data=DataConfig(size=128, common_names=True, object_sizes=(102, 108, 114), shift=4),
    vae=VaeConfig(channels=(32, 64, 64, 128), crop=64, batch=16, whole_after=0.4, steps=6000),
    unet=UnetConfig(attention=(False, True, True), text_steps=500, latents=6144, batch=16, steps=14000, ema=0.998),
)

# The same networks, shown scenes too: two objects, some of a kind, landscapes. Meant to begin from a finished cpu128 (`--start`).
SCENES128 = replace(
    CPU128,
    data=replace(CPU128.data, landscapes=0.15, pairs=0.5, counted=0.08),
    unet=replace(CPU128.unet, text_steps=2000, latents=24576, batch=32, steps=24000),
)

# Styles and other shapes besides, and a better autoencoder. Meant to begin from a finished scenes128.
STYLES128 = replace(
    SCENES128,
    data=replace(SCENES128.data, styled=0.1, shapes=((128, 192), (192, 128), (160, 160)), shaped=0.15),
    vae=replace(CPU128.vae, whole_after=0.0, lr=1.5e-3, kl=2e-6, ema=0.998, decoder_steps=13000, decoder_lr=1.5e-3, decoder_psnr=0.01),
    unet=replace(SCENES128.unet, text_earlier="scenes"),
)

# A sketch for a GPU: runs, but its schedule has not been tuned.
CUDA256 = StarterConfig(
    data=DataConfig(
        size=256,
        landscapes=0.2,
        pairs=0.35,
        counted=0.1,
        object_sizes=(96, 128, 160, 192, 208, 224),
        angles=(-12, -6, 0, 6, 12),
        shift=24,
        flip=0.3,
    ),
    vae=VaeConfig(channels=(64, 128, 256, 256), layers=2, crop=128, batch=32, steps=30000, lr=4e-4, kl=1e-6, ema=0.999),
    unet=UnetConfig(
        channels=(192, 384, 576, 576),
        attention=(True, True, True, False),
        layers=2,
        heads=8,
        text_width=384,
        text_layers=6,
        text_heads=6,
        latents=200_000,
        batch=128,
        steps=100_000,
        lr=3e-4,
        ema=0.9998,
    ),
    device="cuda",
    threads=8,
)

# Seconds on any machine; for tests and for trying a change of the code.
TINY = StarterConfig(
    precision="float32",  # the same on every machine
    data=DataConfig(
        size=32,
        object_sizes=(26,),
        angles=(0,),
        shift=1,
        landscapes=0.2,
        pairs=0.4,
        counted=0.1,
        styled=0.2,
        shapes=((32, 48),),
        shaped=0.4,
    ),
    vae=VaeConfig(channels=(32, 32), crop=16, batch=4, steps=4),
    unet=UnetConfig(
        channels=(32, 64),
        attention=(True, False),
        heads=2,
        text_width=32,
        text_layers=1,
        text_heads=1,
        text_steps=4,
        text_batch=4,
        latents=32,
        batch=4,
        steps=4,
    ),
    threads=2,
    save_every_s=1e9,
    log_every=2,
    held_out=4,
)

PRESETS: dict[str, StarterConfig] = {
    "cpu64": CPU64,
    "cpu128": CPU128,
    "scenes128": SCENES128,
    "styles128": STYLES128,
    "cuda256": CUDA256,
    "tiny": TINY,
}


def with_overrides(config: StarterConfig, *, device: str | None = None, threads: int | None = None) -> StarterConfig:
    """Return `config` for another machine; neither value changes what is learned."""
    if device is not None:
        config = replace(config, device=device)
    if threads is not None:
        config = replace(config, threads=threads)
    return config
