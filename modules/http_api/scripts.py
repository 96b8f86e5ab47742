"""Which of A1111's always-on scripts are there for clients? Those that are fields of a request here: seed, sampler, refiner.

A client's arguments by position become fields, nothing is run. The scripts that one chooses are `selectable`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any, TypeVar, cast

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from modules.domain.catalog import Catalog
from modules.domain.img2img import SoftInpainting
from modules.domain.styles import Style
from modules.http_api.errors import Refusal
from modules.http_api.models import GenerationBody, Img2ImgBody
from modules.http_api.selectable import chosen_script, is_selectable, selectable_infos, selectable_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument: the request's field that it sets, and how /script-info shows it."""

    field: str
    label: str
    value: Any = None
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """`switch` is the position of the argument without which the others do not count; None where there is no such."""

    arguments: tuple[Argument, ...]
    switch: int | None = None
    txt2img: bool = True
    img2img: bool = True


_LARGE = 1e6
_SHARE: Mapping[str, float] = MappingProxyType({"minimum": 0.0, "maximum": 1.0, "step": 0.01})
_ON = Argument(field="", label="Enabled", value=False)

SOFT_INPAINTING = "soft inpainting"

SCRIPTS: Mapping[str, Script] = MappingProxyType(
    {
        "refiner": Script(
            arguments=(
                _ON,
                Argument(field="refiner_checkpoint", label="Checkpoint", value=""),
                Argument(field="refiner_switch_at", label="Switch at", value=0.8, **_SHARE),
            ),
            switch=0,
        ),
        "sampler": Script(
            arguments=(
                Argument(field="steps", label="Sampling steps", value=20, minimum=1, maximum=150, step=1),
                Argument(field="sampler_name", label="Sampling method", value="DPM++ 2M"),
                Argument(field="scheduler", label="Schedule type", value="Automatic"),
            )
        ),
        "seed": Script(
            arguments=(
                Argument(field="seed", label="Seed", value=-1),
                Argument(field="", label="Extra", value=False),
                Argument(field="subseed", label="Variation seed", value=-1),
                Argument(field="subseed_strength", label="Variation strength", value=0.0, **_SHARE),
                Argument(field="seed_resize_from_w", label="Resize seed from width", value=0, minimum=0, maximum=2048, step=8),
                Argument(field="seed_resize_from_h", label="Resize seed from height", value=0, minimum=0, maximum=2048, step=8),
            )
        ),
        SOFT_INPAINTING: Script(
            arguments=(
                Argument(field="", label="Soft inpainting", value=False),
                Argument(field="", label="Schedule bias", value=1.0, minimum=0, maximum=8, step=0.1),
                Argument(field="", label="Preservation strength", value=0.5, minimum=0, maximum=8, step=0.05),
                Argument(field="", label="Transition contrast boost", value=4.0, minimum=1, maximum=32, step=0.5),
                Argument(field="", label="Mask influence", value=0.0, **_SHARE),
                Argument(field="", label="Difference threshold", value=0.5, minimum=0, maximum=8, step=0.25),
                Argument(field="", label="Difference contrast", value=2.0, minimum=0, maximum=8, step=0.25),
            ),
            switch=0,
            txt2img=False,
        ),
    }
)
"""A1111's name of each script, in small letters."""

_Body = TypeVar("_Body", bound=GenerationBody)


def with_scripts(body: _Body) -> _Body:
    """`body` with what its always-on scripts ask for set as fields.

    Raises `Refusal` in A1111's words for a script that is not here, and `RequestValidationError` for arguments of a wrong kind.
    """
    chosen_script(body)
    here = {name: script for name, script in SCRIPTS.items() if (script.img2img if isinstance(body, Img2ImgBody) else script.txt2img)}
    changes: dict[str, Any] = {}
    for name, given in body.alwayson_scripts.items():
        script = here.get(name.strip().casefold())
        if script is None and is_selectable(name):
            raise Refusal(422, "Cannot have a selectable script in the always on scripts params", "Send its name as script_name.")
        if script is None:
            known = ", ".join(here)
            raise Refusal(422, f"always on script {name[:100]} not found", f"There is no script {name[:100]!r} here. There are: {known}.")
        changes |= _fields(script, _arguments(name, given))
    return _checked(body, changes) if changes else body


def _arguments(name: str, given: Any) -> Sequence[Any]:
    args = cast("dict[str, Any]", given).get("args", []) if isinstance(given, dict) else None
    if not isinstance(args, list):
        raise Refusal(422, f'The script {name[:100]} takes {{"args": […]}}.')
    return cast("list[Any]", args)


def _fields(script: Script, args: Sequence[Any]) -> dict[str, Any]:
    """What the arguments set: those that are missing keep what the request says, those that are too many are cut off, as in A1111."""
    if script.switch is not None and not (len(args) > script.switch and args[script.switch] is True):
        return {}
    pairs = zip(script.arguments, args, strict=False)
    return {argument.field: value for argument, value in pairs if argument.field and value is not None}


def _checked(body: _Body, changes: Mapping[str, Any]) -> _Body:
    try:
        return type(body).model_validate({**body.model_dump(exclude_unset=True), **changes})
    except ValidationError as error:
        raise RequestValidationError([{**part, "loc": ("body", "alwayson_scripts", *part["loc"])} for part in error.errors()]) from error


def soft_inpainting(body: GenerationBody) -> SoftInpainting | None:
    """What the script "soft inpainting" asks for; None where it is not there or off. Raises `Refusal` and `InvalidRequest`."""
    given = next((given for name, given in body.alwayson_scripts.items() if name.strip().casefold() == SOFT_INPAINTING), None)
    args = _arguments(SOFT_INPAINTING, given) if given is not None else ()
    if not (args and args[0] is True):
        return None
    numbers = {item.name: value for item, value in zip(fields(SoftInpainting), args[1:], strict=False) if value is not None}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > _LARGE:
            raise Refusal(422, f"{SOFT_INPAINTING}: {name} must be a number.")
    return SoftInpainting(**numbers)


def script_names() -> dict[str, list[str]]:
    """What /sdapi/v1/scripts answers."""
    return {
        "txt2img": [*selectable_names("txt2img"), *(name for name, script in SCRIPTS.items() if script.txt2img)],
        "img2img": [*selectable_names("img2img"), *(name for name, script in SCRIPTS.items() if script.img2img)],
    }


def script_infos(catalog: Catalog, styles: tuple[Style, ...]) -> list[dict[str, Any]]:
    """What /sdapi/v1/script-info answers: those of txt2img, then those of img2img; on each tab first the ones that are chosen."""
    return [
        row for is_img2img in (False, True) for row in (*selectable_infos(_tab(is_img2img), catalog, styles), *_always_on_infos(is_img2img))
    ]


def _tab(is_img2img: bool) -> str:
    return "img2img" if is_img2img else "txt2img"


def _always_on_infos(is_img2img: bool) -> list[dict[str, Any]]:
    return [
        {"name": name, "is_alwayson": True, "is_img2img": is_img2img, "args": [_argument_info(argument) for argument in script.arguments]}
        for name, script in SCRIPTS.items()
        if (script.img2img if is_img2img else script.txt2img)
    ]


def _argument_info(argument: Argument) -> dict[str, Any]:
    return {
        "label": argument.label,
        "value": argument.value,
        "minimum": argument.minimum,
        "maximum": argument.maximum,
        "step": argument.step,
        "choices": None,
    }
