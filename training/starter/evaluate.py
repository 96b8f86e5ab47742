"""Measures a finished checkpoint and draws a sheet: `python -m training.starter.evaluate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from training.starter.config import DEFAULT_FILE, HERE, PRESETS, StarterConfig
from training.starter.judge import Judge, Verdict, border_colour, in_place, trained_judge, verdicts
from training.starter.names import LANDSCAPES, plural
from training.starter.novelty import novelty
from training.starter.pictures import Sprites, compose
from training.starter.sampling import Networks, draw, read_checkpoint, sheet
from training.starter.scenes import ABOVE, BESIDE, COLOUR_LIST, NAME_LIST, THREE, TWO, WHITE, Scene, taught, with_article
from training.starter.styles import STYLES, follows
from training.starter.train_vae import held_out_psnr

COLUMNS = 8
AT_ONCE = 16
Measured = dict[str, float]


@dataclass(frozen=True)
class Examination:
    """How many pictures are drawn for each question, and how."""

    scenes: int = 512  # that the autoencoder is measured on; they differ by some 4 dB
    names: int = 1000  # at most; three seeds each
    seeds: int = 3
    coloured: int = 112
    pairs: int = 60  # for each way to say two objects
    edits: int = 40
    steps: int = 25
    guidance: float = 5.0
    seed: int = 1


class Examiner:
    """Draws with a checkpoint and says what a judge makes of it."""

    def __init__(self, nets: Networks, config: StarterConfig, judge: Judge, exam: Examination) -> None:
        self.nets, self.config, self.judge, self.exam = nets, config, judge, exam
        self.known = taught(config.data)
        self.sprites = Sprites(config.data)

    def drawn(
        self,
        prompts: list[str],
        seed: int,
        *,
        negative: list[str] | None = None,
        begin: np.ndarray | None = None,
        strength: float = 1.0,
        mask: torch.Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> np.ndarray:
        """Return pictures (b, h, w, 3) for prompts; see `draw`."""
        exam, parts = self.exam, []
        for start in range(0, len(prompts), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            parts.append(
                draw(
                    self.nets,
                    self.config,
                    [with_article(prompt) for prompt in prompts[some]],
                    steps=exam.steps,
                    guidance=exam.guidance,
                    seed=seed + start,
                    negative=negative[some] if negative else "",
                    begin=None if begin is None else begin[some],
                    strength=strength,
                    mask=mask,
                    size=size,
                )
            )
        return np.concatenate(parts)

    def verdicts(self, pictures: np.ndarray) -> list[Verdict]:
        """Say what is seen in them."""
        return verdicts(self.judge, pictures)

    def pairs(self, count: int, layout: int, seed: int) -> list[Scene]:
        """Pick pairs of different objects on white."""
        rng = np.random.default_rng([self.exam.seed, seed])
        return [Scene(int(a), WHITE, layout, int(b)) for a, b in (rng.choice(self.known, 2, replace=False) for _ in range(count))]


def names(on: Examiner) -> tuple[Measured, np.ndarray]:
    """The plain "a NAME", every name with several seeds."""
    rng = np.random.default_rng(on.exam.seed)
    asked = [int(i) for i in rng.permutation(on.known)[: on.exam.names]]
    drawn = [on.drawn([f"a {NAME_LIST[i]}" for i in asked], 1000 * (seed + 1)) for seed in range(on.exam.seeds)]
    seen = [(verdict, i) for group in drawn for verdict, i in zip(on.verdicts(group), asked, strict=True)]
    print("  " + ", ".join(NAME_LIST[i] for i in asked[:40]))
    return {
        "names": len(asked),
        "name_top1": share(verdict.first[0] == i for verdict, i in seen),
        "name_top5": share(i in verdict.first for verdict, i in seen),
    }, drawn[0]


def grounds(on: Examiner) -> tuple[Measured, np.ndarray]:
    """The longer "a NAME on a COLOUR background", and one picture of each landscape."""
    rng = np.random.default_rng([on.exam.seed, 1])
    asked = [(int(rng.choice(on.known)), COLOUR_LIST[i % len(COLOUR_LIST)]) for i in range(on.exam.coloured)]
    drawn = on.drawn([f"a {NAME_LIST[i]} on a {colour} background" for i, colour in asked], 10_000)
    seen = on.verdicts(drawn)
    scenery = on.drawn([f"a {NAME_LIST[int(rng.choice(on.known))]}{words}" for words in LANDSCAPES.values()], 11_000)
    return {
        "background_colour": share(border_colour(p) == colour for p, (_, colour) in zip(drawn, asked, strict=True)),
        "name_top1_on_colours": share(v.first[0] == i for v, (i, _) in zip(seen, asked, strict=True)),
    }, np.concatenate([drawn[:COLUMNS], scenery])


def two_objects(on: Examiner) -> tuple[Measured, np.ndarray]:
    """Two objects, with their places or without; and one of them in the negative prompt."""
    ways = {"left_of": (BESIDE, "a {a} left of a {b}"), "above": (ABOVE, "a {a} above a {b}"), "and": (BESIDE, "a {a} and a {b}")}
    measured: Measured = {}
    shown: list[np.ndarray] = []
    both: list[bool] = []
    placed: list[bool] = []
    here: list[bool] = []
    for number, (way, (layout, form)) in enumerate(ways.items()):
        scenes = on.pairs(on.exam.pairs, layout, 20 + number)
        drawn = on.drawn([form.format(a=NAME_LIST[s.name], b=NAME_LIST[s.other]) for s in scenes], 20_000 + 1000 * number)
        seen = on.verdicts(drawn)
        here = [v.objects == {s.name, s.other} for v, s in zip(seen, scenes, strict=True)]
        both += here
        if way != "and":
            placed += [in_place(v, s) for v, s, there in zip(seen, scenes, here, strict=True) if there]
        measured[f"both_objects_{way}"] = share(here)
        shown.append(drawn[:COLUMNS])
        print("  " + ", ".join(form.format(a=NAME_LIST[s.name], b=NAME_LIST[s.other]) for s in scenes[:COLUMNS]))
    scenes = on.pairs(on.exam.pairs, BESIDE, 22)
    prompts = [f"a {NAME_LIST[s.name]} and a {NAME_LIST[s.other]}" for s in scenes]
    drawn = on.drawn(prompts, 22_000, negative=[f"a {NAME_LIST[s.other]}" for s in scenes])
    # what was not there without it can't be removed by it; these are the same pairs and seeds as in the last way above
    gone = [s.other not in v.objects for v, s, there in zip(on.verdicts(drawn), scenes, here, strict=True) if there]
    return {
        "both_objects": share(both),
        "in_their_places": share(placed),
        **measured,
        "negative_removes": share(gone),
    }, np.concatenate([*shown, drawn[:COLUMNS]])


def counted(on: Examiner) -> tuple[Measured, np.ndarray]:
    """Two or three of one kind."""
    rng = np.random.default_rng([on.exam.seed, 2])
    scenes = [Scene(int(rng.choice(on.known)), WHITE, TWO if i % 2 else THREE) for i in range(on.exam.pairs)]
    words = {TWO: "two", THREE: "three"}
    drawn = on.drawn([f"{words[s.layout]} {plural(NAME_LIST[s.name])}" for s in scenes], 30_000)
    seen = zip(on.verdicts(drawn), scenes, strict=True)
    return {"name_and_count": share(v.first[0] == s.name and v.layout == s.layout for v, s in seen)}, drawn[:COLUMNS]


def edits(on: Examiner) -> tuple[Measured, np.ndarray]:
    """img2img at 0.5 keeps what is where; inpainting the right half puts another object there."""
    scenes = on.pairs(on.exam.edits, BESIDE, 40)
    rng = np.random.default_rng([on.exam.seed, 3])
    before = np.stack([compose(rng, on.sprites, scene) for scene in scenes])
    again = on.drawn([f"a {NAME_LIST[s.name]} left of a {NAME_LIST[s.other]}" for s in scenes], 40_000, begin=before, strength=0.5)
    kept = share(v.sees(s) for v, s in zip(on.verdicts(again), scenes, strict=True))
    others = [scene.other for scene in on.pairs(on.exam.edits, BESIDE, 41)]
    scenes = [Scene(s.name, s.ground, s.layout, other if other != s.name else s.other) for s, other in zip(scenes, others, strict=True)]
    mask = np.zeros((on.config.latent_size, on.config.latent_size), dtype=np.float32)
    mask[:, on.config.latent_size // 2 :] = 1.0
    prompts = [f"a {NAME_LIST[s.name]} left of a {NAME_LIST[s.other]}" for s in scenes]
    changed = on.drawn(prompts, 41_000, begin=before, strength=1.0, mask=torch.from_numpy(mask))
    replaced = share(v.objects == {s.name, s.other} for v, s in zip(on.verdicts(changed), scenes, strict=True))
    return {"img2img_keeps_layout": kept, "inpainting_replaces": replaced}, np.concatenate(
        [before[:COLUMNS], again[:COLUMNS], changed[:COLUMNS]]
    )


def styles(on: Examiner) -> tuple[Measured, np.ndarray]:
    """The words for a style: is it followed, beside the same picture without them, and is the object still seen?"""
    rng = np.random.default_rng([on.exam.seed, 4])
    asked = [int(rng.choice(on.known)) for _ in range(on.exam.edits)]
    plain = on.drawn([f"a {NAME_LIST[i]}" for i in asked], 50_000)
    measured: Measured = {}
    shown = [plain[:COLUMNS]]
    seen: list[bool] = []
    for name, style in STYLES.items():
        drawn = on.drawn([f"a {NAME_LIST[i]}, {style.after[0]}" for i in asked], 50_000)
        measured[f"style_{name.replace(' ', '_')}"] = share(follows(name, a, b) for a, b in zip(drawn, plain, strict=True))
        seen += [v.first[0] == i for v, i in zip(on.verdicts(drawn), asked, strict=True)]
        shown.append(drawn[:COLUMNS])
    return {**measured, "name_top1_in_styles": share(seen)}, np.concatenate(shown)


def shapes(on: Examiner) -> tuple[Measured, list[np.ndarray]]:
    """The plain "a NAME" in other shapes: is the object in the middle square?"""
    rng = np.random.default_rng([on.exam.seed, 5])
    measured: Measured = {}
    shown: list[np.ndarray] = []
    for height, width in on.config.data.shapes:
        asked = [int(rng.choice(on.known)) for _ in range(on.exam.edits)]
        drawn = on.drawn([f"a {NAME_LIST[i]}" for i in asked], 60_000, size=(height, width))
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        seen = on.verdicts(drawn[:, top : top + side, left : left + side])
        measured[f"name_top1_{width}x{height}"] = share(v.first[0] == i for v, i in zip(seen, asked, strict=True))
        shown.append(drawn[:COLUMNS])
    return measured, shown


def share(hits: Iterable[bool]) -> float:
    """Return the share of true ones, to three places; 0 of none."""
    return round(float(np.mean([*hits] or [0.0])), 3)


def evaluate(nets: Networks, config: StarterConfig, out: Path, judge: Judge, exam: Examination) -> Measured:
    """Draw and measure; the sheets show what was drawn for each question."""
    on = Examiner(nets, config, judge, exam)
    many = replace(config, held_out=exam.scenes)
    measured: Measured = {
        "vae_psnr_db": round(held_out_psnr(nets.vae, many, on.known), 2),
        "vae_psnr_db_every_name": round(held_out_psnr(nets.vae, many), 2),
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    groups: list[np.ndarray] = []
    for question in (names, grounds, two_objects, counted, edits, styles):
        answers, drawn = question(on)
        measured |= answers
        groups.append(drawn)
        print(json.dumps(answers), flush=True)
    measured |= novelty(config, groups[2])
    answers, odd = shapes(on)
    measured |= answers
    print(json.dumps(answers), flush=True)
    for drawn in odd:
        sheet([drawn], COLUMNS, zoom=2).save(out.with_stem(f"{out.stem}-{drawn.shape[2]}x{drawn.shape[1]}"))
    sheet([groups[0][:40], groups[1][:COLUMNS]], COLUMNS).save(out)
    sheet([groups[1][COLUMNS:], groups[2], groups[3], groups[4], groups[5]], COLUMNS).save(out.with_stem(f"{out.stem}-scenes"))
    return measured


def main() -> None:
    """Evaluate the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="styles128")
    parser.add_argument("--run", type=Path, help="folder of the run, where the classifier is kept (default: runs/PRESET beside this file)")
    parser.add_argument("--file", type=Path, default=DEFAULT_FILE)
    parser.add_argument("--out", type=Path, help="the sheet (default: sheet.png in the run's folder)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the pictures")
    parser.add_argument("--guidance", type=float, default=Examination.guidance)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = PRESETS[args.preset]
    run = args.run or HERE / "runs" / args.preset
    judge, ceiling = trained_judge(config, run / "judge.pt")
    exam = Examination(scenes=64, names=30, seeds=1, coloured=28, pairs=16, edits=8) if args.quick else Examination()
    exam = replace(exam, guidance=args.guidance)
    measured = evaluate(read_checkpoint(config, args.file), config, args.out or run / "sheet.png", judge, exam)
    print(json.dumps({"judge_on_held_out_pictures": round(ceiling, 3), **measured}, indent=2))


if __name__ == "__main__":
    main()
