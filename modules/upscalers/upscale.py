"""How does a network of a fixed factor make a picture of a wanted size? A1111's rule: again and again, then a plain resize.

Knows no files; what network it is does not matter.
"""

from __future__ import annotations

from collections.abc import Callable

from modules.upscalers.models import UpscalerNetwork
from modules.upscalers.resize import Pixels, resized
from modules.upscalers.tiles import enlarged_in_tiles, tile_count

MAX_PASSES = 3

Progress = Callable[[int, int], None]
"""Gets the number of the tile that begins, from 1, and how many there will be. May raise to stop."""


def passes(size: tuple[int, int], wanted: tuple[int, int], scale: int) -> list[tuple[int, int]]:
    """The (width, height) that each run of a network of factor `scale` starts from.

    It runs until both sides are long enough, at most `MAX_PASSES` times: once where they are from the beginning, unless the picture is
    to become smaller; and once where the network does not enlarge.
    """
    width, height = size
    if width > wanted[0] and height > wanted[1]:
        return []
    starts = [(width, height)]
    while scale > 1 and len(starts) < MAX_PASSES and (starts[-1][0] * scale < wanted[0] or starts[-1][1] * scale < wanted[1]):
        starts.append((starts[-1][0] * scale, starts[-1][1] * scale))
    return starts


def upscaled(pixels: Pixels, wanted: tuple[int, int], network: UpscalerNetwork, *, tile: int, overlap: int, progress: Progress) -> Pixels:
    """The picture in `wanted` (width, height), by the network and, for what is then missing or too much, Lanczos.

    `tile` and `overlap` as `enlarged_in_tiles` takes them. Raises what the network and `progress` raise.
    """
    tile = tile if network.tiled else 0
    starts = passes((pixels.shape[1], pixels.shape[0]), wanted, network.scale)
    total = sum(tile_count(*size, tile, overlap) for size in starts)
    begun = 0

    def on_tile() -> None:
        nonlocal begun
        begun += 1
        progress(begun, total)

    for _ in starts:
        pixels = enlarged_in_tiles(pixels, network, network.scale, tile=tile, overlap=overlap, on_tile=on_tile)
    return pixels if pixels.shape[1::-1] == wanted else resized(pixels, wanted, "Lanczos")
