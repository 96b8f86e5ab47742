"""Between the Train tab's controls and a `TrainRequest`: pictures and captions, uploaded or in a folder, and the numbers beside them."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from modules.context import AppContext
from modules.domain.errors import InvalidRequest, UserError
from modules.domain.training import MAX_PICTURES, Example, Goal, TrainRequest, words_of_file
from modules.gradio_ui.bindings.img2img_batch import pictures_in, read_file, shortened, upload_path
from modules.gradio_ui.form import number, whole_number
from modules.gradio_ui.notices import Told

GOAL_LABELS: Mapping[str, Goal] = {"Textual inversion": "embedding", "LoRA": "lora"}

MOST_POINTS = 400
"""How many points of a loss curve the page is given."""


NOT_ALLOWED = (
    "A training keeps this machine busy and writes files, so only whoever sits at it or has logged in may start one: "
    "start the program with --gradio-auth and log in."
)


def train_request(
    context: AppContext, values: Mapping[str, Any], uploads: Sequence[Any], checkpoint: str | None, *, local: bool, allowed: bool
) -> Told:
    """The request that the form's values ask for (one in `values`), with notes on files that are left out.

    `local`: whoever asks sits at this machine; `allowed`: or has logged in. Raises `InvalidRequest`.
    """
    if not allowed:
        raise InvalidRequest(NOT_ALLOWED)
    folder = str(values["dataset_directory"] or "").strip()
    if folder and not local:
        raise InvalidRequest("Only whoever sits at the machine may use its folders: empty the directory and upload files.")
    files = [*map(upload_path, uploads), *pictures_in(folder, "Dataset directory")]
    examples, notes = _examples(context, files)
    sampled = whole_number(values, "create_image_every", "Draw a sample every N steps")
    request = TrainRequest(
        goal=GOAL_LABELS[str(values["goal"])],
        name=str(values["new_name"] or "").strip(),
        examples=tuple(examples),
        template=str(values["template"] or ""),
        checkpoint=checkpoint,
        width=whole_number(values, "width", "Width"),
        height=whole_number(values, "height", "Height"),
        steps=whole_number(values, "steps", "Steps"),
        batch_size=whole_number(values, "batch_size", "Batch size"),
        rate=number(values, "learn_rate", "Learning rate"),
        seed=whole_number(values, "seed", "Seed"),
        vectors=whole_number(values, "nvpt", "Vectors per token"),
        begin_with=str(values["initialization_text"] or ""),
        rank=whole_number(values, "rank", "Rank"),
        alpha=number(values, "alpha", "Alpha"),
        convolutions=bool(values["convolutions"]),
        text_encoder=bool(values["text_encoder"]),
        mirrored=bool(values["mirrored"]),
        sample_prompt=str(values["sample_prompt"] or ""),
        sample_every=sampled,
        anew=bool(values["anew"]),
    )
    if sampled and not request.sample_prompt.strip():
        notes = [*notes, "No samples will be drawn, since the sample prompt is empty."]
    return Told([request], notes)


def loss_curve(context: AppContext, request: TrainRequest) -> list[tuple[int, float]]:
    """(step, loss) of a training as far as it is written down: means over equal stretches, `MOST_POINTS` at most."""
    try:
        text = (context.paths.training / request.folder / "loss.csv").read_text("utf-8")
        rows = [(int(row[0]), float(row[1])) for row in csv.reader(text.splitlines()) if len(row) == 2]
    except (OSError, ValueError):
        return []
    width = -(-len(rows) // MOST_POINTS) or 1
    parts = [rows[start : start + width] for start in range(0, len(rows), width)]
    return [(part[-1][0], sum(loss for _, loss in part) / len(part)) for part in parts]


def _examples(context: AppContext, files: Sequence[Path]) -> tuple[list[Example], list[str]]:
    """The pictures among the files, each with its caption: of the text file of its name, else what its own name says."""
    texts = {file.stem: file for file in files if file.suffix.lower() == ".txt"}
    pictures = [file for file in files if file.suffix.lower() != ".txt"]
    if len(pictures) > MAX_PICTURES:
        raise InvalidRequest(f"{MAX_PICTURES} pictures are the most; these are {len(pictures)}.")
    examples: list[Example] = []
    refused: list[str] = []
    for file in pictures:
        beside = texts.get(file.stem, file.with_suffix(".txt"))
        try:
            kept = context.inputs.put(read_file(file))
            words = _caption(beside) if beside.is_file() else words_of_file(file.stem)
            examples.append(Example(image=kept.id, words=words))
        except UserError as error:
            refused.append(f"{file.name}: {error}")
    if refused and not examples:
        raise InvalidRequest(" ".join(shortened(refused)))
    return examples, shortened(refused)


def _caption(path: Path) -> str:
    try:
        return " ".join(read_file(path).decode("utf-8-sig").split())
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"its caption {path.name} is no UTF-8 text.") from error
