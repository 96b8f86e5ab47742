"""docs/where.md points at things that exist, and no part of the program is missing from it. Links between the documents lead somewhere."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rules.source import ROOT, program

WHERE = ROOT / "docs" / "where.md"
POINTERS = re.findall(r"`([\w./-]+\.(?:py|js|css|sh|yaml))(?:::([\w.]+))?`", WHERE.read_text("utf-8"))
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize(("path", "symbol"), POINTERS, ids=lambda value: value or "-")
def test_the_pointer_points_at_something(path: str, symbol: str):
    file = ROOT / path
    assert file.is_file(), f"there is no {path}"
    if symbol:
        assert path.endswith(".py") and symbol in symbols(ast.parse(file.read_text("utf-8"))), f"there is no {symbol} in {path}"


def symbols(tree: ast.Module, prefix: str = "") -> set[str]:
    """Functions, classes, their members and module-level names, dotted."""
    found: set[str] = set()
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(prefix + node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {prefix + node.name, *symbols(node, f"{prefix}{node.name}.")}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_every_part_is_mentioned():
    mentioned = {Path(path).parts[1] for path, _ in POINTERS if path.startswith("modules/") and len(Path(path).parts) > 2}
    assert {file.part for file in program() if len(file.module.split(".")) > 2} <= mentioned


def links() -> Iterator[tuple[Path, str]]:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text("utf-8")):
            if "://" not in target:
                yield document, target


@pytest.mark.parametrize(("document", "target"), list(links()), ids=lambda value: str(value).rpartition("/")[2])
def test_links_lead_somewhere(document: Path, target: str):
    assert (document.parent / target).exists()


def test_every_decision_is_reachable():
    text = "".join(document.read_text("utf-8") for document in DOCUMENTS)
    assert [adr.name for adr in (ROOT / "docs" / "adr").glob("*.md") if adr.name not in text] == []


def test_links_to_headings_lead_to_one():
    for document in DOCUMENTS:
        for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", document.read_text("utf-8")):
            text = ((document.parent / target) if target else document).read_text("utf-8")
            headings = [
                re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in re.findall(r"^#+ (.+)$", text, re.M)
            ]
            assert anchor in headings, f"{document.name}: {target}#{anchor}"


def test_every_feature_of_the_readme_says_where_it_is():
    table = (ROOT / "README.md").read_text("utf-8").split("## What it does today")[1].split("\n\n")[1].splitlines()
    assert len(table) > 12
    assert [row for row in table[2:] if "](docs/where.md#" not in row] == []
