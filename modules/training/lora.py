"""A LoRA: a change of low rank beside each of a model's layers. Hu et al. 2021, arXiv:2106.09685.

The change is added behind each layer by a hook, so that the resident model is the same module with the same weights before, while and
after; a library that puts layers of its own in their place would have to be undone.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from modules.families.base import Conditioning, Model
from modules.training.learner import encoded

ATTENTION = re.compile(r".*\.(to_q|to_k|to_v|to_out\.0|proj_in|proj_out|ff\.net\.0\.proj|ff\.net\.2)")
CONVOLUTIONS = re.compile(r".*\.(conv1|conv2|conv_shortcut|downsamplers\.\d+\.conv|upsamplers\.\d+\.conv)")
TEXT = re.compile(r".*\.(q_proj|k_proj|v_proj|out_proj|fc1|fc2)")


class _Layer:
    """The two small matrices beside one layer; `up` begins with zeros, so that nothing changes at first."""

    def __init__(self, layer: nn.Module, rank: int, generator: torch.Generator) -> None:
        weight = layer.weight
        assert isinstance(weight, Tensor)
        rank = min(rank, weight.shape[0], weight[0].numel())
        down = torch.randn((rank, *weight.shape[1:]), generator=generator) / rank
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(torch.zeros((weight.shape[0], rank, *([1] * (weight.dim() - 2))), device=weight.device))
        self.rank = rank

    def behind(self, layer: nn.Module, scale: float) -> Any:
        """The hook that adds the change to what `layer` makes."""

        def add(_module: nn.Module, arguments: tuple[Any, ...], made: Tensor) -> Tensor:
            x = arguments[0].to(self.down.dtype)
            if isinstance(layer, nn.Conv2d):
                small = F.conv2d(x, self.down, stride=layer.stride, padding=layer.padding)
                change = F.conv2d(small, self.up)
            else:
                change = F.linear(F.linear(x, self.down), self.up)
            return made + (change * scale).to(made.dtype)

        return layer.register_forward_hook(add)


class LowRank:
    """A `Learner`: LoRA on a model's UNet and, where asked for, its text encoders."""

    def __init__(self, model: Model, *, rank: int, alpha: float, convolutions: bool, text_encoder: bool, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._alpha = alpha
        self._rank = rank
        self._reads_text = text_encoder
        self._places: dict[str, tuple[str, str]] = {}
        self._layers: dict[str, _Layer] = {}
        for role, network in model.networks.items():
            for path, module in network.named_modules():
                if _is_changed(role, path, module, convolutions=convolutions, text_encoder=text_encoder):
                    name = file_name(role, path, several=len([r for r in model.networks if r.startswith("text_encoder")]) > 1)
                    self._places[name] = (role, path)
                    self._layers[name] = _Layer(module, rank, generator)

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        return {f"{name}.{part}": value for name, layer in self._layers.items() for part, value in (("down", layer.down), ("up", layer.up))}

    @contextmanager
    def attached(self, model: Model) -> Generator[None]:
        with ExitStack() as hooks:
            for name, (role, path) in self._places.items():
                layer = self._layers[name]
                handle = layer.behind(model.networks[role].get_submodule(path), self._alpha / self._rank)
                hooks.callback(handle.remove)
            model.forget_encodings()
            hooks.callback(model.forget_encodings)
            yield

    def conditionings(self, model: Model, captions: Sequence[str]) -> list[Conditioning]:
        if self._reads_text:
            model.forget_encodings()  # the text encoder is another than at the step before
            return encoded(model, captions)
        with torch.no_grad():
            return encoded(model, captions)

    def file(self) -> Mapping[str, Tensor]:
        out: dict[str, Tensor] = {}
        for name, layer in self._layers.items():
            out[f"{name}.lora_down.weight"] = _half(layer.down)
            out[f"{name}.lora_up.weight"] = _half(layer.up)
            # the file's scale is alpha / rank: where a layer has less rank than was asked for, its alpha is less too
            out[f"{name}.alpha"] = torch.tensor(self._alpha * layer.rank / self._rank, dtype=torch.float32)
        return out


def file_name(role: str, path: str, *, several: bool) -> str:
    """What kohya's trainers call a module; `several`: the model has two text encoders."""
    if role == "unet":
        return f"lora_unet_{path.replace('.', '_')}"
    prefix = {"text_encoder": "lora_te1" if several else "lora_te", "text_encoder_2": "lora_te2"}[role]
    return f"{prefix}_text_model_{path.removeprefix('text_model.').replace('.', '_')}"


def _is_changed(role: str, path: str, module: nn.Module, *, convolutions: bool, text_encoder: bool) -> bool:
    if not isinstance(module, nn.Linear | nn.Conv2d):
        return False
    if role == "unet":
        return ATTENTION.fullmatch(path) is not None or (convolutions and CONVOLUTIONS.fullmatch(path) is not None)
    return text_encoder and role.startswith("text_encoder") and TEXT.fullmatch(path) is not None


def _half(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float16).contiguous()
