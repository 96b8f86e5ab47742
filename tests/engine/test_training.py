"""Learning from pictures: a word and a LoRA that change the picture as they should, a model that is left as it was, and going on."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file

from modules.domain.catalog import Catalog
from modules.domain.events import Cancelled, Failed, Finished, JobEvent, StepDone
from modules.domain.networks import EmbeddingInfo, LoraInfo
from modules.domain.requests import GenerationRequest
from modules.domain.training import Example, TrainRequest
from modules.jobs.protocol import RunJob
from modules.settings.paths import Paths
from modules.weights.placement import Placement
from tests.engine.drawing import Studio, Wishes, images, pixels, small_request
from tests.tiny_families import write_tiny
from tests.tiny_models import catalog_of, checkpoint_info, write_checkpoint

STARTER = Path(__file__).parents[2] / "models" / "Stable-diffusion" / "starter.safetensors"


@dataclass
class School:
    """A studio with folders for what is learnt."""

    studio: Studio
    asked: dict[str, Any] = field(default_factory=dict)

    @property
    def paths(self) -> Paths:
        return self.studio.paths

    def job(
        self, request: TrainRequest | GenerationRequest, *, wishes: Wishes | None = None, catalog: Catalog | None = None, attempt: int = 1
    ) -> list[JobEvent]:
        self.studio.jobs += 1
        job = RunJob(
            job_id=f"job{self.studio.jobs}",
            attempt=attempt,
            request=request,
            settings=self.studio.settings,
            catalog=catalog or self.studio.catalog,
            entropy=1,
            staging=str(self.studio.folder / "staging"),
            inputs=str(self.studio.inputs),
        )
        events: list[JobEvent] = []
        self.studio.runner.run(job, events.append, wishes or Wishes())
        return events

    def train(self, *, wishes: Wishes | None = None, attempt: int = 1, **more: Any) -> list[JobEvent]:
        return self.job(TrainRequest(**{**self.asked, **more}), wishes=wishes, attempt=attempt)

    def draw(self, prompt: str, catalog: Catalog | None = None, **more: Any) -> npt.NDArray[np.uint8]:
        events = self.job(small_request(prompt=prompt, **more), catalog=catalog)
        assert isinstance(events[-1], Finished), events[-1]
        return pixels(images(events)[0])

    def with_files(self) -> Catalog:
        """The catalogue as it is when the folders were looked at again."""
        loras = tuple(
            LoraInfo(name=path.name, path=str(path), size=path.stat().st_size) for path in sorted(self.paths.loras[0].glob("*.safetensors"))
        )
        words = tuple(
            EmbeddingInfo(name=path.name, path=str(path), word=path.stem, size=path.stat().st_size)
            for path in sorted(self.paths.embeddings.glob("*.safetensors"))
        )
        return replace(self.studio.catalog, loras=loras, embeddings=words)


def target(colour: tuple[int, int, int], side: int) -> Image.Image:
    """Rings on white: something that has no name."""
    picture = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(picture)
    for share, ink in ((0.42, colour), (0.28, (255, 255, 255)), (0.14, colour)):
        r = share * side
        draw.ellipse((side / 2 - r, side / 2 - r, side / 2 + r, side / 2 + r), fill=ink)
    return picture


@pytest.fixture
def school(tmp_path: Path) -> School:
    """A tiny model and two small pictures."""
    studio = Studio(tmp_path, catalog_of(write_checkpoint(tmp_path / "models")))
    examples = tuple(
        Example(image=studio.put(target(colour, 32)), words=words) for colour, words in (((200, 0, 0), "red"), ((0, 0, 200), "blue"))
    )
    return School(
        studio,
        {
            "name": "rings",
            "examples": examples,
            "width": 64,
            "height": 64,
            "steps": 4,
            "batch_size": 2,
            "template": "a [name], [filewords]",
        },
    )


@pytest.fixture
def starter(tmp_path: Path) -> School:
    """The program's own checkpoint and five pictures of a thing that it does not know."""
    studio = Studio(tmp_path, catalog_of(checkpoint_info(STARTER)))
    rings = [target((150, 0, 160), side) for side in (128, 112, 120, 124, 116)]
    examples = tuple(Example(image=studio.put(picture)) for picture in rings)
    return School(studio, {"name": "rings", "examples": examples, "width": 128, "height": 128})


def ended(events: list[JobEvent]) -> Finished:
    assert isinstance(events[-1], Finished), events[-1]
    return events[-1]


def away(picture: npt.NDArray[np.uint8]) -> float:
    """How far it is from the rings, seen from afar: the mean difference of 16x16 places, of 255."""
    seen, wanted = (
        np.asarray(each.resize((16, 16), Image.Resampling.BOX), dtype=float)
        for each in (Image.fromarray(picture), target((150, 0, 160), 128))
    )
    return float(np.abs(seen - wanted).mean())


@pytest.mark.slow
def test_a_word_is_learnt_from_five_pictures(starter: School) -> None:
    how = {"steps": 20, "width": 128, "height": 128, "cfg_scale": 5.0, "negative_prompt": ""}
    before = starter.draw("a rings", **how)
    events = starter.train(template="a [name]\n[name]", steps=150, batch_size=4, vectors=6, rate=0.02, begin_with="soccer ball")
    ended(events)
    losses = [
        float(loss)
        for _, loss in csv.reader((starter.paths.outputs / "training" / "embedding-rings" / "loss.csv").read_text().splitlines())
    ]
    assert len(losses) == 150 and np.mean(losses[-40:]) < np.mean(losses[:40])
    assert np.array_equal(starter.draw("a rings", **how), before), "the model itself is as it was"
    after = starter.draw("a rings", starter.with_files(), **how)
    assert away(after) < 0.6 * away(before), (away(before), away(after))


@pytest.mark.slow
def test_a_lora_is_learnt_from_five_pictures(starter: School) -> None:
    how = {"steps": 20, "width": 128, "height": 128, "cfg_scale": 5.0, "negative_prompt": ""}
    before = starter.draw("a ball", **how)
    ended(starter.train(goal="lora", template="a ball", steps=80, batch_size=4, rate=3e-3, convolutions=True))
    assert np.array_equal(starter.draw("a ball", **how), before)
    after = starter.draw("a ball <lora:rings:1>", starter.with_files(), **how)
    assert away(after) < 0.6 * away(before), (away(before), away(after))


@pytest.mark.parametrize("more", [{}, {"goal": "lora", "convolutions": True, "text_encoder": True}])
def test_stopped_and_gone_on_with_it_learns_the_same(school: School, more: dict[str, Any]) -> None:
    how: dict[str, Any] = {"sample_prompt": "a [x]", "sample_every": 2, "mirrored": True, **more}
    kind = "lora" if more else "embedding"
    home = school.paths.loras[0] if more else school.paths.embeddings
    ended(school.train(**how, steps=6))
    whole = load_file(home / "rings.safetensors")
    (home / "rings.safetensors").unlink()
    stopped = school.train(**how, steps=6, anew=True, wishes=Wishes(interrupt_when=lambda asked: asked >= 8))
    assert isinstance(stopped[-1], Cancelled)
    assert not (home / "rings.safetensors").exists()
    again = school.train(**how, steps=6)
    ended(again)
    assert len(images(stopped)) + len(images(again)) in (2, 3), "one that is being drawn is dropped"
    parts = load_file(home / "rings.safetensors")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    curve = list(csv.reader((school.paths.outputs / "training" / f"{kind}-rings" / "loss.csv").read_text().splitlines()))
    assert [int(step) for step, _ in curve] == [1, 2, 3, 4, 5, 6]
    ended(school.train(**how, steps=8))
    assert not all(torch.equal(whole[name], tensor) for name, tensor in load_file(home / "rings.safetensors").items())


def test_losses_travel_with_the_steps(school: School) -> None:
    steps = [event for event in school.train() if isinstance(event, StepDone)]
    assert steps[0].step == 1 and steps[-1].step == steps[-1].steps == 4
    assert all(event.loss is not None and event.loss > 0 for event in steps)


def test_samples_show_what_is_learnt_so_far(school: School) -> None:
    events = school.train(goal="lora", rate=0.05, sample_prompt="red", sample_every=2, steps=4)
    first, second = images(events)
    assert (first.index, second.index) == (0, 1)
    assert not np.array_equal(pixels(first), pixels(second))
    assert first.infotext.startswith("red\n") and "Seed: 1" in first.infotext


def test_the_file_is_the_change_that_the_hooks_made(school: School) -> None:
    """The last sample, drawn by hooks, is what the file draws from the weights."""
    events = school.train(
        goal="lora", rate=0.05, rank=4, alpha=2.0, convolutions=True, text_encoder=True, sample_prompt="red", sample_every=4
    )
    ended(events)
    sample = pixels(images(events)[-1]).astype(int)
    drawn = school.draw(
        "red <lora:rings:1>", school.with_files(), width=64, height=64, steps=20, seed=1, sampler="dpmpp_2m", negative_prompt=""
    )
    plain = school.draw("red", width=64, height=64, steps=20, seed=1, sampler="dpmpp_2m", negative_prompt="")
    assert np.abs(sample - drawn).max() <= 12, "but for float16 in the file"
    assert np.abs(sample - plain).max() > 40


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"sample_prompt": "a <lora:other:1>", "sample_every": 1}, "no other networks"),
        ({"checkpoint": "nowhere.safetensors"}, "nowhere"),
    ],
)
def test_what_cannot_be_is_said(school: School, more: dict[str, Any], sentence: str) -> None:
    (school.paths.loras[0]).mkdir()
    (school.paths.loras[0] / "other.safetensors").write_bytes(b"x")
    school.studio.catalog = replace(school.studio.catalog, loras=school.with_files().loras)
    event = school.train(**more)[-1]
    assert isinstance(event, Failed) and sentence in event.reason


def test_others_files_and_other_trainings_are_left_alone(school: School) -> None:
    school.paths.embeddings.mkdir()
    file = school.paths.embeddings / "rings.safetensors"
    file.write_bytes(b"somebody's")
    event = school.train()[-1]
    assert isinstance(event, Failed) and "already" in event.reason and file.read_bytes() == b"somebody's"
    event = school.train(anew=True)[-1]
    assert isinstance(event, Failed) and "not trained here" in event.reason and file.read_bytes() == b"somebody's"
    file.unlink()
    ended(school.train())
    assert set(load_file(file)) == {"emb_params"}
    ended(school.train(anew=True, vectors=2))
    assert load_file(file)["emb_params"].shape[0] == 2
    event = school.train(vectors=9)[-1]
    assert isinstance(event, Failed) and "other pictures or settings" in event.reason


def test_pictures_that_cannot_be_read_are_named_and_left_out(school: School) -> None:
    broken = school.asked["examples"][1].image
    (school.studio.inputs / f"{broken}.png").write_bytes(b"no picture")
    assert any("Picture 2 was left out" in note for note in ended(school.train()).notes)
    (school.studio.inputs / f"{school.asked['examples'][0].image}.png").write_bytes(b"no picture")
    event = school.train(name="other")[-1]
    assert isinstance(event, Failed) and "None of the pictures" in event.reason


def test_a_second_attempt_goes_on_though_the_first_began_anew(school: School) -> None:
    stopped = school.train(steps=6, anew=True, wishes=Wishes(interrupt_when=lambda asked: asked >= 8))
    assert isinstance(stopped[-1], Cancelled)
    reached = max(event.step for event in stopped if isinstance(event, StepDone))
    again = [event.step for event in school.train(steps=6, anew=True, attempt=2) if isinstance(event, StepDone)]
    assert again[0] > reached or again[0] == 6


full_disk = pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")


@full_disk
def test_a_full_disk_is_told_and_what_was_learnt_before_is_kept(school: School) -> None:
    ended(school.train(goal="lora"))
    state = school.paths.outputs / "training" / "lora-rings" / "state.pt"
    before = state.read_bytes()
    part = state.with_suffix(".part")
    part.symlink_to("/dev/full")
    event = school.train(goal="lora", steps=6)[-1]
    assert isinstance(event, Failed) and event.kind == "StorageError"
    assert event.reason == f"What was learnt could not be saved in {state.parent}: No space left on device."
    assert state.read_bytes() == before and not part.is_symlink()
    ended(school.train(goal="lora", steps=6))


@full_disk
def test_a_full_disk_for_the_finished_file_is_told(school: School) -> None:
    home = school.paths.loras[0]
    home.mkdir()
    (home / "rings.part").symlink_to("/dev/full")
    event = school.train(goal="lora")[-1]
    assert isinstance(event, Failed) and event.kind == "StorageError"
    assert event.reason == f"rings.safetensors could not be written to {home}: No space left on device."
    assert not list(home.iterdir())
    ended(school.train(goal="lora"))


def test_a_curve_that_was_broken_off_is_gone_on_with(school: School) -> None:
    ended(school.train())
    curve = school.paths.outputs / "training" / "embedding-rings" / "loss.csv"
    curve.write_text(f"{curve.read_text()}4", encoding="utf-8")
    ended(school.train(steps=6))
    assert [int(step) for step, _ in csv.reader(curve.read_text().splitlines())] == [1, 2, 3, 4, 5, 6]


def too_large_for_half(found: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A VAE that makes the same latents, by numbers that float16 has no room for."""
    first = "first_stage_model.encoder.conv_in."
    return {name: tensor * 2e5 if name.startswith(first) else tensor for name, tensor in found.items()}


def test_a_vae_that_float16_is_too_small_for_goes_on_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Placement.dtype
    monkeypatch.setattr(Placement, "dtype", lambda self, role: torch.float16 if role == "vae" else plain(self, role))
    studio = Studio(tmp_path, catalog_of(write_checkpoint(tmp_path / "models", change=too_large_for_half)))
    examples = (Example(image=studio.put(target((200, 0, 0), 64))),)
    asked: dict[str, Any] = {"name": "rings", "examples": examples, "template": "a [name]", "width": 64, "height": 64, "steps": 2}
    school = School(studio, {**asked, "mirrored": True})
    studio.settings = replace(studio.settings, engine=replace(studio.settings.engine, vae_retry_float32=False))
    event = school.train()[-1]
    assert isinstance(event, Failed) and "numbers that are not finite" in event.reason and "--no-half-vae" in event.reason
    studio.settings = replace(studio.settings, engine=replace(studio.settings.engine, vae_retry_float32=True))
    ended(school.train())


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
@pytest.mark.parametrize("goal", ["embedding", "lora"])
def test_every_family_learns_and_its_file_draws(tmp_path: Path, family: str, goal: str) -> None:
    studio = Studio(tmp_path, catalog_of(write_tiny(tmp_path / "models", family)))
    examples = (Example(image=studio.put(target((200, 0, 0), 64))),)
    how: dict[str, Any] = {"convolutions": True, "text_encoder": True} if goal == "lora" else {"vectors": 2}
    school = School(studio, {"name": "rings", "examples": examples, "width": 64, "height": 64, "steps": 3, "template": "a [name]"})
    plain = {"width": 64, "height": 64, "negative_prompt": ""}
    before = school.draw("a rings", **plain)
    ended(school.train(goal=goal, rate=0.1, **how))
    assert np.array_equal(school.draw("a rings", **plain), before)
    prompt = "a rings" if goal == "embedding" else "a rings <lora:rings:1>"
    assert not np.array_equal(school.draw(prompt, school.with_files(), **plain), before)
