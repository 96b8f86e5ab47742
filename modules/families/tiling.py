"""How does a picture become one that can be laid beside itself without a seam? Convolutions that go on at the opposite edge.

A1111's "Tiling". Attention has no edges, so nothing else needs to know.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def tileable(networks: Iterable[nn.Module]) -> Generator[None]:
    """Within, every padded 2-D convolution of `networks` is padded with its opposite edges; afterwards as it was."""
    convolutions = [module for network in networks for module in network.modules() if isinstance(module, nn.Conv2d) and _is_padded(module)]
    before: list[Any] = [module.padding_mode for module in convolutions]
    try:
        for module in convolutions:
            module.padding_mode = "circular"
        yield
    finally:
        for module, mode in zip(convolutions, before, strict=True):
            module.padding_mode = mode


def _is_padded(module: nn.Conv2d) -> bool:
    return not isinstance(module.padding, str) and any(module.padding)
