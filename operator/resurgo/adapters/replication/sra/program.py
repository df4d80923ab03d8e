"""An adapter as a program: what it says of itself, and commands that only read."""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from resurgo.adapters.replication.contract import OnCall
from resurgo.adapters.replication.sra.child import Child, Ended, log_tail, make_folder
from resurgo.adapters.replication.sra.document import Login, UnreadableAnswer, child, read_answer, request
from resurgo.adapters.replication.sra.facts import QUERIES, Facts, read_facts, read_version
from resurgo.adapters.replication.sra.redact import redact
from resurgo.domain.errors import NotSupported, Unreachable

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one command: its answer, or what kept us from one. ``failed`` is the Error of a whole command."""

    answer: ET.Element | None
    trouble: str

    @property
    def failed(self) -> ET.Element | None:
        return child(self.answer, "Error")


def read_reply(folder: Path, ended: Ended) -> Reply:
    """Judge the files of an ended command. An answer counts with exit code 0, an Error with any."""
    if ended.trouble:
        return Reply(None, ended.trouble)
    try:
        answer = read_answer(folder / "output")
    except UnreadableAnswer as error:
        code = f" (exit code {ended.code})" if ended.code else ""
        return Reply(None, f"{error}{code}")
    reply = Reply(answer, "")
    if ended.code and reply.failed is None:
        return Reply(None, f"it ended with exit code {ended.code}")
    return reply


class Program:
    """One adapter's executable, shared by both ends of a pair. ``limit`` is in seconds, for each command."""

    def __init__(self, executable: Path, *, state_dir: Path, limit: float, on_call: OnCall) -> None:
        self.executable = executable
        self.limit = limit
        self.state_dir = state_dir
        self.on_call = on_call
        self._facts: Facts | None = None
        self._stamp: tuple[int, int, int] | None = None
        self._asking = asyncio.Lock()

    async def facts(self) -> Facts:
        """What it says of itself, asked once per version of the executable. Unreachable if it does not answer."""
        async with self._asking:
            stamp = self._identity()
            if self._facts is None or stamp != self._stamp:
                version = read_version(await self._asked("queryInfo"))
                self._facts = read_facts(version, {name: await self._asked(name) for name in QUERIES})
                self._stamp = stamp
            return self._facts

    async def offered(self, command: str) -> Facts:
        """The same. NotSupported if *command* is not in its list: it is then never sent."""
        facts = await self.facts()
        if command not in facts.commands:
            raise NotSupported(f"SRA {self.name} does not offer {command}")
        return facts

    @property
    def name(self) -> str:
        return self.executable.parent.name

    async def read(self, site: str, command: str, login: Login | None, parameters: Sequence[ET.Element] = ()) -> Reply:
        """Run a command that changes nothing, to its end. Unreachable if it can't be started."""
        self.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="read-", dir=self.state_dir)) / "run"
        try:
            make_folder(folder)
            started = time.monotonic()
            ended = await self.run(folder, request(command, folder, login, parameters))
            reply = read_reply(folder, ended)
            self.note(site, command, folder, reply, started, login)
            return reply
        finally:
            shutil.rmtree(folder.parent, ignore_errors=True)

    async def run(self, folder: Path, document: bytes) -> Ended:
        """Run one request to its end in *folder*."""
        try:
            running = await Child.start(self.executable, folder, self.limit)
        except OSError as error:
            raise Unreachable(f"SRA {self.name} can't be started: {error.strerror}") from error
        return await running.wait(document)

    def note(self, site: str, command: str, folder: Path, reply: Reply, began: float, login: Login | None) -> None:
        """Count the call and log what the adapter printed, without secrets."""
        seconds = time.monotonic() - began
        outcome = "Unanswered" if reply.answer is None else "Failed" if reply.failed is not None else "ok"
        self.on_call(f"sra:{site}", command, outcome, seconds)
        said = redact(log_tail(folder), secrets_of(login))
        extra = {"site": site, "op": command, "seconds": round(seconds, 3), "said": said}
        if reply.answer is None:
            log.warning("sra.unanswered", extra={**extra, "error": reply.trouble})
        else:
            log.debug("sra.call", extra=extra)

    async def _asked(self, name: str) -> ET.Element:
        reply = await self.read(self.name, name, None)
        if reply.answer is None or reply.failed is not None:
            said = reply.trouble or f"error code {reply.failed.get('code', '') if reply.failed is not None else ''}"
            raise Unreachable(f"SRA {self.name} did not answer {name}: {said}", after=30)
        return reply.answer

    def _identity(self) -> tuple[int, int, int]:
        try:
            facts = self.executable.stat()
        except OSError as error:
            raise Unreachable(f"SRA {self.name} is gone: {error.strerror}", after=30) from error
        return facts.st_mtime_ns, facts.st_ino, facts.st_size


def secrets_of(login: Login | None) -> tuple[str, ...]:
    """What must not be seen of a login."""
    return (login.user[1],) if login is not None and login.user is not None else ()
