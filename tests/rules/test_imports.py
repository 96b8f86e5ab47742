"""Who may import whom. Lazy imports and imports for types count, since they tie the parts together all the same."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.rules.source import ROOT, SourceFile, imports, program

MAY = {
    "domain": "",
    "sampling": "",
    "prompts": "",
    "settings": "domain",
    "imaging": "domain",
    "hooks": "domain",
    "jobs": "domain settings",
    "upscalers": "domain imaging",
    "faces": "domain upscalers",
    "gallery": "domain settings imaging",
    "families": "domain sampling prompts",
    "networks": "domain families",
    "weights": "domain settings families networks",
    "training": "domain families prompts",
    "merging": "domain families networks weights",
    "engine": "domain settings prompts sampling imaging hooks families networks weights upscalers faces jobs merging training",
    "scripts": "domain prompts imaging",
    "runs": "domain settings imaging jobs gallery scripts",
    "context": "domain settings jobs gallery runs hooks",
    "server": "domain settings",
    "gradio_ui": "domain settings prompts imaging jobs gallery scripts runs hooks context",
    "http_api": "domain settings prompts imaging jobs gallery scripts runs hooks context",
    "bootstrap": "context domain settings prompts sampling imaging jobs gallery runs hooks weights engine server gradio_ui http_api",
    "app": "domain settings server bootstrap gradio_ui http_api compat",
}
"""Part → the parts that it may import. Two of these are narrowed to one module below."""

NARROW = {("engine", "jobs"): "modules.jobs.protocol", ("bootstrap", "engine"): "modules.engine.config"}

WEB = (
    *("domain", "settings", "prompts", "imaging", "jobs", "gallery", "scripts", "runs", "hooks", "server"),
    *("gradio_ui", "http_api", "context", "bootstrap"),
)
HEAVY = (
    "torch",
    "diffusers",
    "transformers",
    "accelerate",
    "peft",
    "safetensors",
    "torchsde",
    "xformers",
    "spandrel",
    "torchvision",
    "scipy",
    "cv2",
)
ENGINE = ("sampling", "families", "weights", "networks", "engine", "upscalers", "faces", "merging", "training")


def edges(file: SourceFile) -> Iterator[tuple[str, str, int]]:
    """(part, dotted name, line) of what the file imports from the program."""
    for name, line in imports(file):
        if name == "modules" or name.startswith("modules."):
            yield name.split(".")[1] if "." in name else "", name, line


def test_every_part_keeps_to_its_neighbours():
    wrong: list[str] = []
    for file in program():
        allowed = {file.part, *MAY.get(file.part, "").split()}
        for part, name, line in edges(file):
            narrow = NARROW.get((file.part, part))
            if part and (part not in allowed or (narrow and not f"{name}.".startswith(f"{narrow}."))):
                wrong.append(f"{file.name}:{line} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_every_part_has_its_rule():
    assert {file.part for file in program()} - {"modules"} <= set(MAY)


def test_no_module_imports_itself_through_others():
    known = {file.module for file in program()}

    def target(name: str) -> str | None:
        return name if name in known else target(name.rpartition(".")[0]) if "." in name else None

    graph = {file.module: {target(name) for _, name, _ in edges(file)} - {None, file.module, "modules"} for file in program()}
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " → ".join([*above[above.index(module) :], module])
        if module not in done:
            for below in graph.get(module, ()):
                visit(below, (*above, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_gradio_is_the_pages_business():
    wrong = [
        f"{file.name}:{line}"
        for file in program()
        if file.part not in ("gradio_ui", "compat") and file.module != "modules.server.share"
        for name, line in imports(file)
        if name.split(".")[0] == "gradio"
    ]
    assert not wrong, "\n".join(wrong)


def test_ray_is_one_files_business():
    assert not [
        file.name
        for file in program()
        if file.module != "modules.jobs.ray_executor"
        for name, _ in imports(file)
        if name.split(".")[0] == "ray"
    ]


def in_a_fresh_python(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def modules_of(parts: tuple[str, ...]) -> list[str]:
    return [file.module for file in program() if file.part in parts and file.module.startswith("modules.")]


@pytest.mark.slow
def test_the_web_process_never_loads_the_engines_libraries():
    code = f"""
import importlib, sys
for name in {modules_of(WEB)!r} + ["app"]:
    importlib.import_module(name)
    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]
    assert not loaded, f"importing {{name}} loads {{loaded}}"
"""
    in_a_fresh_python(code)


@pytest.mark.slow
def test_the_engine_runs_without_the_pages_libraries():
    code = f"""
import importlib, sys
for absent in ("gradio", "fastapi", "starlette", "uvicorn"):
    sys.modules[absent] = None
for name in {modules_of(ENGINE)!r}:
    importlib.import_module(name)
"""
    in_a_fresh_python(code)
