"""One command as a child process: a group of its own, a folder of its own, a limit, bounded output.

The limit counts from the last sign of progress. At the limit the whole group is killed: adapters are written to be
killed and run again. The child holds a lock on the file ``alive`` as long as it lives, whoever started it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from resurgo.adapters.replication.sra.document import MAX_ANSWER

log = logging.getLogger(__name__)

_TICK = 1.0  # seconds between two looks at a running child
_MAX_LOG = 1024 * 1024  # bytes of stdout and stderr that are kept
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")  # of our environment: no secret is in these


@dataclass(frozen=True, slots=True)
class Ended:
    """How a child ended. ``trouble`` is empty if it ended by itself; otherwise why it was killed."""

    code: int | None
    trouble: str = ""


def make_folder(folder: Path) -> None:
    """Make the folder of one command, for our user only. FileExistsError if it is there."""
    folder.mkdir(mode=0o700, parents=True)
    (folder / "log").mkdir(mode=0o700)


def is_alive(folder: Path) -> bool:
    """Whether a child started for *folder*, by any process, still lives."""
    try:
        with (folder / "alive").open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who look don't see each other
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def last_progress(folder: Path) -> float:
    """When the child last showed that it works, in epoch seconds; its start counts."""
    times = [0.0]
    for name in ("alive", "status"):
        with contextlib.suppress(FileNotFoundError):
            times.append((folder / name).stat().st_mtime)
    return max(times)


def log_tail(folder: Path) -> str:
    """The end of what the child printed."""
    try:
        with (folder / "stdout").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


class Child:
    """A started command. `start` it, then `wait` exactly once."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, limit: float) -> None:
        self._process = process
        self._folder = folder
        self._limit = limit

    @classmethod
    async def start(cls, executable: Path, folder: Path, limit: float) -> Child:
        """Start *executable* without arguments; OSError if it can't be started. The request is sent by `wait`."""
        alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT, 0o600)
        out = os.open(folder / "stdout", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(alive, fcntl.LOCK_EX)
            environment = {k: v for k in _PASSED_ON if (v := os.environ.get(k))}
            process = await asyncio.create_subprocess_exec(
                executable,
                stdin=asyncio.subprocess.PIPE,
                stdout=out,
                stderr=out,
                cwd=executable.parent,
                env={**environment, "TMPDIR": str(folder)},
                start_new_session=True,
                pass_fds=(alive,),
            )
        finally:
            os.close(alive)
            os.close(out)
        (folder / "pid").write_text(f"{process.pid} {started_at(process.pid)}")
        return cls(process, folder, limit)

    async def wait(self, request: bytes) -> Ended:
        """Send the request and return when the child has ended, by itself or killed at its limit.

        Cancelled, it kills the group too: nothing is left behind.
        """
        talk = asyncio.ensure_future(self._process.communicate(request))
        trouble = ""
        progress, seen = time.monotonic(), last_progress(self._folder)
        try:
            while not (await asyncio.wait({talk}, timeout=min(_TICK, self._limit)))[0]:
                if (now := last_progress(self._folder)) != seen:
                    progress, seen = time.monotonic(), now
                trouble = trouble or self._trouble(time.monotonic() - progress)
                if trouble:
                    self._kill()
        except asyncio.CancelledError:
            self._kill()
            await asyncio.wait({talk})
            raise
        await talk
        return Ended(None if trouble else self._process.returncode, trouble)

    def _trouble(self, silent: float) -> str:
        if silent >= self._limit:
            return f"it was killed after {self._limit:g} s without progress"
        with contextlib.suppress(FileNotFoundError):
            if (self._folder / "output").stat().st_size > MAX_ANSWER:
                return f"it was killed: its answer grew beyond {MAX_ANSWER >> 20} MiB"
            if (self._folder / "stdout").stat().st_size > _MAX_LOG:
                os.truncate(self._folder / "stdout", 0)  # it appends, so this is safe
        return ""

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def kill_stranger(folder: Path) -> None:
    """Kill the group of a child that another process of this machine started, if it is still the same process."""
    with contextlib.suppress(OSError, ValueError):
        pid, started = (folder / "pid").read_text().split()
        if started and started == started_at(int(pid)):
            os.killpg(int(pid), signal.SIGKILL)
            log.warning("sra.killed", extra={"op": folder.name})


def started_at(pid: int) -> str:
    """When a process started, in the kernel's ticks: tells it from a later one of the same number. 0 if it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "0"
