"""webui.sh installs once, again when something changed, and hands its arguments on. A script that writes down its calls plays Python."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FAKE = """#!/bin/bash
# A Python of version $FAKE_VERSION that can make environments and "install", and logs it.
case "$*" in
    *version_info*) [ "${FAKE_VERSION:-3.11.7}" != old ] ;;
    *"import venv"*) [ -z "${FAKE_NO_VENV:-}" ] ;;
    *"import pip"*) [ -e "$(dirname "$0")/pip" ] ;;
    *python_version*) echo "${FAKE_VERSION:-3.11.7}" ;;
    "-m venv"*) mkdir -p "${@: -1}/bin" && touch "${@: -1}/pyvenv.cfg" && cp "$0" "${@: -1}/bin/python" && echo "venv" >>"$FAKE_LOG" \
        && touch "${@: -1}/bin/pip" ;;
    *ensurepip*) echo "ensurepip" >>"$FAKE_LOG"; [ -z "${FAKE_NO_ENSUREPIP:-}" ] && touch "$(dirname "$0")/pip" ;;
    *) echo "$*" >>"$FAKE_LOG"; if [ -n "${FAKE_FAIL:-}" ] && [ "$2" = pip ]; then exit 1; fi ;;
esac
"""


class House:
    """A copy of webui.sh in a folder with a space, and what was called so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "my house"
        self.folder.mkdir()
        shutil.copy(ROOT / "webui.sh", self.folder)
        (self.folder / "requirements.txt").write_text("gradio>=6\ntorch>=2.10\ntorchsde>=0.2.6\n")
        (self.folder / "requirements-dev.txt").write_text("pytest\n")
        self.python = folder / "python3.11"
        self.python.write_text(FAKE)
        self.python.chmod(0o755)
        self.log = folder / "log"
        self.elsewhere = folder

    def run(self, *arguments: str, script: Path | None = None, **environ: str) -> tuple[int, str, list[str]]:
        """(exit code, what was said, calls of Python)."""
        self.log.write_text("")
        told = {"PATH": os.environ["PATH"], "PYTHON": str(self.python), "FAKE_LOG": str(self.log), **environ}
        command = ["bash", str(script or self.folder / "webui.sh"), *arguments]
        done = subprocess.run(command, cwd=self.elsewhere, env=told, capture_output=True, text=True)
        return done.returncode, done.stderr, self.log.read_text().splitlines()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_the_first_start_installs_and_the_second_does_not(house: House):
    app = f"{house.folder}/app.py --port 7870 --data-dir a b"
    requirements = f"-m pip install -r {house.folder}/requirements.txt"
    assert house.run("--port", "7870", "--data-dir", "a b")[2] == ["venv", requirements, app]
    assert house.run("--port", "7870", "--data-dir", "a b")[2] == [app]


def test_it_installs_again_when_something_changed(house: House):
    house.run()
    (house.folder / "requirements.txt").write_text("gradio>=7\ntorch>=2.10\n")
    assert len(house.run()[2]) == 2
    assert len(house.run()[2]) == 1
    code, _, calls = house.run(FAKE_VERSION="3.12.1")  # the environment's own Python changed under it
    assert (code, len(calls)) == (0, 2)


def test_a_failed_installation_is_said_and_done_again(house: House):
    code, said, calls = house.run(FAKE_FAIL="1")
    assert code == 1
    assert "Run this again" in said
    assert not [call for call in calls if "app.py" in call]
    code, _, calls = house.run()
    assert code == 0
    assert [call for call in calls if "pip install" in call]


def test_another_python_makes_the_environment_anew(house: House):
    house.run()
    other = house.elsewhere / "python3.13"
    other.write_text(FAKE.replace("FAKE_VERSION:-3.11.7", "OTHER_VERSION:-3.13.2"))
    other.chmod(0o755)
    assert house.run(PYTHON=str(other))[2][0] == "venv"


def test_torch_comes_first_from_its_own_index(house: House):
    calls = house.run("--install-only", TORCH_INDEX_URL="https://torch.example/cpu")[2]
    assert calls[1] == "-m pip install --force-reinstall --index-url https://torch.example/cpu torch>=2.10 torchvision"
    assert calls[2].startswith("-m pip install -r")
    assert len(calls) == 3


def test_torch_comes_anew_when_its_index_is_another_one_and_only_then(house: House):
    index = {"TORCH_INDEX_URL": "https://torch.example/cpu"}
    house.run("--install-only", **index)
    (house.folder / "requirements.txt").write_text("gradio>=7\ntorch>=2.10\n")
    assert [call for call in house.run("--install-only", **index)[2] if "torch>=" in call] == []
    code, said, _ = house.run("--install-only", TORCH_INDEX_URL="https://torch.example/rocm", FAKE_FAIL="1")
    assert code == 1
    assert "https://torch.example/rocm" in said
    calls = house.run("--install-only", TORCH_INDEX_URL="https://torch.example/rocm")[2]
    assert calls[0] == "-m pip install --force-reinstall --index-url https://torch.example/rocm torch>=2.10 torchvision"
    calls = house.run("--install-only")[2]
    assert calls[0] == "-m pip install --force-reinstall torch>=2.10 torchvision"
    assert house.run("--install-only")[2] == []


def test_an_environment_that_was_left_half_made_gets_its_pip_or_is_made_anew(house: House):
    house.run("--install-only")
    (house.folder / "venv" / "bin" / "pip").unlink()  # which comes last
    assert house.run("--install-only", FAKE_NO_ENSUREPIP="1")[2] == ["ensurepip", "venv"]
    (house.folder / "venv" / "bin" / "pip").unlink()
    assert house.run("--install-only")[2] == ["ensurepip"]
    assert house.run("--install-only")[2] == []


def test_install_only_stops_there(house: House):
    code, said, calls = house.run("--install-only")
    assert code == 0
    assert "./webui.sh" in said
    assert not [call for call in calls if "app.py" in call]


def test_test_installs_more_and_hands_pytest_its_arguments(house: House):
    calls = house.run("test", "-k", "a or b")[2]
    assert calls[-2].endswith("requirements-dev.txt")
    assert calls[-1] == "-m pytest -n 2 --dist loadgroup -k a or b"


@pytest.mark.parametrize("environ", [{"FAKE_VERSION": "old"}, {"PYTHON": "/nowhere/python"}])
def test_a_python_that_does_not_do(house: House, environ: dict[str, str]):
    code, said, calls = house.run(**environ)
    assert code == 1
    assert "Python 3.10, 3.11, 3.12 or 3.13 is needed" in said
    assert calls == []


def test_no_python_at_all(house: House):
    tools = house.elsewhere / "tools"
    tools.mkdir()
    for name in ("dirname", "ls", "cat", "cksum", "rm", "mv"):
        (tools / name).symlink_to(shutil.which(name) or name)
    (tools / "bash").symlink_to("/bin/bash")
    code, said, _ = house.run(PATH=str(tools), PYTHON="")
    assert code == 1
    assert "was not found" in said


def test_a_python_without_its_venv_package(house: House):
    code, said, _ = house.run(FAKE_NO_VENV="1")
    assert code == 1
    assert "python3-venv" in said


def test_a_folder_of_somebody_else_is_left_alone(house: House):
    precious = house.elsewhere / "precious"
    precious.mkdir()
    (precious / "picture.png").touch()
    code, said, _ = house.run(venv_dir=str(precious))
    assert code == 1
    assert "venv_dir" in said
    assert (precious / "picture.png").exists()


def test_it_can_be_called_through_a_link(house: House):
    link = house.elsewhere / "sd"
    link.symlink_to(Path("my house") / "webui.sh")
    code, _, calls = house.run(script=link)
    assert code == 0
    assert calls[-1] == f"{house.folder}/app.py "[:-1]
