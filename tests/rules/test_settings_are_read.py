"""A setting that nothing reads is a lie on the page."""

from __future__ import annotations

import ast

import pytest

from modules.settings.rows import SettingRow, rows
from tests.rules.source import program

READERS = [file for file in program() if file.part != "settings"]


def attributes() -> list[tuple[set[str], set[str]]]:
    found = []
    for file in READERS:
        nodes = list(ast.walk(file.tree))
        names = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
        words = {node.id for node in nodes if isinstance(node, ast.Name)} | {node.arg for node in nodes if isinstance(node, ast.arg)}
        found.append((names, words))
    return found


FOUND = attributes()


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.control.key)
def test_every_setting_is_read_somewhere(row: SettingRow):
    """Read as `….section.name`, or as `name` of something called after its section in the same file."""
    assert any(row.name in names and (row.section in names or row.section in words) for names, words in FOUND)


def test_keys_are_unique():
    keys = [row.control.key for row in rows()]
    assert len(keys) == len(set(keys))
