"""Measures an exported checkpoint and draws a sheet: `python -m training.starter.evaluate --preset cpu128`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from training.starter.config import DEFAULT_FILE, HERE, PRESETS, DataConfig, StarterConfig
from training.starter.judge import border_colour, hits, trained_judge
from training.starter.pictures import COLOUR_LIST, NAME_LIST, taught, with_article
from training.starter.sampling import Networks, draw, read_checkpoint, sheet
from training.starter.train_vae import held_out_psnr

COLUMNS = 8


def chosen(data: DataConfig, seed: int, names: int, coloured: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Pick names that were taught, and pairs of a name and a background colour, by chance."""
    rng = np.random.default_rng(seed)
    known = taught(data)
    picked = [NAME_LIST[i] for i in rng.permutation(known)[:names]]
    pairs = [
        (NAME_LIST[i], COLOUR_LIST[c % len(COLOUR_LIST)])
        for i, c in zip(rng.permutation(known), rng.permutation(max(coloured, len(COLOUR_LIST))), strict=False)
    ]
    return picked, pairs[:coloured]


def evaluate(
    nets: Networks,
    config: StarterConfig,
    out: Path,
    judge_file: Path,
    *,
    seed: int = 1,
    names: int = 40,
    coloured: int = 56,
    steps: int = 20,
    guidance: float = 5.0,
    judged: int = 512,
) -> dict[str, float]:
    """Draw and measure; the sheet shows the plain names and, in its last row, the first of the coloured ones."""
    picked, pairs = chosen(config.data, seed, names, coloured)
    start = time.monotonic()
    plain = draw(nets, config, [with_article(f"a {n}") for n in picked], steps=steps, guidance=guidance, seed=seed)
    seconds = (time.monotonic() - start) / max(1, len(picked))
    prompts = [with_article(f"a {n} on a {c} background") for n, c in pairs]
    onto = draw(nets, config, prompts, steps=steps, guidance=guidance, seed=seed + 1)
    out.parent.mkdir(parents=True, exist_ok=True)
    sheet([plain, onto[:COLUMNS]], COLUMNS).save(out)
    for start_at in range(0, len(picked), COLUMNS):
        print("  " + ", ".join(picked[start_at : start_at + COLUMNS]))
    print("  " + ", ".join(f"{n} on {c}" for n, c in pairs[:COLUMNS]))
    judge, ceiling = trained_judge(config, judge_file, judged=judged)
    right = [border_colour(p) == c for p, (_, c) in zip(onto, pairs, strict=True)]
    return {
        "vae_psnr_db": round(held_out_psnr(nets.vae, config), 2),
        "background_hit_rate": round(float(np.mean(right)), 3),
        "name_hit_rate_plain": round(float(np.mean(hits(judge, plain, picked))), 3),
        "name_hit_rate_coloured": round(float(np.mean(hits(judge, onto, [n for n, _ in pairs]))), 3),
        "name_hit_rate_of_composed_pictures": round(ceiling, 3),
        "seconds_per_picture": round(seconds, 3),
    }


def main() -> None:
    """Evaluate the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="cpu128")
    parser.add_argument("--run", type=Path, help="folder of the run, where the classifier is kept (default: runs/PRESET beside this file)")
    parser.add_argument("--file", type=Path, default=DEFAULT_FILE)
    parser.add_argument("--out", type=Path, help="the sheet (default: sheet.png in the run's folder)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = PRESETS[args.preset]
    run = args.run or HERE / "runs" / args.preset
    measured = evaluate(
        read_checkpoint(config, args.file),
        config,
        args.out or run / "sheet.png",
        run / "judge.pt",
        seed=args.seed,
        steps=args.steps,
        guidance=args.guidance,
    )
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()
