"""Pictures from pictures: equal to walks written out here, A1111's number of steps, every sampler, and what the picture says about it."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from modules.domain.errors import ImageUnreadable
from modules.domain.events import Failed, Finished, ImageDone
from modules.domain.img2img import RESIZE_MODES, Img2Img
from modules.domain.plans import ImagePlan
from modules.domain.requests import HiresPass, Refiner
from modules.engine.canvas import prepared
from modules.engine.generate import sample_from
from modules.engine.img2img import start_latents
from modules.engine.resolve import resolve
from modules.gradio_ui.pasting.infotext import from_infotext
from modules.imaging.colors import colour_matched
from modules.imaging.fit import fitted
from modules.sampling.registry import SAMPLERS
from modules.sampling.sigmas import karras
from modules.settings.schema import Img2ImgSettings, Settings
from tests.engine.drawing import Studio, images, pixels, small_request, steps
from tests.tiny_models import catalog_of, tiny_model, write_checkpoint


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    models = folder / "models"
    return Studio(folder, catalog_of(write_checkpoint(models), write_checkpoint(models, "other", model=tiny_model(3))))


@pytest.fixture(scope="module")
def house(studio: Studio) -> str:
    """A start picture of the size that is drawn in."""
    return studio.put(scene())


def scene(width: int = 32, height: int = 32) -> Image.Image:
    """Something with an upper, a lower, a left and a right half."""
    made = Image.new("RGB", (width, height), (90, 140, 220))
    made.paste((60, 120, 50), (0, height // 2, width, height))
    made.paste((200, 60, 40), (width // 4, height // 3, width // 2, height - 4))
    return made


def with_settings(studio: Studio, **values: Any) -> Studio:
    """The same rooms with other img2img settings."""
    other = object.__new__(Studio)
    other.__dict__.update(studio.__dict__)
    other.settings = replace(Settings(), img2img=Img2ImgSettings(**values))
    return other


def plan_of(studio: Studio, **request: Any) -> ImagePlan:
    return resolve(small_request(**request), studio.settings, studio.catalog, random.Random(0), studio.inputs)[0]


def finished_latents(studio: Studio, **request: Any) -> torch.Tensor:
    plan = plan_of(studio, **request)
    assert plan.start is not None
    with studio.engine.models.acquire(plan.model) as model:
        begin = start_latents(plan, plan.start, prepared(plan.start, (plan.width, plan.height)), model)
        return sample_from(plan, plan.start, begin, model, lambda *step: None)


def by_hand(studio: Studio, levels: tuple[float, ...], *, noise_factor: float = 1.0, extra: float = 0.0) -> torch.Tensor:
    """Euler's rule from the encoded scene along `levels`."""
    plan = plan_of(studio)
    with studio.engine.models.acquire(plan.model) as model, torch.inference_mode():
        latents = model.encode_picture(np.asarray(scene())).unsqueeze(0)
        noise = torch.randn(latents.shape[1:], generator=torch.Generator().manual_seed(7)) * noise_factor
        x = latents + noise * (levels[0] + extra)
        encode: dict[str, Any] = {"clip_skip": 1, "emphasis": "original", "comma_backtrack": 20}
        conditions = [model.encode_prompts([text], **encode)[0] for text in ("a red house", "fog")]
        for level, below in itertools.pairwise(levels):
            positive, negative = model.predict(torch.cat((x, x)), level, conditions)
            x0 = negative + 7.0 * (positive - negative)
            x = x0 + (x - x0) * (below / level)
    return x


def levels_of(studio: Studio, count: int) -> tuple[float, ...]:
    with studio.engine.models.acquire(plan_of(studio).model) as model:
        return tuple(karras(count, model.sigmas[0], model.sigmas[-1], 7.0))


def alike(first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.allclose(first, second, atol=1e-4 * float(second.abs().max()))


def test_euler_walks_the_last_part_of_the_schedule(studio: Studio, house: str) -> None:
    ours = finished_latents(studio, steps=8, schedule="karras", init=Img2Img(image=house, denoising_strength=0.5))
    assert alike(ours, by_hand(studio, levels_of(studio, 8)[3:]))


def test_the_settings_change_the_walk(studio: Studio, house: str) -> None:
    request: dict[str, Any] = {"steps": 4, "schedule": "karras", "init": Img2Img(image=house, denoising_strength=0.5)}
    exact = finished_latents(with_settings(studio, exact_steps=True), **request)
    assert alike(exact, by_hand(studio, levels_of(studio, 8)[4:]))
    noisier = finished_latents(with_settings(studio, noise_multiplier=1.2), **request)
    assert alike(noisier, by_hand(studio, levels_of(studio, 4)[1:], noise_factor=1.2))
    extra = finished_latents(with_settings(studio, extra_noise=0.3), **request)
    assert alike(extra, by_hand(studio, levels_of(studio, 4)[1:], extra=0.3))


def test_extra_noise_is_for_the_second_pass_of_hires_fix_too(studio: Studio) -> None:
    hires = HiresPass(scale=1.5, denoising_strength=0.5)
    plain, noisier = images(studio.run(hires=hires))[0], images(with_settings(studio, extra_noise=0.4).run(hires=hires))[0]
    assert not np.array_equal(pixels(plain), pixels(noisier))
    assert "Extra noise: 0.4" in noisier.infotext and "Extra noise" not in plain.infotext
    first = with_settings(studio, extra_noise=0.4).draw()[0]
    assert np.array_equal(first, studio.draw()[0]), "not of a picture that begins from noise alone"


@pytest.mark.parametrize(
    ("strength", "exact", "walked"), [(0.0, False, 1), (0.3, False, 4), (0.75, False, 8), (1.0, False, 10), (0.3, True, 10)]
)
def test_progress_counts_the_steps_that_are_walked(studio: Studio, house: str, strength: float, exact: bool, walked: int) -> None:
    other = with_settings(studio, exact_steps=exact)
    events = other.run(steps=10, init=Img2Img(image=house, denoising_strength=strength))
    assert [(event.step, event.steps) for event in steps(events)] == [(number, walked) for number in range(1, walked + 1)]


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_makes_pictures_from_pictures(studio: Studio, house: str, sampler: str) -> None:
    """Weaker is nearer to the start, and nothing but the start is left of a strength of 0."""
    far, near, none = (
        studio.draw(sampler=sampler, steps=6, cfg_scale=1.0, init=Img2Img(image=house, denoising_strength=strength))[0].astype(int)
        for strength in (1.0, 0.35, 0.0)
    )
    assert not np.array_equal(near, far)
    assert not np.array_equal(none, near)
    start = decoded_scene(studio)
    assert np.abs(none - start).mean() <= np.abs(near - start).mean() + 1 < np.abs(far - start).mean() + 2


def decoded_scene(studio: Studio) -> np.ndarray[Any, Any]:
    """The start picture as the autoencoder gives it back."""
    with studio.engine.models.acquire(plan_of(studio).model) as model, torch.inference_mode():
        made = model.decode_latent(model.encode_picture(np.asarray(scene())))
    assert made is not None
    return made.astype(int)


@pytest.mark.parametrize("mode", RESIZE_MODES)
def test_a_picture_of_another_shape_is_resized_in_every_mode(studio: Studio, mode: str) -> None:
    wide = scene(96, 40)
    name = studio.put(wide)
    (made,) = studio.draw(init=Img2Img(image=name, denoising_strength=0.0, resize_mode=mode), sampler="ddim", width=32, height=48)
    assert made.shape == (48, 32, 3)
    if mode != "latent":
        # ddim walks no step at strength 0: this is the resized picture, but for the way through the autoencoder
        plan = plan_of(studio)
        with studio.engine.models.acquire(plan.model) as model, torch.inference_mode():
            expected = model.decode_latent(model.encode_picture(np.asarray(fitted(wide, (32, 48), mode))))
        assert np.array_equal(made, expected)


def test_resize_by_makes_the_size_and_says_so(studio: Studio) -> None:
    name = studio.put(scene(40, 24))
    events = studio.run(init=Img2Img(image=name, resize_by=1.5))
    (made,) = images(events)
    assert (made.width, made.height) == (56, 32)
    end = events[-1]
    assert isinstance(end, Finished) and any("32x32" in note and "56x32" in note for note in end.notes)
    assert "Size: 56x32" in made.infotext
    end = studio.run(init=Img2Img(image=studio.put(scene(2000, 16)), resize_by=8.0))[-1]
    assert isinstance(end, Failed) and "8192" in end.reason


def test_a_batch_equals_its_pictures_and_the_same_request_the_same_picture(studio: Studio, house: str) -> None:
    wanted: dict[str, Any] = {"sampler": "euler_ancestral", "steps": 4, "init": Img2Img(image=house)}
    batch = studio.draw(batch_size=2, batch_count=2, seed=20, **wanted)
    assert len(batch) == 4
    assert not np.array_equal(batch[0], batch[1])
    for position in (0, 1, 3):
        alone = studio.draw(seed=20 + position, **wanted)[0]
        assert np.abs(alone.astype(int) - batch[position]).max() <= 1
    assert np.array_equal(studio.draw(seed=20, **wanted)[0], studio.draw(seed=20, **wanted)[0])


def test_a_refiner_takes_over_here_too(studio: Studio, house: str) -> None:
    init = Img2Img(image=house, denoising_strength=0.9)
    refined = studio.draw(steps=6, init=init, refiner=Refiner(checkpoint="other.safetensors", switch_at=0.5))[0]
    assert not np.array_equal(refined, studio.draw(steps=6, init=init)[0])


def test_transparent_parts_show_the_background(studio: Studio) -> None:
    clear = scene().convert("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 16, 32))
    wanted: dict[str, Any] = {"sampler": "ddim", "init": Img2Img(image=studio.put(clear), denoising_strength=0.0)}
    white, red = studio.draw(**wanted)[0], with_settings(studio, background="#ff0000").draw(**wanted)[0]
    flat = scene()
    flat.paste((255, 255, 255), (0, 0, 16, 32))
    assert np.array_equal(white, studio.draw(sampler="ddim", init=Img2Img(image=studio.put(flat), denoising_strength=0.0))[0])
    assert not np.array_equal(white, red)
    end = with_settings(studio, background="mud").run(**wanted)[-1]
    assert isinstance(end, Failed) and "'mud' is no colour" in end.reason


def test_colour_correction_brings_the_start_s_colours_back(studio: Studio, house: str) -> None:
    request: dict[str, Any] = {"steps": 4, "init": Img2Img(image=house, denoising_strength=0.9)}
    plain = studio.draw(**request)[0]
    corrected = with_settings(studio, color_correction=True).draw(**request)[0]
    assert np.array_equal(corrected, np.asarray(colour_matched(Image.fromarray(plain), scene())))
    assert not np.array_equal(corrected, plain)


@pytest.mark.parametrize("spoil", ["gone", "damaged"])
def test_a_job_whose_picture_is_gone_or_damaged_fails_with_a_sentence(studio: Studio, spoil: str) -> None:
    name = studio.put(scene(48, 32))
    path = studio.inputs / f"{name}.png"
    if spoil == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:60])
    end = studio.run(init=Img2Img(image=name))[-1]
    assert isinstance(end, Failed) and end.kind == ImageUnreadable.__name__
    assert "start picture" in end.reason and "Choose it again" in end.reason
    assert isinstance(studio.run()[-1], Finished), "the next job is not touched by it"


def test_the_infotext_has_a1111s_keys_in_its_order_and_is_read_back(studio: Studio, house: str) -> None:
    other = with_settings(studio, noise_multiplier=1.1, extra_noise=0.05, exact_steps=True, color_correction=True)
    other.settings = replace(other.settings, saving=replace(other.settings.saving, save_start_image=True))
    text = images(other.run(init=Img2Img(image=house, denoising_strength=0.4, resize_mode="resize_and_fill")))[0].infotext
    keys = [
        "Size: 32x32",
        "Model: tiny",
        "Denoising strength: 0.4",
        "Init image hash: ",
        "Noise multiplier: 1.1",
        "Extra noise: 0.05",
        "Version",
    ]
    places = [text.index(key) for key in keys]
    assert places == sorted(places), text
    assert "Conditional mask weight" not in text and "Mask" not in text
    read = from_infotext(text, studio.catalog, Settings(), img2img=True)
    assert (read.values["denoising_strength"], read.values["resize_mode"]) == (0.4, "Resize and fill")
    assert (read.options["initial_noise_multiplier"], read.options["img2img_extra_noise"]) == (1.1, 0.05)
    assert read.options["img2img_fix_steps"] is True and read.options["img2img_color_correction"] is True
    assert read.values["hr"] is False and "the picture that it was made from" in read.report.verdict
    listed = {field.key for field in (*read.report.applied, *read.report.overrides)}
    assert {"Denoising strength", "Resize mode", "Noise multiplier"} <= listed
    elsewhere = from_infotext(text, studio.catalog, Settings())
    assert "paste it in img2img" in elsewhere.report.verdict and "denoising_strength" not in {
        field.key for field in elsewhere.report.applied
    }
    plain = images(studio.run())[0].infotext
    assert (
        "Denoising" not in plain and "paste it in txt2img" in from_infotext(plain, studio.catalog, Settings(), img2img=True).report.verdict
    )


def test_the_file_name_knows_the_strength(studio: Studio, house: str) -> None:
    (event,) = images(studio.run(init=Img2Img(image=house, denoising_strength=0.45)))
    assert isinstance(event, ImageDone) and dict(event.name_fields)["denoising"] == "0.45"


def test_a_start_picture_that_is_not_in_the_folder_of_inputs_is_never_opened(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(ImageUnreadable):
        resolve(small_request(init=Img2Img(image="ab" * 16)), Settings(), studio.catalog, random.Random(0), tmp_path)
