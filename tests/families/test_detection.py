"""What a checkpoint is, by its header: the published models in full size (on the meta device, without weights), and what says eps or v."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from modules.domain.errors import ModelLoadError
from modules.families.base import METADATA, Piece, Shapes
from modules.families.ema_names import averages_as_weights
from modules.families.registry import FAMILIES, detect, foreign_kind
from tests.tiny_families import open_clip_names, unet_names
from training.starter.ldm_keys import text_to_ldm, vae_to_ldm

CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "projection_dim": 768}
OPEN_CLIP_H = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16, "projection_dim": 1024}
BIG_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20, "projection_dim": 1280}

Weights = Mapping[str, Any]


def unet(depths: tuple[int, ...], channels: tuple[int, ...], context: int, **more: Any) -> dict[str, Any]:
    """A UNet's tensors by their names in a file; `depths` are the transformers at each level, `middle` those in its middle."""
    middle = more.pop("middle", depths[-1] or 1)
    down = tuple("CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths)
    with init_empty_weights():
        network = UNet2DConditionModel(
            down_block_types=down,
            up_block_types=tuple(name.replace("Down", "Up") for name in reversed(down)),
            block_out_channels=channels,
            transformer_layers_per_block=(*(depth or 1 for depth in depths[:-1]), middle),
            cross_attention_dim=context,
            **{"use_linear_projection": True, "attention_head_dim": 8, **more},
        )
    return unet_names(network.state_dict(), len(depths), 2)


def told(width: int) -> dict[str, Any]:
    """What a UNet's config says that is told numbers beside the text."""
    return {"addition_embed_type": "text_time", "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": width}


def vae() -> dict[str, Any]:
    with init_empty_weights():
        network = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        )
    return vae_to_ldm(network.state_dict(), 4, 2)


def text(config: Mapping[str, Any], network: Callable[[CLIPTextConfig], Any] = CLIPTextModel) -> dict[str, Any]:
    with init_empty_weights():
        return network(CLIPTextConfig(vocab_size=49408, **config)).state_dict()


def sd1() -> dict[str, Any]:
    return unet((1, 1, 1, 0), (320, 640, 1280, 1280), 768, use_linear_projection=False) | vae() | text_to_ldm(text(CLIP_L))


def sd2() -> dict[str, Any]:
    return unet((1, 1, 1, 0), (320, 640, 1280, 1280), 1024) | vae() | open_clip_names(text(OPEN_CLIP_H), "cond_stage_model.model.")


def sdxl() -> dict[str, Any]:
    clip = {f"conditioner.embedders.0.transformer.text_model.{name}": tensor for name, tensor in text(CLIP_L).items()}
    big_g = open_clip_names(text(BIG_G, CLIPTextModelWithProjection), "conditioner.embedders.1.model.")
    return unet((0, 2, 10), (320, 640, 1280), 2048, **told(2816)) | vae() | clip | big_g


def refiner() -> dict[str, Any]:
    big_g = open_clip_names(text(BIG_G, CLIPTextModelWithProjection), "conditioner.embedders.0.model.")
    return unet((0, 4, 4, 0), (384, 768, 1536, 1536), 1280, middle=4, **told(2560)) | vae() | big_g


@pytest.fixture(scope="module")
def headers() -> dict[str, dict[str, tuple[int, ...]]]:
    """The names and shapes in the published models' files, by family id."""
    made = {"sd1": sd1(), "sd2": sd2(), "sdxl": sdxl(), "sdxl_refiner": refiner()}
    return {family: {name: tuple(tensor.shape) for name, tensor in tensors.items()} for family, tensors in made.items()}


@pytest.mark.parametrize("family", [family.id for family in FAMILIES])
def test_exactly_one_family_claims_a_published_model(headers: dict[str, Shapes], family: str) -> None:
    assert [each.id for each in FAMILIES if each.claims(headers[family])] == [family]


@pytest.mark.parametrize(
    ("family", "unet_parameters", "text_parameters", "scaling_factor", "heads", "clip_skips"),
    [
        ("sd2", 865.9e6, {"text_encoder": 340.4e6}, 0.18215, (5, 10, 20, 20), 24),
        ("sdxl", 2567.5e6, {"text_encoder": 123.1e6, "text_encoder_2": 694.7e6}, 0.13025, (5, 10, 20), 12),
        ("sdxl_refiner", 2259.5e6, {"text_encoder_2": 694.7e6}, 0.13025, (6, 12, 24, 24), 32),
    ],
)
def test_published_models_are_built_in_full(
    headers: dict[str, Shapes],
    family: str,
    unet_parameters: float,
    text_parameters: dict[str, float],
    scaling_factor: float,
    heads: tuple[int, ...],
    clip_skips: int,
) -> None:
    shapes = headers[family]
    blueprint = detect(shapes).blueprint(shapes, {})
    assert (blueprint.facts.factor, blueprint.facts.in_channels, blueprint.scaling_factor) == (8, 4, scaling_factor)
    assert blueprint.facts.text_layers == clip_skips
    with init_empty_weights():
        networks = {role: part.build() for role, part in blueprint.parts.items()}
    for role, network in networks.items():
        names = blueprint.parts[role].names
        for name, tensor in network.state_dict().items():
            assert size(names[name], shapes) == tensor.numel(), (role, name)
    counts = {role: sum(parameter.numel() for parameter in network.parameters()) for role, network in networks.items()}
    assert counts["unet"] == pytest.approx(unet_parameters, rel=1e-3)
    assert {role: counts[role] for role in text_parameters} == {role: pytest.approx(n, rel=1e-3) for role, n in text_parameters.items()}
    level = len(heads) - 2
    assert networks["unet"].down_blocks[level].attentions[0].transformer_blocks[0].attn1.heads == heads[level]
    assert networks["unet"].mid_block.attentions[0].transformer_blocks[0].attn1.heads == heads[-1]


def size(place: str | Piece, shapes: Shapes) -> int:
    """How many numbers a tensor of the file, or a piece of one, has."""
    shape = list(shapes[place.name if isinstance(place, Piece) else place])
    if isinstance(place, Piece) and place.stop is not None:
        shape[0] = place.stop - (place.start or 0)
    count = 1
    for side in shape:
        count *= side
    return count


@pytest.mark.parametrize("family", [family.id for family in FAMILIES])
def test_inpainting_variants_are_of_their_family(headers: dict[str, Shapes], family: str) -> None:
    shapes = dict(headers[family])
    first = "model.diffusion_model.input_blocks.0.0.weight"
    shapes[first] = (shapes[first][0], 9, 3, 3)
    assert detect(shapes).id == family and detect(shapes).blueprint(shapes, {}).facts.is_inpainting


@pytest.mark.parametrize(
    ("family", "prefix", "reason"),
    [
        ("sd2", "cond_stage_model.", "no text encoder"),
        ("sdxl", "conditioner.", "no text encoder 'conditioner.embedders.0.transformer'"),
        ("sdxl", "conditioner.embedders.1.", "no text encoder 'conditioner.embedders.1.model'"),
        ("sdxl_refiner", "conditioner.", "no text encoder"),
    ],
)
def test_a_file_without_a_part_is_told_which(headers: dict[str, Shapes], family: str, prefix: str, reason: str) -> None:
    shapes = {name: shape for name, shape in headers[family].items() if not name.startswith(prefix)}
    assert detect(shapes).id == family
    with pytest.raises(ModelLoadError, match=reason):
        detect(shapes).blueprint(shapes, {})


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("conditioner.embedders.1.model.ln_final.weight",), "text encoder without the rest"),
        (("input_blocks.0.0.weight",), "UNet without the rest"),
        (("model.diffusion_model.joint_blocks.0.x",), "Stable Diffusion 3"),
        (("double_blocks.0.img_attn.qkv.weight",), "Flux"),
        (("control_model.input_blocks.0.0.weight",), "ControlNet"),
        (("clip_g", "clip_l"), "textual inversion"),
        (("encoder.down.0.block.0.conv1.weight",), "VAE without the rest"),
        (("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight",), "LoRA"),
    ],
)
def test_other_files_are_named(names: tuple[str, ...], kind: str) -> None:
    shapes = dict.fromkeys(names, (4, 4))
    assert kind in (foreign_kind(shapes) or "")
    with pytest.raises(ModelLoadError, match="this version loads Stable Diffusion 1, Stable Diffusion 2, Stable Diffusion XL"):
        detect(shapes)


def sgm(scaling: str) -> dict[str, Any]:
    return {"model": {"params": {"denoiser_config": {"params": {"scaling_config": {"target": f"sgm.modules.{scaling}"}}}}}}


@pytest.mark.parametrize(
    ("marks", "config", "prediction", "is_open"),
    [
        ((), {}, "eps", True),
        (("v_pred",), {}, "v", False),
        ((), {"model": {"params": {"parameterization": "v"}}}, "v", False),
        ((), sgm("VScaling"), "v", False),
        (("v_pred",), sgm("EpsScaling"), "eps", False),
        ((), {METADATA: {"modelspec.prediction_type": "v"}}, "v", False),
        ((), {METADATA: {"modelspec.prediction_type": "epsilon"}}, "eps", False),
        (("v_pred",), {METADATA: {"modelspec.prediction_type": "epsilon"}}, "v", False),
        ((), {METADATA: {"modelspec.title": "x"}}, "eps", True),
    ],
)
def test_what_says_eps_or_v(headers: dict[str, Shapes], marks: tuple[str, ...], config: Any, prediction: str, is_open: bool) -> None:
    shapes = {**headers["sdxl"], **dict.fromkeys(marks, (0,))}
    blueprint = detect(shapes).blueprint(shapes, config)
    assert (blueprint.facts.prediction, blueprint.prediction_is_open) == (prediction, is_open)


def test_a_mark_asks_for_noise_without_signal(headers: dict[str, Shapes]) -> None:
    shapes = {**headers["sdxl"], "v_pred": (0,), "ztsnr": (0,)}
    assert detect(shapes).blueprint(shapes, {}).sigmas[-1] == pytest.approx(4518.7, rel=1e-4)
    assert detect(shapes).blueprint(headers["sdxl"], {}).sigmas[-1] == pytest.approx(14.6146, rel=1e-4)


@pytest.mark.parametrize(
    ("marks", "config", "reason"),
    [
        (("edm_mean", "edm_std"), {}, "EDM's noise levels"),
        (("edm_vpred.sigma_max", "v_pred"), {}, "EDM's noise levels"),
        ((), sgm("EDMScaling"), "EDMScaling"),
    ],
)
def test_noise_that_is_not_known_is_refused(headers: dict[str, Shapes], marks: tuple[str, ...], config: Any, reason: str) -> None:
    shapes = {**headers["sdxl"], **dict.fromkeys(marks, (1,))}
    with pytest.raises(ModelLoadError, match=reason):
        detect(shapes).blueprint(shapes, config)


def test_a_distilled_unet_is_refused(headers: dict[str, Shapes]) -> None:
    block = "model.diffusion_model.output_blocks.0.1.transformer_blocks.9."
    shapes = {name: shape for name, shape in headers["sdxl"].items() if not name.startswith(block)}
    with pytest.raises(ModelLoadError, match="not the mirror of its way down"):
        detect(shapes).blueprint(shapes, {})


def test_a_unet_that_is_told_something_else_is_refused(headers: dict[str, Shapes]) -> None:
    shapes = {**headers["sdxl"], "model.diffusion_model.label_emb.0.0.weight": (1280, 2560)}
    with pytest.raises(ModelLoadError, match="reads 2560 numbers beside the text, where this kind of model has 2816"):
        detect(shapes).blueprint(shapes, {})


@pytest.mark.parametrize("family", [family.id for family in FAMILIES])
def test_averages_get_their_weights_names_back(headers: dict[str, Shapes], family: str) -> None:
    unet = [name for name in headers[family] if name.startswith("model.diffusion_model.")]
    averages = {f"model_ema.{name.removeprefix('model.').replace('.', '')}": headers[family][name] for name in unet}
    names = averages_as_weights(averages)
    assert sorted(names) == sorted(unet)
    assert all(averages[average] == headers[family][weight] for weight, average in names.items())
