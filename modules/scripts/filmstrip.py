"""Filmstrip: how does noise become a picture? A strip of the way there, and the same as an animation. Not one of A1111's scripts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from PIL import Image

from modules.domain.requests import Film, GenerationRequest
from modules.domain.results import step_of
from modules.imaging.legend import Label, legend_sheet, too_large
from modules.scripts.script import Composite, Control, Environment, Outcome, Result, Script, Steps, composite, fixed_seeds

NAME = "Filmstrip"
EXPECTED, NOISY = "what the network expects", "what the network sees"
NO_ANIMATION = "None"
_PAUSE = 6
"""How many times as long as a frame the finished picture is shown."""


def run(request: GenerationRequest, values: Mapping[str, Any], environment: Environment) -> Steps:
    """One job for each picture, since a film is of one; then its strip and its animation."""
    film = Film(frames=int(values["frames"]), noisy=values["shown"] == NOISY)
    base = replace(fixed_seeds(request, environment), batch_size=1, batch_count=1, film=film)
    step = 0 if base.seed.variation_strength > 0 else 1
    cells = tuple(
        replace(base, seed=replace(base.seed, value=base.seed.value + index * step, variation=base.seed.variation + index))
        for index in range(request.image_count)
    )
    results = yield cells
    made = [each for result in results if result.frames and result.pictures for each in _made(result, values, environment)]
    return Outcome(composites=tuple(made))


def _made(result: Result, values: Mapping[str, Any], environment: Environment) -> list[Composite]:
    frames = [environment.open(frame).convert("RGB") for frame in result.frames]
    finished = environment.open(result.pictures[0]).convert("RGB")
    labels = [[Label(f"Step {step_of(frame.kind)}")] for frame in result.frames] + [[Label("Finished")]]
    said = {"Script": NAME, "Film frames": len(frames), "Film shows": values["shown"]}
    cells = [*frames, finished]
    made: list[Composite] = []
    if not too_large(len(cells), finished.width, finished.height):
        strip = legend_sheet([cells], labels if values["draw_legend"] else [], [], int(values["margin_size"]))
        made.append(composite(strip, (result,), said, "Filmstrip"))
    if values["animation"] != NO_ANIMATION:
        # hires. fix ends in another size than it began in
        same = [frame.resize(finished.size, Image.Resampling.BICUBIC) if frame.size != finished.size else frame for frame in frames]
        moving = composite(same[0], (result,), said, "Animation")
        made.append(
            replace(
                moving,
                animated=(*same, *[finished] * _PAUSE),
                duration=int(values["duration"]),
                animation_format=str(values["animation"]).lower(),
            )
        )
    return made


SCRIPT = Script(
    name=NAME,
    run=run,
    info="Shows the way from noise to the picture: as a strip, and as an animation. Each frame is decoded in full, which takes time.",
    controls=(
        Control(kind="slider", name="frames", label="Frames", default=8, low=2, high=32, step=1),
        Control(kind="radio", name="shown", label="Show", default=EXPECTED, choices=(EXPECTED, NOISY)),
        Control(kind="radio", name="animation", label="Animation", default="WebP", choices=("WebP", "GIF", NO_ANIMATION)),
        Control(kind="slider", name="duration", label="Milliseconds per frame", default=200, low=20, high=2000, step=10),
        Control(kind="checkbox", name="draw_legend", label="Draw legend", default=True),
        Control(kind="slider", name="margin_size", label="Grid margins (px)", default=0, low=0, high=500, step=2),
    ),
)
