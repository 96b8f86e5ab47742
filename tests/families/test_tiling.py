"""Tiling: a picture goes on at its opposite edges, and the model is afterwards what it was."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from torch import nn

from modules.families.tiling import tileable
from modules.settings.schema import Models, Settings
from tests.engine.drawing import Studio, images, pixels
from tests.tiny_models import catalog_of, write_checkpoint


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    return Studio(folder, catalog_of(write_checkpoint(folder / "models")))


def seam(picture: npt.NDArray[np.uint8]) -> float:
    """How much larger the step over the edges is than those beside it."""
    wide = np.concatenate((picture, picture), axis=1).astype(int)
    steps = np.abs(np.diff(wide, axis=1)).mean(axis=(0, 2))
    width = picture.shape[1]
    return float(steps[width - 1] - (steps[width - 3] + steps[width + 1]) / 2)


def test_modes_come_back_after_an_error() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"))
    with pytest.raises(RuntimeError), tileable([network]):
        assert [layer.padding_mode for layer in network] == ["circular", "zeros", "circular"]
        raise RuntimeError
    assert [layer.padding_mode for layer in network] == ["zeros", "zeros", "reflect"]


def test_a_moved_picture_is_decoded_as_the_picture_moved(studio: Studio) -> None:
    """Decoding is then the same everywhere: rolled latents give the rolled picture, which is what having no seam means."""
    import torch

    from modules.domain.plans import ModelSpec

    spec = ModelSpec(checkpoint=studio.catalog.checkpoints[0])
    latent = torch.randn((4, 8, 8), generator=torch.Generator().manual_seed(0))
    for tiling in (True, False):
        with studio.engine.models.acquire(ModelSpec(checkpoint=spec.checkpoint, tiling=tiling)) as model:
            first, moved = (model.decode_latent(each) for each in (latent, latent.roll(3, dims=2)))
            assert first is not None and moved is not None
            rolled = np.roll(first, 3 * model.facts.factor, axis=1)
        assert (int(np.abs(rolled.astype(int) - moved).max()) <= 1) == tiling


def test_the_setting_reaches_picture_and_text(studio: Studio) -> None:
    plain = images(studio.run())[0]
    studio.settings = Settings(models=Models(tiling=True))
    tiled = images(studio.run())[0]
    studio.settings = Settings()
    assert "Tiling: True" in tiled.infotext and "Tiling" not in plain.infotext
    assert not np.array_equal(pixels(plain), pixels(tiled))
    assert np.array_equal(pixels(images(studio.run())[0]), pixels(plain))
