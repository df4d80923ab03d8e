"""Keeps the standing lab's operator running, as a Deployment would: one that dies is started again after a second.

`python -m tests.lab.keep ENV_FILE -- COMMAND ...` runs the command, writes its process id into ENV_FILE as
LAB_OPERATOR_PID each time, and ends it on SIGTERM.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

_AGAIN_SECONDS = 1.0


def note(env_file: Path, pid: int) -> None:
    """Put *pid* into the file, if it is there: nobody reads half of it."""
    if not env_file.exists():
        return
    text = re.sub(r"(?m)^export LAB_OPERATOR_PID=.*$", f"export LAB_OPERATOR_PID={pid}", env_file.read_text())
    fresh = env_file.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text)
    fresh.replace(env_file)


def main() -> int:
    """Run until asked to end."""
    env_file, command = Path(sys.argv[1]), sys.argv[3:]
    ending = threading.Event()
    children: list[subprocess.Popen[bytes]] = []

    def end(_number: int, _frame: object) -> None:
        ending.set()
        for child in children[-1:]:
            child.terminate()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    while not ending.is_set():
        child = subprocess.Popen(command)
        children.append(child)
        note(env_file, child.pid)
        code = child.wait()
        if not ending.is_set():
            print(f"keep: the operator ended with {code}, it is started again", file=sys.stderr, flush=True)
            ending.wait(_AGAIN_SECONDS)
    return 0


if __name__ == "__main__":
    os._exit(main())
