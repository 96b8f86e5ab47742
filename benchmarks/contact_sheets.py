"""What does each feature do to a picture? Contact sheets of the starter checkpoint for docs/sheets/, and one JSON line of figures each.

Run from the repository: python -m benchmarks.contact_sheets [NAME …]
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from modules.bootstrap import sampler_infos, schedule_infos
from modules.domain.requests import Film, GenerationRequest, HiresPass, Seed
from modules.engine.engine import Engine
from modules.engine.faces import face_tools
from modules.engine.resolve import PreviewOptions, resolve
from modules.engine.upscale import upscaler_models
from modules.families.networks import import_libraries
from modules.sampling.registry import AUTOMATIC, SAMPLERS, SCHEDULES
from modules.settings.flags import parse, paths
from modules.settings.schema import Models, Settings
from modules.weights.hashes import HashCache
from modules.weights.manager import ModelManager
from modules.weights.preview_decoders import PreviewDecoders
from modules.weights.residency import DeviceOptions
from modules.weights.scan import ModelCatalog

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "sheets"
CELL = 96
LABEL = 124
SIZE = 128

Picture = npt.NDArray[np.uint8]


class Quiet:
    """An `engine.Watcher` that doesn't care."""

    def stage(self, text: str) -> None: ...

    def step(self, step: int, preview: bytes | None) -> None: ...


class Studio:
    """The engine with what is in models/ and embeddings/."""

    def __init__(self, folder: Path) -> None:
        import_libraries()
        models = ModelManager(DeviceOptions(use_cpu=True))
        placement = models.placement
        self._engine = Engine(
            models, upscaler_models(placement), PreviewDecoders((), placement.device, placement.dtype("vae")), face_tools(placement)
        )
        self._hashes = HashCache(folder / "hashes.sqlite")
        self.catalog = ModelCatalog(paths(parse([], {})), self._hashes, sampler_infos(), schedule_infos()).refresh()
        self.settings = Settings(models=Models(checkpoint="starter.safetensors"))

    def draw(self, prompt: str, *, settings: Settings | None = None, **request: Any) -> Picture:
        return self.drawn(prompt, settings=settings, **request)[-1]

    def drawn(self, prompt: str, *, settings: Settings | None = None, **request: Any) -> list[Picture]:
        """The frames of the request's film, if it has one, then the finished picture."""
        seed = request.pop("seed", Seed(value=1))
        base: dict[str, Any] = {"width": SIZE, "height": SIZE, "steps": 20, "cfg_scale": 5.0, "prompt": prompt}
        asked = GenerationRequest(**{**base, **request}, seed=Seed(value=seed) if isinstance(seed, int) else seed)
        plan = resolve(asked, settings or self.settings, self.catalog, random.Random(0))[0]
        first = self._engine.run(plan, PreviewOptions(enabled=False), Quiet())[0]
        return [np.asarray(picture) for picture in (*(frame for _, frame in first.extras), first.image)]

    def close(self) -> None:
        self._hashes.close()


@dataclass(frozen=True)
class Sheet:
    """Rows of pictures with their labels, and figures about them."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Picture]]]
    figures: Mapping[str, object]


def samplers(studio: Studio) -> Sheet:
    """Every sampler with every schedule. `far` counts the pictures that are further from the row's own choice than another seed's is."""
    schedules = [row for row in SCHEDULES.values() if row.id != AUTOMATIC]
    other = studio.draw("a dog on a sky blue background", seed=2)
    rows: list[tuple[str, Sequence[Picture]]] = []
    distances: dict[str, float] = {}
    finite = True
    for row in SAMPLERS.values():
        own = studio.draw("a dog on a sky blue background", sampler=row.id)
        taken = [
            own if row.timestep_rule else studio.draw("a dog on a sky blue background", sampler=row.id, schedule=each.id)
            for each in schedules
        ]
        distances |= {f"{row.label}/{each.label}": distance(own, picture) for each, picture in zip(schedules, taken, strict=True)}
        finite = finite and all(picture.std() > 10 for picture in taken)
        rows.append((row.label, taken))
    limit = distance(studio.draw("a dog on a sky blue background"), other)
    far = {name: round(value, 1) for name, value in distances.items() if value > limit}
    return Sheet(
        [row.label for row in schedules], rows, {"pictures": len(distances), "finite": finite, "another_seed": round(limit, 1), "far": far}
    )


def prompt_editing(studio: Studio) -> Sheet:
    """`[red:blue:when]`: the later the change, the redder."""
    whens = [0.05, 0.1, 0.2, 0.3, 0.5, 0.8]
    rows = [(name, [studio.draw(f"a {name} on a [red:blue:{when}] background") for when in whens]) for name in ("cat", "tree", "house")]
    redness = [round(float(np.mean([red(row[1][i]) for row in rows])), 1) for i in range(len(whens))]
    return Sheet([f"when {when}" for when in whens], rows, {"red_less_blue": redness})


def composition(studio: Studio) -> Sheet:
    """`AND :weight`: the heavier the blue prompt, the bluer."""
    weights = [0.0, 0.3, 0.6, 1.0, 1.5]
    rows = [
        (name, [studio.draw(f"a {name} on a red background AND a {name} on a blue background :{weight}") for weight in weights])
        for name in ("cat", "tree", "house")
    ]
    redness = [round(float(np.mean([red(row[1][i]) for row in rows])), 1) for i in range(len(weights))]
    return Sheet([f"AND :{weight}" for weight in weights], rows, {"red_less_blue": redness})


def negative(studio: Studio) -> Sheet:
    """A colour in the negative prompt goes."""
    negatives = ["", "red background", "blue background", "green background"]
    seeds = range(1, 9)
    rows = [(text or "(none)", [studio.draw("a cat", negative_prompt=text, seed=seed) for seed in seeds]) for text in negatives]
    return Sheet(
        [f"seed {seed}" for seed in seeds],
        rows,
        {
            text or "none": [round(float(np.mean([channel(p, c) for p in row])), 1) for c in range(3)]
            for text, (_, row) in zip(negatives, rows, strict=True)
        },
    )


def clip_skip(studio: Studio) -> Sheet:
    """The starter's text encoder has three layers."""
    skips = [1, 2, 3]
    rows = [(name, [studio.draw(f"a {name} on a green background", clip_skip=skip) for skip in skips]) for name in ("cat", "tree", "house")]
    return Sheet(
        [f"Clip skip {skip}" for skip in skips],
        rows,
        {"distance_from_1": [round(float(np.mean([distance(row[1][0], row[1][i]) for row in rows])), 1) for i in range(3)]},
    )


def emphasis(studio: Studio) -> Sheet:
    """The heavier a colour's word, the more of it."""
    weights = [0.2, 0.6, 1.0, 1.4, 1.8]
    rows = [(name, [studio.draw(f"a {name} on a (red:{weight}) background") for weight in weights]) for name in ("cat", "tree", "house")]
    redness = [round(float(np.mean([red(row[1][i]) for row in rows])), 1) for i in range(len(weights))]
    return Sheet([f"(red:{weight})" for weight in weights], rows, {"red_less_blue": redness})


def hires(studio: Studio) -> Sheet:
    """Twice the size, the same picture: nearer to the first pass (enlarged) than to another seed's."""
    modes = ("Latent", "Latent (nearest-exact)", "Lanczos", "Nearest")
    strengths = [0.2, 0.3, 0.4]
    first, other = studio.draw("a cat on a sky blue background"), studio.draw("a cat on a sky blue background", seed=2)
    rows = [
        (mode, [studio.draw("a cat on a sky blue background", hires=HiresPass(upscaler=mode, denoising_strength=s)) for s in strengths])
        for mode in modes
    ]
    far = {mode: [round(distance(first, halved(picture)), 1) for picture in row] for mode, row in rows}
    return Sheet(
        [f"strength {strength}" for strength in strengths],
        rows,
        {"distance_from_first_pass": far, "another_seed": round(distance(first, other), 1)},
    )


def variation(studio: Studio) -> Sheet:
    """From one seed's picture to another's."""
    strengths = [0.0, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0]
    rows = [
        (name, [studio.draw(f"a {name}", seed=Seed(value=1, variation=2, variation_strength=s)) for s in strengths])
        for name in ("cat", "tree", "house")
    ]
    ends = [studio.draw(f"a {name}", seed=2) for name in ("cat", "tree", "house")]
    same = all(np.array_equal(end, row[-1]) for end, (_, row) in zip(ends, rows, strict=True))
    away = [round(float(np.mean([distance(row[0], row[i]) for _, row in rows])), 1) for i in range(len(strengths))]
    return Sheet([f"strength {strength}" for strength in strengths], rows, {"distance_from_seed": away, "ends_at_the_variation_seed": same})


def lora(studio: Studio) -> Sheet:
    """The LoRAs in models/Lora, at several weights."""
    weights = [0.0, 0.25, 0.5, 0.75, 1.0]
    rows = [
        (f"{info.stem}, {name}", [studio.draw(f"a {name} <lora:{info.stem}:{weight}>") for weight in weights])
        for info in studio.catalog.loras
        for name in ("cat", "tree", "house")
    ]
    away = {name: [round(distance(row[0], picture), 1) for picture in row] for name, row in rows}
    return Sheet([f"weight {weight}" for weight in weights], rows, {"distance_from_0": away})


def filmstrip(studio: Studio) -> Sheet:
    """From noise to a picture in 20 steps: what the network sees and what it expects. `far` is from the finished picture."""
    prompts = ("a cat on sky blue", "a tree", "a house on pink")
    films = [(prompt, noisy, studio.drawn(prompt, film=Film(frames=10, noisy=noisy))) for prompt in prompts for noisy in (True, False)]
    rows = [(f"{prompt}, {'seen' if noisy else 'expected'}", film) for prompt, noisy, film in films]
    columns = [f"step {1 + round(19 * i / 9)}" for i in range(10)]
    return Sheet(
        [*columns, "finished"], rows, {"far": {label: [round(distance(each, film[-1]), 1) for each in film] for label, film in rows}}
    )


SHEETS: Mapping[str, Callable[[Studio], Sheet]] = MappingProxyType(
    {
        each.__name__: each
        for each in (samplers, prompt_editing, composition, negative, clip_skip, emphasis, hires, variation, lora, filmstrip)
    }
)


def distance(a: Picture, b: Picture) -> float:
    """Root mean square, of 255."""
    return float(np.sqrt(np.mean((a.astype(float) - b.astype(float)) ** 2)))


def red(picture: Picture) -> float:
    """How much more red than blue the border is."""
    return channel(picture, 0) - channel(picture, 2)


def channel(picture: Picture, index: int) -> float:
    """The mean of a colour along the border, where the background is."""
    edge = np.concatenate(
        (picture[:6].reshape(-1, 3), picture[-6:].reshape(-1, 3), picture[:, :6].reshape(-1, 3), picture[:, -6:].reshape(-1, 3))
    )
    return float(edge[:, index].mean())


def halved(picture: Picture) -> Picture:
    return np.asarray(Image.fromarray(picture).resize((picture.shape[1] // 2, picture.shape[0] // 2), Image.Resampling.BOX))


def drawn(sheet: Sheet) -> Image.Image:
    """The sheet with its labels at the top and at the left."""
    font = ImageFont.load_default(11)
    width = LABEL + CELL * max(len(row) for _, row in sheet.rows)
    image = Image.new("RGB", (width, 20 + CELL * len(sheet.rows)), "white")
    pen = ImageDraw.Draw(image)
    for i, label in enumerate(sheet.columns):
        pen.text((LABEL + i * CELL + 2, 4), label[:17], "black", font)
    for j, (label, row) in enumerate(sheet.rows):
        for line, words in enumerate(label.replace(" on ", "\non ").replace(", ", ",\n").split("\n")):
            pen.text((2, 24 + j * CELL + 14 * line), words[:21], "black", font)
        for i, picture in enumerate(row):
            cell = Image.fromarray(picture).resize((CELL - 2, CELL - 2), Image.Resampling.LANCZOS)
            image.paste(cell, (LABEL + i * CELL, 20 + j * CELL))
    return image


def main() -> None:
    """Draw the sheets that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*SHEETS, []], default=[])
    chosen = parser.parse_args().names or list(SHEETS)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(Path(folder))
        for name in chosen:
            sheet = SHEETS[name](studio)
            if sheet.rows:
                drawn(sheet).save(FOLDER / f"{name}.webp", quality=80, method=6)
            print(json.dumps({"sheet": name, **sheet.figures}), flush=True)
        studio.close()


if __name__ == "__main__":
    main()
