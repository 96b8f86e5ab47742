"""Ctrl+C is never lost, not even where Python drops the exception."""

from __future__ import annotations

import gc
import os
import signal

import pytest

from modules.server.stopping import Stopping
from tests.webui_process import WebUI


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_python_drops_is_remembered(number: signal.Signals) -> None:
    class Swallows:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)

    stopping = Stopping()
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with stopping.listening():
        stopping.check()
        Swallows()
        gc.collect()
        with pytest.raises(KeyboardInterrupt):
            stopping.check()
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_start_can_be_broken_off(how: signal.Signals, tmp_path_factory: pytest.TempPathFactory) -> None:
    program = WebUI(tmp_path_factory.mktemp("data"))
    program.start(ready=False)
    assert program.process is not None
    program.process.send_signal(how)
    assert program.process.wait(60) == 0
    assert "Traceback" not in program.log.read_text().replace("Exception ignored", "")
