"""Scripts with a real engine over tiny models: what is in the pictures, not only how many there are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from modules.domain.catalog import Catalog
from modules.domain.errors import InvalidRequest
from modules.domain.img2img import Img2Img, Inpaint
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest, HiresPass, Seed
from modules.gallery.gallery import Gallery
from modules.gallery.inputs import InputStore
from modules.imaging.colors import colour_matched
from modules.imaging.files import read_infotext
from modules.imaging.fit import fitted
from modules.imaging.outpaint import FEATHER
from modules.imaging.tiling import tile_boxes
from modules.jobs.executor import InProcessExecutor
from modules.jobs.queue import JobQueue
from modules.jobs.store import JobStore
from modules.runs.run import Run
from modules.runs.runs import Runs
from modules.runs.store import RunStore
from modules.settings.schema import Img2ImgSettings, Saving, Settings
from modules.settings.wildcards import WildcardFolder
from tests.engine.drawing import Studio, small_request
from tests.jobs.house import paths_in
from tests.tiny_models import catalog_of, write_checkpoint

Pixels = npt.NDArray[np.uint8]


@dataclass
class Workshop:
    """A queue with a real engine, and runs in it."""

    queue: JobQueue
    gallery: Gallery
    inputs: InputStore
    runs: Runs
    settings: list[Settings]
    outputs: Path

    def played(self, script: str, values: dict[str, Any], request: GenerationRequest) -> Run:
        """A run that is over."""
        over = threading.Event()
        tab = "img2img" if request.init else "txt2img"
        leave = self.runs.subscribe(lambda event: None if event.run.active else over.set())
        run = self.runs.submit(script, tab, request, values)
        assert over.wait(240), "the run did not end"
        leave()
        ended = self.runs.get(run.id)
        assert ended is not None
        assert (ended.state, ended.error) == ("done", ""), ended
        return ended

    def jobs(self, run: Run) -> list[Job]:
        found = [self.queue.get(job_id) for job_id in self.runs.jobs(run.id)]
        return [job for job in found if job is not None]

    def picture(self, job: Job, kind: str = "image") -> Image.Image:
        (image,) = [image for image in self.gallery.for_job(job.id) if image.kind == kind]
        return Image.open(self.gallery.path(image.id)).convert("RGB")

    def start(self, width: int = 48, height: int = 40) -> str:
        rng = np.random.default_rng(3)
        small = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        return self.inputs.put_picture(small.resize((width, height), Image.Resampling.BICUBIC)).id


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    catalog = catalog_of(write_checkpoint(tmp_path / "models"))

    class Fixed:
        def snapshot(self) -> Catalog:
            return catalog

        def refresh(self) -> Catalog:
            return catalog

    paths, settings = paths_in(tmp_path), [Settings()]
    gallery, store, inputs = Gallery(paths), JobStore(paths.jobs_db), InputStore(paths.inputs)
    studio = Studio(tmp_path / "studio", catalog)
    queue = JobQueue(
        store,
        InProcessExecutor(lambda: studio.runner),
        Fixed(),
        lambda: settings[0],
        gallery.commit,
        gallery.saved_indices,
        paths.staging,
        paths.inputs,
    )
    runs = Runs(RunStore(paths.runs_db), queue, gallery, inputs, Fixed(), tuple, paths.staging, WildcardFolder(paths.wildcards).lines)
    queue.start()
    runs.start()
    yield Workshop(queue, gallery, inputs, runs, settings, paths.outputs)
    runs.close()
    queue.close()
    gallery.close()
    store.close()


def array(picture: Image.Image) -> Pixels:
    return np.asarray(picture.convert("RGB"))


def test_a_sweeps_cells_are_the_pictures_that_single_jobs_give(shop: Workshop) -> None:
    run = shop.played("X/Y/Z plot", {"x_type": "Steps", "x_values": "2,3", "y_type": "Seed", "y_values": "7,8"}, small_request())
    alone = shop.queue.submit(small_request(steps=3, seed=8))
    while (job := shop.queue.get(alone.id)) is None or job.active:
        threading.Event().wait(0.05)
    assert run.sheet is not None
    last = shop.gallery.get(run.sheet.cells[3])
    assert last is not None
    cell = array(Image.open(shop.gallery.path(last.id)))
    assert (cell == array(shop.picture(alone))).all()
    grid = array(Image.open(shop.gallery.path(shop.runs.images(run)[0].id)))
    assert (grid[-32:, -32:] == cell).all()


def test_sd_upscale_puts_its_tiles_together(shop: Workshop) -> None:
    start = shop.start()
    request = small_request(width=64, height=64, init=Img2Img(image=start, denoising_strength=0.5))
    values = {"overlap": 16, "upscaler_index": "Lanczos", "scale_factor": 2}
    run = shop.played("SD upscale", values, request)
    enlarged, *tiles = shop.jobs(run)
    assert shop.picture(enlarged).size == (96, 80)
    boxes = tile_boxes((96, 80), (64, 64), 16)
    assert len(tiles) == len(boxes) == 4
    seeds = [job.request.seed.value for job in tiles if isinstance(job.request, GenerationRequest)]
    assert [seed - seeds[0] for seed in seeds] == [0, 1, 2, 3]
    (result,) = shop.runs.images(run)
    assert (result.width, result.height, result.kind) == (96, 80, "image")
    file = shop.gallery.path(result.id)
    assert [path.name for path in (shop.outputs / "img2img-images").rglob("*.png")] == [file.name], "tiles are not kept"
    assert "SD upscale overlap: 16, SD upscale upscaler: Lanczos, SD upscale scale factor: 2" in read_infotext(file)
    whole, corner = array(Image.open(file)), array(shop.picture(tiles[0]))
    # what only the first tile covers is that tile's, and where two overlap nothing is outside of both
    assert (whole[:16, :32] == corner[:16, :32]).all()
    other = array(shop.picture(tiles[1]))
    left = boxes[1][0]
    low = np.minimum(corner[:16, left:64], other[:16, : 64 - left]).astype(int)
    high = np.maximum(corner[:16, left:64], other[:16, : 64 - left]).astype(int)
    mixed = whole[:16, left:64].astype(int)
    assert (mixed >= low - 1).all()
    assert (mixed <= high + 1).all()


@pytest.mark.parametrize(
    ("strength", "expected"),
    [
        (0.0, [(5, 8), (6, 8), (6, 8), (7, 8), (6, 8), (7, 8), (7, 8), (8, 8)]),
        (0.5, [(5, 8), (5, 9), (6, 8), (6, 9), (6, 8), (6, 9), (7, 8), (7, 9)]),
    ],
)
def test_sd_upscales_tiles_have_a1111s_seeds(shop: Workshop, strength: float, expected: list[tuple[int, int]]) -> None:
    seed = Seed(value=5, variation=8, variation_strength=strength)
    init = Img2Img(image=shop.start(96, 96), denoising_strength=0.3)
    request = small_request(width=64, height=64, steps=2, batch_size=2, batch_count=2, seed=seed, init=init)
    run = shop.played("SD upscale", {"overlap": 16, "upscaler_index": "None"}, request)
    asked = [job.request.seed for job in shop.jobs(run) if isinstance(job.request, GenerationRequest)]
    assert [(each.value, each.variation) for each in asked] == expected
    assert len(shop.runs.images(run)) == 2


def test_loopback_keeps_the_first_pictures_colours(shop: Workshop) -> None:
    shop.settings[0] = replace(Settings(), img2img=Img2ImgSettings(color_correction=True), saving=Saving(save_before_color_correction=True))
    start = shop.start(32, 32)
    run = shop.played("Loopback", {"loops": 3}, small_request(init=Img2Img(image=start, denoising_strength=0.6)))
    first = shop.inputs.open(start).convert("RGB")
    for job in shop.jobs(run):
        drawn = shop.picture(job, "before_color_correction")
        assert (array(shop.picture(job)) == array(colour_matched(drawn, first))).all()
        image = next(image for image in shop.gallery.for_job(job.id) if image.kind == "image")
        assert "Final denoising strength: 0.5, Denoising curve: Linear" in image.infotext


def test_poor_mans_outpainting_keeps_the_picture_and_adds_to_it(shop: Workshop) -> None:
    start = shop.start(80, 72)
    request = small_request(init=Img2Img(image=start, denoising_strength=0.8))
    values = {"pixels": 16, "mask_blur": 0, "inpainting_fill": "fill", "direction": ["left", "down"]}
    run = shop.played("Poor man's outpainting", values, request)
    (job,) = shop.jobs(run)
    made = array(shop.picture(job))
    assert made.shape == (88, 96, 3)
    # the mask fades over some pixels within the picture, on the sides that grew
    kept = FEATHER + 4
    assert (made[: 72 - kept, 16 + kept :] == array(shop.inputs.open(start))[: 72 - kept, kept:]).all()


@pytest.mark.parametrize(
    ("script", "values", "change", "sentence"),
    [
        ("SD upscale", {}, {"init": None}, "no script 'SD upscale' for txt2img"),
        ("SD upscale", {"overlap": 64}, {"width": 64, "height": 64}, "overlap by half"),
        ("SD upscale", {"scale_factor": 4, "overlap": 16}, {"width": 32, "height": 32, "batch_count": 50}, None),
        ("SD upscale", {"upscaler_index": "dream"}, {"width": 256, "height": 256}, "no upscaler called"),
        ("SD upscale", {}, {"inpaint": Inpaint(mask_alpha=True)}, "sub-tab img2img"),
        ("Poor man's outpainting", {"direction": []}, {}, "at least one direction"),
        ("Poor man's outpainting", {"direction": ["inwards"]}, {}, "must be one of left, right, up, down"),
        ("Loopback", {}, {"inpaint": Inpaint(mask_alpha=True)}, "painted mask"),
    ],
)
def test_what_a_script_cannot_do_is_said(
    shop: Workshop, script: str, values: dict[str, Any], change: dict[str, Any], sentence: str | None
) -> None:
    request = replace(small_request(init=Img2Img(image=shop.start())), **change)
    if sentence is None:
        run = shop.runs.submit(script, "img2img", request, values)
        while (ended := shop.runs.get(run.id)) is None or ended.active:
            threading.Event().wait(0.05)
        assert ended.state == "failed"
        assert "tiles" in ended.error
        return
    with pytest.raises(InvalidRequest, match=sentence):
        shop.runs.submit(script, "img2img" if request.init else "txt2img", request, values)


def test_upscalers_may_be_named_by_their_position(shop: Workshop) -> None:
    request = small_request(width=128, height=128, init=Img2Img(image=shop.start()))
    run = shop.played("SD upscale", {"overlap": 0, "upscaler_index": "0", "scale_factor": 2}, request)
    (tile,) = shop.jobs(run)
    (result,) = shop.runs.images(run)
    assert (result.width, result.height) == (48, 40), "the first one is None, which enlarges nothing"
    assert fitted(shop.picture(tile), (48, 40), "just_resize").size == (48, 40)


@pytest.mark.parametrize("animation", ["WebP", "GIF"])
def test_a_filmstrip_leads_from_noise_to_the_picture(shop: Workshop, animation: str) -> None:
    values = {"frames": 3, "animation": animation, "draw_legend": False, "duration": 100}
    run = shop.played("Filmstrip", values, small_request(steps=5))
    strip, moving, last = shop.runs.images(run)
    (job,) = shop.jobs(run)
    assert (strip.width, strip.height, last.job_id) == (4 * 32, 32, job.id)
    pixels, finished = array(Image.open(shop.gallery.path(strip.id))), array(shop.picture(job))
    parts = [pixels[:, start : start + 32].astype(int) for start in range(0, 128, 32)]
    assert (parts[3] == finished).all()
    assert (parts[2] == finished).all(), "the last step's prediction is the picture"
    far = [float(np.abs(part - finished).mean()) for part in parts]
    assert far[0] > far[1] > far[2]
    file = Image.open(shop.gallery.path(moving.id))
    assert file.format == animation.upper()
    # equal frames are stored as one that is shown for longer
    assert getattr(file, "n_frames", 1) >= 2
    assert "Script: Filmstrip, Film frames: 3" in read_infotext(shop.gallery.path(moving.id))
    # frames are neither among the outputs nor in the gallery
    assert len(list((shop.outputs / "txt2img-images").rglob("*.*"))) == 1
    assert {image.kind for image in shop.gallery.recent(50)} == {"image", "grid"}


def test_a_film_of_what_the_network_sees_begins_with_noise(shop: Workshop) -> None:
    start = shop.start(32, 32)
    values = {"frames": 2, "animation": "None", "shown": "what the network sees"}
    request = small_request(steps=6, init=Img2Img(image=start, denoising_strength=0.9))
    seen = shop.played("Filmstrip", values, request)
    expected = shop.played("Filmstrip", {**values, "shown": "what the network expects"}, request)
    strips = [array(Image.open(shop.gallery.path(shop.runs.images(run)[0].id))) for run in (seen, expected)]
    assert strips[0].shape == strips[1].shape
    top = strips[0].shape[0] - 32
    assert (strips[0][top:, :32] != strips[1][top:, :32]).any()
    assert (strips[0][top:, -32:] == strips[1][top:, -32:]).all()


def test_a_film_does_not_change_the_picture(shop: Workshop) -> None:
    with_film = shop.played("Filmstrip", {"frames": 4}, small_request(steps=4))
    plain = shop.queue.submit(small_request(steps=4))
    while (job := shop.queue.get(plain.id)) is None or job.active:
        threading.Event().wait(0.05)
    (drawn,) = shop.jobs(with_film)
    assert (array(shop.picture(drawn)) == array(shop.picture(job))).all()


def test_loopback_draws_anew_only_what_is_masked(shop: Workshop) -> None:
    start = shop.start(32, 32)
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    inpaint = Inpaint(mask=shop.inputs.put_picture(mask.convert("RGB")).id, mask_blur_x=0, mask_blur_y=0, content="fill")
    run = shop.played("Loopback", {"loops": 2}, small_request(init=Img2Img(image=start, denoising_strength=0.9), inpaint=inpaint))
    source = array(shop.inputs.open(start))
    contents: list[str] = []
    for job in shop.jobs(run):
        made = array(shop.picture(job))
        assert (made[:, 16:] == source[:, 16:]).all()
        assert (made[:, :16] != source[:, :16]).any()
        assert isinstance(job.request, GenerationRequest)
        assert job.request.inpaint is not None
        contents.append(job.request.inpaint.content)
    assert contents == ["fill", "original"]


def test_dynamic_prompts_draw_what_the_wildcards_say(shop: Workshop) -> None:
    wildcards = shop.outputs.parent / "wildcards"
    wildcards.mkdir()
    (wildcards / "beast.txt").write_text("a cat\na dog\n", encoding="utf-8")
    request = small_request(prompt="__beast__, {red|blue}", seed=5, batch_count=3)
    run = shop.played("Dynamic prompts", {"mode": "every combination"}, request)
    assert [job.request.prompt for job in shop.jobs(run)] == ["a cat, red", "a cat, blue", "a dog, red", "a dog, blue"]
    grid, *singles = shop.runs.images(run)
    assert "Script: Dynamic prompts" in grid.infotext
    assert "{red|blue}" in grid.infotext
    assert [image.seed for image in singles] == [5, 6, 7, 8]
    assert singles[2].infotext.startswith("a dog, red\n")
    few = shop.played("Dynamic prompts", {"mode": "every combination", "most": 3}, request)
    assert len(shop.jobs(few)) == 3
    assert "more combinations than the 3" in few.notes[0]
    chance, again = (shop.played("Dynamic prompts", {"make_grid": False}, request) for _ in range(2))
    prompts = [[job.request.prompt for job in shop.jobs(each)] for each in (chance, again)]
    assert prompts[0] == prompts[1]
    assert len(prompts[0]) == 3
    alone = shop.queue.submit(small_request(prompt=prompts[0][1], seed=6))
    while (job := shop.queue.get(alone.id)) is None or job.active:
        threading.Event().wait(0.05)
    assert (array(shop.picture(alone)) == array(shop.picture(shop.jobs(chance)[1]))).all()


def test_dynamic_prompts_say_what_the_second_pass_draws_too(shop: Workshop) -> None:
    hires = HiresPass(prompt="a {red|blue} cat", scale=1.5, steps=1)
    request = small_request(prompt="a cat", hires=hires, seed=5)
    run = shop.played("Dynamic prompts", {"mode": "every combination"}, request)
    assert [(job.request.prompt, job.request.hires.prompt) for job in shop.jobs(run)] == [
        ("a cat", "a red cat"),
        ("a cat", "a blue cat"),
    ]
    assert "Hires prompt: a blue cat" in shop.runs.images(run)[2].infotext


@pytest.mark.parametrize(
    ("prompt", "sentence"), [("a cat", "there is no choice"), ("a {cat", "not closed"), ("__hat__", r"put wildcards/hat\.txt there")]
)
def test_dynamic_prompts_refuse_what_can_not_be_meant(shop: Workshop, prompt: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        shop.runs.submit("Dynamic prompts", "txt2img", small_request(prompt=prompt), {})
