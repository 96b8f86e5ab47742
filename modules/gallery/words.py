"""Which pictures hold these words in their texts? A full-text index beside the gallery's own.

It is made from the gallery's rows whenever somebody searches and never while a picture is saved, so it can be slow, damaged or deleted
without costing one. Knows texts and numbers, not files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from modules.settings.database import Database

MAX_WORDS = 16

_AT_ONCE = 2000
"""Rows that are taken in within one transaction."""

_SCHEMA = """
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(text, content='');
CREATE TABLE IF NOT EXISTS taken (gallery TEXT NOT NULL, upto INTEGER NOT NULL);
"""


class WordIndex:
    """Texts by the number of their row. Every method may be called from any thread and raises `StorageError`.

    `gallery` is what the rows' own file is known by: texts of another one are forgotten.
    """

    def __init__(self, path: Path, gallery: str) -> None:
        self._database = Database(
            path, schema=_SCHEMA, probe="SELECT rowid, (SELECT gallery || upto FROM taken LIMIT 1) FROM words LIMIT 1"
        )
        with self._database.writing(durable=False) as connection:
            known = connection.execute("SELECT gallery FROM taken").fetchone()
            if known is None or known[0] != gallery:
                connection.execute("INSERT INTO words (words) VALUES ('delete-all')")
                connection.execute("DELETE FROM taken")
                connection.execute("INSERT INTO taken (gallery, upto) VALUES (?, 0)", (gallery,))

    def catch_up(self, texts_after: Callable[[int, int], list[tuple[int, str]]]) -> None:
        """Take in what is new. `texts_after(seq, limit)` gives (seq, infotext) of the rows behind `seq`, the lowest first."""
        while new := texts_after(self._upto(), _AT_ONCE):
            with self._database.writing(durable=False) as connection:
                connection.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", [(seq, searched(text)) for seq, text in new])
                connection.execute("UPDATE taken SET upto = ?", (new[-1][0],))

    def matching(self, words: Sequence[str], before: int, limit: int) -> list[int]:
        """The numbers below `before` of texts that hold words beginning with each of `words`, the highest first; rows that are gone since
        are among them."""
        query = " ".join(f'"{word}"*' for word in words)
        with self._database.reading() as connection:
            found = connection.execute(
                "SELECT rowid FROM words WHERE words MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?", (query, before, limit)
            )
            return [row[0] for row in found]

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _upto(self) -> int:
        with self._database.reading() as connection:
            return connection.execute("SELECT upto FROM taken").fetchone()[0]


def searched(infotext: str) -> str:
    """The part of an infotext that is searched: all but the negative prompt, since who looks for a cat wants no pictures without one."""
    prompt, _, rest = infotext.partition("Negative prompt: ")
    at = rest.rfind("\nSteps: ")
    return prompt + rest[at:] if at >= 0 else prompt


def words_of(query: str) -> tuple[str, ...]:
    """The words of what somebody typed to search for."""
    return tuple(re.findall(r"[^\W_]+", query.lower()))[:MAX_WORDS]
