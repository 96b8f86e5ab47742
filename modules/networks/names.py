"""Which weight of the model does a name in a network's file mean? The spellings of all trainers, looked up in the model that is there.

kohya's trainers write a module's path with underscores (`lora_unet_down_blocks_0_…`), for SDXL that of the original code
(`lora_unet_input_blocks_4_1_…`); diffusers and peft write it with dots. Flattened, all of them are keys of one table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

UNET = "unet"

PREFIXES = (
    ("lora_unet_", UNET),
    ("oft_unet_", UNET),
    ("lora_te1_", "text_encoder"),
    ("lora_te2_", "text_encoder_2"),
    ("lora_te_", "text_encoder"),
    ("unet.", UNET),
    ("model.diffusion_model.", UNET),
    ("diffusion_model.", UNET),
    ("text_encoder_2.", "text_encoder_2"),
    ("text_encoder.", "text_encoder"),
    *(
        (f"{parent}{name}.{inner}", role)
        for name, role in (("clip_l", "text_encoder"), ("clip_h", "text_encoder"), ("clip_g", "text_encoder_2"))
        for parent in ("text_encoders.", "")
        for inner in ("transformer.", "")
    ),
)
"""How a name begins -> the role of the network that it is in. The last are ComfyUI's, by which CLIP it is: SD2's is ViT-H."""

_WRAPPERS = ("base_model.model.", "lycoris_")
"""What peft and LyCORIS put before any network's names."""

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MIDDLE_BLOCK = re.compile(r"mid_block\.((?:resnets|attentions)\.\d)\.(.+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A module of the model: which network, and its dotted path there."""

    role: str
    module: str


class ModuleIndex:
    """Every module with weights of a model's UNet and text encoders, under all the names that files have for it."""

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._places: dict[str, dict[str, Place]] = {}
        for role, network in networks.items():
            if role == UNET or role.startswith("text_encoder"):
                self._places[role] = {flat: Place(role, path) for path, flat in _spellings(role, _with_weights(network))}

    def find(self, name: str) -> Place | None:
        """The module that `name` means, None where this model has none."""
        for wrapper in _WRAPPERS:
            name = name.removeprefix(wrapper)
        for prefix, role in PREFIXES:
            if name.startswith(prefix):
                return self._places.get(role, {}).get(_flat(name[len(prefix) :]))
        found = (places[_flat(name)] for places in self._places.values() if _flat(name) in places)
        return next(found, None)


def original_unet_name(path: str, layers: int, attended: frozenset[int]) -> str | None:
    """The original code's name for a module of diffusers' UNet, None where it has none.

    `layers` is how many residual blocks a level has; `attended` are the up blocks that have attention.
    """
    head, _, rest = path.partition(".")
    if path in _ENDS:
        return _ENDS[path]
    if head == "mid_block" and (middle := _MIDDLE_BLOCK.fullmatch(path)) and middle[1] in _MIDDLE:
        return f"middle_block.{_MIDDLE[middle[1]]}.{_inner(middle[1].split('.')[0], middle[2])}"
    block = _BLOCK.fullmatch(path) if rest else None
    if block is None:
        return None
    side, level, kind, layer, inner = block[1], int(block[2]), block[3], int(block[4]), block[5]
    if kind == "downsamplers":
        return f"input_blocks.{(level + 1) * (layers + 1)}.0.op" if inner == "conv" else None
    if kind == "upsamplers":
        return f"output_blocks.{level * (layers + 1) + layers}.{2 if level in attended else 1}.{inner}"
    number = level * (layers + 1) + layer
    place = f"input_blocks.{number + 1}" if side == "down" else f"output_blocks.{number}"
    return f"{place}.{0 if kind == 'resnets' else 1}.{_inner(kind, inner)}"


def _inner(kind: str, inner: str) -> str:
    return _RESNET.get(inner, inner) if kind == "resnets" else inner


def _flat(name: str) -> str:
    return name.replace(".", "_")


def _with_weights(network: nn.Module) -> list[str]:
    return [path for path, module in network.named_modules() if path and getattr(module, "weight", None) is not None]


def _spellings(role: str, paths: list[str]) -> Iterator[tuple[str, str]]:
    """(path, flat name) for every name of every module."""
    layers = len({match[1] for path in paths if (match := re.match(r"down_blocks\.0\.resnets\.(\d+)", path))})
    attended = frozenset(int(match[1]) for path in paths if (match := re.match(r"up_blocks\.(\d+)\.attentions\.", path)))
    for path in paths:
        yield path, _flat(path)
        if role == UNET:
            original = original_unet_name(path, layers, attended)
            yield from [(path, _flat(original))] if original else []
        else:
            # files say text_model whether or not the library's class has a module of that name
            plain = path.removeprefix("text_model.")
            yield from ((path, _flat(plain)), (path, _flat(f"text_model.{plain}")))
