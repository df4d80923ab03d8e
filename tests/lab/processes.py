"""The lab's child processes: own process group, own log file, readiness with a deadline, a bounded stop.

Nothing survives the run that started it. A stop ends the whole group; if the run dies without stopping (kill -9
included), the reaper ends what is left: see reaper.py. A process that is meant to outlive its starter (`make lab`)
is released once everything is up, and is then the business of whoever recorded its Identity.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tests.lab.waiting import DeadlineError, wait_until

T = TypeVar("T")
_TAIL_LINES = 25


class ProcessFailedError(RuntimeError):
    """A process did not become ready, or ended too early; the message holds the end of its log and the log's path."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that can be told from a later one that got the same number: the pid and when it started."""

    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """Return the identity of the living process *pid*, or None; a zombie is not living."""
        try:
            text = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        fields = text.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid, fields[19])

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return Identity.of(self.pid) == self

    def stop(self, grace: float = 10) -> None:
        """End the process and its group: TERM, then KILL after *grace* seconds. Safe to repeat."""
        if not self.alive:
            return
        _signal_group(self.pid, signal.SIGCONT)  # a stopped process would not see the TERM
        _signal_group(self.pid, signal.SIGTERM)
        try:
            wait_until(lambda: not self.alive, f"process {self.pid} ends", seconds=grace)
        except DeadlineError:
            _signal_group(self.pid, signal.SIGKILL)
            wait_until(lambda: not self.alive, f"process {self.pid} ends after KILL", seconds=10)


def _signal_group(group: int, sig: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, sig)


@functools.cache
def _reaper() -> int:
    reads, writes = os.pipe()  # neither end is inherited by other children, so the end of this process closes it
    child = subprocess.Popen(
        [sys.executable, "-S", "-E", str(Path(__file__).with_name("reaper.py"))], stdin=reads, start_new_session=True
    )
    child.returncode = 0  # it outlives this process by design; Python must not warn about that
    os.close(reads)
    return writes


def _tell_reaper(sign: str, group: int) -> None:
    os.write(_reaper(), f"{sign}{group}\n".encode())


class Process:
    """One started child. Made by `Process.start`; every method may be called from any thread, and `stop` twice."""

    def __init__(self, name: str, child: subprocess.Popen[bytes], log: Path) -> None:
        """Take over *child*, already started; use `start`."""
        self.name = name
        self.log = log
        self._child = child
        self.identity = Identity.of(child.pid) or Identity(child.pid, "")

    @classmethod
    def start(
        cls,
        name: str,
        argv: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start *argv* with its output appended to *log*. *env* is added to this process's own environment.

        No input, no inherited file descriptors. Secrets do not belong into *argv*: everybody can read that.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as out:
            child = subprocess.Popen(
                [str(a) for a in argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )
        _tell_reaper("+", child.pid)
        return cls(name, child, log)

    @property
    def pid(self) -> int:
        """The process id, also the id of its group."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None while it runs."""
        return self._child.poll()

    @property
    def running(self) -> bool:
        """Whether the child has not ended (a paused one runs)."""
        return self.returncode is None

    def wait_ready(self, ready: Callable[[], T | None], *, seconds: float = 30) -> T:
        """Return the first truthy answer of *ready*. ProcessFailedError if the child ends first or *seconds* pass."""

        def look() -> T | None:
            if not self.running:
                raise ProcessFailedError(self._story(f"ended with code {self.returncode} before it was ready"))
            return ready()

        try:
            return wait_until(look, f"{self.name} is ready", seconds=seconds)
        except DeadlineError as late:
            raise ProcessFailedError(self._story(f"was not ready within {seconds:g} s")) from late

    def wait(self, seconds: float) -> int:
        """Return the exit code once the child ended by itself. DeadlineError after *seconds*."""
        wait_until(lambda: not self.running, f"{self.name} ends by itself", seconds=seconds)
        return self._child.wait()

    def stop(self, grace: float = 10) -> None:
        """End the group: TERM, then KILL after *grace* seconds. Safe to repeat, and after the child has ended."""
        if self.running:
            _signal_group(self.pid, signal.SIGCONT)
            _signal_group(self.pid, signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace)
        self.kill()

    def kill(self) -> None:
        """End the group at once (KILL), as a crash would. Safe to repeat."""
        if self.running or self._group_left():
            _signal_group(self.pid, signal.SIGKILL)
        self._child.wait()
        _tell_reaper("-", self.pid)

    def release(self) -> None:
        """Let the child outlive this run. This object is done with it: whoever wrote down its identity ends it."""
        _tell_reaper("-", self.pid)
        self._child.returncode = 0  # or Python warns that it still runs

    def pause(self) -> None:
        """Freeze the group (STOP): its sockets stay open and answer nothing."""
        _signal_group(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused group run again (CONT)."""
        _signal_group(self.pid, signal.SIGCONT)

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """Return the last *lines* lines of the log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def _group_left(self) -> bool:
        # The leader is reaped: its number is safe to use as a group only while members of that group still live.
        try:
            os.killpg(self.pid, 0)
        except (ProcessLookupError, PermissionError):
            return False
        return True

    def _story(self, what: str) -> str:
        return f"{self.name} (pid {self.pid}) {what}. Its log is {self.log}, and ends:\n{self.tail()}"
