"""A job that begins from a picture, from the click to the file: through the queue, the engine and the gallery."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modules.domain.catalog import Catalog
from modules.domain.events import TERMINAL
from modules.domain.img2img import Img2Img, Inpaint
from modules.domain.jobs import Job
from modules.gallery.gallery import Gallery
from modules.gallery.inputs import InputStore
from modules.imaging.files import read_infotext
from modules.jobs.executor import InProcessExecutor
from modules.jobs.queue import JobQueue
from modules.jobs.store import JobStore
from modules.settings.schema import Img2ImgSettings, Saving, Settings
from tests.engine.drawing import Studio, small_request
from tests.jobs.house import paths_in
from tests.tiny_models import catalog_of, write_checkpoint


@dataclass
class Rooms:
    queue: JobQueue
    gallery: Gallery
    inputs: InputStore
    outputs: Path

    def finished(self, **request: object) -> Job:
        """A job that is over."""
        ended, told = set[str](), threading.Condition()

        def hear(event: object) -> None:
            if isinstance(event, TERMINAL):
                with told:
                    ended.add(event.job_id)
                    told.notify_all()

        unsubscribe = self.queue.subscribe(hear)
        job = self.queue.submit(small_request(**request))
        with told:
            assert told.wait_for(lambda: job.id in ended, 120)
        unsubscribe()
        found = self.queue.get(job.id)
        assert found is not None
        return found

    def files(self, folder: str) -> list[Path]:
        return sorted((self.outputs / folder).rglob("*.png"))


class OneCatalog:
    """A `CatalogSource` of what never changes."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def snapshot(self) -> Catalog:
        return self._catalog

    def refresh(self) -> Catalog:
        return self._catalog


@contextmanager
def rooms(folder: Path, settings: Settings, *, start: bool = True) -> Iterator[Rooms]:
    studio = Studio(folder, catalog_of(write_checkpoint(folder / "models")))
    paths, gallery = paths_in(folder), Gallery(paths_in(folder))
    queue = JobQueue(
        JobStore(paths.jobs_db),
        InProcessExecutor(lambda: studio.runner),
        catalog=OneCatalog(studio.catalog),
        settings=lambda: settings,
        commit_image=gallery.commit,
        saved_indices=gallery.saved_indices,
        staging=paths.staging,
        inputs=paths.inputs,
    )
    if start:
        queue.start()
    try:
        yield Rooms(queue, gallery, InputStore(paths.inputs, in_use=queue.inputs), paths.outputs)
    finally:
        queue.close()
        gallery.close()


def scene(seed: int = 1) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def test_files_go_to_a1111s_folders_under_a1111s_names(tmp_path: Path) -> None:
    saving = Saving(use_date_folders=False, save_mask=True, save_start_image=True, filename_pattern="[seed]-[denoising]")
    with rooms(tmp_path, Settings(saving=saving)) as made:
        mask = Image.new("RGB", (32, 32))
        mask.paste((255, 255, 255), (8, 8, 24, 24))
        init, inpaint = Img2Img(image=made.inputs.put_picture(scene()).id), Inpaint(mask=made.inputs.put_picture(mask).id, mask_blur_x=0)
        for _ in range(2):
            job = made.finished(init=init, inpaint=inpaint, batch_size=2)
            assert job.state == "done", job.error
        names = [path.name for path in made.files("img2img-images")]
        assert sorted(name.split("-", 1)[1] for name in names) == sorted(
            ["7-0.75.png", "8-0.75.png", "7-0.75-mask.png", "8-0.75-mask.png"] * 2
        )
        assert len(made.files("img2img-grids")) == 2 and not (tmp_path / "outputs" / "txt2img-images").exists()
        digest = hashlib.md5(scene().tobytes()).hexdigest()
        assert [path.name for path in made.files("init-images")] == [f"{digest}.png"]
        assert f"Init image hash: {digest}" in read_infotext(made.files("img2img-images")[0])
        shown = {image.kind for image in made.gallery.for_job(job.id)}
        assert shown == {"image", "mask", "grid"}
        assert made.finished().state == "done"
        assert len(made.files("txt2img-images")) == 1


def test_a_picture_that_goes_while_its_job_waits_fails_that_job_alone(tmp_path: Path) -> None:
    with rooms(tmp_path, Settings(), start=False) as made:
        gone, there = made.inputs.put_picture(scene()), made.inputs.put_picture(scene(2))
        first = made.queue.submit(small_request(init=Img2Img(image=gone.id)))
        made.queue.submit(small_request(init=Img2Img(image=there.id)))
        assert made.queue.inputs() == {gone.id, there.id}
        made.inputs.path(gone.id).unlink()
        made.queue.start()
        assert made.finished().state == "done"
        jobs = {job.id: job for job in made.queue.list()}
        failed = jobs.pop(first.id)
        assert failed.state == "failed" and "start picture" in failed.error and "Choose it again" in failed.error
        assert {job.state for job in jobs.values()} == {"done"}
        assert made.queue.inputs() == frozenset()


def test_a_mask_that_is_only_to_be_shown_is_no_file_among_the_pictures(tmp_path: Path) -> None:
    with rooms(tmp_path, Settings(img2img=Img2ImgSettings(return_mask=True, return_mask_composite=True))) as made:
        mask = made.inputs.put_picture(Image.new("RGB", (32, 32), "white"))
        job = made.finished(init=Img2Img(image=made.inputs.put_picture(scene()).id), inpaint=Inpaint(mask=mask.id))
        assert {image.kind for image in made.gallery.for_job(job.id)} == {"image", "mask", "mask_composite"}
        assert len(made.files("img2img-images")) == 1
        for image in made.gallery.for_job(job.id):
            assert made.gallery.path(image.id).is_file()


@pytest.mark.parametrize("kind", ["mask", "image"])
def test_nothing_of_the_pictures_is_in_the_queue_s_database(tmp_path: Path, kind: str) -> None:
    with rooms(tmp_path, Settings()) as made:
        kept = made.inputs.put_picture(scene())
        fields = {"init": Img2Img(image=kept.id)}
        job = made.finished(**fields, **({"inpaint": Inpaint(mask=kept.id)} if kind == "mask" else {}))
        assert job.state == "done", job.error
    rows = b"".join(path.read_bytes() for path in tmp_path.rglob("jobs.sqlite*"))
    assert kept.id.encode() in rows and b"PNG" not in rows and len(rows) < 200_000
