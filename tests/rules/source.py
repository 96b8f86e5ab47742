"""The program's own source as parsed files: what the rule tests read."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SourceFile:
    """One Python file: `module` is its dotted name, `part` the folder (or file) below modules/ that the import rules speak of."""

    path: Path
    module: str
    tree: ast.Module

    @property
    def part(self) -> str:
        names = self.module.split(".")
        return names[1] if len(names) > 1 else names[0]

    @property
    def name(self) -> str:
        return self.path.relative_to(ROOT).as_posix()


@lru_cache
def program() -> tuple[SourceFile, ...]:
    """app.py and everything below modules/."""
    paths = [ROOT / "app.py", *sorted((ROOT / "modules").rglob("*.py"))]
    return tuple(SourceFile(path, _module(path), ast.parse(path.read_text("utf-8"))) for path in paths)


def imports(file: SourceFile) -> Iterator[tuple[str, int]]:
    """(dotted name, line) of every import in the file, lazy ones and those for types included; relative ones made absolute.

    `from a import b` gives `a.b`, which is a module or a name in one. `import_module("x")` counts too.
    """
    package = file.module if file.path.name == "__init__.py" else file.module.rpartition(".")[0]
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *filter(None, [base])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)
        elif isinstance(node, ast.Call) and call_name(node).rpartition(".")[2] in ("import_module", "__import__"):
            yield from ((arg.value, node.lineno) for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str))


def call_name(node: ast.Call) -> str:
    """The dotted name that is called, "" when it is something else."""
    return dotted(node.func)


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an attribute chain on a name, "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function, nested ones included."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
