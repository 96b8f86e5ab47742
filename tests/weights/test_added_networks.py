"""Networks in the weights: put in, changed and taken out again bit by bit, and files that can't be used change nothing."""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import cpu_offload
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save
from torch import Tensor, nn

from modules.domain.catalog import CheckpointInfo
from modules.domain.errors import ModelLoadError, OutOfMemory
from modules.domain.networks import LoraInfo, NetworkRef
from modules.domain.plans import ModelSpec
from modules.networks import patches
from modules.networks.patches import stored
from modules.weights.manager import ModelManager
from modules.weights.network_files import NetworkFiles
from modules.weights.residency import DeviceOptions
from tests.tiny_models import TinyModel, tiny_model, write_checkpoint, write_vae
from tests.tiny_networks import Tensors, layers, lora_tensors, write_lora

CPU = DeviceOptions(use_cpu=True)


@pytest.fixture(scope="module")
def tiny() -> TinyModel:
    return tiny_model()


@pytest.fixture(scope="module")
def checkpoint(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> CheckpointInfo:
    return write_checkpoint(tmp_path_factory.mktemp("models"), model=tiny)


@pytest.fixture(scope="module")
def ink(tiny: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> LoraInfo:
    return write_lora(tmp_path_factory.mktemp("loras"), "ink", lora_tensors(tiny))


@pytest.fixture(scope="module")
def manager() -> ModelManager:
    return ModelManager(CPU)


def spec(checkpoint: CheckpointInfo, *refs: NetworkRef) -> ModelSpec:
    return ModelSpec(checkpoint=checkpoint, networks=refs)


def digest(manager: ModelManager, wanted: ModelSpec) -> str:
    """A hash over all weights of the model."""
    total = hashlib.sha256()
    with manager.acquire(wanted) as model:
        for role, network in sorted(model.networks.items()):
            for name, tensor in network.state_dict().items():
                total.update(f"{role}.{name}".encode() + tensor.numpy().tobytes())
    return total.hexdigest()


def weights(manager: ModelManager, wanted: ModelSpec, tiny: TinyModel) -> dict[str, Tensor]:
    """Copies of the weights that a LoRA of ours changes."""
    with manager.acquire(wanted) as model:
        texts = model.networks["text_encoder"]
        loaded = TinyModel(model.networks["unet"], tiny.vae, texts)
        return {name: layer.weight.detach().clone() for name, layer in layers(loaded).items()}


def test_the_weights_are_what_the_arithmetic_says(
    manager: ModelManager, checkpoint: CheckpointInfo, ink: LoraInfo, tiny: TinyModel
) -> None:
    before = weights(manager, spec(checkpoint), tiny)
    after = weights(manager, spec(checkpoint, NetworkRef(info=ink, te=0.5, unet=-1.25)), tiny)
    tensors = lora_tensors(tiny)
    for name, weight in before.items():
        strength = -1.25 if name.startswith("lora_unet") else 0.5
        expected = weight + strength * tensors[f"{name}.lora_up.weight"] @ tensors[f"{name}.lora_down.weight"]
        assert torch.allclose(after[name], expected, atol=1e-6), name


def test_taking_it_out_restores_every_bit(manager: ModelManager, checkpoint: CheckpointInfo, ink: LoraInfo) -> None:
    bare = digest(manager, spec(checkpoint))
    changed = {digest(manager, spec(checkpoint, NetworkRef(info=ink, te=te, unet=unet))) for te, unet in ((1, 1), (0.3, 1), (1, 0), (0, 1))}
    assert len(changed) == 4 and bare not in changed
    assert digest(manager, spec(checkpoint, NetworkRef(info=ink, te=0.0, unet=0.0))) == bare
    assert digest(manager, spec(checkpoint)) == bare


def test_the_way_to_a_spec_does_not_matter(
    manager: ModelManager, checkpoint: CheckpointInfo, ink: LoraInfo, tiny: TinyModel, tmp_path: Path
) -> None:
    other = write_lora(tmp_path, "other", lora_tensors(tiny, seed=1))
    wanted = spec(checkpoint, NetworkRef(info=ink, te=0.7, unet=0.7), NetworkRef(info=other, te=1.0, unet=0.4))
    direct = digest(manager, wanted)
    for refs in ((NetworkRef(info=other),), (NetworkRef(info=ink, te=2.0, unet=2.0),), ()):
        digest(manager, spec(checkpoint, *refs))
        assert digest(manager, wanted) == direct
    assert digest(ModelManager(CPU), wanted) == direct


def test_a_hash_that_becomes_known_is_no_change(manager: ModelManager, checkpoint: CheckpointInfo, ink: LoraInfo) -> None:
    with manager.acquire(spec(checkpoint, NetworkRef(info=ink))):
        pass
    assert manager.holds(spec(checkpoint, NetworkRef(info=replace(ink, digest="ab" * 32, alias="x"), mention="x")))
    assert not manager.holds(spec(checkpoint, NetworkRef(info=ink, te=0.9)))
    assert not manager.holds(spec(checkpoint)) and manager.holds_bare(spec(checkpoint))


def test_another_vae_leaves_the_networks_and_the_old_vae_goes(checkpoint: CheckpointInfo, ink: LoraInfo, tmp_path: Path) -> None:
    manager, vae = ModelManager(CPU), write_vae(tmp_path, "other")
    with manager.acquire(spec(checkpoint, NetworkRef(info=ink))) as model:
        unet, old = model.networks["unet"], weakref.ref(model.networks["vae"])
        before = unet.state_dict()["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"].clone()
    with manager.acquire(replace(spec(checkpoint, NetworkRef(info=ink)), vae=vae)):
        assert torch.equal(unet.state_dict()["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"], before)
        assert old() is None


def _part(tensors: Tensors, share: str) -> Tensors:
    return {name: value for name, value in tensors.items() if share in name}


def _first(tensors: Tensors, change: Callable[[Tensor], Tensor]) -> Tensors:
    name = next(name for name in tensors if "lora_up" in name)
    return {**tensors, name: change(tensors[name])}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: _first(tensors, lambda up: up * torch.nan), "not finite"),
        (lambda tensors: _first(tensors, lambda up: up[:-1]), r"does not fit this model's weight of shape \[.*sd_v9"),
        (lambda tensors: {f"lora_te9_{name}": value for name, value in tensors.items()}, "none of its .* is part of this checkpoint"),
        (lambda tensors: {"emb_params": torch.zeros(1, 32)}, "no LoRA"),
        (lambda tensors: _first(tensors, lambda up: up.double() * 1e300), "not finite"),
    ],
)
def test_a_bad_file_leaves_the_model_as_it_was(
    manager: ModelManager,
    checkpoint: CheckpointInfo,
    ink: LoraInfo,
    tiny: TinyModel,
    tmp_path: Path,
    change: Callable[[Tensors], Tensors],
    reason: str,
) -> None:
    good = spec(checkpoint, NetworkRef(info=ink))
    before = digest(manager, good)
    bad = write_lora(tmp_path, "bad", change(lora_tensors(tiny)), {"ss_base_model_version": "sd_v9"})
    for refs in ((NetworkRef(info=bad),), (NetworkRef(info=ink, te=0.5), NetworkRef(info=bad))):
        with pytest.raises(ModelLoadError, match=reason) as caught, manager.acquire(spec(checkpoint, *refs)):
            pass
        assert "bad.safetensors can't be loaded" in str(caught.value)
        assert manager.holds(good)
    assert digest(manager, good) == before


@pytest.mark.parametrize("cut", [1, 1000])
def test_a_truncated_file_is_named(manager: ModelManager, checkpoint: CheckpointInfo, ink: LoraInfo, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(Path(ink.path).read_bytes()[:-cut])
    short = replace(ink, name="cut.safetensors", path=str(path))
    with pytest.raises(ModelLoadError, match=r"cut\.safetensors .* truncated"), manager.acquire(spec(checkpoint, NetworkRef(info=short))):
        pass
    gone = replace(ink, name="gone.safetensors", path=str(tmp_path / "gone.safetensors"))
    with pytest.raises(ModelLoadError, match=r"gone\.safetensors .* not there"), manager.acquire(spec(checkpoint, NetworkRef(info=gone))):
        pass


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), KeyboardInterrupt()])
def test_a_failure_half_way_leaves_the_bare_checkpoint(
    manager: ModelManager, checkpoint: CheckpointInfo, ink: LoraInfo, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    bare = digest(manager, spec(checkpoint))
    wanted = spec(checkpoint, NetworkRef(info=ink))
    good = digest(manager, wanted)
    calls = iter(range(100))
    real = patches.changed_weight

    def failing(*arguments: object) -> Tensor:
        if next(calls) == 5:
            raise error
        return real(*arguments)

    monkeypatch.setattr(patches, "changed_weight", failing)
    with pytest.raises((OutOfMemory, KeyboardInterrupt)), manager.acquire(spec(checkpoint, NetworkRef(info=ink, te=0.5))):
        pass
    monkeypatch.undo()
    assert not manager.holds(wanted)
    assert digest(manager, spec(checkpoint)) == bare
    assert digest(manager, wanted) == good


def test_a_strength_that_half_precision_cannot_hold_is_an_error(checkpoint: CheckpointInfo, ink: LoraInfo) -> None:
    manager = ModelManager(CPU)
    with manager.acquire(spec(checkpoint)) as model:
        model.networks["unet"].half()
    bare = digest(manager, spec(checkpoint))
    with pytest.raises(ModelLoadError, match="at this strength"), manager.acquire(spec(checkpoint, NetworkRef(info=ink, te=0, unet=1e7))):
        pass
    assert digest(manager, spec(checkpoint)) == bare
    assert digest(manager, spec(checkpoint, NetworkRef(info=ink))) != bare
    assert digest(manager, spec(checkpoint)) == bare


def test_what_fits_nothing_is_told(manager: ModelManager, checkpoint: CheckpointInfo, tiny: TinyModel, tmp_path: Path) -> None:
    tensors = lora_tensors(tiny)
    lost = {name.replace("down_blocks_0", "down_blocks_7"): value for name, value in _part(tensors, "down_blocks_0").items()}
    odd = write_lora(tmp_path, "odd", {**tensors, **lost, "what.is.this": torch.zeros(1)})
    with manager.acquire(spec(checkpoint, NetworkRef(info=odd, dim=1, mention="odd"))):
        pass
    assert manager.notes == (
        f"LoRA 'odd': {len(lost) // 3 + 1} of its {(len(tensors) + len(lost)) // 3 + 1} modules fit nothing in this checkpoint, "
        f"such as {next(iter(lost)).split('.')[0]!r}.",
    )
    with manager.acquire(spec(checkpoint)):
        assert manager.notes == ()


def test_dyn_needs_ranks(manager: ModelManager, checkpoint: CheckpointInfo, tiny: TinyModel, tmp_path: Path) -> None:
    name, layer = next(iter(layers(tiny).items()))
    whole = write_lora(
        tmp_path,
        "whole",
        {f"{name}.diff": torch.ones_like(layer.weight), f"{name.replace('attn2_to_k', 'attn2_to_out_0')}.diff_b": torch.ones(32)},
    )
    with manager.acquire(spec(checkpoint, NetworkRef(info=whole, dim=4))) as model:
        bias = model.networks["unet"].down_blocks[0].attentions[0].transformer_blocks[0].attn2.to_out[0].bias
        assert torch.allclose(bias, tiny.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2.to_out[0].bias + 1)
    assert "dyn=4 applies to plain LoRA modules only" in manager.notes[0]


def test_streamed_weights_are_changed_where_they_lie() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    before = network[0].weight.detach().clone()
    cpu_offload(network, execution_device=torch.device("cpu"))
    assert network[0].weight.is_meta
    with torch.no_grad():
        stored(network[0], "weight").add_(1.0)
    result = network(torch.eye(2)) - network[0]._hf_hook.weights_map["bias"]
    assert torch.allclose(result.T, before + 1)


SMALL = save({"lora_unet_x.lora_up.weight": torch.ones(2, 1), "lora_unet_x.lora_down.weight": torch.ones(1, 2)})


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(position=st.integers(0, len(SMALL) - 1), value=st.integers(0, 255), cut=st.integers(0, 40))
def test_a_damaged_file_raises_nothing_else(tmp_path: Path, position: int, value: int, cut: int) -> None:
    data = bytearray(SMALL)
    data[position] = value
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(bytes(data[: len(data) - cut]))
    try:
        file = NetworkFiles().get(LoraInfo(name=path.name, path=str(path)))
    except ModelLoadError as error:
        assert "damaged.safetensors can't be loaded" in str(error)
        return
    assert all(torch.isfinite(part).all() for module in file.modules for part in module.parts.values())


def test_files_are_kept_as_long_as_there_is_room(ink: LoraInfo, tiny: TinyModel, tmp_path: Path) -> None:
    other = write_lora(tmp_path, "other", lora_tensors(tiny, seed=1))
    roomy, narrow = NetworkFiles(), NetworkFiles(kept_bytes=1)
    for files in (roomy, narrow):
        first = files.get(ink)
        assert files.get(ink) is first
        files.get(other)
        assert (files.get(ink) is first) == (files is roomy)
