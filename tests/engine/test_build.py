"""The engine process' own start: offline, without gradio, with the first model ready."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

from modules.engine.config import EngineConfig
from modules.settings.paths import Paths
from modules.weights.residency import DeviceOptions
from tests.tiny_models import write_checkpoint

ROOT = Path(__file__).resolve().parent.parent.parent

SCRIPT = """
import pickle, socket, sys

def no_network(*args):
    raise AssertionError("the engine asked the network")

socket.socket.connect = no_network
sys.modules["gradio"] = None
with open(sys.argv[1], "rb") as file:
    configs = pickle.load(file)
import modules.engine.build
assert "torch" not in sys.modules
for config in configs:
    status = modules.engine.build.build_runner(config).status()
    print(status.state, status.device)
"""


def config_for(folder: Path, preload: str | None) -> EngineConfig:
    paths = Paths(
        data=folder,
        models=folder,
        checkpoints=(folder / "models",),
        vaes=(),
        loras=(),
        embeddings=folder / "embeddings",
        outputs=folder / "outputs",
    )
    return EngineConfig(paths=paths, device=DeviceOptions(use_cpu=True), preload=preload, version="0.1.0")


def test_it_starts_without_gradio_or_network_whatever_the_first_model_is(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "models")
    (tmp_path / "models" / "bad.safetensors").write_bytes(b"<html>")
    configs = [config_for(tmp_path, preload) for preload in ("bad", "tiny", "gone", None)]
    (tmp_path / "configs").write_bytes(pickle.dumps(configs))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "configs")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["ready CPU"] * 4
    assert "No model was loaded beforehand: bad.safetensors" in done.stderr
    assert "Loaded tiny.safetensors" in done.stderr
    assert "There is no checkpoint called 'gone'" in done.stderr
