"""Which networks does a prompt ask for? Its tags and words looked up in the catalogue; what is not there becomes a note, not a failure.

As in A1111 the first prompt of a batch decides for all of it, and tags in the negative prompt add nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from modules.domain.catalog import Catalog
from modules.domain.errors import InvalidRequest, ModelNotFound
from modules.domain.networks import EmbeddingInfo, NetworkRef
from modules.prompts.chunks import chunk_prompt
from modules.prompts.inserts import inserts_of, mentioned
from modules.prompts.network_tags import LORA_ARGUMENTS, LORA_KINDS, NetworkTag, extract_network_tags, strange_arguments
from modules.prompts.schedule import prompt_schedule, split_and
from modules.prompts.tokenizer import clip_tokenizer


@dataclass(frozen=True, slots=True)
class PromptNetworks:
    """What a plan's model is to have besides its checkpoint, and sentences about what it can't have."""

    loras: tuple[NetworkRef, ...]
    embeddings: tuple[EmbeddingInfo, ...]
    notes: tuple[str, ...]


def prompt_networks(
    prompt: str, negative: str, catalog: Catalog, calls: int, later: int | None = None, *, old_rule: bool = False
) -> PromptNetworks:
    """Look up what the two prompts name in the course of `calls` network calls, and of the `later` ones of a second pass.

    Raises nothing: the job goes on without what can't be had. `old_rule` is `prompt_schedule`'s.
    """
    text, tags = extract_network_tags(prompt)
    negative_text, negative_tags = extract_network_tags(negative)
    loras: list[NetworkRef] = []
    notes: list[str] = []
    for tag in tags:
        found = _lookup(tag, catalog)
        if isinstance(found, str):
            notes.append(found)
        else:
            loras.append(found)
            notes += _strange_arguments(tag)
    if negative_tags:
        written = ", ".join(dict.fromkeys(_written(tag) for tag in negative_tags))
        notes.append(f"{written} in the negative prompt had no effect: networks are added by the prompt.")

    def timeline(part: str) -> list[tuple[int, str]]:
        first = prompt_schedule(part, calls, old_rule=old_rule)
        return first if later is None else [*first, *prompt_schedule(part, calls, later, old_rule=old_rule)]

    embeddings, ambiguous = _embeddings(text, negative_text, catalog, timeline)
    return PromptNetworks(tuple(loras), embeddings, tuple(dict.fromkeys((*notes, *ambiguous))))


def _lookup(tag: NetworkTag, catalog: Catalog) -> NetworkRef | str:
    """The reference that a tag means, or a sentence why there is none."""
    if tag.kind == "hypernet":
        return f"{_written(tag)} had no effect: hypernetworks are not supported."
    if tag.kind not in LORA_KINDS:
        return f"{_written(tag)} had no effect: there is no kind of network called {tag.kind!r}."
    try:
        return _reference(tag, catalog)
    except (ModelNotFound, InvalidRequest) as error:
        return f"{error} It had no effect." if isinstance(error, ModelNotFound) else str(error)


def _reference(tag: NetworkTag, catalog: Catalog) -> NetworkRef:
    named = dict(tag.named)
    name = tag.values[0].strip() if tag.values else ""
    if not name or len(tag.values) > 4:
        raise InvalidRequest(f"{_written(tag)} had no effect: write it as <lora:name:1>, with te=, unet= and dyn= where you need them.")
    places = dict(zip(LORA_ARGUMENTS, tag.values[1:], strict=False)) | named
    te = _number(tag, places.get("te", "1"))
    dim = _number(tag, places["dyn"]) if "dyn" in places else None
    if dim is not None and (dim < 1 or dim != int(dim)):
        raise InvalidRequest(f"{_written(tag)} had no effect: dyn must be a whole number from 1.")
    return NetworkRef(
        info=catalog.lora(name),
        te=te,
        unet=_number(tag, places["unet"]) if "unet" in places else te,
        dim=None if dim is None else int(dim),
        mention=name,
    )


def _strange_arguments(tag: NetworkTag) -> Iterator[str]:
    """Sentences about arguments of extensions (lbw=, step=), without which the LoRA is added."""
    strange = ", ".join(f"{name}=" for name in strange_arguments(tag))
    if strange:
        yield f"{_written(tag)}: {strange} had no effect. A LoRA is written <lora:name:1>, with te=, unet= and dyn= where you need them."


def _number(tag: NetworkTag, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidRequest(f"{_written(tag)} had no effect: {text.strip()!r} is not a number.")
    return number


def _written(tag: NetworkTag) -> str:
    parts = (tag.kind, *tag.values, *(f"{name}={value}" for name, value in tag.named))
    return f"<{':'.join(parts)}>"


_Timeline = Callable[[str], Sequence[tuple[int, str]]]


def _embeddings(prompt: str, negative: str, catalog: Catalog, timeline: _Timeline) -> tuple[tuple[EmbeddingInfo, ...], list[str]]:
    """The textual inversions whose words are among the prompts' tokens, and sentences about words that several files have."""
    by_word: dict[str, list[EmbeddingInfo]] = {}
    for info in catalog.embeddings:
        by_word.setdefault(info.word.lower(), []).append(info)
    candidates = mentioned(f"{prompt}\n{negative}", by_word)
    if not candidates:
        return (), []
    used = set(_used_words((prompt, negative), candidates, timeline))
    notes = [
        f"Several textual inversions are called {rows[0].word!r}: {rows[0].name} was used, {', '.join(row.name for row in rows[1:])} not."
        for word in candidates
        if word in used and len(rows := by_word[word]) > 1
    ]
    return tuple(by_word[word][0] for word in candidates if word in used), notes


def _used_words(prompts: Sequence[str], words: Sequence[str], timeline: _Timeline) -> Iterator[str]:
    inserts = inserts_of(dict.fromkeys(words, 1), clip_tokenizer())
    texts = {text for prompt in prompts for part, _ in split_and(prompt) for _, text in timeline(part)}
    for text in texts:
        for chunk in chunk_prompt(text, clip_tokenizer(), inserts=inserts)[0]:
            yield from (insert.word for insert in chunk.inserted)
