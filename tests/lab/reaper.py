"""A child process that ends a run's other processes when the run itself is gone, however it went.

Started by processes.py with the read end of a pipe as its standard input. The run writes `+PGID` when it starts a
process group and `-PGID` when it has ended one. When the pipe closes, what is left is killed. That covers kill -9 of
the run, which no atexit handler does, and it is indifferent to threads, which PR_SET_PDEATHSIG is not: that signal is
sent when the *thread* that started the child ends. No import of the project, so it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys


def main() -> None:
    """Read the list until the pipe closes, then kill every group still on it."""
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(sig, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        (groups.add if line[0] == "+" else groups.discard)(group)
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
