"""The refiner: when it takes over, that it does, and that the picture says so and can be made again."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modules.domain.errors import InvalidRequest
from modules.domain.events import Finished, Stage
from modules.domain.requests import GenerationRequest, HiresPass, Refiner
from modules.engine.refiner import share_done
from modules.engine.resolve import resolve
from modules.families.parametrization import model_sigmas
from modules.gradio_ui.pasting.infotext import from_infotext
from modules.sampling.sigmas import karras
from modules.settings.schema import Models, Settings
from tests.engine.drawing import Studio, images, pixels, small_request
from tests.tiny_families import write_tiny
from tests.tiny_models import catalog_of, tiny_model, write_checkpoint
from tests.tiny_networks import lora_tensors, write_lora

SIGMAS = model_sigmas(0.00085, 0.012)
OTHER = Refiner(checkpoint="other.safetensors", switch_at=0.5)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    models = folder / "models"
    return Studio(folder, catalog_of(write_checkpoint(models), write_checkpoint(models, "other", model=tiny_model(3))))


def test_the_way_is_measured_in_timesteps() -> None:
    assert share_done(SIGMAS[-1], SIGMAS) == 0.0
    assert share_done(SIGMAS[499], SIGMAS) == 0.5
    assert share_done(SIGMAS[0], SIGMAS) == 0.999
    assert share_done(100.0, SIGMAS) == 0.0


def test_the_refiner_draws_the_steps_after_the_switch(studio: Studio) -> None:
    """Against Euler's rule written out here, with the model of each level chosen by hand."""
    request = small_request(steps=5, schedule="karras", refiner=OTHER)
    plan = resolve(request, studio.settings, studio.catalog, random.Random(0))[0]
    assert plan.refiner is not None
    encode: dict[str, Any] = {"clip_skip": 1, "emphasis": "original", "comma_backtrack": 20}
    levels = karras(5, SIGMAS[0], SIGMAS[-1], 7.0)
    x = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(7)) * levels[0]
    chosen: list[str] = []
    for level, below in itertools.pairwise(levels):
        spec = plan.refiner.model if share_done(level, SIGMAS) > 0.5 else plan.model
        chosen.append(spec.checkpoint.stem)
        with studio.engine.models.acquire(spec) as model, torch.inference_mode():
            conditions = [model.encode_prompts([text], **encode)[0] for text in ("a red house", "fog")]
            positive, negative = model.predict(torch.cat((x, x)), level, conditions)
        x0 = negative + 7.0 * (positive - negative)
        x = x0 + (x - x0) * (below / level)
    assert set(chosen) == {"tiny", "other"}
    with studio.engine.models.acquire(plan.refiner.model) as model, torch.inference_mode():
        expected = model.decode_latent(x[0])
    assert expected is not None
    assert np.abs(studio.draw(steps=5, schedule="karras", refiner=OTHER)[0].astype(int) - expected).max() <= 1


def test_the_thread_can_train_afterwards_and_so_can_the_models(studio: Studio) -> None:
    studio.draw(steps=4, refiner=OTHER)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    plan = resolve(small_request(refiner=OTHER), studio.settings, studio.catalog, random.Random(0))[0]
    assert plan.refiner is not None
    for spec in (plan.model, plan.refiner.model):
        with studio.engine.models.acquire(spec) as model:
            assert not any(weight.is_inference() for module in model.networks.values() for weight in module.parameters())


def test_switching_late_or_to_the_same_checkpoint_changes_nothing(studio: Studio) -> None:
    plain = studio.draw(steps=4)[0]
    assert np.array_equal(studio.draw(steps=4, refiner=Refiner(checkpoint="other.safetensors", switch_at=1.0))[0], plain)
    assert np.array_equal(studio.draw(steps=4, refiner=Refiner(checkpoint="tiny.safetensors", switch_at=0.2))[0], plain)
    assert not np.array_equal(studio.draw(steps=4, refiner=OTHER)[0], plain)


def test_every_batch_begins_with_the_first_model_again(studio: Studio) -> None:
    events = studio.run(steps=4, refiner=OTHER, batch_count=2)
    loaded = [event.text for event in events if isinstance(event, Stage) and event.text.startswith("Loading")]
    assert loaded[-3:] == ["Loading other", "Loading tiny", "Loading other"]
    first, second = (pixels(event) for event in images(events))
    assert np.array_equal(studio.draw(steps=4, refiner=OTHER, seed=8)[0], second)
    assert not np.array_equal(first, second)


def test_what_is_told_needs_no_model_that_is_gone(studio: Studio) -> None:
    """Clip skip is told of, and the refiner stays where it is for the next picture to be refined."""
    last = studio.run(steps=4, refiner=OTHER, clip_skip=12)[-1]
    plan = resolve(small_request(refiner=OTHER), studio.settings, studio.catalog, random.Random(0))[0]
    assert isinstance(last, Finished) and "Clip skip 12 is more than" in last.notes[0]
    assert plan.refiner is not None and studio.engine.models.holds_bare(plan.refiner.model)


def test_a_lora_stays_on_in_the_refiner_where_it_fits(tmp_path: Path) -> None:
    """As in A1111. A refiner of another architecture draws without, and says so."""
    tiny, other = tiny_model(), tiny_model(3)
    lora = write_lora(tmp_path, "ink", lora_tensors(tiny))
    wide = write_tiny(tmp_path, "sdxl_refiner")
    catalog = catalog_of(write_checkpoint(tmp_path, model=tiny), write_checkpoint(tmp_path, "other", model=other), wide)
    studio = Studio(tmp_path, replace(catalog, loras=(lora,)))
    asked: dict[str, Any] = {"prompt": "a red house <lora:ink:1>", "steps": 4, "refiner": OTHER}
    plan = resolve(small_request(**asked), studio.settings, studio.catalog, random.Random(0))[0]
    assert plan.refiner is not None and plan.refiner.model.networks == plan.model.networks
    last = studio.run(**asked)[-1]
    assert isinstance(last, Finished) and last.notes == ()
    assert studio.engine.models.holds(plan.refiner.model)
    last = studio.run(**{**asked, "refiner": Refiner(checkpoint=wide.name, switch_at=0.5)})[-1]
    assert isinstance(last, Finished), last
    assert f"The refiner {wide.stem} drew without the prompt's LoRAs. " in last.notes[0] and "ink" in last.notes[0]


@pytest.mark.parametrize("sampler", ["ddim_cfgpp", "dpmpp_sde", "unipc"])
def test_samplers_of_every_kind_switch(studio: Studio, sampler: str) -> None:
    with_refiner, without = studio.draw(steps=4, sampler=sampler, refiner=OTHER)[0], studio.draw(steps=4, sampler=sampler)[0]
    assert not np.array_equal(with_refiner, without)


@pytest.mark.parametrize(
    ("which", "first", "second"), [("first pass", True, False), ("second pass", False, True), ("both passes", True, True)]
)
def test_with_hires_fix_the_settings_say_which_pass_is_refined(studio: Studio, which: str, first: bool, second: bool) -> None:
    settings = Settings(models=Models(refiner_pass=which))
    request = small_request(refiner=OTHER, hires=HiresPass(scale=1.5))
    plan = resolve(request, settings, studio.catalog, random.Random(0))[0]
    assert plan.hires is not None
    assert (plan.refiner is not None, plan.hires.second.refiner is not None) == (first, second)
    studio.settings = settings
    text = images(studio.run(refiner=OTHER, hires=HiresPass(scale=1.5)))[0].infotext
    studio.settings = Settings()
    assert "Refiner: other [ababababab], Refiner switch at: 0.5" in text
    assert (f"Hires refiner: {which}" in text) == (which != "second pass")


def test_the_form_reads_it_back_and_json_keeps_it(studio: Studio) -> None:
    text = images(studio.run(refiner=Refiner(checkpoint="other", switch_at=0.35)))[0].infotext
    values = from_infotext(text, studio.catalog, Settings()).values
    assert (values["enable_refiner"], values["refiner_switch_at"]) == (True, 0.35)
    assert studio.catalog.checkpoint(values["refiner_checkpoint"]).stem == "other"
    assert from_infotext(images(studio.run())[0].infotext, studio.catalog, Settings()).values["enable_refiner"] is False
    request = small_request(refiner=OTHER)
    assert GenerationRequest.from_json(request.to_json()) == request
    with pytest.raises(InvalidRequest, match="switch at"):
        Refiner(checkpoint="x", switch_at=1.5)
