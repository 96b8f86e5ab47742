"""What no line of the program may do: run data as code, open a shell, or ask the network."""

from __future__ import annotations

import ast

import pytest

from tests.rules.source import SourceFile, call_name, functions, imports, program

FILES = program()

NEVER_CALLED = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "os.system",
    "os.popen",
    "yaml.load",
    "yaml.unsafe_load",
    "yaml.full_load",
    "load_image",
}
NEVER_IMPORTED = (
    "pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "requests",
    "urllib.request",
    "http.client",
    "ftplib",
    "httpx",
    "aiohttp",
)
NETWORK = {"from_pretrained", "hf_hub_download", "snapshot_download", "load_state_dict_from_url", "urlopen", "urlretrieve"}
NETWORK |= {"create_connection", "open_connection"}
REACHES_OUT = {"modules.server.share", "modules.http_api.safe_fetch"}
"""The modules that may ask the network for something, each because its user asked for that."""


HARMLESS = {"pickle.UnpicklingError"}
YAML = "modules.settings.safe_yaml"
"""The one module that parses YAML, with a loader that knows neither tags nor aliases."""


def calls(file: SourceFile) -> list[ast.Call]:
    return [node for node in ast.walk(file.tree) if isinstance(node, ast.Call)]


def keyword(call: ast.Call, name: str) -> ast.expr | None:
    return next((item.value for item in call.keywords if item.arg == name), None)


def is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_nothing_runs_data(file: SourceFile):
    banned = NEVER_CALLED - ({"yaml.load"} if file.module == YAML else set())
    wrong = [f"{call.lineno}: {call_name(call)}" for call in calls(file) if call_name(call) in banned]
    wrong += [f"{call.lineno}: shell=True" for call in calls(file) if is_true(keyword(call, "shell"))]
    wrong += [f"{call.lineno}: trust_remote_code" for call in calls(file) if is_true(keyword(call, "trust_remote_code"))]
    imported = [(name, line) for name, line in imports(file) if name not in HARMLESS]
    wrong += [f"{line}: {name}" for name, line in imported if f"{name}.".startswith(tuple(f"{never}." for never in NEVER_IMPORTED))]
    assert not wrong


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_pickles_are_read_as_data_only(file: SourceFile):
    loads = [call for call in calls(file) if call_name(call) == "torch.load"]
    assert all(is_true(keyword(call, "weights_only")) for call in loads)
    # no second try without the guard
    for function in functions(file.tree):
        within = [call for call in ast.walk(function) if isinstance(call, ast.Call) and call_name(call) == "torch.load"]
        assert len(within) <= 1


@pytest.mark.parametrize("file", [file for file in FILES if file.module not in REACHES_OUT], ids=lambda file: file.name)
def test_nothing_is_fetched(file: SourceFile):
    wrong = [
        f"{call.lineno}: {call_name(call)}"
        for call in calls(file)
        if call_name(call).rpartition(".")[2] in NETWORK and not is_true(keyword(call, "local_files_only"))
    ]
    assert not wrong


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_failure_is_swallowed(file: SourceFile):
    """A handler of everything has to log it with its traceback, hand it on, or raise."""
    for node in ast.walk(file.tree):
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")):
            inside = ast.unparse(ast.Module(node.body, []))
            assert any(word in inside for word in ("raise", ".exception(", "exc_info", "format_exc", "print_exc")), f"line {node.lineno}"
