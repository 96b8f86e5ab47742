"""Upscaler files: those that are read come out as their networks, those that are none are refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pickle import dumps
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.ESRGAN import ESRGAN

from modules.domain.errors import ModelLoadError, NotANumber
from modules.upscalers.models import UpscalerModels
from modules.weights.upscaler_files import read_upscaler
from tests.tiny_upscalers import tiny_compact, upscaler_info, write_upscaler


@pytest.fixture
def models() -> UpscalerModels:
    return UpscalerModels(read_upscaler, torch.device("cpu"), torch.float32)


def refusal(models: UpscalerModels, path: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        models.get(upscaler_info(path))
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.safetensors", {}),
        ("a.pth", {}),
        ("a.pt", {"nested": "params_ema"}),
        ("a.ckpt", {"nested": "state_dict"}),
        ("a.pth", {"old": True}),
        ("a.pth", {"old": True, "nested": "params"}),
    ],
)
def test_the_network_is_the_files(models: UpscalerModels, tmp_path: Path, name: str, how: dict[str, Any]) -> None:
    network = models.get(write_upscaler(tmp_path / name, tiny_compact(4), **how))
    picture = np.random.default_rng(0).random((9, 7, 3), np.float32)
    with torch.inference_mode():
        wanted = tiny_compact(4)(torch.from_numpy(picture).permute(2, 0, 1)[None])[0].permute(1, 2, 0).clamp(0, 1)
    assert network.scale == 2 and network.tiled
    assert np.allclose(network(picture), wanted, atol=1e-6)


def test_other_architectures_are_told_apart(models: UpscalerModels, tmp_path: Path) -> None:
    torch.manual_seed(0)
    torch.save(ESRGAN(num_filters=8, num_blocks=1, scale=4).state_dict(), tmp_path / "esrgan.pth")
    write_upscaler(tmp_path / "denoiser.pth", tiny_compact(scale=1))
    picture = np.full((6, 5, 3), 0.5, np.float32)
    for name, scale in (("esrgan", 4), ("denoiser", 1)):
        network = models.get(upscaler_info(tmp_path / f"{name}.pth"))
        assert network.scale == scale
        assert network(picture).shape == (6 * scale, 5 * scale, 3)


def test_one_is_kept_and_a_changed_file_is_another(models: UpscalerModels, tmp_path: Path) -> None:
    one, two = write_upscaler(tmp_path / "one.pth"), write_upscaler(tmp_path / "two.pth", tiny_compact(1))
    first = models.get(one)
    assert models.get(one) is first and models.holds(one) and not models.holds(two)
    bad = tmp_path / "bad.pth"
    bad.write_bytes(b"")
    refusal(models, bad)
    assert models.get(one) is first
    assert models.get(two) is not first and not models.holds(one)
    changed = write_upscaler(tmp_path / "two.pth", tiny_compact(2, convolutions=3))
    assert not models.holds(changed)
    models.clear()
    assert not models.holds(two)


class Sly:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_what_could_be_a_program_is_refused_unread(models: UpscalerModels, tmp_path: Path, zipped: bool) -> None:
    content = {"params": tiny_compact().state_dict(), "more": Sly(tmp_path / "written")}
    torch.save(content, tmp_path / "sly.pth", _use_new_zipfile_serialization=zipped)
    assert "more than tensors" in refusal(models, tmp_path / "sly.pth")
    assert not (tmp_path / "written").exists()


def _scripted(path: Path) -> None:
    torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))


def _with(**changes: torch.Tensor) -> Callable[[Path], None]:
    return lambda path: torch.save(
        {**tiny_compact().state_dict(), **{name.replace("__", "."): value for name, value in changes.items()}}, path
    )


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (lambda path: path.write_bytes(b""), "empty"),
    "page": (lambda path: path.write_bytes(b"<html>404</html>"), "not a PyTorch checkpoint"),
    "plain pickle": (lambda path: path.write_bytes(dumps({"a": 1})), "not a PyTorch checkpoint"),
    "cut": (lambda path: (torch.save(tiny_compact().state_dict(), path), path.write_bytes(path.read_bytes()[:-500])), "damaged"),
    "script": (_scripted, "TorchScript"),
    "list": (lambda path: torch.save([torch.zeros(2)], path), "no named tensors"),
    "numbers": (lambda path: torch.save({1: torch.zeros(2), 2: 3}, path), "not an upscaler"),
    "foreign": (lambda path: torch.save({"unet.weight": torch.zeros(2)}, path), "not an upscaler that this version knows"),
    "shape": (_with(body__2__weight=torch.zeros(3, 3)), "not an upscaler, or a damaged one"),
    "nan": (_with(body__0__bias=torch.full((8,), torch.nan)), "not finite, in 'body.0.bias'"),
    "grey": (lambda path: torch.save(tiny_compact(channels=1).state_dict(), path), "1 channels"),
    "gone": (lambda path: path.mkdir(), "not a file"),
}


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", BAD)
def test_foreign_and_damaged_files_are_refused_with_the_reason(models: UpscalerModels, tmp_path: Path, kind: str) -> None:
    write, reason = BAD[kind]
    write(tmp_path / "bad.pth")
    assert reason in refusal(models, tmp_path / "bad.pth")


def test_safetensors_are_checked_as_checkpoints_are(models: UpscalerModels, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file(tiny_compact().state_dict(), path)
    path.write_bytes(path.read_bytes()[:-10])
    assert "10 of" in refusal(models, path)


def test_numbers_that_are_no_colours_are_not_made_black(models: UpscalerModels, tmp_path: Path) -> None:
    huge = tiny_compact()
    with torch.no_grad():
        for weight in huge.parameters():
            weight.copy_(weight.sign() * 3e38)
    network = models.get(write_upscaler(tmp_path / "huge.safetensors", huge))
    with pytest.raises(NotANumber, match="Upscaler huge"):
        network(np.ones((4, 4, 3), np.float32))
