"""What is each picture of a batch drawn from at each step? Prompt timelines and AND parts of a plan, encoded.

It knows the prompt grammar and asks the model for encodings; it does not sample.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from modules.domain.plans import ImagePlan
from modules.families.base import Conditioning, LoadedModel, MicroConditioning
from modules.prompts.network_tags import extract_network_tags
from modules.prompts.schedule import prompt_schedule, split_and
from modules.sampling.guidance import ImageConditioning

AtCall = Callable[[int], Sequence[ImageConditioning[Conditioning]]]


@dataclass(frozen=True, slots=True)
class _Timeline:
    """Encodings with the last network call (from 0) that each is used for."""

    entries: tuple[tuple[int, Conditioning], ...]

    def at(self, call: int) -> Conditioning:
        # Samplers that make more calls than steps come back to the first text: A1111's rule, which pictures depend on.
        return next((cond for last, cond in self.entries if call <= last), self.entries[0][1])


def conditionings(plan: ImagePlan, model: LoadedModel, calls: int, calls_before: int | None = None) -> AtCall:
    """For the n-th network call of the batch (from 0, `calls` in all): the conditioning of every picture. Encodes everything now.

    `calls_before` is how many the first pass made, where this is the second: prompt timelines go on counting.
    """
    timelines: dict[tuple[str, bool], _Timeline] = {}

    def timeline(text: str, *, negative: bool = False) -> _Timeline:
        key = (text, negative)
        if key not in timelines:
            passes = (calls, None) if calls_before is None else (calls_before, calls)
            schedule = prompt_schedule(text, *passes, old_rule=plan.old_prompt_timelines)
            timelines[key] = _encode(schedule, plan, model, negative=negative)
        return timelines[key]

    images = [
        ([(timeline(text), weight) for text, weight in split_and(_plain(prompt))], timeline(_plain(negative), negative=True))
        for prompt, negative in zip(plan.prompts, plan.negatives, strict=True)
    ]

    def at_call(call: int) -> Sequence[ImageConditioning[Conditioning]]:
        now = [ImageConditioning(tuple((line.at(call), weight) for line, weight in parts), negative.at(call)) for parts, negative in images]
        return [_padded(image, model, plan.clip_skip) for image in now] if plan.pad_prompts else now

    return at_call


def _plain(prompt: str) -> str:
    return extract_network_tags(prompt)[0]


def _encode(schedule: Sequence[tuple[int, str]], plan: ImagePlan, model: LoadedModel, *, negative: bool) -> _Timeline:
    encoded = model.encode_prompts(
        [each for _, each in schedule],
        clip_skip=plan.clip_skip,
        emphasis=plan.emphasis,
        comma_backtrack=plan.comma_backtrack,
        negative=negative,
        micro=MicroConditioning(crop=plan.crop, aesthetic_score=plan.aesthetic_scores[negative]),
    )
    return _Timeline(tuple((end, cond) for (end, _), cond in zip(schedule, encoded, strict=True)))


def _padded(image: ImageConditioning[Conditioning], model: LoadedModel, clip_skip: int) -> ImageConditioning[Conditioning]:
    longest = max(cond.context.shape[0] for cond in (*(cond for cond, _ in image.parts), image.negative))
    parts = tuple((model.pad(cond, longest, clip_skip=clip_skip), weight) for cond, weight in image.parts)
    return ImageConditioning(parts, model.pad(image.negative, longest, clip_skip=clip_skip))
