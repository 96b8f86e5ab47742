"""How much memory and time does it take to merge two large checkpoints? Two synthetic files of SDXL's size, one JSON line of figures.

Run from the repository: python -m benchmarks.merge_memory [--gigabytes 3.5] [--folder DIR]. It needs three times that room on the disk.
`peak_mb` is VmHWM, the process' highest resident memory: pages of the mapped files count while they are mapped.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

import torch

from modules.domain.catalog import CheckpointInfo
from modules.domain.merging import MergeRequest
from modules.merging.merge import MergePlan, open_merge
from modules.merging.writer import Entry, header, in_file_order, writing

UNET = "model.diffusion_model."
SIDE = 1280


def synthetic(path: Path, size: int, seed: int) -> CheckpointInfo:
    """Write a float16 file of about `size` bytes that looks like an SD1 checkpoint by its names; the numbers are random."""
    entries = [
        Entry(f"{UNET}input_blocks.0.0.weight", torch.float16, (320, 4, 3, 3)),
        Entry(f"{UNET}middle_block.1.proj_in.weight", torch.float16, (SIDE, SIDE, 1, 1)),
        Entry("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", torch.float16, (49408, 768)),
    ]
    layer = 0
    while sum(entry.bytes for entry in entries) < size:
        name = f"{UNET}output_blocks.{layer % 12}.1.transformer_blocks.{layer // 12}.ff.net.0.proj.weight"
        entries.append(Entry(name, torch.float16, (8 * SIDE, SIDE)))
        layer += 1
    entries = in_file_order(entries)
    block = torch.randn(1 << 24, generator=torch.Generator().manual_seed(seed)).half()
    picks = random.Random(seed)
    with writing(path, path.with_suffix(".part"), header(entries, {"format": "pt"}), entries) as put:
        for entry in entries:
            count = entry.bytes // 2
            start = picks.randrange(0, max(1, len(block) - count))
            put(
                block[start : start + count].repeat(-(-count // len(block)))[:count].reshape(entry.shape)
                if count > len(block)
                else block[start : start + count].reshape(entry.shape)
            )
    stat = path.stat()
    return CheckpointInfo(name=path.name, path=str(path), format="safetensors", size=stat.st_size, modified=stat.st_mtime)


def peak_mb() -> float:
    """VmHWM in MB; Linux only."""
    line = next(line for line in Path("/proc/self/status").read_text("utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measured(a: CheckpointInfo, b: CheckpointInfo, method: str, folder: Path) -> dict[str, object]:
    """Merge into a file that is deleted again; the figures."""
    names = {"primary": a.name, "secondary": b.name, "tertiary": a.name}
    plan = MergePlan(request=MergeRequest(**names, method=method), a=a, b=b, c=a if method == "Add difference" else None)
    target, before, started = folder / "result.safetensors", peak_mb(), time.monotonic()
    with open_merge(plan) as merge:
        head = header(merge.entries, {})
        with writing(target, folder / ".result", head, merge.entries) as put:
            for entry in merge.entries:
                put(merge.tensor(entry.name))
        count = len(merge.entries)
    seconds, size = time.monotonic() - started, target.stat().st_size
    target.unlink()
    return {
        "method": method,
        "sources_gb": round((a.size + b.size) / 1e9, 2),
        "result_gb": round(size / 1e9, 2),
        "tensors": count,
        "seconds": round(seconds, 1),
        "peak_mb_before": round(before),
        "peak_mb": round(peak_mb()),
    }


def main() -> None:
    """Write the files, merge them, print the figures, delete everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=3.5, help="the size of each file")
    parser.add_argument("--folder", help="where the files are written; a temporary folder otherwise")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.folder) as place:
        folder = Path(place)
        a, b = (synthetic(folder / f"{name}.safetensors", int(asked.gigabytes * 1e9), seed) for seed, name in enumerate("ab"))
        for method in ("Weighted sum", "Add difference"):
            print(json.dumps(measured(a, b, method, folder)), flush=True)


if __name__ == "__main__":
    main()
