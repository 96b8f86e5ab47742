"""What was asked of a finished picture: to be enlarged, its faces restored.

Besides `GenerationRequest` the other kind of request that a job can hold.

As there: the user's own words and numbers, nothing resolved, and the picture is an id of `gallery.inputs.InputStore`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from modules.domain.catalog import CODEFORMER, GFPGAN
from modules.domain.checks import check, check_picture_id, check_range
from modules.domain.errors import InvalidRequest

NO_UPSCALER = "None"
"""As the first upscaler: the picture is left as it is. As the second: there is none."""

MIN_FACTOR, MAX_FACTOR = 0.05, 16.0
MAX_SIDE = 16384
MAX_PIXELS = 134_217_728
"""The most that a result may have: 16384x8192."""

MAX_NAME = 255
MAX_PATH = 4096
MAX_INFOTEXT = 1_000_000

KIND = "extras"
"""What stands in the JSON of such a request, and in no other kind's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtrasRequest:
    """One picture to be worked on. GFPGAN and CodeFormer restore its faces, as strongly as each one's visibility says (0: not at all).

    It is enlarged `resize_by` times, or, where it is given, to `size` (width, height).
    The picture keeps its proportions and fills all of `size`; with `crop`, what is over is cut off on both sides.
    `upscaler_2` is mixed into what `upscaler_1` makes, as strongly as `upscaler_2_visibility` says.
    Raises `InvalidRequest` with a sentence for the user when a value is out of its range.
    """

    image: str
    name: str = ""
    """The source file's name without folders, as the user knows it; empty for a picture that never had one."""
    infotext: str = ""
    """The parameters that the source file carries. The result keeps them."""
    resize_by: float = 4.0
    size: tuple[int, int] | None = None
    crop: bool = True
    upscaler_1: str = NO_UPSCALER
    upscaler_2: str = NO_UPSCALER
    upscaler_2_visibility: float = 0.0
    gfpgan_visibility: float = 0.0
    codeformer_visibility: float = 0.0
    codeformer_weight: float = 0.0
    """CodeFormer's fidelity: 0 the best face, 1 the one that is most like the source's."""
    upscale_first: bool = True
    """Whether faces are restored in the enlarged picture, or before it is enlarged."""
    copy_to: str = ""
    """A folder of this machine that the result is copied to besides. Whoever makes the request answers for that its sender may name one."""
    overrides: tuple[tuple[str, str | int | float | bool], ...] = ()
    """Settings for this job alone, as `GenerationRequest.overrides`."""

    def __post_init__(self) -> None:
        check(bool(self.image), "Choose a picture to enlarge.")
        check_picture_id(self.image)
        is_bare = not any(char in self.name for char in "/\\\0") and len(self.name) <= MAX_NAME
        check(is_bare, f"The source's name must be a file's name without folders, of {MAX_NAME} characters at most.")
        check(len(self.infotext) <= MAX_INFOTEXT, f"The picture's parameters are longer than {MAX_INFOTEXT} characters.")
        check("\0" not in self.copy_to and len(self.copy_to) <= MAX_PATH, "The output directory's name is not one that a folder can have.")
        check_range("Resize", self.resize_by, MIN_FACTOR, MAX_FACTOR)
        for name, side in zip(("Width", "Height"), self.size or (), strict=False):
            check_range(name, side, 1, MAX_SIDE)
        check_range("Upscaler 2 visibility", self.upscaler_2_visibility, 0.0, 1.0)
        check_range("GFPGAN visibility", self.gfpgan_visibility, 0.0, 1.0)
        check_range("CodeFormer visibility", self.codeformer_visibility, 0.0, 1.0)
        check_range("CodeFormer weight", self.codeformer_weight, 0.0, 1.0)

    @property
    def tab(self) -> str:
        """What A1111 calls this kind of work: in folders' names and on the page."""
        return KIND

    @property
    def prompt(self) -> str:
        """Nothing was asked for in words; what stands in the gallery comes with the picture."""
        return ""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The ids of the pictures that the request begins from."""
        return (self.image,)

    @property
    def face_restorers(self) -> tuple[str, ...]:
        """The kinds of face restorers that are asked for, in their order."""
        asked = ((GFPGAN, self.gfpgan_visibility), (CODEFORMER, self.codeformer_visibility))
        return tuple(kind for kind, visibility in asked if visibility > 0)

    @property
    def image_count(self) -> int:
        """How many pictures the request asks for."""
        return 1

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object from which `from_json` makes an equal request."""
        return {"kind": KIND, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ExtrasRequest:
        """The request that `to_json` wrote; a field it does not know raises `InvalidRequest` rather than being dropped."""
        values = {name: value for name, value in data.items() if name != "kind"}
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        check(not unknown, f"This version does not know the request fields {', '.join(unknown)}.")
        if values.get("size") is not None:
            width, height = values["size"]
            values["size"] = (int(width), int(height))
        values["overrides"] = tuple((str(key), value) for key, value in values.get("overrides", ()))
        return cls(**values)


def enlarged_size(request: ExtrasRequest, source: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) that a picture of the size `source` is enlarged to, before anything is cut off. Raises `InvalidRequest`."""
    factor = request.resize_by if request.size is None else max(request.size[0] / source[0], request.size[1] / source[1])
    width, height = max(1, round(source[0] * factor)), max(1, round(source[1] * factor))
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        most = f"{MAX_SIDE} a side and {MAX_PIXELS // 1_000_000} million in all are the most"
        raise InvalidRequest(f"The result would have {width}x{height} pixels; {most}. Choose a smaller size.")
    return width, height
