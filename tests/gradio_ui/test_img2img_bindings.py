"""img2img's form becomes the request that it shows, and a batch becomes a request for each file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from starlette.requests import Request

from modules.bootstrap import build
from modules.context import AppContext
from modules.domain.errors import InvalidRequest, QueueFull
from modules.domain.img2img import Outpaint, SoftInpainting
from modules.domain.jobs import Job
from modules.domain.requests import GenerationRequest, Seed
from modules.gradio_ui.bindings.img2img import Inputs, uploaded, with_picture
from modules.gradio_ui.bindings.img2img_batch import BatchFiles, batch_files, batch_requests, is_at_this_machine
from modules.gradio_ui.generation import submit_together
from modules.gradio_ui.parts.img2img_settings import SOFT
from modules.settings.flags import parse, paths
from tests.gradio_ui.canvas_hand import gradient, saved

PLAIN = GenerationRequest(prompt="a red apple", width=64, height=64, steps=2)
PICTURE, MASK = "1" * 32, "2" * 32
FORM: dict[str, Any] = {
    "denoising_strength": 0.6,
    "resize_mode": "Resize and fill",
    "resize_kind": "Resize to",
    "scale": 1.5,
    "mask_blur": 7,
    "inpainting_mask_invert": "Inpaint not masked",
    "inpainting_fill": "latent noise",
    "inpaint_full_res": "Only masked",
    "inpaint_full_res_padding": 48,
    "soft_inpainting_enabled": False,
    **{name: row[-1] for name, row in SOFT.items()},
    "outpaint_enabled": False,
    **{f"outpaint_{side}": 0 for side in ("left", "right", "top", "bottom")},
    "batch_input_dir": "",
    "batch_inpaint_mask_dir": "",
    "batch_metadata": [],
    "batch_skip_done": True,
}


def test_the_request_is_what_the_form_shows() -> None:
    request = with_picture(PLAIN, FORM, Inputs(PICTURE, MASK), masked=True)
    assert request.init and request.inpaint and replace(request, init=None, inpaint=None) == PLAIN
    assert (request.init.image, request.init.denoising_strength, request.init.resize_mode) == (PICTURE, 0.6, "resize_and_fill")
    assert request.init.resize_by is None
    inpaint = request.inpaint
    assert (inpaint.mask, inpaint.mask_blur_x, inpaint.mask_blur_y, inpaint.padding) == (MASK, 7, 7, 48)
    assert (inpaint.invert, inpaint.content, inpaint.only_masked, inpaint.mask_alpha) == (True, "latent_noise", True, False)
    assert with_picture(PLAIN, FORM, Inputs(PICTURE), masked=False).inpaint is None


def test_resize_by_soft_inpainting_and_outpainting() -> None:
    by = with_picture(PLAIN, {**FORM, "resize_kind": "Resize by"}, Inputs(PICTURE), masked=False)
    assert by.init and by.init.resize_by == 1.5
    soft = with_picture(
        PLAIN, {**FORM, "soft_inpainting_enabled": True, "soft_inpainting_schedule_bias": 2}, Inputs(PICTURE, MASK), masked=True
    )
    assert soft.inpaint and soft.inpaint.soft == SoftInpainting(schedule_bias=2.0)
    wider = with_picture(PLAIN, {**FORM, "outpaint_enabled": True, "outpaint_left": 64}, Inputs(PICTURE), masked=True)
    assert wider.inpaint and wider.inpaint.outpaint == Outpaint(left=64) and wider.inpaint.mask is None


def test_a_transparent_part_is_masked_too() -> None:
    request = with_picture(PLAIN, FORM, Inputs(PICTURE, None, has_alpha=True), masked=True)
    assert request.inpaint and request.inpaint.mask is None and request.inpaint.mask_alpha


@pytest.mark.parametrize(
    ("change", "inputs", "sentence"),
    [
        ({}, Inputs(""), "Choose a picture"),
        ({}, Inputs(PICTURE), "paint over what is to stay"),
        ({"inpainting_mask_invert": "Inpaint masked"}, Inputs(PICTURE), "paint over what should change"),
        ({"denoising_strength": None}, Inputs(PICTURE, MASK), "Denoising strength is empty"),
        ({"outpaint_enabled": True}, Inputs(PICTURE, MASK), "say by how many pixels"),
        ({}, Inputs("../../etc/passwd", MASK), "not the id of a picture"),
    ],
)
def test_what_is_missing_is_said(change: Mapping[str, Any], inputs: Inputs, sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        with_picture(PLAIN, {**FORM, **change}, inputs, masked=True)


def test_what_went_wrong_in_the_browser_is_the_answer() -> None:
    assert uploaded('{"image": "a", "mask": null, "mode": "inpaint"}') == Inputs("a", None, mode="inpaint")
    with pytest.raises(InvalidRequest, match="does not answer"):
        uploaded('{"error": "The picture could not be sent: the server does not answer."}')


@pytest.fixture
def context(tmp_path: Path) -> AppContext:
    flags = parse(["--data-dir", str(tmp_path / "data")], {})
    return build(flags, paths(flags))[0]


def _make(values: Mapping[str, Any]) -> GenerationRequest:
    return replace(PLAIN, prompt=values.get("prompt", PLAIN.prompt), seed=Seed(value=values.get("seed", 7)))


def test_a_batch_takes_masks_by_name_and_leaves_out_what_has_none(context: AppContext, tmp_path: Path) -> None:
    pictures = tuple(saved(gradient(64 + i), tmp_path, f"{name}.png") for i, name in enumerate(("one", "two", "three")))
    masks = {name: saved(Image.new("L", (64, 64), shade), tmp_path, f"mask-{name}.png") for name, shade in (("one", 255), ("two", 128))}
    told = batch_requests(context, FORM, _make, BatchFiles(pictures, masks), "")
    assert [request.init and context.inputs.open(request.init.image).size for request in told.values] == [(64, 64), (65, 65)]
    found = [request.inpaint and request.inpaint.mask for request in told.values]
    assert len(set(found)) == 2 and None not in found
    assert told.notes == ["three.png: there is no mask of its name."]
    for_all = batch_requests(context, FORM, _make, BatchFiles(pictures, {"any": masks["one"]}), "")
    assert len(for_all.values) == 3 and not for_all.notes
    plain = batch_requests(context, FORM, _make, BatchFiles(pictures, {}), "")
    assert [request.inpaint for request in plain.values] == [None, None, None]


def test_a_batch_without_masks_grows_too(context: AppContext, tmp_path: Path) -> None:
    files = BatchFiles((saved(gradient(64), tmp_path, "one.png"),), {})
    (wider,) = batch_requests(context, {**FORM, "outpaint_enabled": True, "outpaint_left": 64}, _make, files, "").values
    assert wider.inpaint and wider.inpaint.outpaint == Outpaint(left=64) and wider.inpaint.mask is None


def test_a_batch_that_was_broken_off_goes_on_where_it_was(context: AppContext, tmp_path: Path) -> None:
    files = BatchFiles(tuple(saved(gradient(64 + i), tmp_path, f"{i}.png") for i in range(3)), {})
    first = batch_requests(context, FORM, _make, files, "").values
    for request in first[:2]:
        context.queue.submit(request, owner="")
    cancelled = context.queue.submit(first[2], owner="")
    context.queue.interrupt(cancelled.id)
    told = batch_requests(context, FORM, _make, files, "")
    assert told.values == [first[2]]
    assert told.notes == ["2 of 3 are done already or wait, and were left out."]
    assert len(batch_requests(context, FORM, _make, files, "somebody else").values) == 3
    assert len(batch_requests(context, {**FORM, "denoising_strength": 0.5}, _make, files, "").values) == 3
    assert len(batch_requests(context, {**FORM, "batch_skip_done": False}, _make, files, "").values) == 3
    context.queue.submit(first[2], owner="")
    with pytest.raises(InvalidRequest, match="Take the tick"):
        batch_requests(context, FORM, _make, files, "")


def test_interrupt_ends_a_batch_and_cancel_one_file_of_it(context: AppContext, tmp_path: Path) -> None:
    files = BatchFiles(tuple(saved(gradient(64 + i), tmp_path, f"{i}.png") for i in range(4)), {})
    jobs, _ = submit_together(context, batch_requests(context, FORM, _make, files, "").values, "")
    (alone,), _ = submit_together(context, [PLAIN], "")
    others, _ = submit_together(context, batch_requests(context, {**FORM, "batch_skip_done": False}, _make, files, "").values, "")
    context.queue.interrupt(jobs[2].id)
    assert [_state(context, job) for job in jobs] == ["queued", "queued", "cancelled", "queued"]
    context.runs.interrupt(jobs[1].id)
    assert {_state(context, job) for job in jobs} == {"cancelled"}
    assert {_state(context, job) for job in (alone, *others)} == {"queued"}


def test_more_of_a_click_is_known_while_it_is_drawn(context: AppContext) -> None:
    one, several = replace(PLAIN, batch_count=1), replace(PLAIN, batch_count=3)
    (alone,), _ = submit_together(context, [one], "")
    (many,), _ = submit_together(context, [several], "")
    (first, second), _ = submit_together(context, [one, one], "")
    drawn = [replace(job, state="running") for job in (alone, many, first)]
    assert [context.runs.has_more(job) for job in drawn] == [False, True, True]
    assert not context.runs.has_more(many), "it waits: nothing is drawn that could be finished"
    context.queue.interrupt(second.id)
    assert not context.runs.has_more(drawn[-1])


def test_a_batch_that_the_queue_has_no_room_for_waits_in_part_and_says_so(context: AppContext) -> None:
    context.settings.update({"queue_limit": 3})
    jobs, notes = submit_together(context, [PLAIN] * 5, "")
    assert len(jobs) == 3
    assert notes[0].startswith("Only the first 3 of 5 wait now: 3 jobs are waiting already")
    with pytest.raises(QueueFull):
        submit_together(context, [PLAIN], "")
    assert len(context.queue.list()) == 3


def _state(context: AppContext, job: Job) -> str:
    found = context.queue.get(job.id)
    assert found is not None
    return found.state


def test_a_damaged_file_does_not_stop_the_others(context: AppContext, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(b"no picture")
    files = BatchFiles((damaged, saved(gradient(64), tmp_path)), {})
    told = batch_requests(context, FORM, _make, files, "")
    assert len(told.values) == 1 and told.notes[0].startswith("damaged.png: The picture can't be used")
    with pytest.raises(InvalidRequest, match=r"damaged\.png"):
        batch_requests(context, FORM, _make, BatchFiles((damaged,), {}), "")


def test_parameters_of_the_pictures_are_taken_where_one_wants_them(context: AppContext, tmp_path: Path) -> None:
    info = PngInfo()
    info.add_text("parameters", "a green pear\nSteps: 9, Sampler: Euler a, CFG scale: 3, Seed: 1234, Size: 64x64, Version: x")
    gradient(64).save(tmp_path / "with.png", pnginfo=info)
    files = BatchFiles((tmp_path / "with.png", saved(gradient(72), tmp_path, "without.png")), {})
    taken = batch_requests(context, {**FORM, "batch_metadata": ["Prompt", "Seed"]}, _make, files, "").values
    assert [(request.prompt, request.seed.value) for request in taken] == [("a green pear", 1234), ("a red apple", 7)]
    assert taken[0].steps == PLAIN.steps


def test_folders_are_for_whoever_sits_at_the_machine(tmp_path: Path) -> None:
    saved(gradient(64), tmp_path, "b.png")
    saved(gradient(64), tmp_path, "a.PNG")
    (tmp_path / "notes.txt").write_text("no picture")
    values = {**FORM, "batch_input_dir": str(tmp_path)}
    assert [path.name for path in batch_files(values, [], [], local=True).pictures] == ["a.PNG", "b.png"]
    with pytest.raises(InvalidRequest, match="Only whoever sits at the machine"):
        batch_files(values, [], [], local=False)
    with pytest.raises(InvalidRequest, match="there is no folder"):
        batch_files({**FORM, "batch_input_dir": str(tmp_path / "none")}, [], [], local=True)
    with pytest.raises(InvalidRequest, match="upload pictures"):
        batch_files(FORM, [], [], local=True)


@pytest.mark.parametrize(
    ("client", "headers", "local"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:7860"}, True),
        ("::1", {"host": "[::1]:7860"}, True),
        ("127.0.0.1", {"host": "localhost:7860"}, True),
        ("127.0.0.1", {"host": "abc.gradio.live"}, False),
        ("192.168.1.7", {"host": "127.0.0.1:7860"}, False),
        ("127.0.0.1", {"host": "localhost", "x-forwarded-for": "8.8.8.8"}, False),
    ],
)
def test_who_sits_at_the_machine(client: str, headers: Mapping[str, str], local: bool) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    request = Request({"type": "http", "client": (client, 5000), "headers": raw, "method": "GET", "path": "/", "query_string": b""})
    assert is_at_this_machine(gr.Request(request)) is local
