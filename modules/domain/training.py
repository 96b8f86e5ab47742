"""What was asked to be learnt: a new word, or a LoRA, from pictures with captions. A third kind of request that a job can hold.

As the others: the user's own words and numbers, nothing resolved; a picture is an id of `gallery.inputs.InputStore`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from modules.domain.checks import check, check_picture_id, check_range
from modules.domain.requests import MAX_SEED, SIZE_STEP

KIND = "train"
"""What stands in the JSON of such a request, and in no other kind's."""

Goal = Literal["embedding", "lora"]
GOALS: tuple[Goal, ...] = ("embedding", "lora")

MAX_PICTURES = 1000
MAX_STEPS = 1_000_000
MAX_VECTORS = 75
MAX_RANK = 256
MAX_SAMPLES = 200
MAX_TEXT = 4000

DEFAULT_RATES: Mapping[Goal, float] = {"embedding": 0.01, "lora": 0.001}

_NAME = re.compile(r"[\w][\w \-.+]{0,99}")


_NUMBERED = re.compile(r"[\s\d_\-]*(?=\D)")


def words_of_file(stem: str) -> str:
    """What a file's name says without its ending: "0012-a_red-barn" says "a red barn", "0012" nothing."""
    bare = "" if stem.isdigit() else _NUMBERED.sub("", stem, count=1)
    return " ".join(re.sub(r"[_\-]+", " ", bare).split())


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A picture to learn from, and what it shows in words: its file's name or its caption. Either may be empty."""

    image: str
    words: str = ""

    def __post_init__(self) -> None:
        check_picture_id(self.image)
        check(len(self.words) <= MAX_TEXT, f"A caption must have {MAX_TEXT} characters at most.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRequest:
    """One training. `width` x `height` is what the pictures are cut to; `rate` is Adam's step size.

    `template` says what the captions are: [name] is the new word, [filewords] what the picture's `words` say. A line each; one is drawn for
    each picture of each step. A training of the same name is gone on with until it has `steps` steps, unless it is to begin `anew`.
    Raises `InvalidRequest` with a sentence for the user when a value is out of its range.
    """

    goal: Goal = "embedding"
    name: str
    examples: tuple[Example, ...]
    template: str = "[filewords]"
    checkpoint: str | None = None
    """None means "what the settings say when the job was accepted"."""
    width: int = 512
    height: int = 512
    steps: int = 500
    batch_size: int = 1
    rate: float = 0.01
    seed: int = 1
    vectors: int = 4
    """How many of a prompt's places the new word takes up."""
    begin_with: str = "*"
    """Words whose meaning the new one begins with."""
    rank: int = 8
    alpha: float = 8.0
    convolutions: bool = False
    """Whether a LoRA changes convolutions too, not only attention."""
    text_encoder: bool = False
    """Whether a LoRA changes the text encoder too."""
    mirrored: bool = False
    """Whether half of the pictures are shown mirrored."""
    sample_prompt: str = ""
    sample_every: int = 0
    """A picture of `sample_prompt` is drawn after each so many steps; 0 for none."""
    anew: bool = False
    overrides: tuple[tuple[str, str | int | float | bool], ...] = ()
    """Settings for this job alone, as `GenerationRequest.overrides`."""

    def __post_init__(self) -> None:
        check(self.goal in GOALS, "Choose what to train: a textual inversion or a LoRA.")
        is_name = _NAME.fullmatch(self.name) is not None and self.name == self.name.strip() and not self.name.endswith(".")
        check(is_name, "Name: give the new file a name of letters, digits, spaces, dots, hyphens or underscores, without folders.")
        check(bool(self.examples), "Choose pictures to learn from: upload some, or name their folder.")
        check(len(self.examples) <= MAX_PICTURES, f"{MAX_PICTURES} pictures are the most; these are {len(self.examples)}.")
        check(bool(self.lines), "Captions: write at least one line, such as [filewords] or: a photo of [name].")
        check(len(self.template) <= MAX_TEXT, f"The captions' template must have {MAX_TEXT} characters at most.")
        for label, side in (("Width", self.width), ("Height", self.height)):
            check_range(label, side, 64, 2048)
            check(side % SIZE_STEP == 0, f"{label} must be a multiple of {SIZE_STEP}, not {side}.")
        check_range("Steps", self.steps, 1, MAX_STEPS)
        check_range("Batch size", self.batch_size, 1, 64)
        check_range("Learning rate", self.rate, 1e-8, 1.0)
        check_range("Seed", self.seed, 0, MAX_SEED)
        check_range("Vectors per token", self.vectors, 1, MAX_VECTORS)
        check_range("Rank", self.rank, 1, MAX_RANK)
        check_range("Alpha", self.alpha, 0.01, 1024.0)
        check_range("Draw a sample every N steps", self.sample_every, 0, MAX_STEPS)
        if self.goal == "embedding":
            names = any("[name]" in line for line in self.lines) or any(self.name in example.words for example in self.examples)
            check(names, "Captions: a word is learnt where it stands. Put [name] into the lines, as in: a photo of [name].")

    @property
    def lines(self) -> tuple[str, ...]:
        """The template's lines that say something."""
        return tuple(line.strip() for line in self.template.splitlines() if line.strip())

    @property
    def tab(self) -> str:
        """What this kind of work is called in folders' names and on the page."""
        return KIND

    @property
    def folder(self) -> str:
        """The name of the folder that the training has to itself."""
        return f"{self.goal}-{self.name}"

    @property
    def prompt(self) -> str:
        """What stands for the job in lists."""
        return f"{'Textual inversion' if self.goal == 'embedding' else 'LoRA'} {self.name}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """The ids of the pictures that the request begins from."""
        return tuple(dict.fromkeys(example.image for example in self.examples))

    @property
    def image_count(self) -> int:
        """How many samples there will be."""
        return self.steps // self.sample_every if self.sample_every and self.sample_prompt.strip() else 0

    @property
    def same_training(self) -> dict[str, Any]:
        """What must be equal where a training is gone on with, as plain JSON."""
        shape = ("vectors", "begin_with") if self.goal == "embedding" else ("rank", "alpha", "convolutions", "text_encoder")
        names = ("goal", "name", "checkpoint", "width", "height", "seed", *shape)
        return {**{name: getattr(self, name) for name in names}, "images": list(self.inputs)}

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object from which `from_json` makes an equal request."""
        return {"kind": KIND, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainRequest:
        """The request that `to_json` wrote; a field it does not know raises `InvalidRequest` rather than being dropped."""
        values = {name: value for name, value in data.items() if name != "kind"}
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        check(not unknown, f"This version does not know the request fields {', '.join(unknown)}.")
        values["examples"] = tuple(Example(**example) for example in values.get("examples", ()))
        values["overrides"] = tuple((str(key), value) for key, value in values.get("overrides", ()))
        return cls(**values)
