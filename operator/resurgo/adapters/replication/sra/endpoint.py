"""One array at one site, driven through its SRA: the port's operations as ensured ends.

Every operation reads the array first, sends only what is missing, and reads again when an answer was lost.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import unquote

from resurgo.adapters.replication.sra.child import is_alive, kill_stranger, last_progress
from resurgo.adapters.replication.sra.discovery import Found
from resurgo.adapters.replication.sra.document import Login, read_percent, request
from resurgo.adapters.replication.sra.jobs import Job, Jobs
from resurgo.adapters.replication.sra.program import Program, read_reply, secrets_of
from resurgo.adapters.replication.sra.reads import Array, Reads
from resurgo.adapters.replication.sra.redact import redact
from resurgo.adapters.replication.sra.results import Reader, read_sync_handle, settled
from resurgo.adapters.replication.sra.verbs import (
    FAILOVER,
    PREPARE,
    PREPARE_REVERSE,
    RESTORE,
    REVERSE,
    SYNC,
    SYNC_STATUS,
    TEST_START,
    TEST_STOP,
    VERBS,
    Verb,
    parameters,
)
from resurgo.domain.errors import (
    InvalidState,
    Missing,
    NotSupported,
    OutcomeUnknown,
    Retryable,
    Unreachable,
)
from resurgo.domain.replication import Access, Capability, GroupRef, GroupStatus, Op, Phase

_ANSWER_WITHIN = 8.0  # seconds until an operation is handed over to `poll`; the port promises 10
_POLL_WITHIN = 1.0
_CLOSE_WITHIN = 5.0


class SraEndpoint:
    """`ReplicationEndpoint` over an SRA. *program* and *jobs* are shared by both ends of a pair."""

    def __init__(self, array: Array, program: Program, jobs: Jobs, *, answer_within: float = _ANSWER_WITHIN) -> None:
        self._reads = Reads(array, program)
        self._program = program
        self._jobs = jobs
        self._answer_within = answer_within
        self._tasks: dict[str, asyncio.Task[Op]] = {}

    @property
    def site(self) -> str:
        return self._reads.array.site

    async def capabilities(self) -> frozenset[Capability]:
        return (await self._program.facts()).capabilities

    async def discover(self) -> Sequence[GroupStatus]:
        return [self._named(f.status) for f in await self._reads.groups()]

    async def status(self, ref: GroupRef) -> GroupStatus:
        return self._named((await self._reads.find(ref.pair_key, ref.id)).status)

    async def sync(self, ref: GroupRef, *, op_id: str) -> Op:
        return await self._ensure(SYNC, ref, op_id)

    async def prepare_failover(self, ref: GroupRef, *, op_id: str) -> Op:
        return await self._ensure(PREPARE, ref, op_id)

    async def restore(self, ref: GroupRef, *, op_id: str) -> Op:
        return await self._ensure(RESTORE, ref, op_id)

    async def failover(
        self, ref: GroupRef, *, op_id: str, planned: bool, access: Access, point: str | None = None
    ) -> Op:
        _newest_only(point)
        return await self._ensure(FAILOVER, ref, op_id, access=access, forced=not planned)

    async def test_start(
        self, ref: GroupRef, *, op_id: str, test_id: str, access: Access, point: str | None = None
    ) -> Op:
        _newest_only(point)
        return await self._ensure(TEST_START, ref, op_id, access=access, test=test_id)

    async def test_stop(self, ref: GroupRef, *, op_id: str, test_id: str, force: bool = False) -> Op:
        return await self._ensure(TEST_STOP, ref, op_id, test="" if force else test_id)

    async def prepare_reverse(self, ref: GroupRef, *, op_id: str) -> Op:
        return await self._ensure(PREPARE_REVERSE, ref, op_id)

    async def reverse(self, ref: GroupRef, *, op_id: str, access: Access) -> Op:
        return await self._ensure(REVERSE, ref, op_id, access=access)

    async def poll(self, handle: str) -> Op:
        """Also of a handle that another process was given, or whose process is gone. Missing for what is no handle."""
        if handle in self._tasks:
            op = await self._outcome(handle, _POLL_WITHIN)
        elif handle.startswith("sync:"):
            op = await self._poll_sync(handle)
        else:
            op = await self._poll_job(handle)
        moved_on = op.phase is Phase.RUNNING and op.handle != handle and op.handle.startswith("sync:")
        return await self._poll_sync(op.handle) if moved_on else op

    async def aclose(self) -> None:
        """Give running commands a few seconds, then end them; whoever polls them later judges by the array."""
        tasks = set(self._tasks.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_CLOSE_WITHIN)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()

    def _named(self, status: GroupStatus) -> GroupStatus:
        """With the id that the test was started under, which the protocol does not carry."""
        known = self._jobs.recall_test(self.site, status.ref.pair_key)
        return (
            replace(status, test=replace(status.test, test_id=known)) if status.test is not None and known else status
        )

    # --- changing

    async def _ensure(
        self,
        verb: Verb,
        ref: GroupRef,
        op_id: str,
        *,
        access: Access | None = None,
        test: str = "",
        forced: bool = False,
    ) -> Op:
        job = Job.new(verb.name, self.site, ref.pair_key, op_id, test)
        task = asyncio.create_task(self._do(job, verb, ref, access, forced=forced), name=job.handle)
        task.add_done_callback(_seen)
        self._tasks[job.handle] = task
        return await self._outcome(job.handle, self._answer_within)

    async def _outcome(self, handle: str, seconds: float) -> Op:
        task = self._tasks[handle]
        done, _ = await asyncio.wait({task}, timeout=seconds)
        if not done:
            return Op(handle, Phase.RUNNING, percent=self._percent(handle))
        self._tasks.pop(handle, None)
        return task.result()

    async def _do(self, job: Job, verb: Verb, ref: GroupRef, access: Access | None, *, forced: bool) -> Op:
        facts = await self._program.offered(verb.command)
        found = await self._reads.find(ref.pair_key, ref.id)
        self._check_test(verb, found.status, job.test)
        if verb.reached(found.status):
            return self._settled(verb, found, job.handle, already=True)
        if found.status.role not in verb.allowed:
            raise InvalidState(
                f"{verb.command} of {ref.id} at {self.site} is not possible: it is {found.status.role} there",
                hint=f"needed: {' or '.join(sorted(verb.allowed))}",
            )
        login, array = self._reads.login(facts), self._reads.array
        document = request(
            verb.command,
            self._jobs.folder(job.id),
            login,
            parameters(verb, found, array.id, array.peer_id, access),
        )
        if verb is TEST_START:
            self._jobs.remember_test(self.site, ref.pair_key, job.test)
        return await self._send(job, verb, found, document, login, forced=forced)

    async def _send(self, job: Job, verb: Verb, found: Found, document: bytes, login: Login, *, forced: bool) -> Op:
        try:
            child = await self._jobs.start(job, self._program.executable, self._program.limit, forced=forced)
        except OSError as error:
            raise Unreachable(f"SRA {self._program.name} can't be started: {error.strerror}") from error
        if isinstance(child, Job):
            return Op(child.handle, Phase.RUNNING, percent=self._percent(child.handle))
        started = time.monotonic()
        ended = await child.wait(document)
        self._jobs.end(job, ended)
        folder = self._jobs.folder(job.id)
        self._program.note(self.site, verb.command, folder, read_reply(folder, ended), started, login)
        return await self._conclude(verb, job.handle, before=found)

    def _check_test(self, verb: Verb, status: GroupStatus, test: str) -> None:
        """Tests of others are neither taken over nor stopped. One nobody wrote down is taken for ours."""
        if verb not in {TEST_START, TEST_STOP} or status.test is None:
            return
        known = self._jobs.recall_test(self.site, status.ref.pair_key)
        if test and known and known != test:
            raise InvalidState(
                f"another test of {status.ref.id} is running at {self.site}: {known}", hint="clean it up first"
            )

    def _settled(self, verb: Verb, found: Found, handle: str, *, already: bool, warning: str = "") -> Op:
        if verb is TEST_STOP:
            self._jobs.forget_test(self.site, found.status.ref.pair_key)
        warnings = (warning,) if warning else ()
        return settled(found, handle, test=verb is TEST_START, already=already, warnings=warnings)

    # --- judging

    async def _conclude(self, verb: Verb, handle: str, *, before: Found | None = None) -> Op:
        """What an ended job came to: its answer where there is a good one, else what the array shows now.

        *before* is the group as it was when the job was sent, if this process has seen that.
        """
        _, _, job_id, quoted = handle.split(":")
        ended = self._jobs.ended(job_id)
        if ended is None:
            return await self._unsent(verb, handle, unquote(quoted))
        facts = await self._program.facts()
        login, reply = self._reads.login(facts), read_reply(self._jobs.folder(job_id), ended)
        op = None
        if reply.answer is not None and reply.failed is None:
            found = before or await self._look(verb, handle, unquote(quoted))
            op = Reader(verb, found, facts, lambda said: redact(said, secrets_of(login))).op(reply.answer, handle)
            if op.phase is not Phase.FAILED:
                if verb is TEST_STOP:
                    self._jobs.forget_test(self.site, found.status.ref.pair_key)
                return op
        now = await self._look(verb, handle, unquote(quoted))
        if verb.reached(now.status):
            return self._settled(verb, now, handle, already=op is not None, warning=op.failure if op else reply.trouble)
        if op is not None:
            return op
        if reply.failed is not None:
            raise self._reads.refused(facts, reply.failed, login, Retryable)
        raise OutcomeUnknown(
            f"{verb.command} of {now.status.ref.id} at {self.site}: SRA {self._program.name}: {reply.trouble}; "
            f"the array shows it as {now.status.role}",
            op=handle,
        )

    async def _unsent(self, verb: Verb, handle: str, pair_key: str) -> Op:
        """A handle without a command: nothing was missing, its process died before sending, or it is long ago."""
        found = await self._reads.find(pair_key)
        if verb.reached(found.status):
            return self._settled(verb, found, handle, already=True)
        raise Retryable(f"{verb.command} of {found.status.ref.id} at {self.site} was not sent", after=1)

    async def _look(self, verb: Verb, handle: str, pair_key: str) -> Found:
        try:
            return await self._reads.find(pair_key)
        except Retryable as error:
            raise OutcomeUnknown(f"{verb.command} at {self.site} ended, but {error}", op=handle) from error

    async def _poll_job(self, handle: str) -> Op:
        parts = handle.split(":")
        if len(parts) != 4 or parts[0] != "op" or parts[1] not in VERBS or not re.fullmatch(r"[0-9a-f]{12}", parts[2]):
            raise Missing(f"{handle!r} is no handle of an operation")
        folder = self._jobs.folder(parts[2])
        if is_alive(folder):
            if time.time() - last_progress(folder) <= self._program.limit:
                return Op(handle, Phase.RUNNING, percent=self._percent(handle))
            kill_stranger(folder)
        return await self._conclude(VERBS[parts[1]], handle)

    async def _poll_sync(self, handle: str) -> Op:
        try:
            pair_key, ids = read_sync_handle(handle)
        except ValueError:
            raise Missing(f"{handle!r} is no handle of a synchronisation") from None
        facts = await self._program.offered(SYNC_STATUS.command)
        found, login = await self._reads.find(pair_key), self._reads.login(facts)
        asked = parameters(SYNC_STATUS, found, self._reads.array.id, self._reads.array.peer_id, None, ids)
        reply = await self._program.read(self.site, SYNC_STATUS.command, login, asked)
        if reply.answer is None:
            raise Unreachable(f"{SYNC_STATUS.command} at {self.site}: SRA {self._program.name}: {reply.trouble}")
        if reply.failed is not None:
            raise self._reads.refused(facts, reply.failed, login, Unreachable)
        op = Reader(SYNC_STATUS, found, facts, lambda said: redact(said, secrets_of(login))).op(reply.answer, handle)
        return replace(op, handle=handle)

    def _percent(self, handle: str) -> int | None:
        return read_percent(self._jobs.folder(handle.split(":")[2]) / "status")


def _newest_only(point: str | None) -> None:
    if point is not None:
        raise NotSupported("an SRA can't be asked for an older recovery point", hint="leave the point out")


def _seen(task: asyncio.Task[Op]) -> None:
    """Mark a failure as seen: it is raised to whoever polls, and nobody may."""
    if not task.cancelled():
        task.exception()
