"""Each sampler setting changes the picture, is in its infotext, and comes back with it when the text is pasted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from modules.domain.events import Failed
from modules.domain.requests import GenerationRequest
from modules.gradio_ui.pasting.infotext import from_infotext, override_entries, parse_overrides
from modules.settings.schema import Compatibility, Sampling, Settings
from modules.settings.values import with_options
from tests.engine.drawing import Studio, images, pixels, small_request
from tests.tiny_models import catalog_of, write_checkpoint

CASES: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"discard_penultimate": True}, {"steps": 4}, "Discard penultimate sigma: True"),
    ({"beta_alpha": 0.9}, {"schedule": "beta"}, "Beta schedule alpha: 0.9"),
    ({"beta_beta": 0.3}, {"schedule": "beta"}, "Beta schedule beta: 0.3"),
    ({"sgm_noise": True}, {"schedule": "exponential", "steps": 2}, "SGM noise multiplier: True"),
    ({"min_negative_sigma": 5.0}, {"steps": 6}, "NGMS: 5"),
    ({"min_negative_sigma": 5.0, "min_negative_sigma_all": True}, {"steps": 6}, "NGMS all steps: True"),
    ({"skip_early_negative": 0.5}, {}, "Skip Early CFG: 0.5"),
    ({"s_churn": 8.0}, {"steps": 6}, "Sigma churn: 8"),
    ({"eta_ancestral": 0.4}, {"sampler": "euler_ancestral"}, "Eta: 0.4"),
    ({"eta_ddim": 0.7}, {"sampler": "ddim"}, "Eta DDIM: 0.7"),
    ({"sigma_max": 5.0}, {"schedule": "karras"}, "Schedule max sigma: 5"),
    ({"unipc_variant": "bh2"}, {"sampler": "unipc", "steps": 5}, "UniPC variant: bh2"),
    ({"unipc_variant": "vary_coeff"}, {"sampler": "unipc", "steps": 5}, "UniPC variant: vary_coeff"),
    ({"unipc_skip": "logSNR"}, {"sampler": "unipc", "steps": 5}, "UniPC skip type: logSNR"),
    ({"unipc_skip": "time_quadratic"}, {"sampler": "unipc", "steps": 5}, "UniPC skip type: time_quadratic"),
    ({"unipc_order": 2}, {"sampler": "unipc", "steps": 5}, "UniPC order: 2"),
    ({"unipc_lower_order_final": False}, {"sampler": "unipc", "steps": 5}, "UniPC lower order final: False"),
    ({"rho": 3.0}, {"schedule": "karras"}, "Schedule rho: 3"),
]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    return Studio(folder, catalog_of(write_checkpoint(folder / "models")))


@pytest.mark.parametrize(
    "setting", [{"sigma_min": 2.0, "sigma_max": 0.5}, {"sigma_min": 1.0, "sigma_max": 1.0}, {"sigma_max": 0.01}], ids=str
)
def test_a_schedule_whose_ends_are_the_wrong_way_round_is_refused(studio: Studio, setting: dict[str, float]) -> None:
    studio.settings = Settings(sampling=Sampling(**setting))
    failed = studio.run(schedule="karras")[-1]
    studio.settings = Settings()
    assert isinstance(failed, Failed) and failed.kind == "InvalidRequest"
    assert "Set Schedule min sigma below Schedule max sigma" in failed.reason


@pytest.mark.parametrize(("setting", "request_", "words"), CASES, ids=[" ".join(case[0]) for case in CASES])
def test_a_setting_shows_in_the_picture_and_in_its_text(
    studio: Studio, setting: dict[str, Any], request_: dict[str, Any], words: str
) -> None:
    studio.settings = Settings()
    plain = images(studio.run(**request_))[0]
    studio.settings = Settings(sampling=Sampling(**setting))
    changed = images(studio.run(**request_))[0]
    studio.settings = Settings()
    assert words in changed.infotext and words not in plain.infotext
    assert not np.array_equal(pixels(plain), pixels(changed))

    # pasted, the text brings the settings along as overrides of this one job, and the same pixels
    pasted = from_infotext(changed.infotext, studio.catalog, Settings())
    overrides = parse_overrides(override_entries(pasted.options, {}))
    studio.settings = with_options(Settings(), dict(overrides))
    assert np.array_equal(pixels(images(studio.run(**request_))[0]), pixels(changed))
    studio.settings = Settings()


def test_what_a_sampler_does_not_read_is_not_in_its_text(studio: Studio) -> None:
    studio.settings = Settings(sampling=Sampling(discard_penultimate=True, beta_alpha=0.9, min_negative_sigma=5.0, sgm_noise=True))
    text = images(studio.run(sampler="ddim_cfgpp"))[0].infotext
    studio.settings = Settings()
    assert not any(key in text for key in ("Discard", "Beta", "NGMS", "SGM"))


def test_overrides_travel_with_a_stored_request() -> None:
    request: GenerationRequest = replace(small_request(), overrides=(("always_discard_next_to_last_sigma", "True"),))
    assert GenerationRequest.from_json(request.to_json()) == request


COMPATIBILITY: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    # 1.0 is all of the steps today and was the first step then
    ({"old_prompt_timelines": True}, {"steps": 6, "prompt": "a [red:blue:1.0] house"}, "Old prompt editing timelines: True"),
    ({"downcast_alphas": True}, {"steps": 6}, "Downcast alphas_cumprod: True"),
    ({"downcast_alphas": True}, {"steps": 6, "sampler": "ddim"}, "Downcast alphas_cumprod: True"),
]


@pytest.mark.parametrize(("setting", "request_", "words"), COMPATIBILITY)
def test_what_old_versions_did_otherwise_comes_back_with_the_text(
    studio: Studio, setting: dict[str, Any], request_: dict[str, Any], words: str
) -> None:
    studio.settings = Settings()
    today = images(studio.run(**request_))[0]
    studio.settings = Settings(compatibility=Compatibility(**setting))
    old = images(studio.run(**request_))[0]
    assert words in old.infotext and words not in today.infotext
    assert not np.array_equal(pixels(old), pixels(today))

    pasted = from_infotext(old.infotext, studio.catalog, Settings())
    studio.settings = with_options(Settings(), pasted.options)
    assert np.array_equal(pixels(images(studio.run(**request_))[0]), pixels(old))
    studio.settings = Settings()


def test_a_prompt_without_timelines_says_nothing_of_their_rule(studio: Studio) -> None:
    studio.settings = Settings(compatibility=Compatibility(old_prompt_timelines=True))
    text = images(studio.run(prompt="a (red:1.2) house"))[0].infotext
    studio.settings = Settings()
    assert "Old prompt" not in text
