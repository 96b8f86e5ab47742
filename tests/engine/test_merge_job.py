"""Merging from the click to the file: through the queue and the engine, with the starter checkpoint, and what is drawn with the result."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from modules.bootstrap import sampler_infos, schedule_infos
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.events import Cancelled, Failed, Finished, JobEvent, Stage, StepDone
from modules.domain.jobs import Job
from modules.domain.merging import MergeRequest
from modules.gallery.gallery import Gallery
from modules.jobs.executor import InProcessExecutor
from modules.jobs.protocol import RunJob
from modules.jobs.queue import JobQueue
from modules.jobs.store import JobStore
from modules.settings.flags import INSTALL
from modules.settings.paths import Paths
from modules.settings.schema import Settings
from modules.weights.hashes import HashCache
from modules.weights.header import read_header_and_metadata
from modules.weights.scan import ModelCatalog
from tests.engine.drawing import Studio, Wishes, small_request
from tests.jobs.house import paths_in
from tests.tiny_models import catalog_of, ldm_yaml, write_checkpoint

STARTER = INSTALL / "models" / "Stable-diffusion" / "starter.safetensors"


@dataclass
class House:
    """A queue over the real catalogue of a folder with the starter and a copy that was changed."""

    queue: JobQueue
    catalog: ModelCatalog
    gallery: Gallery
    models: Path
    store: JobStore

    def finished(self, request: MergeRequest | object) -> Job:
        job = self.queue.submit(request)
        end = time.monotonic() + 240
        while (found := self.queue.get(job.id)) is not None and found.active:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert found is not None
        return found


@contextmanager
def house(folder: Path, *, start: bool = True) -> Iterator[House]:
    paths: Paths = replace(paths_in(folder), checkpoints=(folder / "models",))
    hashes = HashCache(paths.hashes_db)
    catalog = ModelCatalog(paths, hashes, sampler_infos(), schedule_infos())
    studio, gallery, store = Studio(folder, catalog.refresh()), Gallery(paths), JobStore(paths.jobs_db)
    queue = JobQueue(
        store,
        InProcessExecutor(lambda: studio.runner),
        catalog=catalog,
        settings=lambda: Settings(),
        commit_image=gallery.commit,
        saved_indices=gallery.saved_indices,
        staging=paths.staging,
        inputs=paths.inputs,
    )
    if start:
        queue.start()
    try:
        yield House(queue, catalog, gallery, folder / "models", store)
    finally:
        queue.close()
        gallery.close()
        hashes.close()


def perturbed(source: Path, target: Path) -> None:
    random = torch.Generator().manual_seed(0)
    weights = load_file(source)
    for name, tensor in weights.items():
        if name.startswith("model.diffusion_model.") and tensor.dim() > 1:
            tensor += torch.randn(tensor.shape, generator=random).to(tensor.dtype) * tensor.float().std().to(tensor.dtype) * 0.3
    save_file(weights, target)


def with_starter(folder: Path) -> None:
    (folder / "models").mkdir(parents=True)
    for name in ("starter.safetensors", "starter.yaml"):
        shutil.copy(STARTER.with_name(name), folder / "models")
    perturbed(folder / "models" / "starter.safetensors", folder / "models" / "rough.safetensors")


def test_the_starter_and_a_perturbed_copy_become_a_model_that_draws(tmp_path: Path) -> None:
    with_starter(tmp_path)
    with house(tmp_path) as made:
        job = made.finished(MergeRequest(primary="starter", secondary="rough", multiplier=0.4, half=True))
        assert (job.state, job.notes) == ("done", ("Saved as 0.6(starter) + 0.4(rough).safetensors.",)), job.error
        name = "0.6(starter) + 0.4(rough).safetensors"
        assert isinstance(job.request, MergeRequest) and job.request.file_name == name
        assert made.catalog.snapshot().checkpoint(name), "it is on offer at once"
        assert (made.models / name).with_suffix(".yaml").read_bytes() == (made.models / "starter.yaml").read_bytes()
        assert made.gallery.for_job(job.id) == [] and not list(made.models.glob(".*"))
        pictures: list[np.ndarray] = []
        for checkpoint in ("starter", "rough", name):
            drawn = made.finished(small_request(checkpoint=checkpoint, width=64, height=64, steps=4))
            assert drawn.state == "done", drawn.error
            (row,) = made.gallery.for_job(drawn.id)
            with Image.open(made.gallery.path(row.id)) as picture:
                pictures.append(np.asarray(picture.convert("RGB"), dtype=np.float32))
        starter, rough, merged = pictures
        assert merged.std() > 5
        assert 0 < np.abs(merged - starter).mean() < np.abs(rough - starter).mean()
        again = made.finished(MergeRequest(primary="starter", secondary="rough", multiplier=0.4))
        assert again.notes == ("Saved as 0.6(starter) + 0.4(rough)-1.safetensors.",)


def tiny_files(folder: Path) -> None:
    models = folder / "models"
    write_checkpoint(
        models, "a", metadata={"modelspec.title": "Mine", "modelspec.prediction_type": "epsilon", "modelspec.hash_sha256": "0"}
    )
    write_checkpoint(models, "b", seed=1, config=ldm_yaml(), metadata={"modelspec.title": "Yours", "artist": "me"})


def test_what_a_result_says_of_itself(tmp_path: Path) -> None:
    tiny_files(tmp_path)
    with house(tmp_path) as made:
        asked = MergeRequest(primary="a", secondary="b", multiplier=0.25, name="one", discard="logvar")
        job = made.finished(asked)
        assert job.notes == ("Saved as one.safetensors.", "No weight's name matches 'logvar', so none was left out."), job.error
        assert (made.models / "one.yaml").is_file(), "B's, since A has none"
        notes = read_header_and_metadata(made.models / "one.safetensors")[1]
        assert notes["format"] == "pt" and notes["modelspec.title"] == "Mine" and notes["artist"] == "me"
        assert "modelspec.hash_sha256" not in notes
        recipe, models = json.loads(notes["sd_merge_recipe"]), json.loads(notes["sd_merge_models"])
        hashes = HashCache(tmp_path / "again.sqlite")
        digests = [hashes.sha256(made.models / f"{name}.safetensors") for name in "ab"]
        assert recipe == {
            "type": "webui", "primary_model_hash": digests[0], "secondary_model_hash": digests[1], "tertiary_model_hash": None,
            "interp_method": "Weighted sum", "multiplier": 0.25, "save_as_half": False, "custom_name": "one", "config_source": "A, B or C",
            "bake_in_vae": "None", "discard_weights": "logvar", "is_inpainting": False, "is_instruct_pix2pix": False,
        }  # fmt: skip
        assert [models[digest]["name"] for digest in digests if digest] == ["a.safetensors", "b.safetensors"]
        made.finished(MergeRequest(primary="one", secondary="b", name="two", config_from="Don't"))
        notes = read_header_and_metadata(made.models / "two.safetensors")[1]
        models = json.loads(notes["sd_merge_models"])
        assert len(models) == 3 and recipe in [row["sd_merge_recipe"] for row in models.values()], "the whole family tree"
        assert not (made.models / "two.yaml").exists()
        made.finished(MergeRequest(primary="a", secondary="a", name="bare", copy_metadata=False, add_recipe=False))
        bare = read_header_and_metadata(made.models / "bare.safetensors")[1]
        assert bare == {"format": "pt", "modelspec.prediction_type": "epsilon"}


def test_what_can_not_be_merged_is_refused_at_the_click(tmp_path: Path) -> None:
    tiny_files(tmp_path)
    with house(tmp_path, start=False) as made:
        with pytest.raises(ModelNotFound, match="no checkpoint called 'nobody'"):
            made.queue.submit(MergeRequest(primary="a", secondary="nobody"))
        with pytest.raises(InvalidRequest, match=r"called b\.safetensors already"):
            made.queue.submit(MergeRequest(primary="a", secondary="b", name="b"))
        with pytest.raises(ModelNotFound, match="no VAE called"):
            made.queue.submit(MergeRequest(primary="a", secondary="b", vae="mine"))
        job = made.queue.submit(MergeRequest(primary="a", secondary="b", tertiary="nobody"))
        assert job.request == MergeRequest(primary="a.safetensors", secondary="b.safetensors", name="0.7(a) + 0.3(b)")
        assert made.store.get(job.id) == job


def run(studio: Studio, request: MergeRequest, *, wishes: Wishes | None = None, attempt: int = 1) -> list[JobEvent]:
    job = RunJob(
        job_id="m1", attempt=attempt, request=request, settings=Settings(), catalog=studio.catalog, entropy=1, staging=str(studio.folder)
    )
    events: list[JobEvent] = []
    studio.runner.run(job, events.append, wishes or Wishes())
    return events


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    models = tmp_path / "models"
    return Studio(tmp_path, catalog_of(write_checkpoint(models, "a"), write_checkpoint(models, "b", seed=1)))


ASKED = MergeRequest(primary="a", secondary="b", name="result")


def test_progress_is_told_and_interrupt_leaves_nothing(studio: Studio) -> None:
    models = studio.folder / "models"
    before = sorted(models.iterdir())
    events = run(studio, ASKED, wishes=Wishes(interrupt_when=lambda asked: asked > 20))
    assert isinstance(events[-1], Cancelled) and sorted(models.iterdir()) == before
    assert any(isinstance(event, StepDone) for event in events)
    events = run(studio, ASKED)
    steps = [event for event in events if isinstance(event, StepDone)]
    assert (
        steps[0].step == 0
        and steps[-1].step == steps[-1].steps
        and [event.step for event in steps] == sorted(event.step for event in steps)
    )
    assert Stage(job_id="m1", text="Comparing the models") in events
    assert isinstance(events[-1], Finished) and (models / "result.safetensors").is_file()


def test_a_result_is_never_written_over_another_file(studio: Studio) -> None:
    models = studio.folder / "models"
    (models / "result.safetensors").write_text("mine")
    events = run(studio, ASKED, attempt=2)
    assert isinstance(events[-1], Failed) and "There is a file result.safetensors already" in events[-1].reason
    assert (models / "result.safetensors").read_text() == "mine"


def test_a_second_attempt_takes_what_the_first_had_finished(studio: Studio) -> None:
    """The engine died between the file's naming and the job's last event."""
    file = studio.folder / "models" / "result.safetensors"
    run(studio, ASKED)
    written = file.stat()
    events = run(studio, ASKED, attempt=2)
    assert isinstance(events[-1], Finished) and file.stat().st_mtime_ns == written.st_mtime_ns


def test_a_full_disk_is_said_before_anything_is_written(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    events = run(studio, ASKED)
    assert isinstance(events[-1], Failed) and "result.safetensors needs" in events[-1].reason and "Make room" in events[-1].reason
    assert len(list((studio.folder / "models").iterdir())) == 2


def test_a_restart_in_the_middle_begins_anew(tmp_path: Path) -> None:
    """The program ends while a merge runs: the job is queued again, and the next program makes the file."""
    tiny_files(tmp_path)
    with house(tmp_path, start=False) as made:
        job = made.queue.submit(MergeRequest(primary="a", secondary="b", name="late"))
        assert made.store.claim() is not None
        (made.models / f".{job.id}.merging").write_bytes(b"half of it")
        made.store.close()
    ended = threading.Event()
    with house(tmp_path) as made:
        end = time.monotonic() + 120
        while not ended.is_set():
            found = made.queue.get(job.id)
            assert found is not None and time.monotonic() < end
            if not found.active:
                ended.set()
            time.sleep(0.02)
        assert found.state == "done", found.error
        assert (made.models / "late.safetensors").is_file() and not list(made.models.glob(".*"))
