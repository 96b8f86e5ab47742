"""Faces restored by an Extras job: where in the order, how strongly, what is said about it, and pictures without faces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from modules.domain.catalog import GFPGAN, Catalog, FaceRestorerInfo
from modules.domain.events import Cancelled, Failed, Finished, Stage
from modules.domain.extras import ExtrasRequest
from modules.domain.plans import ExtrasPlan
from modules.engine.extras import extras_plan
from modules.settings.schema import Settings
from modules.upscalers.resize import Pixels, resized
from tests.drawn_faces import with_faces
from tests.engine.drawing import Studio, Wishes, images, steps
from tests.engine.test_extras import chunks, made, noise, run
from tests.tiny_faces import write_restorer

PLACE = (60, 40, 120)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    restorer = write_restorer(tmp_path / "GFPGAN" / "RestoreFormer.pth")
    return Studio(tmp_path, Catalog(face_restorers=(restorer,)))


@pytest.fixture(scope="module")
def picture() -> Pixels:
    return with_faces((240, 200), PLACE)


def test_the_face_is_restored_and_the_rest_keeps_every_bit(studio: Studio, picture: Pixels) -> None:
    whole, half = (made(studio, picture, gfpgan_visibility=visibility) for visibility in (1.0, 0.5))
    changed = (whole != picture).any(axis=2)
    rows, columns = np.nonzero(changed)
    left, top, side = PLACE
    assert not changed[:, -20:].any() and left - side < columns.min() < left + 30 and columns.max() < left + 2 * side
    assert changed[top + 40 : top + 80, left + 40 : left + 80].mean() > 0.9 and rows.min() < top + 40
    assert np.abs(half - (whole.astype(float) + picture) / 2).max() <= 1
    assert np.array_equal(made(studio, picture, gfpgan_visibility=1.0), whole), "the same each time"


def test_what_was_done_is_told_as_a1111_does(studio: Studio, picture: Pixels) -> None:
    events = run(studio, picture, gfpgan_visibility=0.5, upscaler_1="Nearest", resize_by=2.0)
    (event,) = images(events)
    assert chunks(event)["extras"] == "Postprocess upscale by: 2, Postprocess upscaler: Nearest, GFPGAN visibility: 0.5"
    told = [event.text for event in events if isinstance(event, Stage)]
    assert told == [
        "Upscaling with Nearest",
        *("Restoring faces with GFPGAN", "Looking for faces", "Loading GFPGAN", "Restoring faces with GFPGAN, face 1 of 1"),
    ]
    assert [(event.step, event.steps, event.batch, event.batches) for event in steps(events)] == [(0, 1, 2, 2)]
    assert isinstance(events[-1], Finished) and events[-1].notes == ()


def test_faces_come_before_or_after_enlarging(studio: Studio, picture: Pixels) -> None:
    asked: dict[str, Any] = {"gfpgan_visibility": 1.0, "upscaler_1": "Nearest", "resize_by": 2.0}
    alone = made(studio, picture, gfpgan_visibility=1.0)
    assert np.array_equal(made(studio, picture, **asked, upscale_first=False), resized(alone, (480, 400), "Nearest"))
    large = made(studio, picture, **asked)
    assert np.array_equal(large, made(studio, resized(picture, (480, 400), "Nearest"), gfpgan_visibility=1.0))


def test_transparency_stays(studio: Studio, picture: Pixels) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, picture.shape[:2], dtype=np.uint8)
    result = made(studio, np.dstack([picture, alpha]), gfpgan_visibility=1.0)
    assert np.array_equal(result[..., 3], alpha) and np.array_equal(result[..., :3], made(studio, picture, gfpgan_visibility=1.0))


def test_a_picture_without_faces_is_left_and_it_is_said(studio: Studio) -> None:
    events = run(studio, noise(), gfpgan_visibility=1.0)
    (event,) = images(events)
    with Image.open(event.staged) as image:
        assert np.array_equal(np.asarray(image), noise())
    assert isinstance(events[-1], Finished) and events[-1].notes == ("No faces were found for GFPGAN to restore.",)
    assert "extras" not in chunks(event) and not any(isinstance(event, Stage) and "Loading" in event.text for event in events)


def test_codeformers_fields_and_weight(studio: Studio) -> None:
    rows = (*studio.catalog.face_restorers, FaceRestorerInfo(kind="CodeFormer", path="/c/codeformer.pth"))

    def plan(**values: Any) -> ExtrasPlan:
        request = ExtrasRequest(image="0" * 32, **values)
        return extras_plan(request, Settings(), Catalog(face_restorers=rows), Image.new("RGB", (8, 8)))

    found = plan(codeformer_visibility=1.0, codeformer_weight=0.25, gfpgan_visibility=0.125).faces
    assert [(each.restorer.kind, each.weight) for each in found] == [(GFPGAN, 0.0), ("CodeFormer", 0.25)]
    assert [field for each in found for field in each.fields] == [
        ("GFPGAN visibility", "0.125"),
        ("CodeFormer visibility", "1"),
        ("CodeFormer weight", "0.25"),
    ]
    assert plan(codeformer_weight=0.5).faces == ()


def test_interrupt_acts_before_a_face_and_bad_files_fail_by_name(studio: Studio, picture: Pixels) -> None:
    events = run(studio, picture, Wishes(interrupt_when=lambda asked: asked == 3), gfpgan_visibility=1.0)
    assert isinstance(events[-1], Cancelled) and not images(events)
    path = Path(studio.catalog.face_restorers[0].path).with_name("GFPGANv1.4.pth")
    path.write_bytes(b"<html>")
    broken = Studio(studio.folder, Catalog(face_restorers=(FaceRestorerInfo(kind=GFPGAN, path=str(path)),)))
    event = run(broken, picture, gfpgan_visibility=1.0)[-1]
    assert isinstance(event, Failed) and event.reason.startswith("GFPGANv1.4.pth can't be loaded")


def test_unload_frees_the_restorer(studio: Studio, picture: Pixels) -> None:
    for _ in range(2):
        loads = [event for event in run(studio, picture, gfpgan_visibility=1.0) if isinstance(event, Stage) and "Loading" in event.text]
        assert loads
        studio.runner.unload()
