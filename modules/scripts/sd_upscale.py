"""SD upscale: how does a picture become larger than the model could draw? Enlarged first, then drawn anew tile by tile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from modules.domain.checks import check
from modules.domain.errors import InvalidRequest
from modules.domain.extras import ExtrasRequest
from modules.domain.img2img import Img2Img
from modules.domain.requests import MAX_SIDE, SIZE_STEP, GenerationRequest
from modules.imaging.tiling import Box, joined, tile_boxes
from modules.scripts.script import Composite, Control, Environment, Outcome, Result, Script, Steps, composite, fixed_seeds

NAME = "SD upscale"
MAX_TILES = 144
"""Pictures that are not saved are kept for a while only: there must not be more than that."""

_NOT_SAVED: tuple[tuple[str, bool], ...] = (("samples_save", False), ("grid_save", False), ("return_grid", False))


def run(request: GenerationRequest, values: Mapping[str, Any], environment: Environment) -> Steps:
    """First the upscaler's job, then one job a tile, for as many pictures as there are batches. Raises `InvalidRequest`."""
    start = _start(request, values)
    upscaler = _upscaler(values["upscaler_index"], environment)
    said = (
        *(("SD upscale overlap", str(values["overlap"])), ("SD upscale upscaler", upscaler)),
        ("SD upscale scale factor", f"{values['scale_factor']:g}"),
    )
    base = replace(
        fixed_seeds(request, environment),
        batch_size=1,
        batch_count=1,
        said=(*request.said, *said),
        overrides=(*request.overrides, *_NOT_SAVED),
    )
    picture = _flat(environment.open_input(start.image))
    if upscaler != "None":
        (enlarged,) = yield (ExtrasRequest(image=start.image, resize_by=values["scale_factor"], upscaler_1=upscaler, overrides=_NOT_SAVED),)
        if enlarged.picture is None:
            return Outcome()
        picture = _flat(environment.open(enlarged.picture))
    boxes = tile_boxes(picture.size, (request.width, request.height), int(values["overlap"]))
    _check_size(picture.size, len(boxes) * request.batch_count)
    tiles = [
        _tile(_seeded(base, index, request.batch_size), start, environment.keep(picture.crop(box)), box) for index, box in enumerate(boxes)
    ]
    results = yield tuple(
        replace(tile, seed=replace(tile.seed, value=tile.seed.value + number)) for number in range(request.batch_count) for tile in tiles
    )
    return _outcome(results, boxes, picture.size, dict(said), environment)


def _start(request: GenerationRequest, values: Mapping[str, Any]) -> Img2Img:
    start, overlap = request.init, int(values["overlap"])
    if start is None:
        raise InvalidRequest(f"{NAME} is for img2img: choose a picture to begin from.")
    check(request.inpaint is None, f"{NAME} draws the whole picture anew: use the sub-tab img2img, or send no mask.")
    check(start.resize_by is None, f"{NAME}: choose “Resize to”: its width and height are a tile's, and the script has its own factor.")
    tile = f"{request.width}x{request.height}"
    check(overlap <= min(request.width, request.height) // 2, f"{NAME}: tiles of {tile} can overlap by half their size at most.")
    return start


def _upscaler(given: str, environment: Environment) -> str:
    """The upscaler by name or by its position in the list, as A1111's clients may say it."""
    known = environment.catalog.extras_upscalers
    is_position = given.isdecimal() and len(given) < 9 and int(given) < len(known)
    return known[int(given)] if is_position else environment.catalog.extras_upscaler(given)


def _check_size(size: tuple[int, int], tiles: int) -> None:
    check(max(size) <= MAX_SIDE, f"{NAME} would make a picture of {size[0]}x{size[1]}; {MAX_SIDE} a side are the most.")
    check(tiles <= MAX_TILES, f"{NAME} would draw {tiles} tiles; {MAX_TILES} are the most. Use larger tiles, or a lower batch count.")


def _seeded(base: GenerationRequest, tile: int, batch_size: int) -> GenerationRequest:
    """With the seed that A1111 gives the tile: each batch of tiles begins one higher, and counts up as any batch does."""
    batch, place = divmod(tile, batch_size)
    own = base.seed
    if own.variation_strength > 0:
        return replace(base, seed=replace(own, value=own.value + batch, variation=own.variation + place))
    return replace(base, seed=replace(own, value=own.value + batch + place))


def _tile(base: GenerationRequest, start: Img2Img, image: str, box: Box) -> GenerationRequest:
    wide, high = box[2] - box[0], box[3] - box[1]
    init = replace(start, image=image, resize_mode="just_resize")
    return replace(base, init=init, width=_whole(wide), height=_whole(high))


def _whole(side: int) -> int:
    """A side that models can draw; what is a few pixels too much is gone again when the tiles are put together."""
    return max(2 * SIZE_STEP, -(-side // SIZE_STEP) * SIZE_STEP)


def _flat(picture: Image.Image) -> Image.Image:
    """RGB, on white where it is transparent."""
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _outcome(
    results: tuple[Result, ...], boxes: list[Box], size: tuple[int, int], said: Mapping[str, object], environment: Environment
) -> Outcome:
    made: list[Composite] = []
    notes: list[str] = []
    for start in range(0, len(results), len(boxes)):
        part = results[start : start + len(boxes)]
        tiles = [environment.open(result.picture) for result in part if result.picture]
        if len(tiles) < len(boxes):
            missing = f"{len(boxes) - len(tiles)} of {len(boxes)} tiles are missing"
            notes.append(f"{NAME}: {missing}, so there is no picture. Go on to draw them.")
            continue
        made.append(composite(joined(tiles, boxes, size), part, {"Script": NAME, **said}, "Picture", "image"))
    return Outcome(composites=tuple(made), notes=tuple(notes), shown=())


SCRIPT = Script(
    name=NAME,
    run=run,
    txt2img=False,
    info="Enlarges the picture by the factor, then draws it anew in tiles of the width and height above. Use a low denoising strength. "
    "Batch count is how many pictures; batch size only shifts the tiles' seeds, as in A1111.",
    controls=(
        Control(kind="unused", name="info", label="", default=""),
        Control(kind="slider", name="overlap", label="Tile overlap", default=64, low=0, high=256, step=16),
        Control(kind="dropdown", name="upscaler_index", label="Upscaler", default="Lanczos", choices=("<upscalers>",), index=True),
        Control(kind="slider", name="scale_factor", label="Scale Factor", default=2.0, low=1.0, high=4.0, step=0.05),
    ),
)
