"""What do the small config files beside a checkpoint or in a diffusers folder say? Plain data; its meaning is the families' business."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from modules.settings.safe_yaml import MAX_BYTES, DamagedFileError, read_yaml


def read_config(path: Path) -> Mapping[str, Any]:
    """The mapping in a `.yaml` or `.json` file of at most 256 KB. Raises OSError and `DamagedFileError` (its message is the reason)."""
    data = _read_json(path) if path.suffix == ".json" else read_yaml(path)
    if not isinstance(data, dict):
        raise DamagedFileError("it holds no mapping")
    return cast("dict[str, Any]", data)


def lookup(data: Mapping[str, Any], dotted: str) -> Any:
    """The value at a path such as `model.params.image_size`, None where there is none."""
    value: Any = data
    for key in dotted.split("."):
        if not isinstance(value, Mapping):
            return None
        value = cast("Mapping[str, Any]", value).get(key)
    return value


def native_size(config: Mapping[str, Any]) -> int | None:
    """Pixels per side that an LDM config was written for: the latent's side times the autoencoder's factor, None where it does not say."""
    levels = lookup(config, "model.params.first_stage_config.params.ddconfig.ch_mult")
    return pixels(lookup(config, "model.params.image_size"), levels)


def pixels(latent_side: Any, levels: Any) -> int | None:
    """Pixels per side for a latent's side and an autoencoder's list of levels (factor 2^(levels - 1)); None unless both are sensible."""
    if not isinstance(latent_side, int) or not isinstance(levels, list) or not 1 <= len(cast("list[Any]", levels)) <= 8:
        return None
    size = latent_side * 2 ** (len(cast("list[Any]", levels)) - 1)
    return size if 16 <= size <= 8192 else None


def suited_guidance(config: Mapping[str, Any]) -> float | None:
    """The CFG scale in the config's `suits`, this program's own addition; None unless it is one that the page can show."""
    value = lookup(config, "suits.cfg_scale")
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= 30 else None


def taught_words(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The words in the config's `suits`: at most 10,000 texts of at most 200 characters, others are left out."""
    words = lookup(config, "suits.words")
    if not isinstance(words, list):
        return ()
    return tuple(word for word in cast("list[Any]", words)[:10_000] if isinstance(word, str) and 0 < len(word) <= 200)


def _read_json(path: Path) -> Any:
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise DamagedFileError(f"it is larger than {MAX_BYTES // 1024} KB")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(" ".join(str(error).split())[:200]) from error
