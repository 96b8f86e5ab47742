"""Inpainting: what is not masked stays bit by bit, every masked content and area, inpainting checkpoints as diffusers draws them."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionInpaintPipeline
from PIL import Image, ImageDraw

from modules.domain.events import Failed, Finished
from modules.domain.img2img import MASKED_CONTENTS, Img2Img, Inpaint, SoftInpainting
from modules.engine.canvas import prepared
from modules.engine.generate import sample_from
from modules.engine.img2img import start_latents
from modules.engine.resolve import resolve
from modules.gradio_ui.pasting.infotext import from_infotext
from modules.imaging.masks import blurred, strengthened
from modules.sampling.registry import SAMPLERS
from modules.settings.schema import Img2ImgSettings, Saving, Settings
from tests.engine.drawing import Studio, images, pixels, small_request, steps
from tests.tiny_models import TinyModel, catalog_of, checkpoint_info, tiny_model, write_checkpoint

STARTER = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "starter.safetensors"
BOX = (10, 8, 24, 22)
Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def inpainter() -> TinyModel:
    """A model with an inpainting UNet, whose autoencoder's posterior is a point: what is drawn from it does not matter."""
    model = tiny_model(4, in_channels=9)
    with torch.no_grad():
        model.vae.quant_conv.weight[4:] = 0
        model.vae.quant_conv.bias[4:] = -30
    return model


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, inpainter: TinyModel) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    models = folder / "models"
    ordinary = replace(tiny_model(), vae=inpainter.vae)
    return Studio(folder, catalog_of(write_checkpoint(models, model=ordinary), write_checkpoint(models, "filler", model=inpainter)))


def scene(width: int = 32, height: int = 32, seed: int = 1) -> Pixels:
    """Uneven everywhere, so that a pixel that is touched shows."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def mask_of(box: tuple[int, int, int, int] = BOX, size: tuple[int, int] = (32, 32)) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, box)
    return mask


def ask(studio: Studio, *, image: Pixels | Image.Image | None = None, mask: Image.Image | None = None, strength: float = 0.8, **more: Any):
    """The request's fields for inpainting the scene."""
    fields = {"mask_blur_x": 0, "mask_blur_y": 0, **more}
    init = Img2Img(image=studio.put(scene() if image is None else image), denoising_strength=strength)
    return {"init": init, "inpaint": Inpaint(mask=studio.put((mask or mask_of()).convert("RGB")), **fields)}


def under(studio: Studio, settings: Settings) -> Studio:
    other = object.__new__(Studio)
    other.__dict__.update(studio.__dict__)
    other.settings = settings
    return other


@pytest.mark.parametrize("content", MASKED_CONTENTS)
@pytest.mark.parametrize("only_masked", [False, True])
@pytest.mark.parametrize("blur", [0, 2])
def test_what_is_not_masked_stays_bit_by_bit(studio: Studio, content: str, only_masked: bool, blur: int) -> None:
    asked = ask(studio, content=content, only_masked=only_masked, padding=4, mask_blur_x=blur, mask_blur_y=blur)
    (made,) = studio.draw(**asked)
    reach = np.asarray(blurred(mask_of(), blur, blur))
    assert made.shape == (32, 32, 3)
    assert np.array_equal(made[reach == 0], scene()[reach == 0])
    assert (reach == 0).sum() > 200
    changed = (made != scene()).any(axis=2)
    assert changed[mask_of_array() > 0].mean() > 0.95


def test_grey_in_a_mask_is_a_soft_edge(studio: Studio) -> None:
    mask = mask_of()
    mask.paste(60, (24, 8, 28, 22))
    (made,) = studio.draw(**ask(studio, mask=mask))
    grey, outside = np.asarray(mask) == 60, np.asarray(mask) == 0
    assert (made != scene()).any(axis=2)[grey].mean() > 0.9
    assert np.array_equal(made[outside], scene()[outside])
    mask.paste(255, (24, 8, 28, 22))
    (whole,) = studio.draw(**ask(studio, mask=mask))
    source = scene().astype(int)
    assert np.abs(made - source)[grey].mean() < 0.7 * np.abs(whole - source)[grey].mean()


def mask_of_array() -> npt.NDArray[np.uint8]:
    return np.asarray(mask_of())


def test_every_masked_content_and_area_gives_a_picture_of_its_own(studio: Studio) -> None:
    wanted = [{"content": content, "only_masked": area, "padding": 2} for content in MASKED_CONTENTS for area in (False, True)]
    made = [studio.draw(**ask(studio, **fields))[0] for fields in wanted]
    assert len({picture.tobytes() for picture in made}) == len(made)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_keeps_what_is_not_masked(studio: Studio, sampler: str) -> None:
    """Also without the source laid over it: the latents outside the mask end as they were."""
    plan = resolve(
        small_request(sampler=sampler, steps=6, **ask(studio)), studio.settings, studio.catalog, random.Random(0), studio.inputs
    )[0]
    assert plan.start is not None
    with studio.engine.models.acquire(plan.model) as model:
        begin = start_latents(plan, plan.start, prepared(plan.start, (32, 32)), model)
        latents = sample_from(plan, plan.start, begin, model, lambda *step: None)
    assert begin.mask is not None
    outside = (begin.mask == 0).expand_as(latents)
    assert torch.equal(latents[outside], begin.latents[outside])
    assert not torch.allclose(latents[~outside], begin.latents[~outside], atol=0.1)


@pytest.mark.parametrize("checkpoint", ["tiny", "filler"])
def test_the_same_as_diffusers_with_equal_noise(studio: Studio, inpainter: TinyModel, checkpoint: str) -> None:
    """Their pipeline puts what is kept back after each step, at that step's noise level; for its inpainting networks a callback does."""
    request = small_request(steps=8, checkpoint=checkpoint, **ask(studio, strength=0.5, image=scene(seed=2)))
    plan = resolve(request, studio.settings, studio.catalog, random.Random(0), studio.inputs)[0]
    assert plan.start is not None
    with studio.engine.models.acquire(plan.model) as loaded:
        begin = start_latents(plan, plan.start, prepared(plan.start, (32, 32)), loaded)
        ours = sample_from(plan, plan.start, begin, loaded, lambda *step: None)
        assert (begin.beside is not None) == (checkpoint == "filler")
        with torch.inference_mode():
            encode: dict[str, Any] = {"clip_skip": 1, "emphasis": "original", "comma_backtrack": 20}
            texts = [loaded.encode_prompts([text], **encode)[0].context.unsqueeze(0) for text in ("a red house", "fog")]
        unet = inpainter.unet if checkpoint == "filler" else tiny_model().unet
        theirs = reference(unet, inpainter, texts, begin.latents)
    assert torch.allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))


class Pipeline(StableDiffusionInpaintPipeline):
    """Theirs, but that the autoencoder draws from a generator of its own: the other's first numbers are the noise then, as in ours."""

    def _encode_vae_image(self, image: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return super()._encode_vae_image(image, torch.Generator().manual_seed(99))


def reference(unet: Any, model: TinyModel, texts: list[torch.Tensor], kept: torch.Tensor) -> torch.Tensor:
    scheduler = EulerDiscreteScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000, timestep_spacing="linspace"
    )
    pipe = Pipeline(
        vae=model.vae,
        text_encoder=model.text,
        tokenizer=None,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(kept.shape, generator=torch.Generator().manual_seed(7))
    small = torch.zeros(1, 1, 16, 16)
    small[..., BOX[1] // 2 : BOX[3] // 2, BOX[0] // 2 : BOX[2] // 2] = 1

    def put_back(pipe: Any, step: int, timestep: Any, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        level = scheduler.sigmas[scheduler.step_index]
        return {"latents": torch.where(small > 0, tensors["latents"], kept + noise * level)}

    with torch.inference_mode():
        return pipe(
            image=Image.fromarray(scene(seed=2)),
            mask_image=mask_of(),
            prompt_embeds=texts[0],
            negative_prompt_embeds=texts[1],
            num_inference_steps=8,
            strength=5 / 8,
            guidance_scale=7.0,
            height=32,
            width=32,
            output_type="latent",
            generator=torch.Generator().manual_seed(7),
            callback_on_step_end=put_back,
        ).images


def test_an_inpainting_checkpoint_reads_the_picture_as_far_as_the_setting_lets_it(studio: Studio) -> None:
    asked = ask(studio)
    hidden = images(studio.run(checkpoint="filler", **asked))[0]
    half = images(under(studio, Settings(img2img=Img2ImgSettings(mask_weight=0.4))).run(checkpoint="filler", **asked))[0]
    assert not np.array_equal(pixels(hidden), pixels(half))
    assert "Conditional mask weight: 1," in hidden.infotext and "Conditional mask weight: 0.4" in half.infotext
    assert "Conditional mask weight" not in images(studio.run(**asked))[0].infotext
    read = from_infotext(half.infotext, studio.catalog, Settings(), img2img=True)
    assert read.options["inpainting_mask_weight"] == 0.4
    other = replace(asked["inpaint"], mask=studio.put(mask_of((2, 2, 12, 12)).convert("RGB")))
    assert not np.array_equal(pixels(hidden), studio.draw(checkpoint="filler", init=asked["init"], inpaint=other)[0])


def test_a_mask_can_be_turned_round_drawn_on_glass_or_be_the_picture_s_own_transparency(studio: Studio) -> None:
    plain = studio.draw(**ask(studio))[0]
    negative = Image.eval(mask_of(), lambda value: 255 - value)
    assert np.array_equal(studio.draw(**ask(studio, mask=negative, invert=True))[0], plain)
    strokes = Image.new("RGBA", (32, 32))
    strokes.paste((0, 0, 0, 255), BOX)
    init = Img2Img(image=studio.put(scene()), denoising_strength=0.8)
    sharp: dict[str, Any] = {"mask_blur_x": 0, "mask_blur_y": 0}
    assert np.array_equal(studio.draw(init=init, inpaint=Inpaint(mask=studio.put(strokes), **sharp))[0], plain)
    clear = Image.fromarray(scene()).convert("RGBA")
    clear.putalpha(negative)
    own = studio.draw(init=Img2Img(image=studio.put(clear), denoising_strength=0.8), inpaint=Inpaint(**sharp))[0]
    outside = mask_of_array() == 0
    assert np.array_equal(own[outside], scene()[outside]) and (own != scene()).any(axis=2)[~outside].mean() > 0.95
    corner = studio.put(mask_of((0, 0, 6, 6)).convert("RGB"))
    both = studio.draw(
        init=Img2Img(image=studio.put(clear), denoising_strength=0.8), inpaint=Inpaint(mask=corner, mask_alpha=True, **sharp)
    )[0]
    changed = (both != scene()).any(axis=2)
    assert changed[:6, :6].mean() > 0.95 and changed[~outside].mean() > 0.95
    assert not changed[outside & ~np.asarray(mask_of((0, 0, 6, 6))).astype(bool)].any()


@pytest.mark.parametrize("only_masked", [False, True])
def test_nothing_to_inpaint_is_said_so(studio: Studio, only_masked: bool) -> None:
    end = studio.run(**ask(studio, mask=Image.new("L", (32, 32)), only_masked=only_masked))[-1]
    assert isinstance(end, Failed) and "mask covers nothing" in end.reason
    end = studio.run(init=Img2Img(image=studio.put(scene())), inpaint=Inpaint())[-1]
    assert isinstance(end, Failed) and "paint a mask" in end.reason


def test_only_masked_draws_a_small_part_of_a_large_picture(studio: Studio) -> None:
    """16 megapixels of which 60x40 are masked: they are drawn in 32x32, and all others come back as they were."""
    large = scene(64, 64).repeat(64, axis=0).repeat(64, axis=1)
    mask = Image.new("L", (4096, 4096))
    ImageDraw.Draw(mask).ellipse((3000, 500, 3060, 540), fill=255)
    events = studio.run(**ask(studio, image=large, mask=mask, only_masked=True, mask_blur_x=4, mask_blur_y=4))
    (event,) = images(events)
    assert (event.width, event.height) == (4096, 4096)
    assert "Size: 32x32" in event.infotext and "Inpaint area: Only masked, Masked area padding: 32" in event.infotext
    made, reach = pixels(event), np.asarray(blurred(mask, 4, 4)) > 0
    assert np.array_equal(made[~reach], large[~reach])
    assert (made != large).any(axis=2)[np.asarray(mask) > 0].mean() > 0.95


def test_a_mask_of_another_size_is_fitted_to_the_picture(studio: Studio) -> None:
    double = mask_of(tuple(2 * side for side in BOX), (64, 64)).resize((64, 64), Image.Resampling.NEAREST)
    made = studio.draw(**ask(studio, mask=double))[0]
    far = np.asarray(mask_of((BOX[0] - 4, BOX[1] - 4, BOX[2] + 4, BOX[3] + 4))) == 0  # beyond the reach of the resampling
    assert np.array_equal(made[far], scene()[far])
    assert not np.array_equal(made, scene())


def test_a_batch_equals_its_pictures_with_noise_of_their_own_as_content(studio: Studio) -> None:
    asked = ask(studio, content="latent_noise")
    batch = studio.draw(sampler="euler_ancestral", batch_size=2, batch_count=2, seed=20, **asked)
    for position in (0, 1, 3):
        alone = studio.draw(sampler="euler_ancestral", seed=20 + position, **asked)[0]
        assert np.abs(alone.astype(int) - batch[position]).max() <= 1
    assert np.array_equal(studio.draw(seed=3, **asked)[0], studio.draw(seed=3, **asked)[0])


def test_soft_inpainting_keeps_more_where_the_mask_is_darker_and_its_numbers_matter(studio: Studio) -> None:
    ramp = np.concatenate((np.zeros(32), np.linspace(8, 255, 32))).astype(np.uint8)
    grey, source = Image.fromarray(np.tile(ramp, (64, 1))), scene(64, 64)
    small: dict[str, Any] = {"width": 64, "height": 64, "steps": 4, "cfg_scale": 1.0}

    def drawn(soft: SoftInpainting | None) -> npt.NDArray[np.int64]:
        return studio.draw(**small, **ask(studio, image=source, mask=grey, soft=soft))[0].astype(int)

    plain, default = drawn(None), drawn(SoftInpainting())
    assert not np.array_equal(plain, default)
    assert np.array_equal(default[:, :16], source[:, :16])
    changed = np.abs(default - source).mean(axis=(0, 2))
    assert changed[-8:].mean() > 2 * changed[16:32].mean()
    numbers = {"schedule_bias": 3.0, "preservation_strength": 4.0, "transition_contrast_boost": 20.0}
    numbers |= {"mask_influence": 1.0, "difference_threshold": 8.0, "difference_contrast": 7.0}
    for name, value in numbers.items():
        assert not np.array_equal(drawn(SoftInpainting(**{name: value})), default), name
    assert not np.array_equal(drawn(SoftInpainting(difference_threshold=0.0)), default), "what changes at all is replaced"


def test_masks_composites_and_pictures_before_correction_come_beside_the_result(studio: Studio) -> None:
    settings = Settings(
        saving=Saving(save_mask=True, save_before_color_correction=True),
        img2img=Img2ImgSettings(return_mask_composite=True, color_correction=True),
    )
    events = under(studio, settings).run(batch_size=2, **ask(studio, only_masked=True, padding=2))
    assert isinstance(events[-1], Finished) and len(images(events)) == 2
    mask, composite = images(events, "mask")[0], images(events, "mask_composite")[0]
    assert np.array_equal(pixels(mask)[..., 0], mask_of_array())
    with Image.open(composite.staged) as cut:
        assert cut.mode == "RGBA" and np.array_equal(np.asarray(cut.getchannel("A")), mask_of_array())
        inside = mask_of_array() > 0
        assert np.array_equal(np.asarray(cut.convert("RGB"))[inside], pixels(images(events)[0])[inside])
    before = images(events, "before_color_correction")
    assert [event.index for event in before] == [0, 1]
    assert not np.array_equal(pixels(before[0]), pixels(images(events)[0]))
    assert {event.kind for event in studio.run(**ask(studio)) if hasattr(event, "kind")} == {"image"}


def test_without_the_overlay_what_was_drawn_is_the_result(studio: Studio) -> None:
    bare = under(studio, Settings(img2img=Img2ImgSettings(overlay=False)))
    (event,) = images(bare.run(width=48, height=32, **ask(studio, only_masked=True)))
    assert (event.width, event.height) == (48, 32) and "Inpaint overlay: False" in event.infotext


def test_the_infotext_is_a1111s_and_the_form_reads_it_back(studio: Studio) -> None:
    soft = SoftInpainting(schedule_bias=1.5, difference_threshold=0.25)
    asked = ask(studio, content="latent_noise", only_masked=True, padding=8, invert=True, mask_blur_x=3, mask_blur_y=3, soft=soft)
    text = images(studio.run(**asked))[0].infotext
    keys = [
        "Denoising strength: 0.8",
        "Soft inpainting enabled: True",
        "Soft inpainting schedule bias: 1.5",
        "Soft inpainting difference contrast: 2",
        "Mask mode: Inpaint not masked",
        "Mask blur: 3",
        "Inpaint area: Only masked",
        "Masked area padding: 8",
        "Masked content: latent noise",
        "Version",
    ]
    assert [text.index(key) for key in keys] == sorted(text.index(key) for key in keys), text
    values = from_infotext(text, studio.catalog, Settings(), img2img=True).values
    assert values["denoising_strength"] == 0.8 and values["mask_blur"] == 3 and values["inpaint_full_res_padding"] == 8
    assert values["inpainting_mask_invert"] == "Inpaint not masked" and values["inpaint_full_res"] == "Only masked"
    assert values["inpainting_fill"] == "latent noise" and values["soft_inpainting_enabled"] is True
    assert values["soft_inpainting_schedule_bias"] == 1.5 and values["soft_inpainting_difference_threshold"] == 0.25
    plain = images(studio.run(**ask(studio, mask_blur_y=2)))[0].infotext
    assert "Mask blur x: 0, Mask blur y: 2" in plain and "Masked content" not in plain and "Inpaint area" not in plain
    values = from_infotext(plain, studio.catalog, Settings(), img2img=True).values
    assert (values["mask_blur_x"], values["mask_blur_y"]) == (0, 2)
    assert values["inpainting_fill"] == "original" and values["inpainting_mask_invert"] == "Inpaint masked"


def test_progress_counts_here_too(studio: Studio) -> None:
    events = studio.run(steps=10, **ask(studio, strength=0.5))
    assert [event.step for event in steps(events)] == [1, 2, 3, 4, 5, 6] and {event.steps for event in steps(events)} == {6}


def test_the_starter_leaves_no_seam(tmp_path: Path) -> None:
    """Colours drift nowhere: a ring outside the mask is the source's, and one inside is near it where little is drawn anew."""
    real = Studio(tmp_path, catalog_of(checkpoint_info(STARTER)))
    base: dict[str, Any] = {"prompt": "a red apple", "negative_prompt": "", "width": 128, "height": 128, "steps": 8, "cfg_scale": 3.0}
    source = real.draw(**base)[0]
    mask = Image.new("L", (128, 128))
    ImageDraw.Draw(mask).ellipse((36, 36, 92, 92), fill=255)
    soft = np.asarray(strengthened(blurred(mask, 4, 4))).astype(int)
    for only_masked in (False, True):
        asked = ask(real, image=source, mask=mask, strength=0.2, only_masked=only_masked, mask_blur_x=4, mask_blur_y=4)
        made = real.draw(**base, **asked)[0].astype(int)
        drift = np.abs(made - source).mean(axis=2)
        ring_outside, ring_inside = (soft == 0) & (grown_by(soft > 0, 6)), (soft > 0) & grown_by(soft == 0, 6)
        assert drift[ring_outside].max() == 0
        assert drift[ring_inside].mean() < 2, only_masked


def grown_by(area: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.bool_]:
    for _ in range(count):
        padded = np.pad(area, 1)
        area = area | padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return area
