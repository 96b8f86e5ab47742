"""Loopback: what does a picture become that is given to img2img again and again?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from modules.domain.checks import check
from modules.domain.img2img import Img2Img
from modules.domain.requests import GenerationRequest
from modules.imaging.grid import image_grid
from modules.imaging.legend import too_large
from modules.scripts.script import Control, Environment, Outcome, Result, Script, Steps, composite, fixed_seeds

NAME = "Loopback"
CURVES = ("Aggressive", "Linear", "Lazy")


def strength_at(pass_: int, loops: int, first: float, final: float, curve: str) -> float:
    """The denoising strength of a pass (from 0): from `first` to `final`, most of the way early (Aggressive), late (Lazy) or evenly."""
    if loops == 1:
        return first
    way = pass_ / (loops - 1)
    bent = {"Aggressive": math.sin(way * math.pi / 2), "Lazy": 1 - math.cos(way * math.pi / 2)}.get(curve, way)
    return min(1.0, max(0.0, round(first + (final - first) * bent, 4)))


def run(request: GenerationRequest, values: Mapping[str, Any], environment: Environment) -> Steps:
    """Each pass begins from the one before, with the next seed; several batches all begin from the start picture."""
    check(request.init is not None, f"{NAME} is for img2img: choose a picture to begin from.")
    start = request.init
    if start is None:
        return Outcome()
    inpaint = request.inpaint
    check(inpaint is None or inpaint.outpaint is None, f"{NAME} would outpaint again and again: switch outpainting off.")
    check(inpaint is None or inpaint.mask is not None, f"{NAME} needs a painted mask: later passes have nothing transparent to go by.")
    loops, batches = int(values["loops"]), request.batch_count
    base = replace(fixed_seeds(request, environment), batch_size=1, batch_count=1, said=(*request.said, *_said(values)))
    seen: list[Result] = []
    for batch in range(batches):
        last: Result | None = None
        for pass_ in range(loops):
            strength = strength_at(pass_, loops, start.denoising_strength, values["final_denoising_strength"], values["denoising_curve"])
            asked = _pass(base, start, strength, batch * loops + pass_, last, environment)
            (last,) = yield (asked,)
            if last.picture is None:
                break
            if batches == 1:
                seen.append(last)
        if batches > 1 and last is not None and last.picture is not None:
            seen.append(last)
    return _outcome(seen, values, environment)


def _pass(
    base: GenerationRequest, start: Img2Img, strength: float, number: int, before: Result | None, environment: Environment
) -> GenerationRequest:
    # all passes keep the colours of the very first picture: corrected to the one before, what little is lost would add up
    init = replace(start, denoising_strength=strength, colors_of=start.colors_of or start.image)
    inpaint = base.inpaint
    if before is not None and before.picture is not None:
        if init.resize_by is not None:
            base = replace(base, width=before.picture.width, height=before.picture.height)
        init = replace(init, image=environment.keep(environment.open(before.picture)), resize_by=None)
        # what was filled once is a picture now
        inpaint = replace(inpaint, content="original") if inpaint else None
    seed = replace(base.seed, value=base.seed.value + number)
    return replace(base, init=init, inpaint=inpaint, seed=seed)


def _said(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return ("Final denoising strength", f"{values['final_denoising_strength']:g}"), ("Denoising curve", str(values["denoising_curve"]))


def _outcome(seen: list[Result], values: Mapping[str, Any], environment: Environment) -> Outcome:
    pictures = [result.picture for result in seen if result.picture]
    if len(pictures) < 2 or too_large(len(pictures), pictures[0].width, pictures[0].height):
        return Outcome()
    row = image_grid([environment.open(picture) for picture in pictures], rows=1)
    return Outcome(composites=(composite(row, seen, {"Script": NAME, **dict(_said(values))}),))


SCRIPT = Script(
    name=NAME,
    run=run,
    count=lambda request, values: int(values["loops"]) * request.batch_count,
    txt2img=False,
    info="Each result is the next pass' start picture. Denoising strength goes from the tab's own to the final one.",
    controls=(
        Control(kind="slider", name="loops", label="Loops", default=4, low=1, high=32, step=1),
        Control(kind="slider", name="final_denoising_strength", label="Final denoising strength", default=0.5, low=0, high=1, step=0.01),
        Control(kind="dropdown", name="denoising_curve", label="Denoising strength curve", default="Linear", choices=CURVES),
        Control(kind="unused", name="append_interrogation", label="Append interrogated prompt at each iteration", default="None"),
    ),
)
