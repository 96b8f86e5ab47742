"""What was asked of checkpoints: to be merged into a new one. A kind of request beside `GenerationRequest` and `ExtrasRequest`.

As there: the user's own words and numbers; checkpoints, VAE and LoRAs are names of the catalogue.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from modules.domain.block_weights import check_block_weights
from modules.domain.checks import check, check_range
from modules.domain.errors import InvalidRequest

NO_INTERPOLATION, WEIGHTED_SUM, ADD_DIFFERENCE = "No interpolation", "Weighted sum", "Add difference"
METHODS = (NO_INTERPOLATION, WEIGHTED_SUM, ADD_DIFFERENCE)
"""A alone; A * (1 - M) + B * M; A + (B - C) * M."""

FIRST_OF_ALL, OF_B, OF_C, NONE_OF_THEM = CONFIG_SOURCES = ("A, B or C", "B", "C", "Don't")
"""Whose `.yaml` is laid beside the result."""

SAFETENSORS, CKPT = "safetensors", "ckpt"
NO_VAE = "None"
SUFFIX = ".safetensors"

MAX_NAME = 180
"""Bytes of a result's name without its ending: file systems take 255, and a number or an ending may come behind it."""

MAX_PATTERN = 1000
MAX_LORAS = 32
MAX_LORA_WEIGHT = 10.0

KIND = "merge"
"""What stands in the JSON of such a request, and in no other kind's."""

_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRequest:
    """Checkpoints A (`primary`), B and C to be merged by `method`, strength M (`multiplier`), into a file called `name`.

    Raises `InvalidRequest` with a sentence for the user when a value is out of its range, or missing for the method.
    """

    primary: str
    secondary: str = ""
    tertiary: str = ""
    method: str = WEIGHTED_SUM
    multiplier: float = 0.3
    block_weights: str = ""
    """M for each block of the UNet; see `block_weights`. Empty: M everywhere."""
    name: str = ""
    """The result's file name without its ending. Empty: an automatic one, as A1111 makes it."""
    file_format: str = SAFETENSORS
    half: bool = False
    """Save as float16; else the result has A's number formats."""
    vae: str = NO_VAE
    """The VAE file that is put into the result."""
    discard: str = ""
    """A regular expression: tensors in whose names it is found are left out of the result."""
    config_from: str = FIRST_OF_ALL
    copy_metadata: bool = True
    add_recipe: bool = True
    loras: tuple[tuple[str, float], ...] = ()
    """LoRAs that are put into the result's weights, and how strongly."""

    def __post_init__(self) -> None:
        check(self.method in METHODS, f"There is no interpolation method {self.method[:40]!r}. There are: {', '.join(METHODS)}.")
        check(bool(self.primary), "Choose a primary model (A).")
        check(bool(self.secondary) or self.method == NO_INTERPOLATION, f"{self.method} needs a secondary model (B): choose one.")
        check(bool(self.tertiary) or self.method != ADD_DIFFERENCE, "Add difference needs a tertiary model (C): choose one.")
        check_range("Multiplier (M)", self.multiplier, 0.0, 1.0)
        check_block_weights(self.block_weights)
        check(self.file_format != CKPT, "A .ckpt file is a pickle, which can hold a program, so none are written: choose safetensors.")
        check(self.file_format == SAFETENSORS, f"There is no checkpoint format {self.file_format[:40]!r}: choose safetensors.")
        check(self.config_from in CONFIG_SOURCES, f"Copy config from must be one of {', '.join(CONFIG_SOURCES)}.")
        if self.name:
            _check_name(self.name)
        check(len(self.discard) <= MAX_PATTERN, f"The pattern of weights to discard is longer than {MAX_PATTERN} characters.")
        try:
            re.compile(self.discard)
        except re.error as error:
            raise InvalidRequest(f"Discard weights with matching name: {self.discard[:60]!r} is no regular expression ({error}).") from None
        check(len(self.loras) <= MAX_LORAS, f"At most {MAX_LORAS} LoRAs can be put into a checkpoint at once.")
        for lora, weight in self.loras:
            check_range(f"The weight of LoRA {lora[:40]}", weight, -MAX_LORA_WEIGHT, MAX_LORA_WEIGHT)

    @property
    def tab(self) -> str:
        """What A1111 calls this kind of work."""
        return "modelmerger"

    @property
    def prompt(self) -> str:
        """Nothing was asked for in words."""
        return ""

    @property
    def title(self) -> str:
        """How people tell such a job from others."""
        return f"Merge: {self.file_name}"

    @property
    def file_name(self) -> str:
        """The result's file name."""
        return f"{self.name or automatic_name(self)}{SUFFIX}"

    @property
    def inputs(self) -> tuple[str, ...]:
        """It begins from no pictures."""
        return ()

    @property
    def image_count(self) -> int:
        """It makes no pictures."""
        return 0

    @property
    def overrides(self) -> tuple[tuple[str, str | int | float | bool], ...]:
        """It has no settings of its own."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """A plain JSON object from which `from_json` makes an equal request."""
        return {"kind": KIND, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MergeRequest:
        """The request that `to_json` wrote; a field it does not know raises `InvalidRequest` rather than being dropped."""
        values = {name: value for name, value in data.items() if name != "kind"}
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        check(not unknown, f"This version does not know the request fields {', '.join(unknown)}.")
        values["loras"] = tuple((str(name), float(weight)) for name, weight in values.get("loras", ()))
        return cls(**values)


def automatic_name(request: MergeRequest) -> str:
    """A1111's name for a result that was given none, such as "0.7(A) + 0.3(B)", made fit for file systems."""
    a, b, c = (_stem(name) for name in (request.primary, request.secondary, request.tertiary))
    m = request.multiplier
    if request.method == NO_INTERPOLATION:
        text = a
    elif request.method == ADD_DIFFERENCE:
        text = f"{a} + {'blocks' if request.block_weights.strip() else f'{round(m, 2):g}'}({b} - {c})"
    elif request.block_weights.strip():
        text = f"{a} + {b} by blocks"
    else:
        text = f"{round(1 - m, 2):g}({a}) + {round(m, 2):g}({b})"
    text += "".join(f" + {weight:g}({_stem(name)})" for name, weight in request.loras)
    return _cut(_FORBIDDEN.sub("_", text)).strip(". ") or "merged"


def without_unused(request: MergeRequest) -> MergeRequest:
    """The request without the models that its method has no use for."""
    secondary = "" if request.method == NO_INTERPOLATION else request.secondary
    return replace(request, secondary=secondary, tertiary=request.tertiary if request.method == ADD_DIFFERENCE else "")


def with_free_name(request: MergeRequest, taken: Collection[str]) -> MergeRequest:
    """The request with a name that is not among `taken` (file names without folders, in any letter case): an automatic one gets a number.

    Raises `InvalidRequest` for a chosen name that is taken.
    """
    known = {name.casefold() for name in taken}
    if request.name:
        check(
            request.file_name.casefold() not in known,
            f"There is a checkpoint called {request.file_name} already, which is not overwritten: choose another name.",
        )
        return request
    stem = name = automatic_name(request)
    number = 1
    while f"{name}{SUFFIX}".casefold() in known:
        name, number = f"{stem}-{number}", number + 1
    return replace(request, name=name)


def _check_name(name: str) -> None:
    wrong = _FORBIDDEN.search(name)
    check(wrong is None, f"Custom name: a file's name can't hold {wrong[0]!r}. Leave it out." if wrong else "")
    sane = name.strip(" .") == name and not _RESERVED.fullmatch(name)
    check(sane, f"Custom name: {name[:60]!r} can't be a file's name. It must not begin or end with a dot or a space.")
    check(len(name.encode()) <= MAX_NAME, f"Custom name: it is too long for a file's name; {MAX_NAME} bytes are the most.")
    check(not name.lower().endswith(".vae"), "Custom name: a file whose name ends in .vae would be taken for a VAE. Choose another name.")


def _stem(name: str) -> str:
    base = name.rsplit("/", 1)[-1]
    for suffix in (".safetensors", ".ckpt", ".pt"):
        base = base.removesuffix(suffix)
    return base


def _cut(text: str) -> str:
    return text.encode()[: MAX_NAME - 8].decode("utf-8", "ignore")
