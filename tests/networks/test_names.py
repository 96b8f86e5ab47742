"""The names of all trainers lead to the right weights of SD1, SD2 and SDXL; files are read key by key."""

from __future__ import annotations

import json

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from modules.domain.errors import ModelLoadError
from modules.networks.files import parse, split_key
from modules.networks.names import ModuleIndex
from tests.tiny_models import LAYERS, UNET_CHANNELS, TinyModel, tiny_model
from tests.tiny_networks import lora_tensors
from training.starter.ldm_keys import unet_to_ldm


@pytest.fixture(scope="module")
def tiny() -> TinyModel:
    return tiny_model()


def index_of(**networks: nn.Module) -> ModuleIndex:
    return ModuleIndex(networks)


def at(index: ModuleIndex, name: str) -> str:
    place = index.find(name)
    return "" if place is None else f"{place.role}: {place.module}"


def test_every_weight_of_the_unet_is_found_under_its_original_name(tiny: TinyModel) -> None:
    index = index_of(unet=tiny.unet)
    state = {name: torch.tensor(float(number)) for number, name in enumerate(tiny.unet.state_dict())}
    original = unet_to_ldm(state, len(UNET_CHANNELS), LAYERS)
    ours = {float(value): name for name, value in state.items()}
    for name, value in original.items():
        module, _, _ = name.removeprefix("model.diffusion_model.").rpartition(".")
        wanted = f"unet: {ours[float(value)].rpartition('.')[0]}"
        assert at(index, f"lora_unet_{module.replace('.', '_')}") == wanted
        assert at(index, f"diffusion_model.{module}") == wanted


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0", "unet: D.transformer_blocks.0.attn1.to_out.0"),
        ("lora_unet_down_blocks_0_attentions_0_proj_in", "unet: D.proj_in"),
        ("oft_unet_down_blocks_0_attentions_0_proj_in", "unet: D.proj_in"),
        ("unet.down_blocks.0.attentions.0.proj_in", "unet: D.proj_in"),
        ("base_model.model.down_blocks.0.attentions.0.proj_in", "unet: D.proj_in"),
        ("base_model.model.unet.down_blocks.0.attentions.0.proj_in", "unet: D.proj_in"),
        ("lycoris_down_blocks_0_attentions_0_proj_in", "unet: D.proj_in"),
        ("lora_unet_down_blocks_0_resnets_0_time_emb_proj", "unet: down_blocks.0.resnets.0.time_emb_proj"),
        ("lora_unet_conv_in", "unet: conv_in"),
        ("lora_te_text_model_encoder_layers_1_mlp_fc1", "text_encoder: encoder.layers.1.mlp.fc1"),
        ("lora_te1_text_model_encoder_layers_1_mlp_fc1", "text_encoder: encoder.layers.1.mlp.fc1"),
        ("text_encoder.text_model.encoder.layers.1.self_attn.q_proj", "text_encoder: encoder.layers.1.self_attn.q_proj"),
        ("base_model.model.text_model.encoder.layers.1.self_attn.q_proj", "text_encoder: encoder.layers.1.self_attn.q_proj"),
        ("text_encoders.clip_l.transformer.text_model.encoder.layers.1.mlp.fc1", "text_encoder: encoder.layers.1.mlp.fc1"),
        ("text_encoders.clip_h.transformer.text_model.encoder.layers.1.mlp.fc1", "text_encoder: encoder.layers.1.mlp.fc1"),
        ("clip_l.transformer.text_model.encoder.layers.1.mlp.fc1", "text_encoder: encoder.layers.1.mlp.fc1"),
        ("clip_l.text_model.encoder.layers.1.mlp.fc1", "text_encoder: encoder.layers.1.mlp.fc1"),
        ("clip_g.transformer.text_model.encoder.layers.1.mlp.fc1", ""),
        ("lora_te2_text_model_encoder_layers_1_mlp_fc1", ""),
        ("lora_unet_down_blocks_9_attentions_0_proj_in", ""),
        ("lora_unet_text_model_encoder_layers_1_mlp_fc1", ""),
    ],
)
def test_spellings(tiny: TinyModel, name: str, place: str) -> None:
    index = index_of(unet=tiny.unet, text_encoder=tiny.text, vae=tiny.vae)
    assert at(index, name) == place.replace("D.", "down_blocks.0.attentions.0.")


@pytest.fixture(scope="module")
def sdxl() -> ModuleIndex:
    with init_empty_weights():
        unet = UNet2DConditionModel(
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            block_out_channels=(320, 640, 1280),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=2048,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=2816,
        )
        first = CLIPTextModel(CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_attention_heads=12))
        second = CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=1280, num_hidden_layers=32, num_attention_heads=20))
    return index_of(unet=unet, text_encoder=first, text_encoder_2=second)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("input_blocks_4_1_transformer_blocks_1_attn2_to_k", "down_blocks.1.attentions.0.transformer_blocks.1.attn2.to_k"),
        ("input_blocks_8_1_transformer_blocks_9_ff_net_0_proj", "down_blocks.2.attentions.1.transformer_blocks.9.ff.net.0.proj"),
        ("middle_block_1_transformer_blocks_9_attn1_to_out_0", "mid_block.attentions.0.transformer_blocks.9.attn1.to_out.0"),
        ("middle_block_2_in_layers_2", "mid_block.resnets.1.conv1"),
        ("output_blocks_0_1_proj_in", "up_blocks.0.attentions.0.proj_in"),
        ("output_blocks_2_2_conv", "up_blocks.0.upsamplers.0.conv"),
        ("output_blocks_5_2_conv", "up_blocks.1.upsamplers.0.conv"),
        ("output_blocks_8_0_skip_connection", "up_blocks.2.resnets.2.conv_shortcut"),
        ("input_blocks_3_0_op", "down_blocks.0.downsamplers.0.conv"),
        ("label_emb_0_2", "add_embedding.linear_2"),
        ("time_embed_0", "time_embedding.linear_1"),
        ("out_2", "conv_out"),
        ("down_blocks_1_attentions_0_proj_out", "down_blocks.1.attentions.0.proj_out"),
    ],
)
def test_sdxl_files_use_the_original_names(sdxl: ModuleIndex, name: str, place: str) -> None:
    assert at(sdxl, f"lora_unet_{name}") == f"unet: {place}"


def test_sdxl_has_two_text_encoders(sdxl: ModuleIndex) -> None:
    assert at(sdxl, "lora_te1_text_model_encoder_layers_11_mlp_fc2") == "text_encoder: encoder.layers.11.mlp.fc2"
    assert at(sdxl, "lora_te2_text_model_encoder_layers_31_mlp_fc2") == "text_encoder_2: text_model.encoder.layers.31.mlp.fc2"
    assert at(sdxl, "text_encoder_2.text_model.encoder.layers.0.self_attn.k_proj").startswith("text_encoder_2: ")
    assert at(sdxl, "lora_te2_text_projection") == "text_encoder_2: text_projection"
    second = "text_encoder_2: text_model.encoder.layers.31.mlp.fc2"
    assert at(sdxl, "text_encoders.clip_g.transformer.text_model.encoder.layers.31.mlp.fc2") == second
    assert at(sdxl, "clip_g.transformer.text_model.encoder.layers.31.mlp.fc2") == second
    assert at(sdxl, "text_encoders.clip_l.transformer.text_model.encoder.layers.11.mlp.fc2").startswith("text_encoder: ")


def test_sd2_files_use_the_librarys_names() -> None:
    with init_empty_weights():
        text = CLIPTextModel(CLIPTextConfig(hidden_size=1024, num_hidden_layers=23, num_attention_heads=16))
    assert at(index_of(text_encoder=text), "lora_te_text_model_encoder_layers_22_mlp_fc1") == "text_encoder: encoder.layers.22.mlp.fc1"


@pytest.mark.parametrize(
    ("key", "split"),
    [
        ("lora_unet_x.lora_up.weight", ("lora_unet_x", "lora_up")),
        ("lora_unet_x.alpha", ("lora_unet_x", "alpha")),
        ("unet.a.b.lora_A.weight", ("unet.a.b", "lora_down")),
        ("unet.a.b.lora_B.default.weight", ("unet.a.b", "lora_up")),
        ("unet.a.b.lora_B.default_0.weight", ("unet.a.b", "lora_up")),
        ("unet.a.lora_magnitude_vector", ("unet.a", "dora_scale")),
        ("unet.a.lora_magnitude_vector.default.weight", ("unet.a", "dora_scale")),
        ("text_encoder.a.lora_linear_layer.down.weight", ("text_encoder.a", "lora_down")),
        ("unet.a.to_k.lora.up.weight", ("unet.a.to_k", "lora_up")),
        ("unet.a.attn1.processor.to_out_lora.down.weight", ("unet.a.attn1.to_out.0", "lora_down")),
        ("a.attn1.processor.to_q_lora.up.weight", ("a.attn1.to_q", "lora_up")),
        ("lora_unet_x.lokr_w2_a", ("lora_unet_x", "lokr_w2_a")),
        ("lora_unet_x.diff_b", ("lora_unet_x", "diff_b")),
        ("bundle_emb.name.string_to_param.*", None),
        ("model.weight", None),
        ("alpha", None),
    ],
)
def test_keys(key: str, split: tuple[str, str] | None) -> None:
    assert split_key(key) == split


def test_a_file_is_sorted_by_module_and_what_is_strange_is_named(tiny: TinyModel) -> None:
    tensors = {**lora_tensors(tiny), "bundle_emb.x": torch.zeros(1), "lora_unet_y.lora_up.weight": torch.zeros(2, 2)}
    file = parse(tensors, {"ss_base_model_version": "sd_v1"})
    assert len(file.modules) == len(lora_tensors(tiny)) / 3
    assert all(module.alpha == 2.0 and module.algorithm is not None and module.algorithm.title == "LoRA" for module in file.modules)
    assert file.strange == ("bundle_emb.x", "lora_unet_y (lora_up)")


def test_alphas_in_the_header_count(tiny: TinyModel) -> None:
    pair = {f"unet.{name}.lora_{side}.weight": torch.ones(2, 2) for name in ("a", "b.c") for side in "AB"}
    config = {"unet.lora_alpha": 4, "unet.alpha_pattern": {"b.c": 6}}
    alphas = {module.name: module.alpha for module in parse(pair, {"lora_adapter_metadata": json.dumps(config)}).modules}
    assert alphas == {"unet.a": 4.0, "unet.b.c": 6.0}
    stable = json.dumps({**config, "unet.use_rslora": True})
    assert parse(pair, {"lora_adapter_metadata": stable}).modules[0].alpha == pytest.approx(4 * 2**0.5)
    with pytest.raises(ModelLoadError, match="damaged"):
        parse(pair, {"lora_adapter_metadata": "{"})


def test_pefts_own_files_have_their_alphas_beside_them(tiny: TinyModel) -> None:
    pair = {f"base_model.model.{name}.lora_{side}.weight": torch.ones(2, 2) for name in ("a", "b.c") for side in "AB"}

    def alphas(**config: object) -> list[float | None]:
        return [module.alpha for module in parse(pair, {}, json.dumps(config)).modules]

    assert alphas(r=2, lora_alpha=8) == [8.0, 8.0] and parse(pair, {}, json.dumps({"r": 2, "lora_alpha": 8})).notes == ()
    assert alphas(r=2, lora_alpha=8, alpha_pattern={"b.c": 6}, rank_pattern={}) == [8.0, 6.0]
    assert alphas(r=2, lora_alpha=8, use_rslora=True) == pytest.approx([8 * 2**0.5] * 2)
    assert alphas(r=16, lora_alpha=8) == [None, None], "the configuration of another file"
    for text in ("", json.dumps({"r": 16, "lora_alpha": 8}), "[]"):
        (note,) = parse(pair, {}, text).notes
        assert "alpha is not known" in note and "adapter_config.json" in note
    with pytest.raises(ModelLoadError, match=r"adapter_config\.json beside it is damaged"):
        parse(pair, {}, "{")
    for text in (json.dumps({"r": 2, "lora_alpha": 8}), "{"):
        assert parse(lora_tensors(tiny), {}, text).modules[0].alpha == 2.0, "another file of the same folder"


def test_bundled_embeddings_are_named(tiny: TinyModel) -> None:
    bundled = {f"bundle_emb.{word}": torch.zeros(1, 4) for word in ("my.style.string_to_param.*", "other.clip_l", "other.clip_g")}
    file = parse({**lora_tensors(tiny), **bundled}, {})
    assert file.notes == ("the embeddings in its file are not used: 'my.style', 'other'.",)
    assert parse(lora_tensors(tiny), {}).notes == ()


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "no LoRA"),
        ({"model.weight": torch.zeros(1)}, r"such as 'model\.weight'"),
        ({"x.lora_up.weight": torch.full((1, 1), torch.nan), "x.lora_down.weight": torch.zeros(1, 1)}, "not finite"),
        ({"x.diff": torch.zeros(2, dtype=torch.int8)}, "int8"),
        ({"x.diff": torch.zeros(0)}, "empty"),
    ],
)
def test_what_is_no_network_is_refused(tensors: dict[str, Tensor], reason: str) -> None:
    with pytest.raises(ModelLoadError, match=reason):
        parse(tensors, {})
