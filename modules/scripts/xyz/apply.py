"""What does a value of an axis change in a request? One small function a kind of field; each gives a new request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from modules.domain.catalog import Catalog
from modules.domain.errors import InvalidRequest
from modules.domain.requests import GenerationRequest, HiresPass, Refiner
from modules.domain.styles import Style
from modules.prompts.styles import with_styles

_DIGITS = 9
"""More than any side has, and fewer than `int` refuses to read."""

_SAME = ("", "none", "use same sampler", "use same scheduler", "use same checkpoint")


@dataclass(frozen=True, slots=True)
class Lookup:
    """What names are looked up in, and all of the axis' values, the first of which Prompt S/R looks for."""

    catalog: Catalog
    styles: tuple[Style, ...]
    values: tuple[Any, ...]


Apply = Callable[[GenerationRequest, Any, Lookup], GenerationRequest]


def field(name: str) -> Apply:
    """A field of the request itself."""
    return lambda request, value, _: replace(request, **{name: value})


def seed(name: str) -> Apply:
    """A field of its seed."""
    return lambda request, value, _: replace(request, seed=replace(request.seed, **{name: value}))


def option(key: str) -> Apply:
    """A setting, for the cell's job alone."""

    def apply(request: GenerationRequest, value: Any, _: Lookup) -> GenerationRequest:
        kept = tuple(row for row in request.overrides if row[0] != key)
        return replace(request, overrides=(*kept, (key, value)))

    return apply


def hires(name: str) -> Apply:
    """A field of the second pass, which must be there."""
    return lambda request, value, _: replace(request, hires=replace(_hires(request), **{name: value}))


def hires_sampler(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """The second pass' sampler; "Use same sampler" is the first one's, and an old name sets its schedule too."""
    hires = _hires(request)
    if value.strip().casefold() in _SAME:
        return replace(request, hires=replace(hires, sampler=None))
    found, schedule = lookup.catalog.split_sampler(value)
    return replace(request, hires=replace(hires, sampler=found.id, schedule=schedule.id if schedule else hires.schedule))


def hires_upscaler(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """What enlarges between the passes."""
    return replace(request, hires=replace(_hires(request), upscaler=lookup.catalog.hires_upscaler(value)))


def sampler(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """The sampler; an old name sets its schedule too."""
    found, schedule = lookup.catalog.split_sampler(value)
    return replace(request, sampler=found.id, schedule=schedule.id if schedule else request.schedule)


def schedule(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """The schedule type."""
    return replace(request, schedule=lookup.catalog.schedule(value).id)


def checkpoint(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """The checkpoint."""
    return replace(request, checkpoint=lookup.catalog.checkpoint(value).name)


def vae(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """The VAE, "Automatic" or "None"."""
    plain = next((name for name in ("Automatic", "None") if value.strip().casefold() == name.casefold()), None)
    return replace(request, vae=plain or lookup.catalog.vae(value).name)


def refiner(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """The refiner's checkpoint; "None" leaves it out."""
    if value.strip().casefold() in _SAME:
        return replace(request, refiner=None)
    name = lookup.catalog.checkpoint(value).name
    return replace(request, refiner=replace(request.refiner, checkpoint=name) if request.refiner else Refiner(checkpoint=name))


def refiner_switch(request: GenerationRequest, value: float, lookup: Lookup) -> GenerationRequest:
    """When the refiner takes over. Without one there is nothing to switch, so it is left as it is beside a cell of "None"."""
    return request if request.refiner is None else replace(request, refiner=replace(request.refiner, switch_at=value))


def denoising(request: GenerationRequest, value: float, lookup: Lookup) -> GenerationRequest:
    """Denoising strength, of img2img or of the second pass."""
    if request.init is not None:
        return replace(request, init=replace(request.init, denoising_strength=value))
    return replace(request, hires=replace(_hires(request), denoising_strength=value))


def eta(request: GenerationRequest, value: float, lookup: Lookup) -> GenerationRequest:
    """Eta: DDIM's own for DDIM, else that of the ancestral samplers."""
    return option("eta_ddim" if request.sampler.startswith("ddim") else "eta_ancestral")(request, value, lookup)


def size(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """Width and height, written 512x768."""
    width, _, height = value.lower().replace(" ", "").partition("x")
    if not all(side.isdecimal() and len(side) <= _DIGITS for side in (width, height)):
        raise InvalidRequest(f"{value[:40]!r} is no size: write it like 512x768.")
    return replace(request, width=int(width), height=int(height))


def styles(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """More styles, several of them with commas between (in quotation marks)."""
    known = {style.name: style for style in lookup.styles}
    names = [name.strip() for name in value.split(",") if name.strip() and name.strip() != "None"]
    missing = [name for name in names if name not in known]
    if missing:
        raise InvalidRequest(f"there is no style called {missing[0][:60]!r}.")
    chosen = [known[name] for name in names]
    positive, negative = [style.prompt for style in chosen], [style.negative_prompt for style in chosen]
    second = request.hires
    if second is not None:
        prompt = second.prompt and with_styles(second.prompt, positive)
        second = replace(second, prompt=prompt, negative_prompt=second.negative_prompt and with_styles(second.negative_prompt, negative))
    return replace(
        request,
        prompt=with_styles(request.prompt, positive),
        negative_prompt=with_styles(request.negative_prompt, negative),
        hires=second,
    )


def search_and_replace(request: GenerationRequest, value: str, lookup: Lookup) -> GenerationRequest:
    """Prompt S/R: the axis' first value, wherever it stands in either prompt, becomes this one."""
    wanted = str(lookup.values[0])
    if not wanted:
        raise InvalidRequest("the first value is what is looked for, so it can't be empty.")
    if wanted not in request.prompt and wanted not in request.negative_prompt:
        raise InvalidRequest(f"{wanted[:60]!r} is in neither of the prompts, so there is nothing to replace.")
    return replace(request, prompt=request.prompt.replace(wanted, value), negative_prompt=request.negative_prompt.replace(wanted, value))


def order(request: GenerationRequest, value: tuple[str, ...], lookup: Lookup) -> GenerationRequest:
    """Prompt order: where words of the list stand in the prompt, these stand in their order."""
    prompt = request.prompt
    missing = [word for word in value if word not in prompt]
    if missing:
        raise InvalidRequest(f"{missing[0][:60]!r} is not in the prompt, so its place can't change.")
    places = sorted((prompt.index(word), word) for word in value)
    result, end = "", 0
    for (start, there), new in zip(places, value, strict=True):
        if start < end:
            raise InvalidRequest(f"{there[:60]!r} is a part of another word of the list: write both so that they don't overlap.")
        result += prompt[end:start] + new
        end = start + len(there)
    return replace(request, prompt=result + prompt[end:])


def _hires(request: GenerationRequest) -> HiresPass:
    if request.hires is None:
        raise InvalidRequest("it is about hires. fix, which is off: switch that on first.")
    return request.hires
