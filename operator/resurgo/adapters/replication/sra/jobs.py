"""Commands that change something, on disk: so that any process can tell what runs, what ended, and how.

A job is a folder: ``job.json`` says what it is for, ``alive`` is locked by its child, ``exit`` is written when that was
seen to end, ``output`` is its answer. One changing command runs at a time per pair, counted over all processes that
share the folder. A forced failover waits only for commands at its own end: a dead site can't hold it up.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import shutil
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from resurgo.adapters.replication.sra.child import Child, Ended, is_alive, make_folder
from resurgo.domain.errors import Busy

_KEEP = 3600.0  # seconds an ended job stays, for who polls late
_PATIENCE = 5.0  # seconds to wait for another command of the pair before Busy
_LOOK = 0.1


@dataclass(frozen=True, slots=True)
class Job:
    """What a job is for. ``op`` is the operation's id at its caller, ``test`` the test's id, "" for none."""

    id: str
    verb: str
    site: str
    pair_key: str
    op: str
    test: str = ""

    @classmethod
    def new(cls, verb: str, site: str, pair_key: str, op: str, test: str) -> Job:
        return cls(uuid.uuid4().hex[:12], verb, site, pair_key, op, test)

    @property
    def handle(self) -> str:
        """Enough to judge the job by the array alone, should its folder be gone."""
        return f"op:{self.verb}:{self.id}:{quote(self.pair_key, safe='')}"


class Jobs:
    """The jobs of one pair, in one folder, shared by its two endpoints."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gate = asyncio.Lock()

    def folder(self, job_id: str) -> Path:
        return self._folder / "jobs" / job_id

    def running(self) -> list[Job]:
        """Jobs whose child lives, started by any process."""
        found = []
        for path in self._folder.glob("jobs/*/job.json"):
            with contextlib.suppress(OSError, ValueError, TypeError):
                if is_alive(path.parent):
                    found.append(Job(**json.loads(path.read_text())))
        return found

    async def start(self, job: Job, executable: Path, limit: float, *, forced: bool) -> Child | Job:
        """Start the job's child when it is its turn; a job for the same end that runs already is returned instead.

        Busy after some seconds of waiting for another command. OSError if the child can't be started.
        """
        until = time.monotonic() + _PATIENCE
        while True:
            async with self._gate:
                others = self.running()
                for other in others:
                    if (other.verb, other.site, other.pair_key) == (job.verb, job.site, job.pair_key):
                        return other
                others = [o for o in others if o.site == job.site or not forced]
                if not others:
                    return await self._begin(job, executable, limit)
            if time.monotonic() >= until:
                other = others[0]
                raise Busy(f"{other.verb} of {other.pair_key} at {other.site} is still running", after=2)
            await asyncio.sleep(_LOOK)

    async def _begin(self, job: Job, executable: Path, limit: float) -> Child:
        self._forget_old()
        folder = self.folder(job.id)
        make_folder(folder)
        (folder / "job.json").write_text(json.dumps(asdict(job)))
        return await Child.start(executable, folder, limit)

    def end(self, job: Job, ended: Ended) -> None:
        """Write down how the child ended."""
        partial = self.folder(job.id) / "exit.partial"
        partial.write_text(json.dumps(asdict(ended)))
        partial.replace(partial.with_name("exit"))

    def ended(self, job_id: str) -> Ended | None:
        """How a job's child ended; ``Ended(None)`` if nobody saw it, None if there was none."""
        folder = self.folder(job_id)
        if not (folder / "alive").exists():
            return None
        try:
            return Ended(**json.loads((folder / "exit").read_text()))
        except (OSError, ValueError, TypeError):
            return Ended(None)

    def _forget_old(self) -> None:
        for folder in self._folder.glob("jobs/*"):
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > _KEEP and not is_alive(folder):
                    shutil.rmtree(folder)

    def _note(self, site: str, pair_key: str) -> Path:
        return self._folder / "tests" / hashlib.sha256(f"{site}\0{pair_key}".encode()).hexdigest()[:24]

    def remember_test(self, site: str, pair_key: str, test_id: str) -> None:
        """The protocol does not carry whose test it is: write it down beside it."""
        note = self._note(site, pair_key)
        note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        note.write_text(test_id)

    def recall_test(self, site: str, pair_key: str) -> str:
        """The id of the test that runs, "" if nobody wrote it down."""
        try:
            return self._note(site, pair_key).read_text()
        except OSError:
            return ""

    def forget_test(self, site: str, pair_key: str) -> None:
        self._note(site, pair_key).unlink(missing_ok=True)
