"""SD1 in all sizes: what is read from shapes and config, and that prompts are encoded as users of A1111 expect."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from modules.domain.errors import ModelLoadError
from modules.domain.plans import ModelSpec
from modules.families.registry import FAMILIES, detect
from modules.families.text_encoding import ClipTextEncoder, emphasise
from modules.prompts.tokenizer import clip_tokenizer
from modules.weights.manager import ModelManager
from modules.weights.placement import Placement
from modules.weights.residency import DeviceOptions
from tests.tiny_models import TEXT_LAYERS, TinyModel, ldm_yaml, tiny_model, write_checkpoint
from training.starter.ldm_keys import text_to_ldm, unet_to_ldm, vae_to_ldm

CPU = DeviceOptions(use_cpu=True)
SIZES = (320, 640, 1280, 1280)


@pytest.fixture(scope="module")
def tiny() -> TinyModel:
    return tiny_model()


@pytest.fixture(scope="module")
def encoder(tiny: TinyModel) -> ClipTextEncoder:
    return ClipTextEncoder(tiny.text, clip_tokenizer(), Placement(CPU))


@pytest.fixture(scope="module")
def sd15_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of a Stable Diffusion 1.5 checkpoint, made by the libraries' classes at its published sizes."""
    with init_empty_weights():
        unet = UNet2DConditionModel(block_out_channels=SIZES, cross_attention_dim=768, attention_head_dim=8)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
        )
        text = CLIPTextModel(CLIPTextConfig(vocab_size=49408, hidden_size=768, intermediate_size=3072, num_attention_heads=12))
    tensors = unet_to_ldm(unet.state_dict(), 4, 2) | vae_to_ldm(vae.state_dict(), 4, 2) | text_to_ldm(text.state_dict())
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def test_stable_diffusion_15_is_read_from_its_shapes(sd15_shapes: dict[str, tuple[int, ...]]) -> None:
    family = detect(sd15_shapes)
    blueprint = family.blueprint(sd15_shapes, {})
    facts = blueprint.facts
    assert (facts.family, facts.prediction, facts.in_channels, facts.factor, facts.text_layers) == ("sd1", "eps", 4, 8, 12)
    assert blueprint.scaling_factor == 0.18215
    with init_empty_weights():
        networks = {role: part.build() for role, part in blueprint.parts.items()}
    for role, network in networks.items():
        names = blueprint.parts[role].names
        for name, tensor in network.state_dict().items():
            assert tensor.numel() == torch.Size(sd15_shapes[names[name]]).numel(), (role, name)
    assert networks["unet"].down_blocks[0].attentions[0].transformer_blocks[0].attn1.heads == 8
    assert networks["text_encoder"].config.num_attention_heads == 12


def test_the_config_sets_what_shapes_cannot_tell(sd15_shapes: dict[str, tuple[int, ...]]) -> None:
    config = ldm_yaml(
        parameterization="v",
        scale_factor=0.2,
        linear_start=0.001,
        linear_end=0.02,
        unet_config={"params": {"num_head_channels": 64, "num_heads": -1}},
    )
    blueprint = detect(sd15_shapes).blueprint(sd15_shapes, config)
    assert blueprint.facts.prediction == "v"
    assert blueprint.scaling_factor == 0.2
    assert blueprint.sigmas[-1] > 50
    with init_empty_weights():
        unet = blueprint.parts["unet"].build()
    assert unet.down_blocks[1].attentions[0].transformer_blocks[0].attn1.heads == 10


def test_an_inpainting_unet_is_recognised(sd15_shapes: dict[str, tuple[int, ...]]) -> None:
    shapes = {**sd15_shapes, "model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}
    assert detect(shapes).blueprint(shapes, {}).facts.is_inpainting


def test_every_family_refuses_what_is_not_its_own() -> None:
    for family in FAMILIES:
        assert not family.claims({}) and not family.claims({"a.weight": (1,)})
    with pytest.raises(ModelLoadError, match="known: Stable Diffusion 1"):
        detect({"a.weight": (1,)})


def ids(text: str) -> torch.Tensor:
    tokens = [49406, *clip_tokenizer().encode(text)]
    return torch.tensor([tokens + [49407] * (77 - len(tokens))])


def encode(encoder: ClipTextEncoder, *texts: str, clip_skip: int = 1, emphasis: str = "original") -> list[torch.Tensor]:
    with torch.inference_mode():
        return [each.context for each in encoder.encode(texts, clip_skip=clip_skip, emphasis=emphasis, comma_backtrack=20)]


def test_a_plain_prompt_is_what_the_library_says(encoder: ClipTextEncoder, tiny: TinyModel) -> None:
    with torch.inference_mode():
        expected = tiny.text(input_ids=ids("a red house")).last_hidden_state[0]
    assert torch.allclose(encode(encoder, "a red house")[0], expected, atol=1e-6)


@pytest.mark.parametrize("skip", [2, 3, 12])
def test_clip_skip_stops_earlier_and_keeps_the_last_norm(encoder: ClipTextEncoder, tiny: TinyModel, skip: int) -> None:
    with torch.inference_mode():
        states = tiny.text(input_ids=ids("a red house"), output_hidden_states=True).hidden_states
        expected = tiny.text.final_layer_norm(states[-min(skip, TEXT_LAYERS)])[0]
    assert len(states) == TEXT_LAYERS + 1
    assert torch.allclose(encode(encoder, "a red house", clip_skip=skip)[0], expected, atol=1e-6)


def test_clip_skip_1_is_the_last_layer_with_its_norm(tiny: TinyModel) -> None:
    with torch.inference_mode():
        outputs = tiny.text(input_ids=ids("a red house"), output_hidden_states=True)
        assert torch.allclose(tiny.text.final_layer_norm(outputs.hidden_states[-1]), outputs.last_hidden_state, atol=1e-6)


def test_long_prompts_and_breaks_are_joined_chunks(encoder: ClipTextEncoder) -> None:
    assert encode(encoder, "a red BREAK house")[0].shape == (154, 32)
    joined = encode(encoder, "a red BREAK house")[0]
    assert torch.allclose(joined[:77], encode(encoder, "a red")[0], atol=1e-6)
    assert torch.allclose(joined[77:], encode(encoder, "house")[0], atol=1e-6)


def test_texts_of_one_timeline_get_equal_lengths(encoder: ClipTextEncoder) -> None:
    short, long = encode(encoder, "house", "a red BREAK house")
    assert short.shape == long.shape
    assert torch.allclose(short[77:], encode(encoder, "")[0], atol=1e-6)


def test_emphasis_modes() -> None:
    hidden = torch.randn(2, 77, 8, generator=torch.Generator().manual_seed(0)) + 0.3
    weights = torch.ones(2, 77)
    weights[0, 3] = 1.5
    counts = torch.tensor([1.0, 3.0])
    assert torch.equal(emphasise(hidden, weights, "none", counts), hidden)
    assert torch.equal(emphasise(hidden, weights, "ignore", counts), hidden)
    plain = emphasise(hidden, weights, "no_norm", counts)
    assert torch.allclose(plain[0, 3], hidden[0, 3] * 1.5) and torch.equal(plain[1], hidden[1])
    original = emphasise(hidden, weights, "original", counts)
    repeated = torch.cat((original[:1], original[1:].repeat(3, 1, 1)))
    assert float(repeated.mean()) == pytest.approx(float(torch.cat((hidden[:1], hidden[1:].repeat(3, 1, 1))).mean()), rel=1e-4)
    assert torch.allclose(original / original[1, 0, 0], plain / plain[1, 0, 0], rtol=1e-4)


def test_emphasis_of_a_mean_that_is_only_rounding_changes_nothing_else() -> None:
    hidden = torch.randn(1, 77, 8, generator=torch.Generator().manual_seed(0))
    hidden = hidden - hidden.mean()
    weights = torch.full((1, 77), 1.2)
    assert torch.allclose(emphasise(hidden, weights, "original", torch.ones(1)), hidden * 1.2)


def test_the_preview_follows_the_picture(tmp_path: Path) -> None:
    # an autoencoder that has learnt nothing still carries colour linearly once its random layers are small
    def linear(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value * 0.05 if ".block" in name and "conv" in name else value for name, value in tensors.items()}

    info = write_checkpoint(tmp_path, change=linear)
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as model, torch.inference_mode():
        decoded = model.decode_latent(torch.randn(4, 8, 8))
        preview = model.preview(torch.randn(4, 8, 8))
    assert decoded is not None and decoded.shape == (16, 16, 3)
    assert preview.shape == (8, 8, 3) and preview.dtype == torch.uint8 and preview.float().std() > 1
