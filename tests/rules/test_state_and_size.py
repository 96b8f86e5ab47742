"""No hidden state, rooms one can see across, and a sentence on every door."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from tests.rules.source import SourceFile, call_name, functions, program

FILES = program()
MAX_FILE = 400
MAX_FUNCTION = 60

CONTAINERS = {"list", "dict", "set", "bytearray", "defaultdict", "deque", "OrderedDict", "Counter"}
MACHINES = {"Lock", "RLock", "Event", "Condition", "Semaphore", "BoundedSemaphore", "Queue", "SimpleQueue", "Thread", "local", "ContextVar"}
CHANGES = {"append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "remove", "discard", "clear", "sort", "reverse"}


def by_name(file: SourceFile) -> str:
    return file.name


@pytest.mark.parametrize("file", FILES, ids=by_name)
def test_no_module_keeps_state(file: SourceFile):
    assert not [node.lineno for node in ast.walk(file.tree) if isinstance(node, ast.Global)], "a global statement"
    names = dict(module_level(file))
    machines = [name for name, value in names.items() if isinstance(value, ast.Call) and last(call_name(value)) in MACHINES]
    assert not machines, f"{machines} live at module level"
    containers = {name for name, value in names.items() if is_container(value)}
    changed = sorted(containers & set(changed_names(file.tree)))
    assert not changed, f"{changed} are changed after the import"


def module_level(file: SourceFile) -> Iterator[tuple[str, ast.expr]]:
    for node in file.tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) and node.value else []
        for target in targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value


def is_container(value: ast.expr) -> bool:
    literal = isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)
    return literal or (isinstance(value, ast.Call) and last(call_name(value)) in CONTAINERS)


def changed_names(tree: ast.AST) -> Iterator[str]:
    """Names of containers that something is put into or taken out of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            if isinstance(node.func.value, ast.Name):
                yield node.func.value.id
        elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del) and isinstance(node.value, ast.Name):
            yield node.value.id


def last(name: str) -> str:
    return name.rpartition(".")[2]


@pytest.mark.parametrize("file", FILES, ids=by_name)
def test_files_and_functions_are_rooms_one_can_see_across(file: SourceFile):
    lines = len(file.path.read_text("utf-8").splitlines())
    assert lines <= MAX_FILE, f"{lines} lines"
    long = {f.name: f.end_lineno - f.lineno + 1 for f in functions(file.tree) if f.end_lineno - f.lineno + 1 > MAX_FUNCTION}
    assert not long


@pytest.mark.parametrize("file", FILES, ids=by_name)
def test_every_door_has_its_sentence(file: SourceFile):
    assert ast.get_docstring(file.tree) or not file.tree.body, "the module says nothing about itself"
    public = [node for node in file.tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")]
    silent = [node.name for node in public if not ast.get_docstring(node)]
    assert not silent


@pytest.mark.parametrize("path", [file.path for file in FILES], ids=lambda path: path.name)
def test_no_warning_is_silenced_and_nothing_is_left_for_later(path):
    text = path.read_text("utf-8")
    assert not re.findall(r"#\s*(?:type:\s*ignore|noqa|pyright:\s*ignore|TODO|FIXME|XXX).*", text)
