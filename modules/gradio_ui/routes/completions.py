"""The route behind the list of words that opens while a prompt is typed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Annotated, Any

from fastapi import APIRouter, Body

from modules.context import AppContext
from modules.domain.errors import ModelNotFound
from modules.gradio_ui.routes.networks import inserts, label
from modules.prompts.completion import Found, Kind, Vocabulary, Word, complete
from modules.settings.tags import Tag, TagFolder
from modules.settings.wildcards import WildcardFolder

SHOWN = 12
_LONGEST = 2000  # characters before the cursor that are looked at


def completion_routes(context: AppContext) -> APIRouter:
    """The route `/internal/completions`."""
    router = APIRouter(prefix="/internal", include_in_schema=False)
    words = _Words(context)

    @router.post("/completions")
    def offer(before: Annotated[str, Body(embed=True, max_length=_LONGEST)]) -> dict[str, Any]:
        """What the end of `before` may become: `length` characters of it give way to a word's `insert`."""
        length, found = complete(before, cache(words.vocabularies), SHOWN)
        return {"length": length, "words": [_json(each) for each in found]}

    return router


class _Words:
    """The vocabularies of the page. Tags are many and change seldom, so theirs is kept; the others are made anew for each look."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._folder = TagFolder(context.paths.tags)
        self._wildcards = WildcardFolder(context.paths.wildcards)
        self._lock = threading.Lock()
        self._kept: tuple[Sequence[Tag], bool] | None = None
        self._tags = Vocabulary(())

    def vocabularies(self, kind: Kind) -> list[Vocabulary]:
        """Where to look for what was typed, the preferred first."""
        catalog = self._context.catalog.snapshot()
        if kind == "network":
            rows = inserts(catalog.loras)
            return [Vocabulary(Word(label(row), insert, row.name) for row, insert in rows if insert)]
        if kind == "wildcard":
            return [Vocabulary(Word(name, f"__{name}__", "wildcard") for name in self._wildcards.names())]
        try:
            taught = catalog.checkpoint(self._context.settings.current.models.checkpoint).taught_words
        except ModelNotFound:
            taught = ()
        embeddings = (Word(insert, insert, "embedding") for _, insert in inserts(catalog.embeddings) if insert)
        return [Vocabulary(embeddings), Vocabulary(Word(word, word) for word in taught), self._of_tags()]

    def _of_tags(self) -> Vocabulary:
        with self._lock:
            now = self._folder.all(), self._context.settings.current.page.tag_spaces
            if self._kept is None or self._kept[0] is not now[0] or self._kept[1] != now[1]:
                self._tags = Vocabulary(_tag_words(*now))
                self._kept = now
            return self._tags


def _tag_words(tags: Iterable[Tag], spaces: bool) -> Iterable[Word]:
    def written(name: str) -> str:
        # In emoticons such as ^_^ the underscore is a mouth.
        return name.replace("_", " ") if spaces and len(name) > 3 else name

    for tag in tags:
        text = written(tag.name)
        escaped = text.replace("(", "\\(").replace(")", "\\)")
        yield Word(text, f"{escaped}, ", _rounded(tag.count) if tag.count else "tag", tuple(map(written, tag.aliases)))


def _rounded(count: int) -> str:
    for size, unit in ((1_000_000, "M"), (1000, "k")):
        if count >= size:
            return f"{count / size:.2g}{unit}" if count < 10 * size else f"{count // size}{unit}"
    return str(count)


def _json(found: Found) -> dict[str, str]:
    word = found.word
    return {"label": word.text, "insert": word.insert, "detail": f"{found.by} → {word.detail}" if found.by else word.detail}
