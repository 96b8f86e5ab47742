"""Which layers a file changes, and by how much: what fits in part is used in part, and what does not is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from modules.domain.errors import ModelLoadError
from modules.networks.files import NetworkFile, parse
from modules.networks.names import ModuleIndex
from modules.networks.patches import Match, Patches, changes, match
from tests.tiny_models import TinyModel, tiny_model

CPU = torch.device("cpu")
FIRST = "lora_unet_conv_in"
PLAIN = "lora_unet_mid_block_resnets_0_conv1"
UNBIASED = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def some(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))) * 0.1


def first_convolution(kind: str, channels: int) -> dict[str, Tensor]:
    """A change of the UNet's first convolution (32, channels, 3, 3)."""
    lora = {"lora_up.weight": some(32, 2, 1, 1), "lora_down.weight": some(2, channels, 3, 3), "alpha": torch.tensor(1.0)}
    parts = {
        "lora": lora,
        "dora": {**lora, "dora_scale": some(32, 1, 1, 1).abs() + 1},
        "tucker": {"lora_up.weight": some(32, 2, 1, 1), "lora_mid.weight": some(2, 2, 3, 3), "lora_down.weight": some(2, channels, 1, 1)},
        "loha": {f"hada_w{n}_{side}": some(*shape) for n in (1, 2) for side, shape in (("a", (32, 2)), ("b", (2, channels * 9)))},
        "lokr": {"lokr_w1": some(2, 1), "lokr_w2": some(16, channels, 3, 3)},
        "difference": {"diff": some(32, channels, 3, 3), "diff_b": some(32)},
    }[kind]
    return {f"{FIRST}.{name}": tensor for name, tensor in parts.items()}


def put(model: TinyModel, file: NetworkFile) -> Match:
    networks = {"unet": model.unet, "text_encoder": model.text}
    matched = match(file, ModuleIndex(networks), networks)
    Patches(networks).put([changes("x", matched, te=0.5, unet=0.5, dim=None)], CPU)
    return matched


@pytest.mark.parametrize("kind", ["lora", "dora", "tucker", "loha", "lokr", "difference"])
@pytest.mark.parametrize("channels", [8, 9])
def test_a_first_convolution_with_more_inputs_takes_what_was_learnt_on_four(kind: str, channels: int) -> None:
    wide, narrow = tiny_model(in_channels=channels), tiny_model()
    with torch.no_grad():
        narrow.unet.conv_in.weight.copy_(wide.unet.conv_in.weight[:, :4])
        narrow.unet.conv_in.bias.copy_(wide.unet.conv_in.bias)
    before = wide.unet.conv_in.weight.detach().clone()
    for model in (wide, narrow):
        assert put(model, parse(first_convolution(kind, 4), {})).unmatched == ()
    assert torch.equal(wide.unet.conv_in.weight[:, :4], narrow.unet.conv_in.weight)
    assert torch.equal(wide.unet.conv_in.weight[:, 4:], before[:, 4:])
    assert not torch.equal(wide.unet.conv_in.weight[:, :4], before[:, :4])
    assert torch.equal(wide.unet.conv_in.bias, narrow.unet.conv_in.bias)


def test_what_was_learnt_on_as_many_inputs_changes_all_and_other_numbers_are_refused() -> None:
    wide = tiny_model(in_channels=9)
    before = wide.unet.conv_in.weight.detach().clone()
    file = parse(first_convolution("difference", 9), {})
    put(wide, file)
    assert torch.allclose(wide.unet.conv_in.weight, before + 0.5 * file.modules[0].parts["diff"])
    for model, channels in ((wide, 5), (tiny_model(), 9)):
        with pytest.raises(ModelLoadError, match="does not fit"):
            put(model, parse(first_convolution("lora", channels), {}))


def test_a_bias_where_there_is_none_leaves_its_module_out_and_no_other() -> None:
    tiny = tiny_model()
    unbiased = tiny.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2.to_k
    conv = tiny.unet.mid_block.resnets[0].conv1
    before, bias = unbiased.weight.detach().clone(), conv.bias.detach().clone()
    file = parse(
        {
            f"{UNBIASED}.diff": torch.ones_like(before),
            f"{UNBIASED}.diff_b": torch.ones(32),
            f"{PLAIN}.diff_b": torch.ones(64),
        },
        {},
    )
    matched = put(tiny, file)
    assert matched.unmatched == (UNBIASED,) and [module.name for _, module in matched.pairs] == [PLAIN]
    assert torch.equal(unbiased.weight, before)
    assert torch.allclose(conv.bias, bias + 0.5)
    with pytest.raises(ModelLoadError, match="by 3 numbers, but this model's has 64"):
        put(tiny, parse({f"{PLAIN}.diff_b": torch.ones(3)}, {}))
