"""Restorers from their files: what each network gets and gives, CodeFormer's weight, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modules.domain.catalog import CODEFORMER, GFPGAN, FaceRestorerInfo
from modules.domain.errors import ModelLoadError
from modules.faces import networks
from modules.faces.networks import FaceNetworks
from modules.upscalers.tiles import FloatPixels
from modules.weights.upscaler_files import read_upscaler
from tests.tiny_faces import random_gfpgan, tiny_restoreformer, write_restorer
from tests.tiny_upscalers import tiny_compact


def held() -> FaceNetworks:
    return FaceNetworks(read_upscaler, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def face() -> FloatPixels:
    return np.random.default_rng(0).random((512, 512, 3), np.float32)


def as_tensor(face: FloatPixels) -> torch.Tensor:
    return torch.from_numpy(face).permute(2, 0, 1)[None]


def as_pixels(made: torch.Tensor) -> FloatPixels:
    return made.squeeze(0).permute(1, 2, 0).detach().numpy().clip(0, 1)


def test_one_is_held_until_another_is_asked_for(tmp_path: Path) -> None:
    first, second = (write_restorer(tmp_path / f"{name}.pth", tiny_restoreformer(seed)) for seed, name in enumerate("ab"))
    models = held()
    kept = models.get(first)
    assert models.holds(first) and models.get(first) is kept
    assert models.get(second) is not kept and not models.holds(first)
    models.clear()
    assert not models.holds(second)


def test_restoreformer_makes_what_the_network_makes(tmp_path: Path, face: FloatPixels) -> None:
    model = tiny_restoreformer()
    made = held().get(write_restorer(tmp_path / "RestoreFormer.pth", model))(face, 0.0)
    with torch.inference_mode():
        wanted = as_pixels((model(as_tensor(face) * 2 - 1)[0] + 1) / 2)
    assert np.abs(made - wanted).max() < 1e-4


@pytest.mark.slow
def test_gfpgan_gets_and_gives_minus_one_to_one_and_the_same_each_time(tmp_path: Path, face: FloatPixels) -> None:
    """Spandrel hands pixels from 0 to 1 through and cuts at 0: half of the colours would be gone."""
    model = random_gfpgan()
    made = held().get(write_restorer(tmp_path / "GFPGANv1.4.pth", model, nested="params_ema"))(face, 0.0)
    with torch.inference_mode():
        raw = model.eval()(as_tensor(face) * 2 - 1, return_rgb=False, randomize_noise=False)[0]
    assert float(raw.min()) < -0.5, "the test would not see the cut"
    assert np.abs(made - as_pixels((raw + 1) / 2)).max() < 1e-3


@pytest.mark.slow
def test_codeformers_weight_reaches_the_network(tmp_path: Path, face: FloatPixels) -> None:
    architecture = pytest.importorskip("spandrel_extra_arches.architectures.CodeFormer")
    torch.manual_seed(0)
    model = architecture.CodeFormer(dim_embd=64, n_layers=1, codebook_size=16, connect_list=["32"], fix_modules=[]).eval()
    network = held().get(write_restorer(tmp_path / "codeformer.pth", model, kind=CODEFORMER, nested="params_ema"))
    free, faithful = network(face, 0.0), network(face, 1.0)
    assert np.abs(free - faithful).max() > 0.01
    with torch.inference_mode():
        wanted = as_pixels((model(as_tensor(face) * 2 - 1, weight=1.0)[0] + 1) / 2)
    assert np.abs(faithful - wanted).max() < 1e-3


def test_without_the_package_codeformer_is_refused_with_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "EXTRA_PACKAGE", "spandrel_extra_arches_that_is_not_there")
    with pytest.raises(ModelLoadError, match=r"pip install spandrel-extra-arches.*start the program again"):
        held().get(write_restorer(tmp_path / "codeformer.pth", kind=CODEFORMER))


def test_what_is_no_face_restorer_is_refused(tmp_path: Path) -> None:
    def refusal(info: FaceRestorerInfo) -> str:
        with pytest.raises(ModelLoadError) as caught:
            held().get(info)
        return str(caught.value)

    assert refusal(write_restorer(tmp_path / "2x.pth", tiny_compact())).endswith("not a GFPGAN network")
    (tmp_path / "page.pth").write_bytes(b"<html>")
    assert refusal(FaceRestorerInfo(kind=GFPGAN, path=str(tmp_path / "page.pth")))
    broken = tiny_restoreformer()
    broken.quant_conv.weight.data[0, 0] = float("nan")
    assert "not finite" in refusal(write_restorer(tmp_path / "nan.pth", broken))
    pytest.importorskip("spandrel_extra_arches")
    assert "not a CodeFormer network that this version knows" in refusal(write_restorer(tmp_path / "x.pth", kind=CODEFORMER))
