"""Does memory stay flat when checkpoints are swapped? One JSON line.

Two checkpoints take turns, one sampling step each. `growth_mib` is the resident memory after the last swap less that after the second
(the first round of each is warm-up). Run from the repository: python -m benchmarks.swap A.safetensors B.safetensors
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import psutil
import torch

from modules.domain.catalog import CheckpointInfo
from modules.domain.plans import ModelSpec
from modules.engine.generate import sample
from modules.families.networks import import_libraries
from modules.weights.manager import ModelManager
from modules.weights.residency import DeviceOptions

from .loop_overhead import make_plan

MIB = 1 << 20


def checkpoint(path: Path) -> CheckpointInfo:
    kind = "diffusers" if path.is_dir() else path.suffix.removeprefix(".")
    stat = path.stat()
    return CheckpointInfo(name=path.name, path=str(path), format=kind, size=stat.st_size, modified=stat.st_mtime)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs=2)
    parser.add_argument("--swaps", type=int, default=10)
    parser.add_argument("--size", type=int, default=64, help="side of the picture in pixels")
    parser.add_argument("--use-cpu", action="store_true")
    arguments = parser.parse_args()
    import_libraries()  # first, as the engine does
    manager = ModelManager(DeviceOptions(use_cpu=arguments.use_cpu))
    specs = [ModelSpec(checkpoint=checkpoint(path)) for path in arguments.checkpoints]
    process = psutil.Process()
    resident: list[float] = []
    seconds: list[float] = []
    for number in range(arguments.swaps + 2):
        started = time.perf_counter()
        with manager.acquire(specs[number % 2]) as model:
            seconds.append(time.perf_counter() - started)
            sample(make_plan(arguments.size, 1, 1), model, lambda *_: None)
            del model
        resident.append(process.memory_info().rss / MIB)
    result = {
        "benchmark": "swap",
        "device": "cuda" if torch.cuda.is_available() and not arguments.use_cpu else "cpu",
        "swaps": arguments.swaps,
        "seconds_per_swap": round(statistics.median(seconds[2:]), 3),
        "resident_mib": [round(value, 1) for value in resident],
        # like with like: the same checkpoint is resident at both ends
        "growth_mib": round(resident[-1] - resident[1 if arguments.swaps % 2 == 0 else 0], 1),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
