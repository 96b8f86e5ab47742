"""Faces restored in pictures that are drawn: from the setting to pixels and infotext.

The shipped checkpoint draws no faces, but its autoencoder keeps one: the pictures are begun from a face and nothing is drawn anew.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.domain.catalog import CODEFORMER, GFPGAN
from modules.domain.errors import ModelNotFound
from modules.domain.events import Stage
from modules.domain.img2img import Img2Img
from modules.domain.requests import GenerationRequest
from modules.faces.find import FaceFinder
from modules.jobs.acceptance import freeze
from modules.settings.schema import Faces, Settings
from tests.drawn_faces import with_faces
from tests.engine.drawing import Studio, images, pixels
from tests.rules.source import ROOT
from tests.tiny_faces import write_restorer
from tests.tiny_models import catalog_of, checkpoint_info

STARTER = ROOT / "models" / "Stable-diffusion" / "starter.safetensors"


def test_the_setting_restores_faces_and_the_infotext_says_so(tmp_path: Path) -> None:
    restorer = write_restorer(tmp_path / "GFPGAN" / "RestoreFormer.pth")
    studio = Studio(tmp_path, replace(catalog_of(checkpoint_info(STARTER)), face_restorers=(restorer,)))
    face = studio.put(Image.fromarray(with_faces((256, 256), (50, 40, 150))))
    asked = {"init": Img2Img(image=face, denoising_strength=0.0), "width": 256, "height": 256, "steps": 30, "cfg_scale": 1.0}
    (plain,) = studio.draw(**asked)
    (found,) = FaceFinder().find(plain)
    studio.settings = Settings(faces=Faces(restorer=GFPGAN))
    events = studio.run(**asked)
    (event,) = images(events)
    assert "Face restoration: GFPGAN" in event.infotext and "CodeFormer weight" not in event.infotext
    assert "Restoring faces with GFPGAN, face 1 of 1" in [each.text for each in events if isinstance(each, Stage)]
    changed = (pixels(event) != plain).any(axis=2)
    left, top, width, height = (round(value) for value in found.box)
    assert changed[top : top + height, left : left + width].mean() > 0.9
    assert not changed[:, -10:].any() and not changed[-10:].any(), np.argwhere(changed).max(axis=0)


def test_without_the_weights_the_click_says_where_they_go(tmp_path: Path) -> None:
    catalog = catalog_of(checkpoint_info(STARTER))
    with pytest.raises(ModelNotFound, match=r"models/Codeformer.*Or choose None in Settings"):
        freeze(GenerationRequest(prompt="a cat"), Settings(faces=Faces(restorer=CODEFORMER)), catalog, tmp_path)
