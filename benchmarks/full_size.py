"""How much memory does a checkpoint of a real size need to be loaded and drawn with? One JSON line.

It is loaded as a job loads it, a few steps are sampled and the latents decoded. Peaks are the process' largest resident memory so far
(`ru_maxrss`); pages of the mapped file count in it, though the system may take those back. Run from the repository:
python -m benchmarks.full_size CHECKPOINT.safetensors
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import torch

from modules.domain.plans import ModelSpec
from modules.engine.generate import decode, sample
from modules.families.networks import import_libraries
from modules.weights.manager import ModelManager
from modules.weights.residency import DeviceOptions

from .loop_overhead import make_plan
from .swap import checkpoint

GIB = 1 << 20
"""In the units of `ru_maxrss`, which are KiB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--size", type=int, default=256, help="side of the picture in pixels")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--use-cpu", action="store_true")
    arguments = parser.parse_args()
    import_libraries()  # first, as the engine does
    manager = ModelManager(DeviceOptions(use_cpu=arguments.use_cpu))
    marks: dict[str, tuple[float, float]] = {}
    started = time.perf_counter()

    def mark(name: str) -> None:
        marks[name] = (time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB)

    plan = make_plan(arguments.size, arguments.steps, 1)
    with manager.acquire(ModelSpec(checkpoint=checkpoint(arguments.checkpoint))) as model:
        mark("load")
        latents = sample(plan, model, lambda *_: None)
        mark("sample")
        pixels = [decode(plan, model, latent) for latent in latents]
        mark("decode")
        result = {
            "benchmark": "full_size",
            "file": arguments.checkpoint.name,
            "file_gib": round(arguments.checkpoint.stat().st_size / (1 << 30), 2),
            "device": str(model.device),
            "family": model.facts.family,
            "dtypes": {role: str(next(network.parameters()).dtype).removeprefix("torch.") for role, network in model.networks.items()},
            "size": arguments.size,
            "steps": arguments.steps,
            "pictures": [list(each.shape) for each in pixels],
            "finite": bool(torch.isfinite(latents).all()),
            "seconds": {name: round(seconds, 1) for name, (seconds, _) in marks.items()},
            "peak_gib": {name: round(peak, 2) for name, (_, peak) in marks.items()},
        }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
