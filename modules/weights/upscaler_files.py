"""How is an upscaler's file read? Its tensors only, in the nesting that they lie in; which network they belong to is not known here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from modules.domain.errors import ModelLoadError
from modules.weights.sources import open_source, read_pickled


def read_upscaler(path: Path) -> Mapping[str, Any]:
    """What is in the file, by name. Raises `ModelLoadError` with the reason (not the file's name), OSError where it can't be read."""
    if path.suffix.lower() == ".safetensors":
        with open_source(path, "safetensors") as source:
            # copies: views of the file would change, or crash us, when somebody replaces it
            return {name: source.tensor(name).clone() for name in source.shapes}
    if not path.is_file():
        raise ModelLoadError("it is not there any more" if not path.exists() else "it is not a file")
    loaded = read_pickled(path, also_old=True)
    if not isinstance(loaded, Mapping) or not loaded:
        raise ModelLoadError("it holds no named tensors")
    return cast("Mapping[str, Any]", loaded)
