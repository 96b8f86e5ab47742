"""What does one line of a list of prompts ask for? A prompt, or A1111's arguments: `--prompt "a cat" --steps 20 --sampler_name Euler`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from modules.domain.catalog import NO_FACES, Catalog
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.requests import GenerationRequest
from modules.domain.styles import Style
from modules.prompts.styles import with_styles


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the list, numbered from 1: the values that it sets, by A1111's name."""

    number: int
    values: Mapping[str, Any]


def _whole(text: str) -> int:
    return int(text)


def _flag(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "false"):
        raise ValueError(text)
    return word == "true"


_KINDS: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "sd_model": str,
        "prompt": str,
        "negative_prompt": str,
        "styles": str,
        "seed": _whole,
        "subseed": _whole,
        "subseed_strength": float,
        "seed_resize_from_w": _whole,
        "seed_resize_from_h": _whole,
        "sampler_name": str,
        "sampler_index": _whole,
        "batch_size": _whole,
        "n_iter": _whole,
        "steps": _whole,
        "cfg_scale": float,
        "width": _whole,
        "height": _whole,
        "tiling": _flag,
        "restore_faces": _flag,
        "do_not_save_samples": _flag,
        "do_not_save_grid": _flag,
        "outpath_samples": str,
        "outpath_grids": str,
        "prompt_for_display": str,
    }
)

_REFUSED: Mapping[str, str] = MappingProxyType(
    {
        "outpath_samples": "folders are chosen at the machine, in config.yaml",
        "outpath_grids": "folders are chosen at the machine, in config.yaml",
    }
)
"""What A1111 lets a line set and this program does not, and why."""

_FACES = "face_restoration_model"
_PLAIN = MappingProxyType(
    {"steps": "steps", "cfg_scale": "cfg_scale", "width": "width", "height": "height", "batch_size": "batch_size", "n_iter": "batch_count"}
)
_OPTIONS: Mapping[str, tuple[tuple[str, bool], ...]] = MappingProxyType(
    {"do_not_save_samples": (("samples_save", False),), "do_not_save_grid": (("grid_save", False),)}
)


def read_lines(text: str) -> list[Line]:
    """The lines that are not empty. Raises `InvalidRequest` with the line's number for arguments that are not understood."""
    found: list[Line] = []
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if line:
            found.append(Line(number, _arguments(line, number) if line.startswith("--") else {"prompt": line}))
    return found


def applied(line: Line, request: GenerationRequest, catalog: Catalog, styles: tuple[Style, ...], *, at_start: bool) -> GenerationRequest:
    """The request with what the line sets; its prompts are put before or after the form's. Raises `InvalidRequest` with its number."""
    try:
        return _applied(line.values, request, catalog, styles, at_start)
    except (InvalidRequest, ModelNotFound) as error:
        raise InvalidRequest(f"Line {line.number}: {error}") from error


def _arguments(line: str, number: int) -> dict[str, Any]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise InvalidRequest(f"Line {number}: a quotation mark is missing ({error}).") from error
    found: dict[str, Any] = {}
    position = 0
    while position < len(words):
        word = words[position]
        name = word.removeprefix("--")
        if not word.startswith("--") or name not in _KINDS:
            known = ", ".join(sorted(set(_KINDS) - set(_REFUSED)))
            raise InvalidRequest(f"Line {number}: {word[:60]!r} is no argument. There are: {known}.")
        end = position + 2
        # a prompt goes on to the next argument, so that it needs no quotation marks
        while name in ("prompt", "negative_prompt") and end < len(words) and not words[end].startswith("--"):
            end += 1
        value = " ".join(words[position + 1 : end])
        if position + 1 >= len(words):
            raise InvalidRequest(f"Line {number}: {word} has no value.")
        found[name] = _value(name, value, number)
        position = end
    return found


def _value(name: str, text: str, number: int) -> Any:
    if name in _REFUSED and text.strip().lower() != "false":
        raise InvalidRequest(f"Line {number}: --{name} can't be used: {_REFUSED[name]}.")
    try:
        return _KINDS[name](text)
    except ValueError:
        raise InvalidRequest(f"Line {number}: {text[:40]!r} is no value for --{name}.") from None


def _applied(
    values: Mapping[str, Any], request: GenerationRequest, catalog: Catalog, styles: tuple[Style, ...], at_start: bool
) -> GenerationRequest:
    changes: dict[str, Any] = {field: values[name] for name, field in _PLAIN.items() if name in values}
    for name in ("prompt", "negative_prompt"):
        if name in values:
            own, line = str(getattr(request, name)), str(values[name])
            changes[name] = (" ".join((line, own)) if at_start else " ".join((own, line))) if own and line else line or own
    if "sampler_name" in values:
        sampler, schedule = catalog.split_sampler(values["sampler_name"])
        changes["sampler"] = sampler.id
        if schedule is not None:
            changes["schedule"] = schedule.id
    if "sampler_index" in values:
        if not 0 <= values["sampler_index"] < len(catalog.samplers):
            raise InvalidRequest(f"there is no sampler number {values['sampler_index']}.")
        changes["sampler"] = catalog.samplers[values["sampler_index"]].id
    if "sd_model" in values:
        changes["checkpoint"] = catalog.checkpoint(values["sd_model"]).name
    if "styles" in values:
        chosen = _style(values["styles"], styles)
        for name, text in (("prompt", chosen.prompt), ("negative_prompt", chosen.negative_prompt)):
            changes[name] = with_styles(changes.get(name, getattr(request, name)), [text])
    options = [("tiling", values["tiling"])] if "tiling" in values else []
    if "restore_faces" in values:
        options.append((_FACES, _restorer(request, catalog) if values["restore_faces"] else NO_FACES))
    options += [option for name, group in _OPTIONS.items() if values.get(name) for option in group]
    names = {key for key, _ in options}
    changes["overrides"] = (*((key, value) for key, value in request.overrides if key not in names), *options)
    return replace(request, **changes, seed=_seed(values, request))


def _restorer(request: GenerationRequest, catalog: Catalog) -> str:
    """What the form chose, or the usual one where it chose none. Raises `ModelNotFound` where there is no such file."""
    own = str(dict(request.overrides).get(_FACES, NO_FACES))
    return catalog.face_restorer(catalog.usual_restorer).kind if own == NO_FACES else own


def _seed(values: Mapping[str, Any], request: GenerationRequest) -> Any:
    own = request.seed
    resize = (
        values.get("seed_resize_from_w", own.resize_from[0] if own.resize_from else 0),
        values.get("seed_resize_from_h", own.resize_from[1] if own.resize_from else 0),
    )
    return replace(
        own,
        value=values.get("seed", own.value),
        variation=values.get("subseed", own.variation),
        variation_strength=values.get("subseed_strength", own.variation_strength),
        resize_from=resize if min(resize) > 0 else None,
    )


def _style(name: str, styles: tuple[Style, ...]) -> Style:
    found = next((style for style in styles if style.name == name), None)
    if found is None:
        raise InvalidRequest(f"there is no style called {name[:60]!r}.")
    return found
