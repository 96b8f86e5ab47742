"""Which upscaler models are there, and what are they called? Directory entries only; it must not import torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import MappingProxyType

from modules.domain.catalog import LATENT_UPSCALERS, PIXEL_UPSCALERS, UpscalerInfo
from modules.weights.folders import FoundFile, walk_all

UPSCALER_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt")

A1111_NAMES = MappingProxyType(
    {
        "realesrgan_x4plus": "R-ESRGAN 4x+",
        "realesrgan_x4plus_anime_6b": "R-ESRGAN 4x+ Anime6B",
        "realesrgan_x2plus": "R-ESRGAN 2x+",
        "realesr-general-x4v3": "R-ESRGAN General 4xV3",
        "realesr-general-wdn-x4v3": "R-ESRGAN General WDN 4xV3",
        "realesr-animevideov3": "R-ESRGAN AnimeVideo",
        "003_realsr_bsrgan_dfowmfc_s64w8_swinir-l_x4_gan": "SwinIR 4x",
        "scunet_color_real_gan": "ScuNET GAN",
        "scunet_color_real_psnr": "ScuNET PSNR",
        "dat_x2": "DAT x2",
        "dat_x3": "DAT x3",
        "dat_x4": "DAT x4",
    }
)
"""What A1111 calls the files that it knows where to download, by their stem in small letters."""


def upscaler_rows(roots: Sequence[Path]) -> tuple[UpscalerInfo, ...]:
    """The upscaler models below the roots, by label."""
    found = walk_all(roots, UPSCALER_SUFFIXES, folders=False)
    rows = [_row(item, label) for item, label in zip(found, _labels(found), strict=True)]
    return tuple(sorted(rows, key=lambda row: row.label.casefold()))


def _row(found: FoundFile, label: str) -> UpscalerInfo:
    alias = A1111_NAMES.get(_stem(found).casefold())
    aliases = (alias,) if alias else ()
    return UpscalerInfo(label=label, path=found.path, size=found.size, modified=found.mtime_ns / 1e9, aliases=aliases)


def _labels(found: Sequence[FoundFile]) -> list[str]:
    """The files' stems; what more than one is called, or what is built in, gets as much more of its path as tells it apart."""
    labels = [_stem(item) for item in found]
    longer_forms: tuple[Callable[[FoundFile], str], ...] = (_with_folder, _with_ending, lambda item: item.path)
    for longer in longer_forms:
        taken = Counter(label.casefold() for label in (*labels, *LATENT_UPSCALERS, *PIXEL_UPSCALERS))
        labels = [longer(item) if taken[label.casefold()] > 1 else label for item, label in zip(found, labels, strict=True)]
    return labels


def _stem(found: FoundFile) -> str:
    return found.name.rsplit("/", 1)[-1].rsplit(".", 1)[0]


def _with_folder(found: FoundFile) -> str:
    return _with_ending(found).rsplit(".", 1)[0]


def _with_ending(found: FoundFile) -> str:
    return f"{found.root.name}/{found.name}"
