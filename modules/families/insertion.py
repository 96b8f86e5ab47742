"""How do vectors of one's own get into a text encoder? In the place of token embeddings, right behind its embedding table."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from modules.prompts.chunks import Chunk


@contextmanager
def inserted(table: nn.Module, chunks: Sequence[Chunk], vectors: Mapping[str, Tensor]) -> Generator[None]:
    """While this is open, `table` (token ids -> embeddings) gives `vectors` (n, width) at the places that `chunks` name.

    The chunks go through in their order, in one call or in several.
    """
    if not any(chunk.inserted for chunk in chunks):
        yield
        return
    left = list(chunks)

    def replace(_module: nn.Module, _arguments: Any, embeddings: Tensor) -> Tensor:
        now = embeddings.clone()
        for row, chunk in enumerate(left[: len(now)]):
            for insert in chunk.inserted:
                rows = vectors[insert.word]
                now[row, insert.place : insert.place + len(rows)] = rows.to(now.device, now.dtype)
        del left[: len(now)]
        return now

    handle = table.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
