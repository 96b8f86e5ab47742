"""The algorithms of the LoRA family: against the arithmetic of their papers, element by element, and against peft."""

from __future__ import annotations

import math

import pytest
import torch
from peft import LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from torch import Tensor, nn

from modules.networks.algorithms import ALGORITHMS, algorithm_for, decomposed, delta, loha, lokr, lora, oft, rotated

RANDOM = torch.Generator().manual_seed(0)


def random(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=RANDOM)


def close(left: Tensor, right: Tensor) -> bool:
    return left.shape == right.shape and torch.allclose(left, right, atol=1e-5, rtol=1e-4)


def apply(parts: dict[str, Tensor], weight: Tensor, alpha: float | None = None, dim: int | None = None) -> Tensor:
    algorithm = algorithm_for(frozenset(parts))
    assert algorithm is not None
    return delta(algorithm, parts, alpha, weight, dim)


def test_lora_is_a_product_scaled_by_alpha_over_rank() -> None:
    up, down = random(3, 2), random(2, 4)
    expected = torch.tensor([[sum(float(up[o, r] * down[r, i]) for r in range(2)) for i in range(4)] for o in range(3)])
    assert close(lora(up, down, (3, 4)), expected)
    assert close(apply({"lora_up": up, "lora_down": down}, random(3, 4), alpha=1.0), expected / 2)
    assert close(apply({"lora_up": up, "lora_down": down}, random(3, 4)), expected)


def test_dyn_keeps_the_first_ranks_and_the_scale() -> None:
    up, down = random(3, 4), random(4, 5)
    assert close(apply({"lora_up": up, "lora_down": down}, random(3, 5), alpha=2.0, dim=1), up[:, :1] @ down[:1] / 2)


def test_a_convolutions_lora_is_two_convolutions_in_a_row() -> None:
    up, down, picture = random(5, 2, 1, 1), random(2, 3, 3, 3), random(1, 3, 6, 6)
    expected = nn.functional.conv2d(nn.functional.conv2d(picture, down), up)
    assert close(nn.functional.conv2d(picture, lora(up, down, (5, 3, 3, 3))), expected)


def test_the_tucker_form_is_three_convolutions_in_a_row() -> None:
    up, mid, down, picture = random(5, 2, 1, 1), random(2, 2, 3, 3), random(2, 3, 1, 1), random(1, 3, 6, 6)
    expected = nn.functional.conv2d(nn.functional.conv2d(nn.functional.conv2d(picture, down), mid), up)
    parts = {"lora_up": up, "lora_down": down, "lora_mid": mid}
    assert close(nn.functional.conv2d(picture, apply(parts, random(5, 3, 3, 3))), expected)


def test_loha_multiplies_two_products_elementwise() -> None:
    parts = {"hada_w1_a": random(3, 2), "hada_w1_b": random(2, 4), "hada_w2_a": random(3, 2), "hada_w2_b": random(2, 4)}
    result = loha(parts, (3, 4))
    for o in range(3):
        for i in range(4):
            first = sum(float(parts["hada_w1_a"][o, r] * parts["hada_w1_b"][r, i]) for r in range(2))
            second = sum(float(parts["hada_w2_a"][o, r] * parts["hada_w2_b"][r, i]) for r in range(2))
            assert float(result[o, i]) == pytest.approx(first * second, rel=1e-4, abs=1e-6)
    assert close(apply(parts, random(3, 4), alpha=4.0), result * 2)


def test_lohas_tucker_form() -> None:
    parts = {f"hada_w{n}_{side}": random(2, size) for n in (1, 2) for side, size in (("a", 5), ("b", 3))}
    parts |= {"hada_t1": random(2, 2, 3, 3), "hada_t2": random(2, 2, 3, 3)}

    def product(number: int, o: int, i: int, h: int, w: int) -> float:
        core, a, b = parts[f"hada_t{number}"], parts[f"hada_w{number}_a"], parts[f"hada_w{number}_b"]
        return sum(float(core[n, m, h, w] * a[n, o] * b[m, i]) for n in range(2) for m in range(2))

    result = apply(parts, random(5, 3, 3, 3))
    for at in ((0, 0, 0, 0), (4, 2, 1, 2), (3, 1, 2, 0)):
        assert float(result[at]) == pytest.approx(product(1, *at) * product(2, *at), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_lokr_is_a_kronecker_product(kernel: tuple[int, ...]) -> None:
    first, second = random(2, 2), random(3, 2, *kernel)
    shape = (6, 4, *kernel)
    expected = torch.zeros(shape)
    for a in range(2):
        for b in range(2):
            for c in range(3):
                for d in range(2):
                    expected[a * 3 + c, b * 2 + d] = first[a, b] * second[c, d]
    parts = {"lokr_w1": first, "lokr_w2": second}
    assert close(apply(parts, torch.zeros(shape), alpha=5.0), expected), "without a rank there is no scale"
    a, b = random(2, 1), random(1, 2)
    inner = {"lokr_w1_a": a, "lokr_w1_b": b, "lokr_w2": second}
    assert close(apply(inner, torch.zeros(shape), alpha=3.0), lokr({"lokr_w1": a @ b, "lokr_w2": second}, shape) * 3)


def test_lokrs_second_factor_may_be_a_product_or_a_tucker_core() -> None:
    w1, a, b = random(2, 2), random(3, 2), random(2, 2 * 9)
    whole = lokr({"lokr_w1": w1, "lokr_w2": (a @ b).reshape(3, 2, 3, 3)}, (6, 4, 3, 3))
    assert close(apply({"lokr_w1": w1, "lokr_w2_a": a, "lokr_w2_b": b}, torch.zeros(6, 4, 3, 3), alpha=1.0), whole / 2)
    core, out, width = random(2, 2, 3, 3), random(2, 3), random(2, 2)
    second = torch.einsum("nmhw,no,mi->oihw", core, out, width)
    tucker = {"lokr_w1": w1, "lokr_w2_a": out, "lokr_w2_b": width, "lokr_t2": core}
    assert close(apply(tucker, torch.zeros(6, 4, 3, 3)), lokr({"lokr_w1": w1, "lokr_w2": second}, (6, 4, 3, 3)))


def test_dora_gives_the_merged_weight_the_lengths_it_learnt() -> None:
    weight, change = random(3, 4), random(3, 4)
    for magnitude, dims in ((random(3, 1).abs(), 1), (random(1, 4).abs(), 0), (random(3).abs(), 1)):
        merged = weight + decomposed(change, weight, magnitude)
        assert torch.allclose(merged.norm(dim=dims), magnitude.flatten(), rtol=1e-4)
        assert torch.allclose(nn.functional.normalize(merged, dim=dims), nn.functional.normalize(weight + change, dim=dims), atol=1e-5)
    kernel, change = random(3, 4, 3, 3), random(3, 4, 3, 3)
    magnitude = random(1, 4, 1, 1).abs()
    merged = kernel + decomposed(change, kernel, magnitude)
    assert torch.allclose(merged.transpose(0, 1).flatten(1).norm(dim=1), magnitude.flatten(), rtol=1e-4)


def test_oft_turns_the_outputs_and_keeps_their_lengths() -> None:
    blocks, weight = random(2, 3, 3), random(6, 5)
    turned = weight + oft(blocks, weight)
    for block in range(2):
        rows = slice(block * 3, block * 3 + 3)
        q = blocks[block] - blocks[block].T
        r = (torch.eye(3) + q) @ torch.linalg.inv(torch.eye(3) - q)
        assert torch.allclose(r @ r.T, torch.eye(3), atol=1e-4)
        assert close(turned[rows], r.T @ weight[rows])
        assert torch.allclose(turned[rows].norm(dim=0), weight[rows].norm(dim=0), rtol=1e-3)
    assert close(apply({"oft_diag": torch.eye(3).repeat(2, 1, 1)}, weight), torch.zeros(6, 5))
    kernel = random(6, 2, 3, 3)
    assert close(apply({"oft_blocks": blocks}, kernel).reshape(6, -1), oft(blocks, kernel.reshape(6, -1)))
    scaled = apply({"oft_blocks": torch.zeros(2, 3, 3), "rescale": torch.full((6, 1), 2.0)}, weight)
    assert close(scaled, weight)


def test_ofts_alpha_is_a_constraint_and_not_a_scale() -> None:
    blocks, weight = random(2, 3, 3), random(6, 5)
    loose, none, tight = (apply({"oft_blocks": blocks}, weight, alpha=alpha) for alpha in (1e6, 0.0, 1e-3))
    assert close(loose, oft(blocks, weight)) and close(none, loose)
    q = blocks - blocks.transpose(1, 2)
    bounded = q * (1e-3 * 6 / q.norm())
    eye = torch.eye(3)
    assert torch.allclose(tight, rotated((eye + bounded) @ torch.linalg.inv(eye - bounded), weight) - weight, atol=1e-5)


@pytest.mark.parametrize("kernel", [(), (3, 3)])
def test_boft_turns_pairs_of_outputs_that_are_further_apart_at_each_stage(kernel: tuple[int, ...]) -> None:
    blocks, weight = random(3, 4, 4, 4) * 0.3, random(16, 5, *kernel)
    expected = weight.flatten(1)
    for stage in range(3):
        q = blocks[stage] - blocks[stage].transpose(1, 2)
        r = (torch.eye(4) + q) @ torch.linalg.inv(torch.eye(4) - q)
        apart = 2 * 2**stage
        # the order in which a stage reads the outputs: one, then that so many further on, for each of the first half of a group
        order = [group * 2 * apart + place + half * apart for group in range(8 // apart) for place in range(apart) for half in range(2)]
        whole = torch.zeros(16, 16)
        for block in range(4):
            rows = torch.tensor(order[block * 4 : block * 4 + 4])
            whole[rows[:, None], rows[None]] = r[block]
        expected = whole @ expected
    assert close(weight + apply({"oft_blocks": blocks}, weight), expected.reshape(weight.shape))
    scale = random(16, *[1] * (weight.dim() - 1))
    assert close(weight + apply({"oft_blocks": blocks, "rescale": scale}, weight), expected.reshape(weight.shape) * scale)


def test_bofts_alpha_bounds_all_stages_together() -> None:
    blocks, weight = random(2, 2, 4, 4), random(8, 5)
    bounded = blocks * (1e-3 * 8 / (blocks - blocks.transpose(-1, -2)).norm())
    assert torch.allclose(apply({"oft_blocks": blocks}, weight, alpha=1e-3), apply({"oft_blocks": bounded}, weight), atol=1e-5)


def test_differences_are_taken_as_they_are() -> None:
    difference = random(3, 4)
    assert close(apply({"diff": difference}, random(3, 4), alpha=7.0), difference)
    assert close(apply({"w_norm": random(4) * 0 + 2}, random(4)), torch.full((4,), 2.0))


def test_every_algorithm_is_chosen_by_its_own_parts() -> None:
    for algorithm in ALGORITHMS:
        assert algorithm_for(algorithm.needs) is algorithm
    assert algorithm_for(frozenset({"lora_up"})) is None
    assert algorithm_for(frozenset({"lora_up", "lora_down", "hada_t1"})) is None


@pytest.mark.parametrize("layer", [nn.Linear(6, 4, bias=False), nn.Conv2d(6, 4, 3, bias=False)], ids=["linear", "conv"])
@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=2, lora_alpha=3, target_modules=["0"]),
        LoraConfig(r=2, lora_alpha=3, use_dora=True, target_modules=["0"]),
        LoHaConfig(r=2, alpha=3, target_modules=["0"]),
        LoKrConfig(r=1, alpha=3, decompose_both=True, target_modules=["0"]),
    ],
    ids=["lora", "dora", "loha", "lokr"],
)
def test_merging_gives_the_weights_that_peft_gives(layer: nn.Module, config: LoraConfig | LoHaConfig | LoKrConfig) -> None:
    torch.manual_seed(0)
    before = layer.weight.detach().clone()
    model = get_peft_model(nn.Sequential(type(layer)(**_arguments(layer))), config)
    model.base_model.model[0].base_layer.weight.data.copy_(before)
    parts: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if "base_layer" not in name:
            parameter.data.copy_(torch.randn(parameter.shape).abs() if "magnitude" in name else torch.randn(parameter.shape))
            value = parameter.detach().clone()
            parts[_part(name)] = value.flatten() if "magnitude" in name else value
    result = before + apply(parts, before, alpha=3.0)
    merged = model.merge_and_unload()
    assert torch.allclose(result, merged[0].weight, atol=1e-4)
    assert not math.isclose(float((result - before).abs().max()), 0.0)


def _arguments(layer: nn.Module) -> dict[str, object]:
    if isinstance(layer, nn.Conv2d):
        return {"in_channels": layer.in_channels, "out_channels": layer.out_channels, "kernel_size": layer.kernel_size, "bias": False}
    return {"in_features": layer.in_features, "out_features": layer.out_features, "bias": False}


def _part(name: str) -> str:
    for theirs, ours in (("lora_A", "lora_down"), ("lora_B", "lora_up"), ("lora_magnitude_vector", "dora_scale")):
        if theirs in name:
            return ours
    return next(part for part in name.split(".") if part.startswith(("hada", "lokr")))
