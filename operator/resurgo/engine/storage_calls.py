"""What a run asks of the storage: sync, prepare, failover, restore, each until the array shows its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from resurgo.domain.errors import Missing, NotSupported, OutcomeUnknown, Rejected
from resurgo.domain.journal import Record, when
from resurgo.domain.ports import ReplicationEndpoint
from resurgo.domain.replication import Access, Op, Phase, Role
from resurgo.domain.settle import Outcome, Verdict
from resurgo.domain.snapshot import FrozenGroup
from resurgo.domain.steps import Call
from resurgo.engine.places import Job, Places, Target

_SCHEDULE = 2.0  # seconds between two looks at an array that replicates by itself


class StorageCalls:
    """The calls on consistency groups. What is kept on the way is the record's note: any process may go on from it."""

    def __init__(self, places: Places) -> None:
        self._at = places

    async def sync(self, job: Job) -> Outcome:
        """Bring the target to the data of now: a recovery point that is not older than the step's first intent."""
        group = self._at.groups[job.item]
        endpoint, ref = self._at.endpoint(job.step, group)
        if job.record.attempt > 1 and not job.record.note and await self._synced_since(group, job.record):
            return Outcome(Verdict.ALREADY)
        try:
            if job.record.note:
                op = await self._resume(endpoint, job.record.note)
            else:
                op = await endpoint.sync(ref, op_id=self._op_id(job))
        except NotSupported:
            return await self._scheduled(group, job.record)
        return await self._follow(endpoint, op, job.note, f"sync of {group.id}")

    async def _scheduled(self, group: FrozenGroup, record: Record) -> Outcome:
        """Wait for the array's own schedule to bring the target far enough; the step's deadline ends it."""
        while True:
            if await self._synced_since(group, record):
                return Outcome(Verdict.ALREADY)
            await asyncio.sleep(_SCHEDULE)

    async def _synced_since(self, group: FrozenGroup, record: Record) -> bool:
        endpoint, ref = self._at.end(self._at.snapshot.target, group)
        point = (await endpoint.status(ref)).recovery_point
        # Never rounded down: a copy of the same second may lack what was written last. The price is one more sync.
        return point is not None and point >= when(record.started)

    async def prepare(self, job: Job) -> Outcome:
        group = self._at.groups[job.item]
        endpoint, ref = self._at.endpoint(job.step, group)
        try:
            op = await endpoint.prepare_failover(ref, op_id=self._op_id(job))
        except NotSupported:
            return Outcome(Verdict.ALREADY)  # this system has nothing to prepare
        ended = await self._follow(endpoint, op, job.note, f"prepareFailover of {group.id}")
        self._at.saw(self._at.site(job.step), group, await endpoint.status(ref))
        return ended

    async def restore(self, job: Job) -> Outcome:
        group = self._at.groups[job.item]
        endpoint, ref = self._at.endpoint(job.step, group)
        if (await endpoint.status(ref)).role is Role.SOURCE:
            return Outcome(Verdict.ALREADY)
        op = await endpoint.restore(ref, op_id=self._op_id(job))
        ended = await self._follow(endpoint, op, job.note, f"restore of {group.id}")
        self._at.saw(self._at.site(job.step), group, await endpoint.status(ref))
        return ended

    async def failover(self, job: Job) -> Outcome:
        group = self._at.groups[job.item]
        endpoint, ref = self._at.endpoint(job.step, group)
        already = False
        status = await endpoint.status(ref)
        if status.role is not Role.FAILED_OVER:
            planned = job.step.call is Call.FAILOVER_PLANNED
            op = await endpoint.failover(ref, op_id=self._op_id(job), planned=planned, access=self._access())
            outcome = await self._follow(endpoint, op, lambda _handle: None, f"failover of {group.id}")
            already = outcome.verdict is Verdict.ALREADY
            status = await endpoint.status(ref)
            self._at.saw(self._at.snapshot.target, group, status)
        else:
            already = True
        if status.role is not Role.FAILED_OVER:
            raise Rejected(
                f"failover of {group.id}: the array says it is done, but shows the group as {status.role}",
                reason="NotFailedOver",
                hint="look at the array, then retry",
            )
        return Outcome(Verdict.ALREADY if already else Verdict.DONE, note=Target.of(status).text())

    def _access(self) -> Access:
        inventory = self._at.inventory(self._at.snapshot.target)
        names = sorted(h.name for h in inventory.hosts.values()) if inventory else []
        return Access(self._at.snapshot.target, tuple(("NFS", name) for name in names))

    async def _resume(self, endpoint: ReplicationEndpoint, handle: str) -> Op:
        try:
            return await endpoint.poll(handle)
        except Missing as error:
            raise OutcomeUnknown(str(error), op=handle) from error

    async def _follow(self, endpoint: ReplicationEndpoint, op: Op, note: Callable[[str], None], what: str) -> Outcome:
        """Poll until the operation has ended; its handle is in the journal before the first wait."""
        if op.phase is Phase.RUNNING:
            note(op.handle)
        while op.phase is Phase.RUNNING:
            await asyncio.sleep(max(0.1, min(op.retry_after, 10.0)))
            op = await endpoint.poll(op.handle)
        undone = [r.pair_key for r in op.results if not r.done and not r.error]
        if op.phase is Phase.FAILED or op.failure:
            raise Rejected(f"{what}: {op.failure or 'the array reports a failure'}", reason="ReplicationFailed")
        if undone:
            raise Rejected(f"{what}: the array skipped {', '.join(undone)}", reason="ReplicationFailed")
        already = bool(op.results) and all(r.already for r in op.results)
        return Outcome(Verdict.ALREADY if already else Verdict.DONE)

    def _op_id(self, job: Job) -> str:
        return f"{self._at.snapshot.run}-{job.step.name}-{job.item}"
