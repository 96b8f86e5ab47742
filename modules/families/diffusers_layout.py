"""What networks does a diffusers folder of the Stable Diffusion kinds hold? Its parts' `config.json`s, read through a list of known keys.

Only the classes named here are ever built; code that a folder brings along is never looked at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from modules.domain.errors import ModelLoadError
from modules.families.base import Blueprint, Config, ModelFacts, Part, Shapes, TextReading
from modules.families.networks import build_clip, build_projected_clip, build_unet, build_vae
from modules.families.parametrization import model_sigmas
from modules.families.traits import IDS, Traits, check_channels

UNET, VAE = "unet/", "vae/"
TEXT_ROLES = ("text_encoder", "text_encoder_2")

SD = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
SDXL = ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline")

_CLASSES = {
    "unet": ("UNet2DConditionModel",),
    "vae": ("AutoencoderKL",),
    "text_encoder": ("CLIPTextModel",),
    "text_encoder_2": ("CLIPTextModelWithProjection",),
}

_UNET_KEYS = (
    "in_channels", "out_channels", "down_block_types", "up_block_types", "block_out_channels", "layers_per_block", "attention_head_dim",
    "cross_attention_dim", "norm_num_groups", "norm_eps", "act_fn", "center_input_sample", "flip_sin_to_cos", "freq_shift",
    "downsample_padding", "mid_block_scale_factor", "use_linear_projection", "upcast_attention", "transformer_layers_per_block",
    "addition_embed_type", "addition_time_embed_dim", "projection_class_embeddings_input_dim",
)  # fmt: skip
_VAE_KEYS = (
    "in_channels", "out_channels", "down_block_types", "up_block_types", "block_out_channels", "layers_per_block", "latent_channels",
    "norm_num_groups", "act_fn",
)  # fmt: skip
_CLIP_KEYS = (
    "vocab_size", "hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers", "num_attention_heads",
    "max_position_embeddings", "hidden_act", "layer_norm_eps",
)  # fmt: skip

_UNET_REFUSED = (
    "class_embed_type", "time_cond_proj_dim", "encoder_hid_dim_type", "reverse_transformer_layers_per_block", "dual_cross_attention",
    "only_cross_attention", "class_embeddings_concat", "cross_attention_norm", "timestep_post_act", "num_attention_heads",
)  # fmt: skip
"""What would make another network of a UNet: its name stands for a kind of model that this version does not have."""

_PREDICTIONS = {"epsilon": "eps", "v_prediction": "v"}


def is_folder(shapes: Shapes) -> bool:
    """Whether these are the tensors of a diffusers folder's parts."""
    return any(name.startswith(UNET) for name in shapes)


def text_roles(shapes: Shapes) -> tuple[str, ...]:
    """Which text encoders the folder has."""
    return tuple(role for role in TEXT_ROLES if any(name.startswith(f"{role}/") for name in shapes))


def has_linear_attention(shapes: Shapes) -> bool:
    """Whether the UNet's attention layers begin with a linear layer, as from SD2 on, rather than with a convolution."""
    return len(shapes.get(f"{UNET}mid_block.attentions.0.proj_in.weight", ())) == 2


def blueprint(pipelines: tuple[str, ...], traits: Traits, shapes: Shapes, config: Config, readings: Sequence[TextReading]) -> Blueprint:
    """The parts and numbers of a folder of one of these pipelines. Raises `ModelLoadError` with the reason."""
    _check_classes(config, {"model_index": pipelines, **{part: _CLASSES[part] for part in ("unet", "vae", *(r.role for r in readings))}})
    unet = _unet_config(config)
    vae = _chosen(config, "vae", _VAE_KEYS)
    texts = {reading.role: _chosen(config, reading.role, _CLIP_KEYS) for reading in readings}
    if traits.told:
        _check_addition(traits, unet, texts[readings[-1].role])
    in_channels, latent_channels = _integer(unet, "in_channels", "unet"), _integer(unet, "out_channels", "unet")
    check_channels(in_channels, latent_channels)
    scheduler = _section(config, "scheduler")
    levels = vae.get("block_out_channels")
    if not isinstance(levels, (list, tuple)):
        raise ModelLoadError("its vae/config.json has no block_out_channels")
    layers = (_integer(texts[r.role], "num_hidden_layers", r.role) + r.dropped for r in readings)
    return Blueprint(
        facts=ModelFacts(
            family=traits.family,
            prediction=_prediction(scheduler),
            in_channels=in_channels,
            latent_channels=latent_channels,
            factor=2 ** (len(cast("list[Any]", levels)) - 1),
            text_layers=min(layers),
            is_sdxl=traits.is_sdxl,
        ),
        parts={
            "unet": Part(title="UNet", build=partial(build_unet, unet), names=_names(shapes, UNET)),
            **{reading.role: _text_part(shapes, reading, texts[reading.role]) for reading in readings},
            "vae": Part(title="VAE", build=partial(build_vae, vae), names=_vae_names(shapes)),
        },
        sigmas=model_sigmas(
            _number(scheduler, "beta_start", 0.00085),
            _number(scheduler, "beta_end", 0.012),
            scaled=scheduler.get("beta_schedule", "scaled_linear") == "scaled_linear",
            zero_snr=scheduler.get("rescale_betas_zero_snr") is True,
        ),
        scaling_factor=_number(_section(config, "vae"), "scaling_factor", traits.scaling_factor),
        texts=tuple(readings),
        told=traits.told,
    )


def _check_classes(config: Config, classes: Mapping[str, tuple[str, ...]]) -> None:
    for part, known in classes.items():
        name = _section(config, part).get("_class_name") or _first(_section(config, part).get("architectures"))
        if name not in known:
            raise ModelLoadError(f"its {part} is a {str(name)[:60]!r}, not a {known[0]}")


def _unet_config(config: Config) -> dict[str, Any]:
    section = _section(config, "unet")
    for key in _UNET_REFUSED:
        if section.get(key):
            raise ModelLoadError(f"its unet/config.json sets {key} to {str(section[key])[:40]!r}, and this version has no such models")
    return _chosen(config, "unet", _UNET_KEYS)


def _check_addition(traits: Traits, unet: Mapping[str, Any], text: Mapping[str, Any]) -> None:
    """The UNet has to read the pooled text and as many numbers as this family tells it."""
    width = _integer(unet, "addition_time_embed_dim", "unet", high=65_536)
    wanted = _integer(text, "projection_dim", "text_encoder_2", high=65_536) + width * sum(IDS[name] for name in traits.told)
    found = unet.get("projection_class_embeddings_input_dim")
    if unet.get("addition_embed_type") != "text_time" or found != wanted:
        raise ModelLoadError(f"its UNet reads {found} numbers beside the text, where this kind of model has {wanted}")


def _text_part(shapes: Shapes, reading: TextReading, config: Mapping[str, Any]) -> Part:
    folder = f"{reading.role}/"
    if reading.pooled:
        return Part(title=reading.role, build=partial(build_projected_clip, config), names=_names(shapes, folder))
    return Part(title=reading.role, build=partial(build_clip, config), names=_names(shapes, folder, "text_model."))


def _prediction(scheduler: Mapping[str, Any]) -> str:
    said = str(scheduler.get("prediction_type", "epsilon"))
    if said not in _PREDICTIONS:
        raise ModelLoadError(f"its scheduler's prediction type {said[:40]!r} is not known")
    if scheduler.get("sigma_data") is not None:
        raise ModelLoadError(
            f"its scheduler is a {str(scheduler.get('_class_name'))[:60]!r} on EDM's noise levels, which this version lacks"
        )
    return _PREDICTIONS[said]


def _section(config: Config, part: str) -> Mapping[str, Any]:
    section = config.get(part)
    return cast("Mapping[str, Any]", section) if isinstance(section, Mapping) else {}


def _first(value: Any) -> Any:
    return cast("list[Any]", value)[0] if isinstance(value, list) and value else None


def _chosen(config: Config, part: str, keys: tuple[str, ...]) -> dict[str, Any]:
    section = _section(config, part)
    return {key: section[key] for key in keys if section.get(key) is not None}


def _names(shapes: Shapes, folder: str, inner: str = "") -> dict[str, str]:
    return {name.removeprefix(folder).removeprefix(inner): name for name in shapes if name.startswith(folder)}


_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""What folders of 2022 and early 2023 call the parts of the autoencoder's attention, and what these are called now."""


def _vae_names(shapes: Shapes) -> dict[str, str]:
    def now(name: str) -> str:
        head, _, tail = name.rpartition(".")
        block, _, part = head.rpartition(".")
        return f"{block}.{_OLD_ATTENTION[part]}.{tail}" if ".attentions." in f".{block}" and part in _OLD_ATTENTION else name

    return {now(name): whole for name, whole in _names(shapes, VAE).items()}


def _integer(section: Mapping[str, Any], key: str, part: str, high: int = 1024) -> int:
    value = section.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
        raise ModelLoadError(f"its {part}/config.json has no sensible {key}")
    return value


def _number(section: Mapping[str, Any], key: str, default: float) -> float:
    value = section.get(key, default)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or not 0 < value < 100:
        raise ModelLoadError(f"its configuration sets {key} to {str(value)[:40]!r}")
    return float(value)
