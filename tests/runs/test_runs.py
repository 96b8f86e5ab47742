"""Runs: what was accepted is finished, in any order of deaths; nothing is drawn twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from modules.domain.errors import InvalidRequest
from modules.domain.img2img import Img2Img
from modules.imaging.files import read_infotext
from modules.runs.run import Run
from tests.jobs.scripted_runner import Script
from tests.runs.running import Office, office

SLOW = Script(step_seconds=0.05)


def grids(made: Office, run: Run) -> list[Path]:
    return [made.house.gallery.path(image.id) for image in made.runs.images(run) if image.kind == "grid"]


def test_a_run_draws_its_cells_and_saves_its_sheet(tmp_path: Path) -> None:
    with office(tmp_path) as made:
        run = made.wait(made.submit("Prompt matrix", {}, "draw|a hat|a cat"))
        assert (run.state, run.error) == ("done", "")
        assert [job.request.prompt for job in made.jobs(run)] == ["draw", "draw, a hat", "draw, a cat", "draw, a hat, a cat"]
        assert len({job.request.seed.value for job in made.jobs(run)}) == 1
        (grid,) = grids(made, run)
        assert "txt2img-grids" in str(grid)
        assert "Script: Prompt matrix" in read_infotext(grid)
        assert Image.open(grid).width > 32


def test_a_run_goes_on_after_a_restart_and_draws_nothing_twice(tmp_path: Path) -> None:
    with office(tmp_path, script=SLOW) as made:
        run = made.submit("Prompt matrix", {}, "draw|one|two|three")
        made.wait_for(lambda: made.runs.progress(made.run(run)).done >= 3)
        assert 0.02 < (made.runs.progress(made.run(run)).pace or 0.0) < 60
    with office(tmp_path) as again:
        run = again.wait(run)
        assert run.state == "done"
        assert len(again.jobs(run)) == 8
        assert len(again.house.queue.list()) == 8
        assert len([image for image in again.runs.images(run) if image.kind == "image"]) == 8
        assert len(grids(again, run)) == 1


def test_pause_lets_no_new_job_into_the_queue(tmp_path: Path) -> None:
    with office(tmp_path, script=SLOW) as made:
        run = made.submit("Prompt matrix", {}, "draw|one|two|three")
        made.wait_for(lambda: made.jobs(run))
        made.runs.pause(run.id)
        made.wait_for(lambda: not any(job.active for job in made.jobs(run)))
        count = len(made.jobs(run))
        assert count < 8
        assert made.run(run).state == "paused"
        assert made.runs.go_on(run.id).state == "running"
        assert made.wait(run).state == "done"
        assert len(made.jobs(run)) == 8


def test_interrupt_ends_run_and_job_and_keeps_what_there_is(tmp_path: Path) -> None:
    with office(tmp_path, script=SLOW) as made:
        run = made.submit("Prompt matrix", {}, "draw|one|two|three")
        made.wait_for(lambda: made.runs.progress(made.run(run)).done >= 2)
        (active,) = [job for job in made.jobs(run) if job.state == "running"] or [made.jobs(run)[-1]]
        made.runs.interrupt(active.id)
        run = made.wait(run)
        assert run.state == "cancelled"
        assert not made.house.queue.list(active_only=True)
        assert 2 <= len([job for job in made.jobs(run) if job.state == "done"]) < 8
        assert len(grids(made, run)) == 1
        # and it can go on from there
        made.runs.go_on(run.id)
        run = made.wait(run)
        assert run.state == "done"
        assert {job.state for job in made.jobs(run)} == {"done"}
        assert len(grids(made, run)) == 2


def test_a_cell_that_fails_is_empty_and_named(tmp_path: Path) -> None:
    with office(tmp_path) as made:
        lines = "draw\nrefuse\ndraw more"
        run = made.wait(made.submit("Prompts from file or textbox", {"prompt_txt": lines, "make_combined": True}, ""))
        assert run.state == "done"
        assert [job.state for job in made.jobs(run)] == ["done", "failed", "done"]
        assert run.notes == ("scripted note", "1 of 3 could not be drawn: The scripted device is full.")
        assert len(grids(made, run)) == 1


def test_a_cell_that_was_taken_out_of_the_queue_is_named_and_drawn_later(tmp_path: Path) -> None:
    with office(tmp_path, script=SLOW) as made:
        run = made.submit("Prompts from file or textbox", {"prompt_txt": "draw\ndraw more\ndraw most", "make_combined": True}, "", steps=20)
        made.wait_for(lambda: len(made.jobs(run)) >= 2)
        assert made.house.queue.interrupt(made.jobs(run)[1].id)
        run = made.wait(run)
        assert run.state == "done"
        assert run.notes == ("scripted note", "1 of 3 could not be drawn: they were taken out of the queue.")
        made.runs.go_on(run.id)
        run = made.wait(run)
        assert (run.state, run.notes) == ("done", ("scripted note",))


def test_a_cell_that_was_cut_short_is_drawn_whole_when_the_run_goes_on(tmp_path: Path) -> None:
    with office(tmp_path, script=SLOW) as made:
        run = made.submit("Prompts from file or textbox", {"prompt_txt": "draw", "make_combined": True}, "", steps=10, batch_count=4)
        made.wait_for(lambda: made.jobs(run) and made.house.gallery.for_job(made.jobs(run)[0].id))
        made.runs.interrupt(made.jobs(run)[0].id)
        assert made.wait(run).state == "cancelled"
        assert 1 <= len([image for image in made.runs.images(run) if image.kind == "image"]) < 4
        made.runs.go_on(run.id)
        run = made.wait(run)
        assert run.state == "done"
        assert len([image for image in made.runs.images(run) if image.kind == "image"]) == 4


def test_what_is_wrong_is_said_before_anything_is_queued(tmp_path: Path) -> None:
    with office(tmp_path) as made:
        with pytest.raises(InvalidRequest, match="Line 2: There is no sampler"):
            made.submit("Prompts from file or textbox", {"prompt_txt": "a cat\n--prompt dog --sampler_name nonsense"})
        with pytest.raises(InvalidRequest, match="Line 1: Width must be a multiple"):
            made.submit("Prompts from file or textbox", {"prompt_txt": "--prompt dog --width 100"})
        with pytest.raises(InvalidRequest, match="no script"):
            made.submit("Loopback", {})
        assert not made.house.queue.list()
        assert not made.runs.list("")


def test_loopback_begins_each_pass_from_the_one_before(tmp_path: Path) -> None:
    with office(tmp_path) as made:
        start = made.inputs.put_picture(Image.new("RGB", (64, 64), "red")).id
        init = Img2Img(image=start, denoising_strength=0.8)
        values = {"loops": 3, "final_denoising_strength": 0.2}
        run = made.wait(made.submit("Loopback", values, tab="img2img", init=init, width=64, height=64))
        assert run.state == "done"
        jobs = made.jobs(run)
        inits = [job.request.init for job in jobs]
        assert [round(each.denoising_strength, 3) for each in inits if each] == [0.8, 0.5, 0.2]
        assert {each.colors_of for each in inits if each} == {start}
        for before, each in zip(jobs, inits[1:], strict=False):
            assert each is not None
            (image,) = made.house.gallery.for_job(before.id)
            assert made.inputs.open(each.image).tobytes() == Image.open(made.house.gallery.path(image.id)).convert("RGB").tobytes()
        assert [job.request.seed.value for job in jobs] == [jobs[0].request.seed.value + n for n in range(3)]
        (grid,) = grids(made, run)
        assert Image.open(grid).size == (48, 16)
        assert "img2img-grids" in str(grid)


def test_settings_changed_on_the_way_do_not_change_the_run(tmp_path: Path) -> None:
    with office(tmp_path, script=SLOW) as made:
        run = made.submit("Prompt matrix", {}, "draw|one|two")
        made.wait_for(lambda: made.jobs(run))
        made.house.set(models=replace(made.house.settings[0].models, clip_skip=3))
        run = made.wait(run)
        assert {job.request.clip_skip for job in made.jobs(run)} == {1}
        assert {job.settings.models.clip_skip for job in made.jobs(run)} == {1}


SWEEP = {"x_type": "Steps", "x_values": "1,2,3", "y_type": "CFG Scale", "y_values": "4,5", "z_type": "Seed", "z_values": "-1,5"}


def test_a_sweep_extended_by_a_column_draws_that_column_alone(tmp_path: Path) -> None:
    with office(tmp_path) as made:
        run = made.wait(made.submit("X/Y/Z plot", SWEEP))
        assert run.state == "done"
        before = {job.id for job in made.jobs(run)}
        assert len(before) == 12
        assert run.sheet is not None
        assert [axis for axis, _ in run.sheet.axes] == ["Steps", "CFG Scale", "Seed"]
        made.runs.go_on(run.id, {**SWEEP, "x_values": "1,2,3,4"})
        run = made.wait(run)
        assert run.state == "done"
        new = [job for job in made.jobs(run) if job.id not in before]
        assert {job.request.steps for job in new} == {4}
        assert len(new) == 4
        assert len(made.house.queue.list()) == 16
        assert run.sheet is not None
        # every cell stands where its axes say
        for place, image_id in enumerate(run.sheet.cells):
            image = made.house.gallery.get(image_id)
            assert image is not None
            job = made.house.queue.get(image.job_id)
            assert job is not None
            assert (job.request.steps, job.request.cfg_scale) == (place % 4 + 1, place // 4 % 2 + 4)
        assert [image.kind for image in made.runs.images(run)] == ["grid", "grid"]


def test_sub_grids_sub_images_and_what_the_grid_says(tmp_path: Path) -> None:
    with office(tmp_path) as made:
        values = {**SWEEP, "include_lone_images": True, "include_sub_grids": True, "draw_legend": False, "margin_size": 2}
        run = made.wait(made.submit("X/Y/Z plot", values))
        images = made.runs.images(run)
        assert [image.kind for image in images].count("grid") == 3
        assert len(images) == 15
        wide = images[0]
        assert wide.width == 3 * 16 * 2 + 2 * 5
        sub = [image for image in images if (image.width, image.height) == (3 * 16 + 4, 2 * 16 + 2)]
        assert len(sub) == 2
        text = read_infotext(made.house.gallery.path(wide.id))
        assert 'Script: X/Y/Z plot, X Type: Steps, X Values: "1,2,3", Y Type: CFG Scale, Y Values: "4,5", Z Type: Seed' in text
        fixed = text.split("Fixed Z Values: ")[1].strip('"').split(", ")
        assert fixed[1] == "5"
        assert fixed[0] != "-1"


def test_a_loopback_goes_on_after_a_restart_from_its_last_pass(tmp_path: Path) -> None:
    with office(tmp_path, script=SLOW) as made:
        start = made.inputs.put_picture(Image.new("RGB", (64, 64), "red")).id
        run = made.submit("Loopback", {"loops": 4}, tab="img2img", init=Img2Img(image=start), width=64, height=64)
        assert made.runs.progress(made.run(run)).total in (0, 4)
        made.wait_for(lambda: made.runs.progress(made.run(run)).done >= 2)
        before = [job.id for job in made.jobs(run)]
    with office(tmp_path) as again:
        run = again.wait(run)
        assert run.state == "done"
        jobs = again.jobs(run)
        assert [job.id for job in jobs][: len(before)] == before
        assert len(jobs) == len(again.house.queue.list()) == 4
        assert [job.request.seed.value - jobs[0].request.seed.value for job in jobs] == [0, 1, 2, 3]
        assert len(grids(again, run)) == 1
