"""Enlarging from the click to the file: through the queue, the engine and the gallery, beside jobs that draw."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

from PIL import Image

from modules.domain.extras import ExtrasRequest
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest
from modules.jobs.store import JobStore
from modules.settings.schema import Saving, Settings
from tests.engine.test_img2img_job import Rooms, rooms, scene

SOURCE = "a cat\nSteps: 4, Sampler: Euler, Seed: 12, Size: 32x32"


def done(made: Rooms, request: ExtrasRequest) -> Job:
    """The job when it is over and its pictures are there."""
    job = made.queue.submit(request)
    end = time.monotonic() + 120
    while (found := made.queue.get(job.id)) is not None and found.active:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert found is not None and found.state == "done", found
    return found


def test_files_go_to_a1111s_folder_under_a1111s_names(tmp_path: Path) -> None:
    with rooms(tmp_path, Settings(saving=Saving(name_upscaler=True))) as made:
        image = made.inputs.put_picture(scene()).id
        asked = {"image": image, "resize_by": 2.0, "upscaler_1": "LANCZOS"}
        jobs = [done(made, ExtrasRequest(**asked, name=name, infotext=SOURCE)) for name in ("my cat.jpeg", "my cat.jpeg", "")]
        assert jobs[0].request == ExtrasRequest(image=image, resize_by=2.0, upscaler_1="Lanczos", name="my cat.jpeg", infotext=SOURCE)
        names = [path.relative_to(tmp_path).as_posix() for path in made.files("extras-images")]
        folder = r"outputs/extras-images/\d{4}-\d\d-\d\d"
        for name, wanted in zip(names, ("00000-Lanczos", "my cat-0000-Lanczos", "my cat-0001-Lanczos"), strict=True):
            assert re.fullmatch(f"{folder}/{wanted}.png", name)
        with Image.open(made.files("extras-images")[1]) as picture:
            assert picture.size == (64, 64)
            assert picture.info == {"parameters": SOURCE, "extras": "Postprocess upscale by: 2, Postprocess upscaler: Lanczos"}
        (row,) = made.gallery.for_job(jobs[0].id)
        assert (row.width, row.height, row.seed) == (64, 64, 12) and row.infotext.startswith(SOURCE)
        assert not (tmp_path / "params.txt").exists(), "it is the last drawn picture's"


def test_names_may_be_left_out_and_a_job_may_save_nothing(tmp_path: Path) -> None:
    with rooms(tmp_path, Settings(saving=Saving(keep_source_names=False))) as made:
        image = made.inputs.put_picture(scene()).id
        done(made, ExtrasRequest(image=image, upscaler_1="Nearest", name="cat.png"))
        assert [path.name for path in made.files("extras-images")] == ["00000.png"]
        job = done(made, ExtrasRequest(image=image, upscaler_1="Nearest", name="cat.png", overrides=(("samples_save", False),)))
        assert len(made.files("extras-images")) == 1
        (row,) = made.gallery.for_job(job.id)
        assert made.gallery.path(row.id).is_file()


def test_jobs_that_an_earlier_version_stored_are_read_beside_new_ones(tmp_path: Path) -> None:
    """What is in the table of a version without extras has no kind."""
    with rooms(tmp_path, Settings(), start=False) as made:
        old = made.queue.submit(GenerationRequest(prompt="a cat"))
        new = made.queue.submit(ExtrasRequest(image=made.inputs.put_picture(scene()).id))
        store = next(tmp_path.rglob("jobs.sqlite"))
    with sqlite3.connect(store) as connection:
        kept = {row[0]: json.loads(row[1]) for row in connection.execute("SELECT id, request FROM jobs")}
    assert "kind" not in kept[old.id] and kept[new.id]["kind"] == "extras"
    again = JobStore(store)
    assert [job.request for job in again.active()] == [old.request, new.request]
    again.close()


def test_a_result_is_copied_out_and_never_over_another_file(tmp_path: Path) -> None:
    with rooms(tmp_path, Settings()) as made:
        image, folder = made.inputs.put_picture(scene()).id, tmp_path / "out"
        asked = ExtrasRequest(image=image, upscaler_1="Nearest", name="cat.jpg", copy_to=str(folder))
        for _ in range(2):
            assert done(made, asked).notes == ()
        assert sorted(path.name for path in folder.iterdir()) == ["cat-1.png", "cat.png"]
        assert (folder / "cat.png").read_bytes() == made.files("extras-images")[0].read_bytes()
        (tmp_path / "file").write_text("in the way")
        job = done(made, replace(asked, copy_to=str(tmp_path / "file")))
        assert "could not be copied" in job.notes[0] and len(made.files("extras-images")) == 3
