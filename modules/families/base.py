"""What is a model family, and what does a loaded model offer? The contracts between files, families and the engine.

A family turns a checkpoint's tensors into networks; a loaded model speaks the samplers' coordinates (x = x_t / alpha, sigma = sigma_t /
alpha_t) on one side and pixels and plain text on the other. Nothing here knows of paths, memory flags or settings.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Shapes = Mapping[str, tuple[int, ...]]
"""The names and shapes of a checkpoint's tensors: enough to tell what it is. In a diffusers folder a name begins with its part's."""

Config = Mapping[str, Any]
"""What the `.yaml` beside a single file says, with the file's own notes under `METADATA`, or a folder's `config.json`s by part. Unchecked:
a family reads what it knows."""

METADATA = "__metadata__"


@dataclass(frozen=True, slots=True, kw_only=True)
class MicroConditioning:
    """What SDXL is told of a picture beside its text and size (Podell et al. 2023, arXiv:2307.01952, section 2.2)."""

    crop: tuple[int, int] = (0, 0)
    """Pixels that are missing at its top and left."""
    aesthetic_score: float = 6.0
    """How beautiful it is, from 0 to 10; only the refiner asks."""


WHOLE_PICTURE = MicroConditioning()
"""A good picture that nothing is missing of."""


@dataclass(frozen=True, slots=True)
class Conditioning:
    """An encoded text: `context` (tokens, width), what the UNet's cross attention reads, and, where the UNet wants it, `pooled` (width,),
    the text as a whole. Those of equal `key` can share a network call."""

    context: Tensor
    pooled: Tensor | None = None
    micro: MicroConditioning = WHOLE_PICTURE

    @property
    def key(self) -> Hashable:
        return tuple(self.context.shape)


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a checkpoint's tensor: its rows from `start` to before `stop`, turned round where `transposed`."""

    name: str
    start: int | None = None
    stop: int | None = None
    transposed: bool = False

    def cut(self, tensor: Tensor) -> Tensor:
        """The piece of this tensor, a view."""
        rows = tensor[self.start : self.stop]
        return rows.T if self.transposed else rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One network, ready to be made: `build` gives the bare module (called under a meta device), `names` maps each of the module's own
    tensor names to the checkpoint's, or to a piece of one of the checkpoint's."""

    title: str
    build: Callable[[], nn.Module]
    names: Mapping[str, str | Piece]

    @property
    def file_names(self) -> set[str]:
        """The checkpoint's tensors that the network is made of."""
        return {place.name if isinstance(place, Piece) else place for place in self.names.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReading:
    """How a text encoder is fed, and which of its numbers are read. The defaults are SD1's."""

    role: str = "text_encoder"
    pad: int | None = None
    """The token between a text's end mark and the end of its chunk; None for the end mark itself."""
    least_skip: int = 1
    """The smallest clip skip that counts: 2 where the last layer is never read."""
    dropped: int = 0
    """How many of the layers that clip skip counts the network lacks at its end."""
    final_norm: bool = True
    """Whether the last layer norm is applied to whichever layer is read."""
    pooled: bool = False
    """Whether the projected state of the end mark is the text's `Conditioning.pooled`."""


SD1_READING = TextReading()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What a model is, for messages and for whoever has to know what it can do."""

    family: str
    prediction: str
    """eps or v."""
    in_channels: int
    latent_channels: int
    factor: int
    """Pixels per latent along one side."""
    text_layers: int
    """The largest clip skip there is."""
    is_sdxl: bool = False
    """SDXL's base or refiner: some schedules have tables of their own for it."""

    @property
    def is_inpainting(self) -> bool:
        return self.in_channels == 2 * self.latent_channels + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A recognised checkpoint before its weights are read: the parts by role (unet, text_encoder, vae; a second text encoder is
    text_encoder_2) and the numbers around them."""

    facts: ModelFacts
    parts: Mapping[str, Part]
    sigmas: tuple[float, ...]
    """The noise levels of the training timesteps, ascending."""
    scaling_factor: float
    """Latent = scaling_factor * what the autoencoder makes."""
    texts: tuple[TextReading, ...] = (SD1_READING,)
    """The text encoders, whose contexts are joined side by side."""
    told: tuple[str, ...] = ()
    """What the UNet is told in numbers beside the text, in order: original_size, crop, target_size, aesthetic_score."""
    prediction_is_open: bool = False
    """Nothing in the file says eps or v, and the family has to ask the network itself."""


class Residency(Protocol):
    """Who keeps the networks where they belong: in which precision each computes, and on which device."""

    device: torch.device

    def dtype(self, role: str) -> torch.dtype:
        """The floating point type that the network of this role (unet, text_encoder, vae, …) computes in."""
        ...

    def use(self, module: nn.Module) -> None:
        """Bring `module` to the device before it runs; the others may be moved away for it."""
        ...


class LoadedModel(Protocol):
    """A model that can be sampled. Tensors in and out are float32 on `device`, whatever the networks compute in."""

    @property
    def facts(self) -> ModelFacts: ...

    @property
    def sigmas(self) -> tuple[float, ...]: ...

    @property
    def log_sigmas(self) -> tuple[float, ...]:
        """The logarithms of `sigmas`, between which timesteps are interpolated."""
        ...

    def downcast(self) -> LoadedModel:
        """The same networks with their noise levels reckoned in float16, as A1111 before 1.7.0-225 had them."""
        ...

    @property
    def device(self) -> torch.device: ...

    def encode_prompts(
        self,
        texts: Sequence[str],
        *,
        clip_skip: int,
        emphasis: str,
        comma_backtrack: int,
        negative: bool = False,
        micro: MicroConditioning = WHOLE_PICTURE,
    ) -> list[Conditioning]:
        """The texts of one prompt's timeline, encoded together as A1111 does: equal lengths, one mean for "original" emphasis.

        `negative` is for a negative prompt's: SDXL wants zeros for one that is empty."""
        ...

    def pad(self, conditioning: Conditioning, tokens: int, *, clip_skip: int) -> Conditioning:
        """The same conditioning, filled up with the empty prompt to at least `tokens` tokens."""
        ...

    def predict(self, x: Tensor, sigma: float, conditionings: Sequence[Conditioning], beside: Tensor | None = None) -> Tensor:
        """x0 (n, C, H, W) for x (n, C, H, W) at one noise level, row i under conditioning i; all of one key.

        `beside` (1 + C, H, W) is what `masked_picture` made, for inpainting networks; without it nothing of a picture is to be kept.
        """
        ...

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        """(C, H, W) of the latent of a picture of this many pixels."""
        ...

    def decode_latent(self, latent: Tensor, *, tiled: bool = False) -> npt.NDArray[np.uint8] | None:
        """(C, H, W) -> (height, width, 3) bytes; None where the autoencoder gave NaN. `tiled` computes piece by piece: it needs less
        memory, and the pieces' brightness may differ a little."""
        ...

    def widen_autoencoder(self) -> bool:
        """Let the autoencoder compute in float32 from now on; False where it does so already."""
        ...

    def encode_picture(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        """(height, width, 3) bytes -> the mean of what the autoencoder makes of it, (C, H, W) float32 on the device."""
        ...

    def masked_picture(self, pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.float32], weight: float) -> Tensor:
        """What an inpainting network reads beside the latent: the mask (height, width), 1 where it is to draw, and the latent of the
        picture (height, width, 3) with the share `weight` of the masked part greyed out; together (1 + C, H, W)."""
        ...

    def preview(self, latent: Tensor) -> Tensor:
        """A cheap picture of (C, H, W): (H, W, 3) uint8 of the latent's own size, still on the device."""
        ...


class Model(LoadedModel, Protocol):
    """What the model manager holds: a loaded model whose networks can be seen and exchanged."""

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """By role."""
        ...

    def own_output(self, x: Tensor, levels: Sequence[int], conditionings: Sequence[Conditioning]) -> Tensor:
        """What the network itself says, eps or v, of x (n, C, H, W), row i at the noise level sigmas[levels[i]] under conditioning i."""
        ...

    def replace_vae(self, vae: nn.Module) -> None:
        """Decode with another autoencoder of the same latents from now on."""
        ...

    def use_embeddings(self, vectors: Mapping[str, Mapping[str, Tensor]]) -> None:
        """From now on each of these words of a prompt stands for vectors (n, width), n at most 75, by the role of every text encoder."""
        ...

    def forget_encodings(self) -> None:
        """Encode texts anew from now on: a text encoder's weights were changed."""
        ...


class ModelFamily(Protocol):
    """One architecture. Both methods raise `ModelLoadError` with a reason (without the file's name) for what it can't load."""

    @property
    def id(self) -> str: ...

    @property
    def title(self) -> str: ...

    def claims(self, shapes: Shapes) -> bool:
        """Whether a checkpoint with these tensors is of this family."""
        ...

    def blueprint(self, shapes: Shapes, config: Config) -> Blueprint: ...

    def vae_part(self, shapes: Shapes, latent_channels: int) -> Part:
        """The autoencoder in a VAE file of its own."""
        ...

    def assemble(self, blueprint: Blueprint, networks: Mapping[str, nn.Module], residency: Residency) -> Model: ...
