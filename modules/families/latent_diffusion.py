"""The loaded model of all families with SD1's structure: CLIP text encoders, UNet in eps or v parametrization, KL autoencoder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modules.domain.errors import InvalidRequest
from modules.families import ldm_layout
from modules.families.autoencoder import Autoencoder
from modules.families.base import WHOLE_PICTURE, Blueprint, Conditioning, MicroConditioning, Model, ModelFacts, Part, Residency, Shapes
from modules.families.parametrization import downcast_levels, input_scale, timestep_of, to_x0
from modules.families.text_encoding import ClipTextEncoder
from modules.families.traits import Traits
from modules.prompts.tokenizer import ClipTokenizer, clip_tokenizer

CACHED_NUMBERS = 16
"""For how many batches the numbers that a UNet is told are kept on the device: copying them there would stop the program at each step."""


class LatentDiffusionModel:
    """A `families.base.Model`. `networks` holds unet, vae and the text encoders that the blueprint reads; `tokenizer` is theirs."""

    def __init__(self, blueprint: Blueprint, networks: Mapping[str, nn.Module], tokenizer: ClipTokenizer, residency: Residency) -> None:
        self._sigmas = blueprint.sigmas
        self._log_sigmas = tuple(math.log(sigma) for sigma in blueprint.sigmas)
        self._scaling_factor = blueprint.scaling_factor
        self._residency = residency
        self._networks = dict(networks)
        # Any, since the libraries' annotations of their networks are not what they return
        self._unet = cast("Any", networks["unet"])
        self._texts = [ClipTextEncoder(cast("Any", networks[text.role]), tokenizer, residency, text) for text in blueprint.texts]
        self._told = blueprint.told
        self._numbers: dict[tuple[tuple[float, ...], ...], Tensor] = {}
        self._vae = Autoencoder(cast("Any", networks["vae"]), blueprint.scaling_factor, residency)
        self._facts = replace(blueprint.facts, factor=self._vae.factor)
        self._empty_picture: Tensor | None = None

    @property
    def facts(self) -> ModelFacts:
        return self._facts

    @property
    def sigmas(self) -> tuple[float, ...]:
        return self._sigmas

    @property
    def log_sigmas(self) -> tuple[float, ...]:
        return self._log_sigmas

    def downcast(self) -> LatentDiffusionModel:
        other = copy(self)
        other._sigmas, other._log_sigmas = downcast_levels(self._sigmas)
        return other

    @property
    def device(self) -> torch.device:
        return self._residency.device

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        return self._networks

    def replace_vae(self, vae: nn.Module) -> None:
        self._networks["vae"] = vae
        self._vae = Autoencoder(cast("Any", vae), self._scaling_factor, self._residency)
        self._empty_picture = None
        self._facts = replace(self._facts, factor=self._vae.factor)

    def use_embeddings(self, vectors: Mapping[str, Mapping[str, Tensor]]) -> None:
        for text in self._texts:
            text.use_vectors({word: by_role[text.role] for word, by_role in vectors.items() if text.role in by_role})

    def forget_encodings(self) -> None:
        for text in self._texts:
            text.clear()

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
        encoded = [text.encode(texts, clip_skip=clip_skip, emphasis=emphasis, comma_backtrack=comma_backtrack) for text in self._texts]
        joined = [_joined(parts, micro) for parts in zip(*encoded, strict=True)]
        # a UNet that is told things was trained with zeros for "no text", and A1111 gives it zeros for an empty negative prompt alone
        return [_zeroed(each) for each in joined] if self._told and negative and not any(texts) else joined

    def pad(self, conditioning: Conditioning, tokens: int, *, clip_skip: int) -> Conditioning:
        missing = tokens - conditioning.context.shape[0]
        if missing <= 0:
            return conditioning
        empty = self.encode_prompts([""], clip_skip=clip_skip, emphasis="none", comma_backtrack=0)[0].context
        repeats = -(-missing // empty.shape[0])
        return replace(conditioning, context=torch.cat((conditioning.context, empty.repeat(repeats, 1))))

    def predict(self, x: Tensor, sigma: float, conditionings: Sequence[Conditioning], beside: Tensor | None = None) -> Tensor:
        timesteps = torch.full((len(x),), timestep_of(sigma, self._log_sigmas), dtype=torch.float32, device=x.device)
        return to_x0(self._facts.prediction, self._output(x * input_scale(sigma), timesteps, conditionings, beside), x, sigma)

    def own_output(self, x: Tensor, levels: Sequence[int], conditionings: Sequence[Conditioning]) -> Tensor:
        scales = torch.tensor([input_scale(self._sigmas[level]) for level in levels], device=x.device)
        timesteps = torch.tensor(levels, dtype=torch.float32, device=x.device)
        return self._output(x * scales[:, None, None, None], timesteps, conditionings, None)

    def _output(self, scaled: Tensor, timesteps: Tensor, conditionings: Sequence[Conditioning], beside: Tensor | None) -> Tensor:
        """What the UNet says (n, C, H, W), float32, of x_t at timesteps (n,)."""
        if self._facts.is_inpainting:
            beside = self._all_masked(scaled) if beside is None else beside
            scaled = torch.cat((scaled, beside.unsqueeze(0).expand(len(scaled), -1, -1, -1)), dim=1)
        self._residency.use(self._unet)
        dtype = self._residency.dtype("unet")
        context = torch.stack([conditioning.context for conditioning in conditionings]).to(dtype)
        added = self._added(scaled, conditionings) if self._told else None
        output = self._unet(scaled.to(dtype), timesteps, encoder_hidden_states=context, added_cond_kwargs=added, return_dict=False)[0]
        return output.float()

    def latent_shape(self, width: int, height: int) -> tuple[int, int, int]:
        factor = self._facts.factor
        if width % factor or height % factor:
            raise InvalidRequest(f"Width and height must be multiples of {factor} for this checkpoint, not {width}x{height}.")
        return (self._facts.latent_channels, height // factor, width // factor)

    def decode_latent(self, latent: Tensor, *, tiled: bool = False) -> npt.NDArray[np.uint8] | None:
        return self._vae.decode(latent, tiled=tiled)

    def widen_autoencoder(self) -> bool:
        return self._vae.widen()

    def encode_picture(self, pixels: npt.NDArray[np.uint8]) -> Tensor:
        return self._vae.encode_mean(_colours(pixels))

    def masked_picture(self, pixels: npt.NDArray[np.uint8], mask: npt.NDArray[np.float32], weight: float) -> Tensor:
        hole = torch.from_numpy(mask.copy()).unsqueeze(0)
        latent = self._vae.encode_mean(_colours(pixels) * (1.0 - hole * weight))
        small = F.interpolate(hole.unsqueeze(0), size=latent.shape[1:]).squeeze(0)
        return torch.cat((small.to(latent.device), latent))

    def preview(self, latent: Tensor) -> Tensor:
        return self._vae.preview(latent)

    def _added(self, x: Tensor, conditionings: Sequence[Conditioning]) -> dict[str, Tensor]:
        """What the UNet reads beside the text: the pooled texts (n, width), and the numbers that it is told (n, count)."""
        size = (float(x.shape[2] * self._facts.factor), float(x.shape[3] * self._facts.factor))
        rows = tuple(_numbers(self._told, size, conditioning.micro) for conditioning in conditionings)
        if rows not in self._numbers:
            if len(self._numbers) == CACHED_NUMBERS:
                self._numbers.clear()
            self._numbers[rows] = torch.tensor(rows, dtype=torch.float32, device=x.device)
        pooled = [conditioning.pooled for conditioning in conditionings if conditioning.pooled is not None]
        return {"text_embeds": torch.stack(pooled).to(self._residency.dtype("unet")), "time_ids": self._numbers[rows]}

    def _all_masked(self, x: Tensor) -> Tensor:
        """What an inpainting UNet reads beside the latent when nothing is to be kept: mask 1 and a grey picture's latent (1+C, H, W)."""
        height, width = x.shape[2:]
        empty = self._empty_picture
        if empty is None or empty.shape[1:] != x.shape[2:]:
            grey = torch.zeros((3, height * self._facts.factor, width * self._facts.factor))
            latent = self._vae.encode_mean(grey)
            empty = torch.cat((torch.ones_like(latent[:1]), latent))
            self._empty_picture = empty
        return empty


class LatentDiffusionFamily:
    """What the families of such models do in the same way: the rest of a `families.base.ModelFamily`."""

    traits: ClassVar[Traits]

    @property
    def id(self) -> str:
        return self.traits.family

    @property
    def title(self) -> str:
        return self.traits.title

    def vae_part(self, shapes: Shapes, latent_channels: int) -> Part:
        return ldm_layout.vae_part(shapes, latent_channels)

    def assemble(self, blueprint: Blueprint, networks: Mapping[str, nn.Module], residency: Residency) -> Model:
        return LatentDiffusionModel(blueprint, networks, clip_tokenizer(), residency)


def _colours(pixels: npt.NDArray[np.uint8]) -> Tensor:
    """(height, width, 3) bytes -> (3, height, width) from -1 to 1."""
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1.0


def _joined(parts: Sequence[Conditioning], micro: MicroConditioning) -> Conditioning:
    """One text as several encoders see it: their contexts side by side."""
    context = parts[0].context if len(parts) == 1 else torch.cat([part.context for part in parts], dim=1)
    return Conditioning(context, next((part.pooled for part in parts if part.pooled is not None), None), micro)


def _zeroed(conditioning: Conditioning) -> Conditioning:
    pooled = None if conditioning.pooled is None else torch.zeros_like(conditioning.pooled)
    return replace(conditioning, context=torch.zeros_like(conditioning.context), pooled=pooled)


def _numbers(told: Sequence[str], size: tuple[float, float], micro: MicroConditioning) -> tuple[float, ...]:
    """What a UNet is told of a picture of (height, width), in the order that it wants. It is never a cut-out of a larger one."""
    groups = {
        "original_size": size,
        "crop": (float(micro.crop[0]), float(micro.crop[1])),
        "target_size": size,
        "aesthetic_score": (micro.aesthetic_score,),
    }
    return tuple(number for name in told for number in groups[name])
