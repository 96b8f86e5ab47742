"""Networks and textual inversions from the prompt to the picture: what changes, what comes back, what is told."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from modules.domain.catalog import Catalog
from modules.domain.events import Failed, Finished, JobEvent, Stage
from modules.domain.networks import LoraInfo, NetworkRef
from modules.domain.requests import HiresPass
from modules.engine.prompt_networks import prompt_networks
from modules.engine.resolve import resolve
from modules.imaging.infotext import parse_infotext
from modules.settings.schema import Settings
from tests.engine.drawing import Studio, images, pixels, small_request
from tests.tiny_models import TinyModel, catalog_of, tiny_model, write_checkpoint
from tests.tiny_networks import lora_tensors, write_embedding, write_lora

Picture = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def tiny() -> TinyModel:
    return tiny_model()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny: TinyModel) -> Studio:
    folder = tmp_path_factory.mktemp("studio")
    loras = (
        write_lora(folder, "ink", lora_tensors(tiny)),
        write_lora(folder, "styles/oil", lora_tensors(tiny, seed=1), {"sshs_model_hash": "12" * 32}, alias="Oil Painting"),
        write_lora(folder, "bad", {name: value * torch.nan for name, value in lora_tensors(tiny).items()}),
    )
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(3)) * 40
    embeddings = (write_embedding(folder, "my-style", vectors), write_embedding(folder, "for-sd2", torch.zeros(1, 1024)))
    catalog = replace(catalog_of(write_checkpoint(folder, model=tiny)), loras=loras, embeddings=embeddings)
    return Studio(folder, catalog)


@pytest.fixture(scope="module")
def plain(studio: Studio) -> Picture:
    return studio.draw()[0]


def notes(events: list[JobEvent]) -> tuple[str, ...]:
    last = events[-1]
    assert isinstance(last, Finished), last
    return last.notes


def test_a_lora_changes_the_picture_and_leaves_no_trace(studio: Studio, plain: Picture) -> None:
    events = studio.run(prompt="a red house <lora:ink:0.8>")
    drawn = pixels(images(events)[0])
    assert not np.array_equal(drawn, plain)
    assert notes(events) == ()
    assert np.array_equal(studio.draw()[0], plain)
    assert np.array_equal(studio.draw(prompt="a red house <lora:ink:0.8>")[0], drawn)


def test_strength_0_is_no_lora(studio: Studio, plain: Picture) -> None:
    assert np.array_equal(studio.draw(prompt="a red house <lora:ink:0>")[0], plain)


def test_strengths_and_stacks_are_all_different(studio: Studio, plain: Picture) -> None:
    tags = (
        "<lora:ink:1>", "<lora:ink:0.5>", "<lora:ink:0:1>", "<lora:ink:1:0>", "<lora:ink:te=0.5:unet=1>", "<lora:ink:dyn=1>",
        "<lora:oil:1>", "<lora:ink:1><lora:oil:1>", "<lora:ink:-1>",
    )  # fmt: skip
    drawn = [studio.draw(prompt=f"a red house {tag}", steps=2)[0].tobytes() for tag in tags]
    assert len({*drawn, studio.draw(steps=2)[0].tobytes()}) == len(tags) + 1
    assert studio.draw(prompt="<lyco:ink:1>a red house ", steps=2)[0].tobytes() == drawn[0]
    assert studio.draw(prompt="a red house <lora:oil:1><lora:ink:1>", steps=2)[0].tobytes() != drawn[0]


def test_the_loading_is_told(studio: Studio, plain: Picture) -> None:
    texts = [event.text for event in studio.run(prompt="a <lora:ink:0.123>") if isinstance(event, Stage)]
    assert texts == ["Applying networks", "Decoding"]


def test_a_bad_file_fails_the_job_and_the_next_draws_as_before(studio: Studio, plain: Picture) -> None:
    before = studio.draw(prompt="a red house <lora:ink:0.8>")[0]
    last = studio.run(prompt="a red house <lora:ink:0.8><lora:bad:1>")[-1]
    assert isinstance(last, Failed) and last.kind == "ModelLoadError"
    assert "bad.safetensors" in last.reason and "not finite" in last.reason
    assert np.array_equal(studio.draw(prompt="a red house <lora:ink:0.8>")[0], before)
    assert np.array_equal(studio.draw()[0], plain)


def test_an_embedding_changes_the_picture_in_either_prompt(studio: Studio, plain: Picture) -> None:
    events = studio.run(prompt="a red house, My-Style")
    drawn = pixels(images(events)[0])
    assert notes(events) == ()
    without = studio.catalog
    studio.catalog = replace(without, embeddings=())
    try:
        assert not np.array_equal(studio.draw(prompt="a red house, My-Style")[0], drawn)
    finally:
        studio.catalog = without
    assert not np.array_equal(studio.draw(negative_prompt="my-style")[0], plain)
    assert np.array_equal(studio.draw()[0], plain)


def test_an_embedding_for_other_encoders_is_told_and_is_plain_text(studio: Studio) -> None:
    events = studio.run(prompt="a for-sd2 house")
    assert len(notes(events)) == 1
    assert "'for-sd2' was not used" in notes(events)[0] and "width 1024" in notes(events)[0] and "have 32" in notes(events)[0]
    infotext = images(events)[0].infotext
    assert "TI hashes" not in infotext
    studio_without = Studio(studio.folder, replace(studio.catalog, embeddings=()))
    assert np.array_equal(studio_without.draw(prompt="a for-sd2 house")[0], pixels(images(events)[0]))


def test_the_infotext_names_what_was_added(studio: Studio) -> None:
    events = studio.run(prompt="a <lora:ink:0.8> <lora:Oil Painting:1>, my-style", steps=5)
    infotext = images(events)[0].infotext
    fields = parse_infotext(infotext)
    hashes = dict(pair.split(": ") for pair in fields["Lora hashes"].split(", "))
    assert hashes["Oil Painting"] == "12" * 6 and len(hashes["ink"]) == 12
    assert fields["TI hashes"] == f"my-style: {'cd' * 6}"
    assert infotext.splitlines()[0] == "a <lora:ink:0.8> <lora:Oil Painting:1>, my-style"
    assert infotext.index('Lora hashes: "') < infotext.index('TI hashes: "') < infotext.index("Version: ")


def test_unknown_networks_are_listed_and_the_picture_is_drawn(studio: Studio, plain: Picture) -> None:
    prompt = "a red house <lora:inc:1><hypernet:h:1><foo:x:1><lora:ink:strong><lora:ink:1:nan><lora:ink:dyn=0>"
    events = studio.run(prompt=prompt, negative_prompt="fog<lora:ink:1>")
    told = notes(events)
    assert len(told) == 7
    for note, words in zip(
        told,
        (
            ("LoRA 'inc' was not found", "ink", "no effect"),
            ("<hypernet:h:1>", "hypernetworks are not supported"),
            ("<foo:x:1>", "no kind of network"),
            ("'strong' is not a number",),
            ("'nan' is not a number",),
            ("dyn must be a whole number",),
            ("<lora:ink:1> in the negative prompt",),
        ),
        strict=True,
    ):
        assert all(word in note for word in words), note
    assert np.array_equal(pixels(images(events)[0]), plain)


def test_arguments_of_extensions_are_told_and_the_lora_is_added() -> None:
    row = info("ink.safetensors")
    found = prompt_networks("<lora:ink:0.8:lbw=MIDD:step=3-9:unet=1>", "", Catalog(loras=(row,)), 1)
    assert found.loras == (NetworkRef(info=row, te=0.8, unet=1.0, mention="ink"),)
    (note,) = found.notes
    assert "<lora:ink:0.8:lbw=MIDD:step=3-9:unet=1>: lbw=, step= had no effect" in note and "te=, unet= and dyn=" in note


def info(name: str, alias: str = "") -> LoraInfo:
    return LoraInfo(name=name, path=f"/l/{name}", alias=alias)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a/ink", "a/ink.safetensors"),
        ("a\\INK", "a/ink.safetensors"),
        ("b/ink.safetensors", "b/ink.safetensors"),
        ("solo", "deep/er/solo.v1.safetensors"),
        ("solo.v1", "deep/er/solo.v1.safetensors"),
        ("Old Name", "other.pt"),
        ("other", "other.pt"),
    ],
)
def test_names(text: str, found: str) -> None:
    rows = (info("a/ink.safetensors"), info("b/ink.safetensors"), info("deep/er/solo.v1.safetensors", "solo"), info("other.pt", "old name"))
    assert prompt_networks(f"<lora:{text}:1>", "", Catalog(loras=rows), 1).loras[0].info.name == found


def test_a_name_of_two_files_adds_neither() -> None:
    found = prompt_networks("<lora:ink:1>", "", Catalog(loras=(info("a/ink.safetensors"), info("b/ink.safetensors"))), 1)
    assert found.loras == () and "a/ink, b/ink" in found.notes[0]


@pytest.mark.parametrize(
    ("tag", "te", "unet", "dim"),
    [
        ("<lora:ink>", 1.0, 1.0, None),
        ("<lora:ink:0.5>", 0.5, 0.5, None),
        ("<lora:ink:0.5:0.25:8>", 0.5, 0.25, 8),
        ("<lora:ink:unet=0.25>", 1.0, 0.25, None),
        ("<lora:ink:0.5:te=0.75:dyn=4>", 0.75, 0.75, 4),
    ],
)
def test_forms(tag: str, te: float, unet: float, dim: int | None) -> None:
    row = info("ink.safetensors")
    assert prompt_networks(tag, "", Catalog(loras=(row,)), 1).loras == (NetworkRef(info=row, te=te, unet=unet, dim=dim, mention="ink"),)


WORDS = (
    "<lora:",
    "<lyco:",
    "<hypernet:",
    "<x:",
    ">",
    ":",
    "ink",
    "te=",
    "unet=",
    "dyn=",
    "0.5",
    "-1",
    "1e999",
    "nan",
    "=",
    " ",
    "(",
    "[a|",
)


@given(st.lists(st.sampled_from(WORDS), max_size=14).map("".join))
def test_no_prompt_is_a_failure(text: str) -> None:
    rows = (info("ink.safetensors"), info("a/twin.pt"), info("b/twin.pt"))
    found = prompt_networks(text, text, Catalog(loras=rows, embeddings=()), 3)
    assert all(math.isfinite(ref.te) and math.isfinite(ref.unet) and (ref.dim is None or ref.dim > 0) for ref in found.loras)
    assert all(note.endswith(".") for note in found.notes)


def test_all_batches_of_a_job_have_the_same_networks(studio: Studio) -> None:
    plans = resolve(small_request(prompt="a <lora:ink:0.5>", batch_count=3), Settings(), studio.catalog, random.Random(0))
    assert {plan.model for plan in plans} == {plans[0].model} and plans[0].model.networks[0].te == 0.5


def test_embeddings_are_found_in_every_text_of_a_timeline(studio: Studio) -> None:
    for prompt in ("[a:my-style:0.5] house", "a AND (my-style:1.2)", "[x|my-style]", "my-style,"):
        assert [each.word for each in prompt_networks(prompt, "", studio.catalog, 4).embeddings] == ["my-style"], prompt
    assert prompt_networks("mystyle and my-styles", "", studio.catalog, 4).embeddings == ()


def test_embeddings_that_come_late_are_found_too(studio: Studio) -> None:
    def words(prompt: str, **more: Any) -> set[str]:
        plans = resolve(small_request(prompt=prompt, steps=10, **more), Settings(), studio.catalog, random.Random(0))
        return {info.word for plan in plans for info in plan.model.embeddings}

    late, second = "[cat:my-style:15]", "[cat:my-style:1.5]"
    assert words(late) == words(second) == set()
    assert words(late, sampler="heun") == {"my-style"}, "it makes two calls a step"
    hires = HiresPass(scale=2.0, upscaler="Latent")
    assert words(second, hires=hires) == words(late, hires=hires) == {"my-style"}


def test_two_files_of_one_word_are_told(studio: Studio, tmp_path: Path) -> None:
    first = studio.catalog.embeddings[0]
    twice = replace(studio.catalog, embeddings=(first, replace(first, name="sub/my-style.pt", word="My-Style")))
    found = prompt_networks("my-style", "", twice, 1)
    assert found.embeddings == (first,) and "sub/my-style.pt not" in found.notes[0]
