"""Live previews by a small decoder: the published layouts of its file, the checkpoint it belongs to, and what is shown without one."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import save_file

from modules.domain.catalog import CheckpointInfo
from modules.domain.errors import ModelLoadError
from modules.domain.events import Finished, StepDone
from modules.families.base import ModelFacts
from modules.families.tiny_decoder import TinyDecoder
from modules.settings.schema import Previews, Settings
from modules.weights.preview_decoders import PreviewDecoders
from tests.engine.drawing import Studio, images, pixels
from tests.tiny_models import catalog_of, checkpoint_info

STARTER = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "starter.safetensors"
CPU = torch.device("cpu")
FACTS = ModelFacts(family="sd1", prediction="eps", in_channels=4, latent_channels=4, factor=8, text_layers=12)
CHECKPOINT = CheckpointInfo(name="sub/mine.safetensors", path="", format="safetensors")


def _tiny(width: int = 8) -> AutoencoderTiny:
    torch.manual_seed(width)
    return AutoencoderTiny(encoder_block_out_channels=(width,) * 4, decoder_block_out_channels=(width,) * 4).eval()


def _published(network: AutoencoderTiny) -> dict[str, torch.Tensor]:
    """The weights as `taesd_decoder` files have them: layers numbered from 1."""
    out: dict[str, torch.Tensor] = {}
    for name, tensor in network.decoder.layers.state_dict().items():
        number, rest = name.split(".", 1)
        out[f"{int(number) + 1}.{rest}"] = tensor.contiguous()
    return out


@pytest.mark.parametrize("layout", ["published", "diffusers", "decoder"])
@torch.no_grad()
def test_every_layout_decodes_as_diffusers_does(layout: str) -> None:
    network, latents = _tiny(), torch.randn(2, 4, 6, 5)
    tensors = {"published": _published(network), "diffusers": network.state_dict(), "decoder": network.decoder.state_dict()}[layout]
    made = TinyDecoder(tensors, CPU, torch.float32)(latents)
    wanted = ((network.decode(latents).sample / 2 + 0.5).clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1)
    assert made.shape == (2, 48, 40, 3)
    assert torch.equal(made, wanted)


def test_other_files_are_refused() -> None:
    with pytest.raises(ModelLoadError, match="no decoder"):
        TinyDecoder({"conv.weight": torch.zeros(1)}, CPU, torch.float32)
    with pytest.raises(ModelLoadError, match="shape"):
        TinyDecoder({"layers.0.weight": torch.zeros(8, 4, 3, 3)}, CPU, torch.float32)


def test_the_checkpoints_own_decoder_comes_before_the_familys(tmp_path: Path) -> None:
    decoders = PreviewDecoders((tmp_path,), CPU, torch.float32)
    assert decoders.find(CHECKPOINT, FACTS) is None
    save_file(_published(_tiny()), tmp_path / "taesd_decoder.safetensors")
    family = decoders.find(CHECKPOINT, FACTS)
    assert family is not None
    assert decoders.find(CHECKPOINT, FACTS) is family
    assert decoders.find(CHECKPOINT, replace(FACTS, is_sdxl=True)) is None
    assert decoders.find(CHECKPOINT, replace(FACTS, latent_channels=16)) is None
    save_file(_published(_tiny(16)), tmp_path / "mine_decoder.safetensors")
    assert decoders.find(CHECKPOINT, FACTS) is not family
    torch.save(_published(_tiny()), tmp_path / "taesdxl_decoder.pth")
    assert decoders.find(CHECKPOINT, replace(FACTS, is_sdxl=True)) is not None


def test_a_broken_decoder_costs_no_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "taesd_decoder.safetensors").write_bytes(b"nothing")
    decoders = PreviewDecoders((tmp_path,), CPU, torch.float32)
    assert decoders.find(CHECKPOINT, FACTS) is None
    assert decoders.find(CHECKPOINT, FACTS) is None
    assert sum("taesd_decoder.safetensors can't be used" in record.message for record in caplog.records) == 1


def test_previews_have_the_decoders_pixels(tmp_path: Path) -> None:
    studio = Studio(tmp_path, catalog_of(checkpoint_info(STARTER)), Settings(previews=Previews(method="TAESD")))

    def previews() -> list[bytes]:
        events = studio.run(width=64, height=64, steps=2)
        assert isinstance(events[-1], Finished)
        return [event.preview for event in events if isinstance(event, StepDone) and event.preview is not None]

    without = previews()
    folder = studio.folder / "VAE-approx"
    folder.mkdir()
    network = _tiny()
    last = network.decoder.layers[-1]
    torch.nn.init.zeros_(last.weight)
    last.bias.data.copy_(torch.tensor([1.0, 0.0, 0.5]))  # the decoder says 0..1 and makes -1..1 of it
    save_file(_published(network), folder / "taesd_decoder.safetensors")
    with_decoder = previews()
    assert without
    assert with_decoder
    red, green, blue = np.asarray(Image.open(io.BytesIO(with_decoder[0])).convert("RGB")).mean(axis=(0, 1))
    assert (red > 240, green < 15, 110 < blue < 145) == (True, True, True)
    assert with_decoder[0] != without[0]


def test_the_starters_own_decoder_shows_what_the_picture_will_be(tmp_path: Path) -> None:
    def apart(method: str) -> float:
        """How far the last preview is from the picture, of 255."""
        studio = Studio(tmp_path / method, catalog_of(checkpoint_info(STARTER)), Settings(previews=Previews(method=method)))
        (studio.folder / "VAE-approx").symlink_to(STARTER.parents[1] / "VAE-approx")
        events = studio.run(prompt="an apple on a blue background", width=128, height=128, steps=12, seed=3)
        (picture,) = (pixels(event).astype(float) for event in images(events))
        last = [event.preview for event in events if isinstance(event, StepDone) and event.preview is not None][-1]
        shown = Image.open(io.BytesIO(last)).convert("RGB").resize((128, 128), Image.Resampling.BICUBIC)
        return float(np.abs(np.asarray(shown) - picture).mean())

    assert apart("TAESD") < 0.6 * apart("Approx cheap")
