"""What a job says while it runs, and what is left of it when it is stopped, fails or was half done before."""

from __future__ import annotations

import gc
import hashlib
import io
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modules.domain.catalog import CheckpointInfo
from modules.domain.events import TERMINAL, Cancelled, Failed, Finished, JobEvent, Stage, Started
from modules.domain.plans import ModelSpec
from modules.domain.requests import HiresPass
from modules.domain.results import UNFINISHED
from modules.engine.resolve import resolve
from modules.imaging.files import read_infotext
from modules.imaging.infotext import parse_infotext
from modules.settings.schema import Engine as EngineSettings
from modules.settings.schema import Previews, Saving, Settings
from tests.engine.drawing import Studio, Wishes, images, pixels, small_request, steps
from tests.tiny_models import catalog_of, checkpoint_info, write_checkpoint


@pytest.fixture
def studio(tmp_path: Path, checkpoint: CheckpointInfo) -> Studio:
    return Studio(tmp_path, catalog_of(checkpoint))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> CheckpointInfo:
    return write_checkpoint(tmp_path_factory.mktemp("models"))


def ends_once(events: list[JobEvent]) -> bool:
    return sum(isinstance(event, TERMINAL) for event in events) == 1 and isinstance(events[-1], TERMINAL)


def test_a_job_tells_its_story_in_order(studio: Studio) -> None:
    events = studio.run(batch_count=2, steps=4)
    assert ends_once(events) and isinstance(events[-1], Finished)
    assert isinstance(events[0], Started) and events[0].image_count == 2
    assert [event.text for event in events if isinstance(event, Stage)] == ["Loading tiny", "Decoding", "Decoding"]
    assert [(event.step, event.steps, event.batch, event.batches) for event in steps(events)] == [
        (step, 4, batch, 2) for batch in (1, 2) for step in (1, 2, 3, 4)
    ]
    assert [event.index for event in images(events)] == [0, 1]
    assert [event.index for event in images(events, "grid")] == [-1]


def test_the_file_is_complete_and_says_how_it_was_made(studio: Studio) -> None:
    event = images(studio.run(prompt="a cat, (soft:1.2)\nin two lines", steps=5, sampler="dpmpp_2m"))[0]
    with Image.open(event.staged) as image:
        assert image.size == (32, 32) == (event.width, event.height)
    assert read_infotext(event.staged) == event.infotext
    fields = parse_infotext(event.infotext)
    assert fields["Prompt"] == "a cat, (soft:1.2)\nin two lines" and fields["Negative prompt"] == "fog"
    line = event.infotext.splitlines()[-1]
    assert line == (
        "Steps: 5, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 7, Size: 32x32, "
        "Model hash: ababababab, Model: tiny, Version: diffusion-webui v0.1.0"
    )
    assert dict(event.name_fields)["model_name"] == "tiny"
    assert not list(Path(event.staged).parent.glob("*.part"))


def test_the_model_hash_is_computed_where_the_catalogue_does_not_know_it(studio: Studio, checkpoint: CheckpointInfo) -> None:
    studio.catalog = catalog_of(replace(checkpoint, sha256=None))
    digest = hashlib.sha256(Path(checkpoint.path).read_bytes()).hexdigest()
    assert f"Model hash: {digest[:10]}" in images(studio.run())[0].infotext


def test_previews_are_small_jpegs_of_what_comes(studio: Studio) -> None:
    events = steps(studio.run(steps=3, width=64, height=32, batch_size=2))
    shown = [event.preview for event in events if event.preview]
    assert shown
    with Image.open(io.BytesIO(shown[0])) as preview:
        assert preview.format == "JPEG"
        assert preview.size == (128, 32)
    studio.settings = Settings(previews=Previews(enabled=False))
    assert not any(event.preview for event in steps(studio.run(steps=3)))
    studio.settings = Settings(previews=Previews(method="Full"))
    assert any(event.preview for event in steps(studio.run(steps=3)))


def test_interrupt_stops_within_a_step_and_keeps_finished_pictures(studio: Studio) -> None:
    # asked once before the batch, once for loading, once a step, once for decoding
    events = studio.run(batch_count=3, steps=4, wishes=Wishes(interrupt_when=lambda asked: asked >= 10))
    assert ends_once(events) and isinstance(events[-1], Cancelled)
    assert [event.index for event in images(events)] == [0]
    assert [(event.batch, event.step) for event in steps(events)][-1] == (2, 2)
    assert not images(events, "grid")
    assert isinstance(studio.run()[-1], Finished)


def test_a_job_that_is_to_end_finishes_its_batch_and_makes_the_grid_of_what_there_is(studio: Studio) -> None:
    events = studio.run(batch_count=4, steps=4, wishes=Wishes(end_when=lambda asked: asked >= 9))
    assert ends_once(events) and isinstance(events[-1], Cancelled)
    assert [event.index for event in images(events)] == [0, 1]
    assert len(images(events, "grid")) == 1
    whole = images(studio.run(batch_count=4, steps=4))
    assert np.array_equal(pixels(images(events)[1]), pixels(whole[1]))


@pytest.mark.parametrize("wishes", [{"interrupt_when": lambda asked: asked >= 5}, {"skip_when": lambda asked: asked == 5}])
def test_an_unfinished_picture_is_decoded_where_the_settings_want_it(studio: Studio, wishes: dict[str, Callable[[int], bool]]) -> None:
    events = studio.run(batch_size=2, steps=6, wishes=Wishes(**wishes))
    assert not images(events) and not images(events, UNFINISHED)
    studio.settings = Settings(saving=Saving(save_incomplete=True), previews=Previews(method="Full"))
    events = studio.run(batch_size=2, steps=6, wishes=Wishes(**wishes))
    assert ends_once(events) and isinstance(events[-1], Cancelled if "interrupt_when" in wishes else Finished)
    assert not images(events) and not images(events, "grid")
    rescued = images(events, UNFINISHED)
    assert [(event.index, event.seed) for event in rescued] == [(0, 7), (1, 8)]
    fields = parse_infotext(rescued[0].infotext)
    assert (fields["Steps"], fields["Unfinished"]) == ("6", f"{steps(events)[-1].step} of 6 steps")
    assert pixels(rescued[0]).shape == (32, 32, 3)
    assert not np.array_equal(pixels(rescued[0]), pixels(images(studio.run(batch_size=2, steps=6))[0]))


def test_what_is_interrupted_after_its_last_step_is_kept_too(studio: Studio) -> None:
    studio.settings = Settings(saving=Saving(save_incomplete=True))
    whole = images(studio.run(batch_size=2, steps=4))
    # before the batch, four steps, then for each picture to decode
    for asked in (6, 7):
        events = studio.run(batch_size=2, steps=4, wishes=Wishes(interrupt_when=lambda now, at=asked: now >= at))
        assert not images(events) and isinstance(events[-1], Cancelled)
        rescued = images(events, UNFINISHED)
        assert all(np.array_equal(pixels(each), pixels(other)) for each, other in zip(rescued, whole, strict=True))


def test_an_unfinished_second_pass_is_kept_in_its_size(studio: Studio) -> None:
    studio.settings = Settings(saving=Saving(save_incomplete=True))
    second = HiresPass(scale=2.0, upscaler="Latent", denoising_strength=0.7)
    events = studio.run(steps=4, hires=second, wishes=Wishes(interrupt_when=lambda asked: asked >= 10))
    found = images(events, UNFINISHED)
    assert [pixels(event).shape for event in found] == [(64, 64, 3)]
    assert parse_infotext(found[0].infotext)["Unfinished"] == f"{steps(events)[-1].step} of {steps(events)[-1].steps} steps"


def test_interrupt_before_the_first_step_makes_nothing(studio: Studio) -> None:
    events = studio.run(wishes=Wishes(interrupt_when=lambda asked: True))
    assert isinstance(events[-1], Cancelled) and not images(events) and not steps(events)


def test_skip_leaves_the_batch_only(studio: Studio) -> None:
    events = studio.run(batch_count=3, steps=4, wishes=Wishes(skip_when=lambda asked: asked == 9))
    assert isinstance(events[-1], Finished)
    assert [event.index for event in images(events)] == [0, 2]
    seeds = [event.seed for event in images(events)]
    assert seeds == [7, 9]


def test_a_second_attempt_makes_only_what_is_missing(studio: Studio) -> None:
    whole = images(studio.run(batch_count=4, seed=-1, entropy=5))
    events = studio.run(batch_count=4, seed=-1, entropy=5, done=frozenset({0, 1, 3}))
    rest = images(events)
    assert [event.index for event in rest] == [2]
    assert rest[0].seed == whole[2].seed
    assert np.array_equal(pixels(rest[0]), pixels(whole[2]))
    last = events[-1]
    assert isinstance(last, Finished) and "restart" in " ".join(last.notes)
    nothing = studio.run(batch_count=2, done=frozenset({0, 1}))
    assert isinstance(nothing[-1], Finished) and not images(nothing)


def test_a_half_saved_batch_is_drawn_again_but_not_saved_twice(studio: Studio) -> None:
    events = studio.run(batch_size=3, done=frozenset({1}))
    assert [event.index for event in images(events)] == [0, 2]
    assert len(images(events, "grid")) == 1


@pytest.mark.parametrize(
    ("saving", "count", "grids"),
    [(Saving(), 1, 0), (Saving(grid_only_if_multiple=False), 1, 1), (Saving(save_grid=False, show_grid=False), 2, 0), (Saving(), 5, 1)],
)
def test_a_grid_is_made_where_a1111_makes_one(studio: Studio, saving: Saving, count: int, grids: int) -> None:
    studio.settings = Settings(saving=saving)
    made = images(studio.run(batch_count=count, steps=1), "grid")
    assert len(made) == grids
    if count == 5:
        assert (made[0].width, made[0].height) == (96, 64)


def test_other_formats(studio: Studio) -> None:
    studio.settings = Settings(saving=Saving(image_format="jpg", embed_infotext=True))
    event = images(studio.run())[0]
    assert event.staged.endswith(".jpg") and read_infotext(event.staged) == event.infotext
    studio.settings = Settings(saving=Saving(embed_infotext=False))
    assert read_infotext(images(studio.run())[0].staged) == ""


def test_unknown_names_and_bad_models_fail_with_a_sentence(studio: Studio, tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"<!DOCTYPE html><html></html>")
    studio.catalog = catalog_of(studio.catalog.checkpoints[0], checkpoint_info(bad))
    for request, words in (
        ({"checkpoint": "nothing"}, "nothing"),
        ({"sampler": "nothing"}, "nothing"),
        ({"checkpoint": "bad"}, "web page"),
    ):
        events = studio.run(**request)
        assert ends_once(events) and isinstance(events[-1], Failed)
        assert words in events[-1].reason


def test_a_bad_model_leaves_the_old_one_drawing_the_same(studio: Studio, tmp_path: Path) -> None:
    before = studio.draw()[0]
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(Path(studio.catalog.checkpoints[0].path).read_bytes()[:-1000])
    studio.catalog = catalog_of(studio.catalog.checkpoints[0], checkpoint_info(bad))
    assert isinstance(studio.run(checkpoint="bad")[-1], Failed)
    assert studio.engine.models.holds(_spec(studio))
    assert np.array_equal(studio.draw(checkpoint="tiny")[0], before)


def test_notes_say_what_had_no_effect(studio: Studio) -> None:
    last = studio.run(prompt="house <lora:ink:0.8>", clip_skip=12)[-1]
    assert isinstance(last, Finished)
    assert "'ink' was not found" in last.notes[0] and "Clip skip 12" in last.notes[1]


def test_a_full_disk_fails_the_job_with_a_sentence(studio: Studio) -> None:
    (studio.folder / "staging").write_text("a file where the folder should be")
    last = studio.run()[-1]
    assert isinstance(last, Failed) and last.kind == "StorageError"


def test_a_vae_that_float16_is_too_small_for_goes_on_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # more than float16 can hold, until the next normalisation takes it away again
    file = write_checkpoint(tmp_path / "models", change=_scaled("first_stage_model.decoder.conv_in.weight", 3e4))
    wide = Studio(tmp_path, catalog_of(file)).draw()[0]
    studio = Studio(tmp_path, catalog_of(file))
    monkeypatch.setattr(studio.engine.models.placement, "dtype", lambda role: torch.float16 if role == "vae" else torch.float32)
    studio.settings = Settings(engine=EngineSettings(vae_retry_float32=False))
    last = studio.run()[-1]
    assert isinstance(last, Failed) and last.kind == "NotANumber" and "--no-half-vae" in last.reason
    with studio.engine.models.acquire(_spec(studio)) as model:
        vae = model.networks["vae"]
    assert {each.dtype for each in vae.parameters()} == {torch.float16}
    studio.settings = Settings()
    for _ in range(2):
        assert np.abs(studio.draw()[0].astype(int) - wide).max() <= 1
        assert {each.dtype for each in vae.parameters()} == {torch.float32}
    assert not any(each.is_inference() for each in vae.parameters()), "or nothing could be trained with it any more"


def test_previews_of_a_half_precision_vae_leave_it_trainable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = Studio(tmp_path, catalog_of(write_checkpoint(tmp_path / "models")))
    monkeypatch.setattr(studio.engine.models.placement, "dtype", lambda role: torch.float16 if role == "vae" else torch.float32)
    assert any(event.preview for event in steps(studio.run(steps=3)))
    with studio.engine.models.acquire(_spec(studio)) as model:
        assert {each.dtype for each in model.networks["vae"].parameters()} == {torch.float16}
        assert not any(each.is_inference() for network in model.networks.values() for each in network.parameters())


@pytest.mark.parametrize("name", ["first_stage_model.decoder.conv_out.weight", "model.diffusion_model.out.2.weight"])
def test_no_picture_is_made_of_nan(tmp_path: Path, name: str) -> None:
    file = write_checkpoint(tmp_path / "models", change=_scaled(name, 1e38))
    events = Studio(tmp_path, catalog_of(file)).run()
    last = events[-1]
    assert isinstance(last, Failed) and last.kind == "NotANumber"
    assert not images(events)


@pytest.mark.parametrize("network", ["text_encoder", "unet", "vae"])
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_running_out_of_memory_frees_all_and_the_next_job_works(studio: Studio, network: str, error: RuntimeError) -> None:
    before = studio.draw()[0]
    with studio.engine.models.acquire(_spec(studio)) as model:
        module = model.networks[network]
    alive = _tensors_alive()

    def fail(*_: Any) -> None:
        raise error

    target = module.decoder if network == "vae" else module
    handle = target.register_forward_hook(fail)
    events = studio.run(prompt=f"something else for {network}", batch_size=2)
    handle.remove()
    last = events[-1]
    assert isinstance(last, Failed) and last.kind == "OutOfMemory" and "32x32" in last.reason
    del module, model, target, handle
    # the prompts that were encoded meanwhile are kept on purpose: two conditionings at most
    assert _tensors_alive() - alive <= 2
    assert np.array_equal(studio.draw()[0], before)


def _tensors_alive() -> int:
    gc.collect()
    return sum(isinstance(each, torch.Tensor) for each in gc.get_objects())


def _spec(studio: Studio) -> ModelSpec:
    return resolve(small_request(), studio.settings, studio.catalog, random.Random(0))[0].model


def _scaled(name: str, factor: float) -> Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]:
    def change(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {**tensors, name: tensors[name].sign() * factor if factor > 1e30 else tensors[name] * factor}

    return change
