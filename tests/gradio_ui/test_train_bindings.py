"""From the Train tab's values to a request: captions, folders, and what is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from modules.domain.errors import InvalidRequest
from modules.domain.jobs import request_from_json
from modules.domain.training import TrainRequest, words_of_file
from modules.gradio_ui.bindings.train import loss_curve, train_request
from tests.http_api.front import Front, front

FORM: dict[str, Any] = {
    "goal": "Textual inversion",
    "new_name": "my-word",
    "dataset_directory": "",
    "template": "a [name]\n\n[filewords]",
    "steps": 10,
    "batch_size": 2,
    "learn_rate": 0.01,
    "width": 64,
    "height": 128,
    "seed": 3,
    "mirrored": True,
    "anew": False,
    "nvpt": 2,
    "initialization_text": "cat",
    "rank": 4,
    "alpha": 2,
    "convolutions": True,
    "text_encoder": False,
    "sample_prompt": "a my-word",
    "create_image_every": 5,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with front(tmp_path_factory.mktemp("train")) as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, colour in (("01-a_red-barn", "red"), ("02", "green"), ("03 sea", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    (tmp_path / "02.txt").write_text("\ufeffa green\n field ", encoding="utf-8")
    return tmp_path


def asked(made: Front, uploads: list[str] | None = None, *, local: bool = True, **values: Any) -> tuple[TrainRequest, list[str]]:
    told = train_request(made.context, {**FORM, **values}, uploads or [], "tiny", local=local, allowed=True)
    return told.values[0], list(told.notes)


def test_captions_come_from_beside_the_pictures_or_their_names(made: Front, folder: Path) -> None:
    request, notes = asked(made, dataset_directory=str(folder))
    assert [example.words for example in request.examples] == ["a red barn", "a green field", "sea"]
    assert (request.goal, request.checkpoint, request.width, request.height, request.lines) == (
        "embedding",
        "tiny",
        64,
        128,
        ("a [name]", "[filewords]"),
    )
    assert not notes
    uploaded, _ = asked(made, [str(path) for path in sorted(folder.iterdir())], local=False)
    assert uploaded.examples == request.examples
    assert request_from_json(request.to_json()) == request


def test_what_cannot_be_used_is_named(made: Front, folder: Path) -> None:
    (folder / "00.png").write_bytes(b"no picture")
    (folder / "03 sea.txt").write_bytes(b"\xff\xfe\x00")
    request, notes = asked(made, dataset_directory=str(folder), sample_prompt="  ")
    assert len(request.examples) == 2
    assert [note.split(":")[0] for note in notes[:2]] == ["00.png", "03 sea.png"]
    assert "sample prompt is empty" in notes[2]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"new_name": "a/b"}, "without folders"),
        ({"new_name": ".."}, "without folders"),
        ({"template": "a photo"}, r"\[name\]"),
        ({"template": " \n"}, "at least one line"),
        ({"steps": 0}, "Steps"),
        ({"learn_rate": None}, "Learning rate"),
        ({"width": 100}, "multiple of 8"),
        ({"dataset_directory": "/nowhere"}, "no folder /nowhere"),
    ],
)
def test_mistakes_are_said(made: Front, folder: Path, values: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidRequest, match=sentence):
        asked(made, **{"dataset_directory": str(folder), **values})


def test_strangers_name_no_folders(made: Front, folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="sits at the machine"):
        asked(made, dataset_directory=str(folder), local=False)


def test_who_has_no_login_and_sits_elsewhere_trains_nothing(made: Front) -> None:
    with pytest.raises(InvalidRequest, match="logged in may start one"):
        train_request(made.context, FORM, [], "tiny", local=False, allowed=False)


def test_words_of_a_files_name() -> None:
    names = ("0012-a_red-barn", "12", "cat", "img_01", "—")
    assert [words_of_file(name) for name in names] == ["a red barn", "", "cat", "img 01", "—"]


def test_a_long_curve_is_given_in_means(made: Front, folder: Path) -> None:
    request, _ = asked(made, dataset_directory=str(folder))
    home = made.context.paths.training / request.folder
    assert loss_curve(made.context, request) == []
    home.mkdir(parents=True)
    (home / "loss.csv").write_text("".join(f"{step},{step % 2}\r\n" for step in range(1, 1001)), encoding="utf-8")
    curve = loss_curve(made.context, request)
    assert len(curve) == 334
    assert curve[-1][0] == 1000
    assert all(0.3 < loss < 0.7 for _, loss in curve[:-1])
