"""Merging tiny checkpoints of the real classes: every number of the result is checked."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from modules.domain.errors import InvalidRequest, ModelLoadError
from modules.domain.networks import NetworkRef
from modules.domain.plans import ModelSpec
from modules.merging.formula import block_of, is_learned
from modules.merging.writer import Entry, header, writing
from modules.weights.manager import ModelManager
from tests.engine.drawing import CPU
from tests.merging.merging import made, tensors
from tests.tiny_families import write_tiny
from tests.tiny_models import checkpoint_info, tiny_model, write_checkpoint, write_folder, write_vae
from tests.tiny_networks import write_lora

FIRST = "model.diffusion_model.input_blocks.0.0.weight"


def with_more(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """As real files: positions as integers, the noise schedule, and a network that no other file has."""
    positions = {"cond_stage_model.transformer.text_model.embeddings.position_ids": torch.arange(77)[None]}
    return weights | positions | {"alphas_cumprod": torch.linspace(1, 0, 1000), "model.diffusion_model.extra": torch.ones(3)}


def same(found: Tensor, wanted: Tensor) -> bool:
    return found.dtype == wanted.dtype and torch.equal(found, wanted)


def test_a_weighted_sum_is_right_to_the_last_bit(tmp_path: Path) -> None:
    a, b = write_checkpoint(tmp_path, "a", seed=0, change=with_more), write_checkpoint(tmp_path, "b", seed=1)
    result, notes = made(a, b, multiplier=0.3)
    left, right = tensors(a.path), tensors(b.path)
    assert set(result) == set(left)
    learned = sum(is_learned(name) for name in left)
    assert notes == (
        f"1 of a.safetensors's {learned} weights are not in b.safetensors and stay as they are, such as 'model.diffusion_model.extra'.",
    )
    for name, tensor in left.items():
        both = name in right and is_learned(name)
        assert same(result[name], tensor * (1 - 0.3) + right[name] * 0.3 if both else tensor), name
    assert not torch.equal(result[FIRST], left[FIRST])


def test_add_difference_and_none_at_all(tmp_path: Path) -> None:
    files = [write_checkpoint(tmp_path, name, seed=seed) for seed, name in enumerate("abc")]
    a, b, c = (tensors(file.path) for file in files)
    result, _ = made(*files, method="Add difference", multiplier=0.65)
    assert all(same(result[name], a[name] + (b[name] - c[name]) * 0.65) for name in a)
    result, _ = made(files[0], method="No interpolation")
    assert all(same(result[name], a[name]) for name in a)


def test_what_c_lacks_stays_as_a_has_it(tmp_path: Path) -> None:
    a, b = write_checkpoint(tmp_path, "a"), write_checkpoint(tmp_path, "b", seed=1)
    c = write_checkpoint(
        tmp_path, "c", seed=2, change=lambda found: {name: each for name, each in found.items() if "first_stage" not in name}
    )
    result, _ = made(a, b, c, method="Add difference", multiplier=1.0)
    left, right, third = (tensors(file.path) for file in (a, b, c))
    for name, tensor in left.items():
        assert same(result[name], tensor + (right[name] - third[name]) * 1.0 if name in third else tensor), name


def test_number_formats_are_a_s_or_half(tmp_path: Path) -> None:
    a = write_checkpoint(tmp_path, "a", change=lambda found: {name: each.bfloat16() for name, each in with_more(found).items()})
    b = write_checkpoint(tmp_path, "b", seed=1)
    left, right = tensors(a.path), tensors(b.path)
    result, _ = made(a, b, multiplier=0.5)
    assert same(result[FIRST], (left[FIRST].float() * 0.5 + right[FIRST] * 0.5).bfloat16())
    result, _ = made(a, b, multiplier=0.5, half=True)
    assert same(result[FIRST], (left[FIRST].float() * 0.5 + right[FIRST] * 0.5).half())
    assert same(result["alphas_cumprod"], left["alphas_cumprod"]), "noise levels are not weights"


def test_numbers_too_large_for_half_are_said(tmp_path: Path) -> None:
    a = write_checkpoint(tmp_path, "a", change=lambda found: {**found, FIRST: found[FIRST] + 1e6})
    with pytest.raises(ModelLoadError, match=r"input_blocks.0.0.weight'\. Save it without float16"):
        made(a, method="No interpolation", half=True)
    assert not list(tmp_path.glob("result*")) and not list(tmp_path.glob(".temporary"))


def test_each_block_has_its_weight(tmp_path: Path) -> None:
    a, b = write_checkpoint(tmp_path, "a"), write_checkpoint(tmp_path, "b", seed=1)
    left, right = tensors(a.path), tensors(b.path)
    names = sorted({block_of(name, 4) for name in left})
    assert names == ["BASE", "IN00", "IN01", "IN02", "IN03", "M00", "OUT00", "OUT01", "OUT02", "OUT03"]
    weights = {name: number / 10 for number, name in enumerate(names)}
    result, _ = made(a, b, block_weights="\n".join(f"{name}: {weight}" for name, weight in weights.items()))
    for name, tensor in left.items():
        m = weights[block_of(name, 4)]
        assert same(result[name], tensor * (1 - m) + right[name] * m), name
    with pytest.raises(InvalidRequest, match="no block IN11"):
        made(a, b, block_weights="IN11: 0.2")


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("model.diffusion_model.time_embed.2.bias", "IN00"),
        ("model.diffusion_model.label_emb.0.0.weight", "IN00"),
        ("model.diffusion_model.input_blocks.0.0.weight", "IN00"),
        ("model.diffusion_model.out.2.weight", "OUT08"),
        ("model.diffusion_model.output_blocks.8.0.out_layers.0.weight", "OUT08"),
        ("model.diffusion_model.output_blocks.1.0.in_layers.0.weight", "OUT01"),
        ("conditioner.embedders.0.transformer.text_model.encoder.layers.0.self_attn.out_proj.weight", "BASE"),
        ("first_stage_model.decoder.conv_out.weight", "BASE"),
    ],
)
def test_blocks_are_those_of_the_recipes_that_people_share(name: str, block: str) -> None:
    assert block_of(name, 9) == block


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("shortened", ["a", "b"])
def test_both_spellings_of_a_text_encoder_are_merged(tmp_path: Path, shortened: str, family: str) -> None:
    def bare(found: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.replace("transformer.text_model.", "transformer."): tensor for name, tensor in found.items()}

    if family == "sdxl":
        a = write_tiny(tmp_path / "a", "sdxl")
        b = write_tiny(tmp_path / "b", "sdxl", change=lambda found: {name: each * 2 for name, each in found.items()})
    else:
        a, b = write_checkpoint(tmp_path, "a"), write_checkpoint(tmp_path, "b", seed=1)
    plain, _ = made(a, b, multiplier=0.3)
    path = Path({"a": a, "b": b}[shortened].path)
    save_file(bare(tensors(path)), path)
    result, notes = made(a, b, multiplier=0.3)
    assert notes == () and set(result) == set(tensors(a.path))
    assert all(same(tensor, result[name if shortened == "b" else next(iter(bare({name: tensor})))]) for name, tensor in plain.items())
    assert any(not torch.equal(tensor, result[name]) for name, tensor in tensors(a.path).items() if "encoder.layers" in name)


def test_a_lora_learnt_on_four_channels_is_put_into_an_inpainting_model(tmp_path: Path) -> None:
    a = write_checkpoint(tmp_path, "a", model=tiny_model(0, in_channels=9))
    up, down = torch.randn(32, 2, 1, 1), torch.randn(2, 4, 3, 3)
    lora = write_lora(tmp_path, "change", {"lora_unet_conv_in.lora_up.weight": up, "lora_unet_conv_in.lora_down.weight": down})
    before = tensors(a.path)[FIRST]
    result = made(a, method="No interpolation", loras=((lora, 0.5),))[0][FIRST]
    assert same(result[:, 4:], before[:, 4:])
    assert torch.allclose(result[:, :4], before[:, :4] + 0.5 * torch.einsum("or,rihw->oihw", up.flatten(1), down), atol=1e-5)


def test_what_a_lora_s_file_says_beside_its_changes_is_told(tmp_path: Path) -> None:
    change = {"lora_unet_conv_in.diff": torch.ones(32, 4, 3, 3), "bundle_emb.my-word.string_to_param.*": torch.zeros(1, 32)}
    lora = write_lora(tmp_path, "change", change)
    _, notes = made(write_checkpoint(tmp_path, "a"), method="No interpolation", loras=((lora, 0.5),))
    assert notes[-1] == "LoRA 'change': the embeddings in its file are not used: 'my-word'."


def test_an_inpainting_model_takes_an_ordinary_one_in(tmp_path: Path) -> None:
    a = write_checkpoint(tmp_path, "a", model=tiny_model(0, in_channels=9))
    b, c = (write_checkpoint(tmp_path, name, seed=seed) for seed, name in enumerate("bc", start=1))
    left, right, third = (tensors(file.path)[FIRST] for file in (a, b, c))
    result = made(a, b, multiplier=0.25)[0][FIRST]
    assert same(result[:, 4:], left[:, 4:]) and same(result[:, :4], left[:, :4] * 0.75 + right * 0.25)
    result = made(a, b, c, method="Add difference", multiplier=1.0)[0][FIRST]
    assert same(result[:, 4:], left[:, 4:]) and same(result[:, :4], left[:, :4] + (right - third) * 1.0)
    with pytest.raises(InvalidRequest, match=r"it must be A\. Swap them"):
        made(b, a)


def test_models_of_several_kinds_are_refused(tmp_path: Path) -> None:
    a, b = write_checkpoint(tmp_path, "a"), write_tiny(tmp_path, "sdxl")
    with pytest.raises(InvalidRequest, match=r"is a Stable Diffusion 1 model and .* a Stable Diffusion XL model"):
        made(a, b)
    folder = write_folder(tmp_path / "folder", tiny_model())
    with pytest.raises(InvalidRequest, match="diffusers' layout"):
        made(folder, method="No interpolation")
    (tmp_path / "c.safetensors").write_bytes(b"<html>")
    with pytest.raises(ModelLoadError, match=r"c\.safetensors can't be loaded: it is a web page"):
        made(a, checkpoint_info(tmp_path / "c.safetensors"))
    assert not list(tmp_path.glob("result*"))


def test_models_of_several_sizes_are_refused(tmp_path: Path) -> None:
    a = write_checkpoint(tmp_path, "a")
    b = write_checkpoint(tmp_path, "b", change=lambda found: {**found, FIRST: torch.zeros(16, 4, 3, 3)})
    with pytest.raises(InvalidRequest, match=r"has the shape \[32, 4, 3, 3\] in one and \[16, 4, 3, 3\] in the other"):
        made(a, b)


def test_pickled_checkpoints_and_averages_can_be_merged(tmp_path: Path) -> None:
    a, b = write_checkpoint(tmp_path, "a"), write_checkpoint(tmp_path, "b", seed=1)
    torch.save({"state_dict": tensors(b.path)}, tmp_path / "b.ckpt")
    plain, pickled = made(a, b)[0], made(a, checkpoint_info(tmp_path / "b.ckpt"))[0]
    assert plain.keys() == pickled.keys() and all(same(plain[name], pickled[name]) for name in plain)


def test_a_vae_is_put_in_and_weights_are_left_out(tmp_path: Path) -> None:
    a, vae = write_checkpoint(tmp_path, "a"), write_vae(tmp_path, "other")
    result, notes = made(a, method="No interpolation", vae=vae, discard=r"^model\.diffusion_model\.out\.")
    theirs = tensors(vae.path)
    assert all(same(result[f"first_stage_model.{name}"], tensor) for name, tensor in theirs.items())
    assert {name for name in tensors(a.path) if name not in result} == {
        f"model.diffusion_model.out.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")
    }
    assert notes == ()
    assert made(a, method="No interpolation", discard="nobody")[1] == ("No weight's name matches 'nobody', so none was left out.",)
    with pytest.raises(InvalidRequest, match="leaves nothing"):
        made(a, method="No interpolation", discard=".")


def parts_for(kind: str, weight: Tensor, random: torch.Generator) -> dict[str, Tensor]:
    """One module's tensors for a weight (out, in) or (out, in, 1, 1)."""

    def some(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random) * 0.1

    out, width, ends = weight.shape[0], weight.shape[1], weight.shape[2:]
    lora = {"lora_up.weight": some(out, 2, *ends), "lora_down.weight": some(2, width, *ends), "alpha": torch.tensor(1.0)}
    if kind == "dora":
        return {**lora, "dora_scale": weight.flatten(1).norm(dim=1).reshape(-1, *[1] * (weight.dim() - 1)) * 1.1}
    if kind == "loha":
        return {"hada_w1_a": some(out, 2), "hada_w1_b": some(2, width), "hada_w2_a": some(out, 2), "hada_w2_b": some(2, width)}
    if kind == "lokr":
        return {"lokr_w1": some(2, 2), "lokr_w2": some(out // 2, width // 2, *ends)}
    return {"diff": some(*weight.shape), "diff_b": some(out)} if kind == "difference" else lora


@pytest.mark.parametrize("kind", ["lora", "dora", "loha", "lokr", "difference"])
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_lora_put_in_is_what_it_is_when_it_is_added(tmp_path: Path, family: str, kind: str) -> None:
    """Bit by bit, in every layer, also where a file keeps three of them in one tensor (OpenCLIP) or a matrix as a convolution."""
    info = write_checkpoint(tmp_path, "sd1") if family == "sd1" else write_tiny(tmp_path, family)
    random = torch.Generator().manual_seed(0)
    endings = ("to_k", "to_out.0", "proj_in", "q_proj", "v_proj", "fc1")
    with ModelManager(CPU).acquire(ModelSpec(checkpoint=info)) as model:
        prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te1_" if family == "sdxl" else "lora_te_", "text_encoder_2": "lora_te2_"}
        wanted: dict[str, Tensor] = {}
        for role, network in model.networks.items():
            for path, layer in network.named_modules() if role in prefixes else ():
                if path.endswith(endings) and (kind != "difference" or layer.bias is not None):
                    inner = path if role == "unet" else f"text_model.{path.removeprefix('text_model.')}"
                    name = prefixes[role] + inner.replace(".", "_")
                    wanted |= {f"{name}.{part}": each for part, each in parts_for(kind, layer.weight, random).items()}
    lora = write_lora(tmp_path, "change", wanted)
    baked, notes = made(info, method="No interpolation", loras=((lora, 0.5), (lora, 0.25)))
    assert notes == () and any(not torch.equal(baked[name], tensor) for name, tensor in tensors(info.path).items())
    result = checkpoint_info(tmp_path / "result.safetensors")
    refs = tuple(NetworkRef(info=lora, te=weight, unet=weight) for weight in (0.5, 0.25))
    with (
        ModelManager(CPU).acquire(ModelSpec(checkpoint=info, networks=refs)) as added,
        ModelManager(CPU).acquire(ModelSpec(checkpoint=result)) as loaded,
    ):
        for role, network in added.networks.items():
            theirs = loaded.networks[role].state_dict()
            assert all(torch.equal(tensor, theirs[name]) for name, tensor in network.state_dict().items()), role


def test_a_lora_for_another_model_is_refused(tmp_path: Path) -> None:
    lora = write_lora(
        tmp_path, "alien", {"lora_unet_nowhere.lora_up.weight": torch.ones(4, 2), "lora_unet_nowhere.lora_down.weight": torch.ones(2, 4)}
    )
    with pytest.raises(ModelLoadError, match=r"alien\.safetensors can't be loaded: none of its 1 modules"):
        made(write_checkpoint(tmp_path, "a"), method="No interpolation", loras=((lora, 1.0),))


def test_files_are_read_by_the_format_s_own_reader(tmp_path: Path) -> None:
    """`safe_open`, which checks the table; and nothing is there before the end, nor over another file."""
    entries = [
        Entry("b", torch.float32, (2, 3)),
        Entry("é", torch.bfloat16, ()),
        Entry("i", torch.int64, (0,)),
        Entry("t", torch.bool, (3,)),
    ]
    values = [
        torch.randn(2, 3),
        torch.tensor(1.5, dtype=torch.bfloat16),
        torch.zeros(0, dtype=torch.int64),
        torch.tensor([True, False, True]),
    ]
    target = tmp_path / "x.safetensors"
    with writing(target, tmp_path / ".x", header(entries, {"note": "yes"}), entries) as put:
        for value in values:
            put(value)
        assert not target.exists()
    found = tensors(target)
    assert all(same(found[entry.name], value) for entry, value in zip(entries, values, strict=True))
    with pytest.raises(FileExistsError), writing(target, tmp_path / ".x", header([], {}), []):
        pass
    with pytest.raises(KeyboardInterrupt), writing(tmp_path / "y", tmp_path / ".x", header(entries, {}), entries):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["x.safetensors"]
