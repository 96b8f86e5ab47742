"""Which files lie below the models folders? Directory entries only; links that go in a circle end, what can't be read is left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

MAX_DEPTH = 16


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file or diffusers folder below `root`; `name` is its path in there with forward slashes."""

    root: Path
    name: str
    path: str
    size: int
    mtime_ns: int
    is_folder: bool


def is_vae_sidecar(name: str) -> bool:
    """Whether a file in the checkpoints folder is a VAE by A1111's naming (`x.vae.safetensors`, `x.vae.ckpt`, `x.vae.pt`)."""
    stem, dot, _ = name.lower().rpartition(".")
    return bool(dot) and stem.endswith(".vae")


def walk_all(roots: Sequence[Path], suffixes: tuple[str, ...], *, folders: bool = True) -> list[FoundFile]:
    """Files below the roots with these suffixes, in order; with `folders` also diffusers folders and the VAEs beside checkpoints."""
    wanted = (*suffixes, ".pt") if folders else suffixes
    found: list[FoundFile] = []
    seen: set[tuple[int, int]] = set()
    for root in roots:
        here = [item for item in _walk(root, root, wanted, seen, 0) if folders or not item.is_folder]
        found += [item for item in here if item.name.lower().endswith(suffixes) or item.is_folder or is_vae_sidecar(item.name)]
    return found


def _walk(root: Path, folder: Path, suffixes: tuple[str, ...], seen: set[tuple[int, int]], depth: int) -> Iterator[FoundFile]:
    """Files below `folder` with these suffixes and diffusers folders, in name order. A folder that was seen (a link's loop) is left out."""
    try:
        stat = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name.casefold())
    except OSError:
        return
    if (stat.st_dev, stat.st_ino) in seen or depth > MAX_DEPTH:
        return
    seen.add((stat.st_dev, stat.st_ino))
    if depth and any(entry.name == "model_index.json" for entry in entries):
        yield _found(root, folder, 0, stat.st_mtime_ns, is_folder=True)
        return
    for entry in entries:
        if entry.name.startswith("."):
            continue
        try:
            if entry.is_dir():
                yield from _walk(root, Path(entry.path), suffixes, seen, depth + 1)
            elif entry.name.lower().endswith(suffixes) and entry.is_file():
                info = entry.stat()
                yield _found(root, Path(entry.path), info.st_size, info.st_mtime_ns, is_folder=False)
        except OSError:
            continue


def _found(root: Path, path: Path, size: int, mtime_ns: int, *, is_folder: bool) -> FoundFile:
    return FoundFile(root, path.relative_to(root).as_posix(), str(path), size, mtime_ns, is_folder)


def unique(found: Sequence[FoundFile]) -> list[FoundFile]:
    """Each name once: of equal names the first keeps it, a later one gets its own models folder's name (and a number) in front."""
    taken: set[str] = set()
    result: list[FoundFile] = []
    for item in found:
        name, number = item.name, 1
        while name.casefold() in taken:
            name = f"{item.root.name}{'' if number == 1 else f'-{number}'}/{item.name}"
            number += 1
        taken.add(name.casefold())
        result.append(replace(item, name=name))
    return result
