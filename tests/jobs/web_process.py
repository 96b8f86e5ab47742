"""A whole web process in small, to be killed: accepts jobs, writes the id of each accepted one into a ledger, works until it dies.

Run as `python -m tests.jobs.web_process FOLDER SUBMIT`; says its engine's process id on the first line of output.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from tests.jobs.house import house
from tests.jobs.scripted_runner import Script


def main() -> None:
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    ledger = os.open(folder / "ledger", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    with house(folder, script=Script(step_seconds=0.002)) as made:
        made.wait_for(lambda: made.queue.engine.state in ("ready", "busy"))
        print(made.executor.pid, flush=True)
        for _ in range(count):
            job = made.submit(batch_count=2, steps=3)
            os.write(ledger, f"{job.id}\n".encode())
            os.fsync(ledger)
        while made.queue.list(active_only=True, limit=1):
            time.sleep(0.02)


if __name__ == "__main__":
    main()
