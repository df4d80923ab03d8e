"""One run under way in this process: observe, decide, write down, act, until the journal says that it has ended.

It holds nothing that the journal does not: kill the process on any line, start another, and the run goes on.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from resurgo.domain.decide import (
    Decision,
    World,
    all_steps,
    decide,
    error_rule,
    past_no_return,
    rolling_back,
)
from resurgo.domain.errors import DrError, LeaseLost, Missing
from resurgo.domain.graph import Graph, build
from resurgo.domain.inventory import Inventory
from resurgo.domain.journal import OpKey, Record
from resurgo.domain.ports import Key, Obj
from resurgo.domain.settle import Outcome, Verdict, retries_of, settle
from resurgo.domain.snapshot import Snapshot
from resurgo.domain.states import TERMINAL, Control, RunPhase, StepState
from resurgo.domain.steps import OnError, Step
from resurgo.domain.verdict import Ending, ending, source_released
from resurgo.engine.bell import Bell, Stop
from resurgo.engine.commit import JournalStore
from resurgo.engine.conditions import Conditions, tell
from resurgo.engine.context import Context, stamp
from resurgo.engine.effects import Effects
from resurgo.engine.places import Job, Places
from resurgo.engine.prepare import digest
from resurgo.engine.run_status import (
    achieved,
    counts,
    current_step,
    failures_status,
    stages_status,
    steps_status,
)

log = logging.getLogger(__name__)

_STATUS_EVERY = 0.5  # seconds between two writes of a status that only counts on
_LOOK_EVERY = 5.0  # seconds between two looks at an object that does not ring
_SILENT = frozenset({"Unreachable", "NoAnswer"})  # reasons of an end that says nothing, against one that says no
_LOST = 10.0  # seconds without an answer after which a disaster recovery stops asking the source
_IDLE = 30.0  # seconds a pass may rest when nothing rings


@dataclass
class Execution:
    """One run under way in this process."""

    context: Context
    key: Key
    obj: Obj
    snapshot: Snapshot
    tasks: dict[OpKey, asyncio.Task[None]] = field(default_factory=dict)
    results: list[tuple[OpKey, Outcome]] = field(default_factory=list)
    notes: dict[OpKey, str] = field(default_factory=dict)
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    phase: RunPhase = RunPhase.RUNNING
    written: float = 0.0  # monotonic time of the last status write
    shown: dict[str, Any] = field(default_factory=dict)
    stepping: set[str] = field(default_factory=set)
    looked: float = float("-inf")  # monotonic time of the last look at the object

    async def run(self, bell: Bell) -> bool:
        """Until the run has ended (False) or this process must stop (True: the journal holds it all)."""
        self.graph: Graph = build(self.snapshot)
        self.steps = all_steps(self.snapshot)
        self.store = JournalStore(self.context.kube, self.obj, self.snapshot)
        self.journal = await self.store.open()
        self.effects = Effects(Places(self.context, self.snapshot, self.journal))
        self.vms = {v.key: v for v in self.snapshot.vms}
        await self._begin()
        try:
            while True:
                if bell.stop is Stop.NOW:
                    return True
                control = await self._control()
                decision = await self._pass(control)
                if decision.finished and not self.results:
                    await self._end()
                    return False
                await self._rest(bell, decision)
        finally:
            for task in self.tasks.values():
                task.cancel()
            await asyncio.gather(*self.tasks.values(), return_exceptions=True)

    async def _begin(self) -> None:
        status = self.obj.get("status") or {}
        self.begin: datetime = self.context.clock.now()
        if text := status.get("startTime"):
            self.begin = datetime.fromisoformat(text)
        retry = self.obj["spec"].get("retry", 0)
        if status.get("phase") in TERMINAL and retry > (status.get("handledRetry") or 0):
            await self._reopen()
        self.shown = {}
        await self._show(
            {
                "startTime": stamp(self.begin),
                "completionTime": None,
                "sourceSite": self.snapshot.source,
                "targetSite": self.snapshot.target,
                "snapshotHash": digest(self.snapshot),
                "handledRetry": retry,
            },
            force=True,
        )

    async def _reopen(self) -> None:
        """A retry: forget what failed, and what was skipped because of it. What is done stays done."""
        changes: list[tuple[OpKey, Record | None]] = [
            (key, None)
            for key, record in self.journal.all()
            if record.state is StepState.FAILED or record.reason in {"DependencyFailed", "StageHalted"}
        ]
        await self.store.commit(self.journal, self.journal.put(changes))

    # -- the pass -------------------------------------------------------------------------------------

    async def _control(self) -> Control:
        """What the user wants, read after a ring and now and then. A silent API server changes nothing."""
        if self.context.clock.monotonic() - self.looked < _LOOK_EVERY:
            return Control(self.obj["spec"].get("control", "Run"))
        self.looked = self.context.clock.monotonic()
        try:
            self.obj = await self.context.kube.get(self.key)
        except Missing:
            return Control.RUN  # deleted by force: go on to the end, the journal still says where we are
        except DrError:
            pass
        return Control(self.obj["spec"].get("control", "Run"))

    async def _pass(self, control: Control) -> Decision:
        """Take in results, decide, write, act."""
        changes = self._settle()
        touched = set(self.journal.put(changes))
        decision = decide(self.snapshot, self.graph, self.journal, self._world(), control, self.context.clock.now())
        touched |= self.journal.put(decision.writes)
        abandoned = self._abandon(decision)
        touched |= self.journal.put(abandoned)
        if touched:
            await self.store.commit(self.journal, touched)
        if not self.context.may_act():
            raise LeaseLost("the Lease is not ours any more")
        for key, step in decision.calls:
            self._start(key, step)
        self.phase = self._phase(control)
        self._measure()
        await self._show({})
        if abandoned:
            self.woken.set()
        return decision

    def _world(self) -> World:
        return World(frozenset(self.tasks), not self._source_lost(), self._lost_groups(), self._hosts())

    def _lost_groups(self) -> frozenset[str]:
        """Groups whose array at the source did not answer when it was last asked."""
        ends = {
            g.key: pair.ends.get(self.snapshot.source)
            for g in self.snapshot.groups
            if (pair := self.context.pairs.get(g.pair)) is not None
        }
        return frozenset(key for key, end in ends.items() if end is not None and end.reason in _SILENT)

    def _source_lost(self) -> bool:
        """Whether the source's vCenter has been silent for a while: a blink is no loss."""
        view = self.context.sites.get(self.snapshot.source)
        since = view.vcenter.unreachable_since if view is not None and view.vcenter is not None else None
        return since is not None and (self.context.clock.now() - since).total_seconds() >= _LOST

    def _hosts(self) -> dict[str, str]:
        """Host of each VM at the site where it will be powered on."""
        site = self.snapshot.source if rolling_back(self.journal) else self.snapshot.target
        view = self.context.sites.get(site)
        if view is None or view.vcenter is None:
            return {}
        try:
            inventory: Inventory = view.vcenter.inventory()
        except DrError:
            return {}
        name = "Reregister" if rolling_back(self.journal) else "Register"
        hosts: dict[str, str] = {}
        for key in self.vms:
            record = self.journal.get(name, key)
            vm = inventory.vms.get(record.note) if record is not None and record.note else None  # type: ignore[call-overload]
            if vm is not None and vm.host:
                hosts[key] = vm.host
        return hosts

    def _settle(self) -> list[tuple[OpKey, Record | None]]:
        """Results and notes since the last pass, as records."""
        now = self.context.clock.now()
        changes: list[tuple[OpKey, Record | None]] = []
        results, self.results = self.results, []
        notes, self.notes = self.notes, {}
        for key, note in notes.items():
            record = self.journal.get(*key)
            if record is not None and not record.settled:
                changes.append((key, replace(record, note=note)))
        self.journal.put(changes)
        for key, outcome in results:
            record = self.journal.get(*key)
            if record is None or record.settled:
                continue
            step = self.steps[key.step]
            retries = retries_of(self.snapshot, step, self.vms.get(key.item))
            settled = settle(step, record, outcome, now, retries=retries)
            if outcome.verdict is Verdict.REJECTED or settled.retry_at:
                settled = replace(settled, note="" if step.name.endswith("Sync") else settled.note)
            self._log(key, settled)
            changes.append((key, settled))
        return changes

    def _log(self, key: OpKey, record: Record) -> None:
        keys = {"run": self.key.name, "step": key.step, "vm": key.item, "state": str(record.state)}
        if record.message:
            log.warning("step.trouble", extra={**keys, "error": record.message})
        else:
            log.info("step.settled", extra=keys)

    def _abandon(self, decision: Decision) -> list[tuple[OpKey, Record | None]]:
        """Stop waiting for calls that overran their deadline, or whose site is lost and not needed."""
        now = self.context.clock.now()
        changes: list[tuple[OpKey, Record | None]] = []
        for key, step in decision.abandon:
            self.tasks.pop(key).cancel()
            record = self.journal.get(*key)
            if record is None:
                continue
            tolerated = error_rule(step, self.snapshot) is OnError.TOLERATE
            reason = "DeadlineExceeded"
            text = f"no end after {now.timestamp() - record.started:.0f} s at site {self._site(step)}"
            state = StepState.SKIPPED if tolerated else StepState.FAILED
            changes.append(
                (key, replace(record, state=state, ended=now.timestamp(), retry_at=0.0, reason=reason, message=text))
            )
        return changes

    def _measure(self) -> None:
        """Take back the series of steps that have ended."""
        for name in list(self.stepping):
            step = self.steps[name]
            records = [self.journal.get(name, item) for item in self.snapshot.items(step.scope)]
            if all(r is None or r.settled for r in records):
                self.stepping.discard(name)
                self.context.metrics.run_step_ended(self.key.namespace or "", self.key.name, self.snapshot.plan, name)

    def _site(self, step: Step) -> str:
        return self.snapshot.source if step.side == "source" else self.snapshot.target

    def _start(self, key: OpKey, step: Step) -> None:
        record = self.journal.get(*key)
        assert record is not None  # noqa: S101 (its intent was just written)
        if step.name not in self.stepping:
            self.stepping.add(step.name)
            self.context.metrics.run_step(
                self.key.namespace or "",
                self.key.name,
                self.snapshot.plan,
                step.name,
                started=record.started,
                timeout=step.deadline,
            )
        self.tasks[key] = asyncio.create_task(self._call(key, step, record))

    async def _call(self, key: OpKey, step: Step, record: Record) -> None:
        def note(text: str) -> None:
            self.notes[key] = text
            self.woken.set()

        outcome = await self.effects.run(Job(step, key.item, record, note))
        self.tasks.pop(key, None)
        self.results.append((key, outcome))
        self.woken.set()

    async def _rest(self, bell: Bell, decision: Decision) -> None:
        """Until a call ends, somebody rings, or a time that the decision named."""
        now = self.context.clock.now().timestamp()
        limit = _IDLE if decision.wake is None else min(_IDLE, max(0.0, decision.wake - now))
        if self.tasks and self.snapshot.type.value == "DisasterRecovery":
            limit = min(limit, 1.0)  # a source that dies while it is asked must not hold the run
        if not self.woken.is_set() and not decision.writes:
            ring = asyncio.ensure_future(bell.rest(limit))
            woken = asyncio.ensure_future(self.woken.wait())
            await asyncio.wait({ring, woken}, return_when=asyncio.FIRST_COMPLETED)
            if ring.done():
                self.looked = float("-inf")
            for task in (ring, woken):
                task.cancel()
            await asyncio.gather(ring, woken, return_exceptions=True)
        else:
            await asyncio.sleep(0)
        self.woken.clear()

    # -- what people see --------------------------------------------------------------------------------

    def _phase(self, control: Control) -> RunPhase:
        if rolling_back(self.journal):
            return RunPhase.ROLLING_BACK
        return RunPhase.PAUSED if control is Control.PAUSE and not self.tasks else RunPhase.RUNNING

    def _drawn(self) -> dict[str, Any]:
        steps = steps_status(self.snapshot, self.journal, self.begin)
        total = sum(s.get("progress", {}).get("total", 1) for s in steps)
        done = sum(s.get("progress", {}).get("done", 1) for s in steps)
        return {
            "phase": self.phase.value,
            "steps": steps,
            "stages": stages_status(self.snapshot, self.graph, self.journal),
            "counts": counts(self.snapshot, self.journal),
            "failures": failures_status(self.snapshot, self.journal),
            "currentStep": current_step(self.snapshot, self.journal) or None,
            "done": f"{done}/{total}",
        }

    async def _show(self, more: dict[str, Any], *, force: bool = False) -> None:
        """Write the status: at once when a step or the phase changes, else now and then. A lost write costs nothing."""
        early = self.context.clock.monotonic() - self.written < _STATUS_EVERY
        step = current_step(self.snapshot, self.journal)
        if early and not force and self.shown.get("phase") == self.phase and self.shown.get("currentStep") == step:
            return
        self.shown["phase"], self.shown["currentStep"] = self.phase, step
        conditions = Conditions(self.obj, self.context.clock.now())
        conditions.put("Succeeded", None, "Running", f"{step or 'between steps'}")
        conditions.put("Reconciling", True, "Running")
        conditions.put("Stalled", False, "Working")
        conditions.put(
            "Paused", self.phase is RunPhase.PAUSED, "Asked" if self.phase is RunPhase.PAUSED else "NotAsked"
        )
        passed = past_no_return(self.snapshot, self.journal)
        conditions.put("PointOfNoReturnPassed", passed, "FailoverBegun" if passed else "NotYet")
        if passed and self.obj["spec"].get("control") == "Cancel" and not rolling_back(self.journal):
            text = (
                f"the volumes of {self.snapshot.target} are writable already, so the run goes forward; "
                "to bring the VMs back let it finish, then reprotect and fail back"
            )
            conditions.put("CancelAccepted", False, "PastPointOfNoReturn", text)
        status = {**self._drawn(), **more, "conditions": conditions.listed()}
        if passed and not (self.obj.get("status") or {}).get("pointOfNoReturnTime"):
            status["pointOfNoReturnTime"] = stamp(self.context.clock.now())
        await self._patch(status, conditions)

    async def _patch(self, status: dict[str, Any], conditions: Conditions) -> None:
        self.written = self.context.clock.monotonic()
        try:
            self.obj = await self.context.kube.patch_status(self.key, status)
        except Missing:
            return
        except DrError as error:
            log.info("status.not_written", extra={"run": self.key.name, "error": str(error)})
            return
        await tell(self.context.kube, self.obj, conditions.changed())

    async def _end(self) -> None:
        """The terminal status, written until it stands; then the claims go, then the finalizer."""
        end = ending(self.snapshot, self.graph, self.journal)
        self.phase = end.phase
        now = self.context.clock.now()
        result = achieved(self.snapshot, self.journal, self.begin)
        while True:
            try:
                self.obj = await self.context.kube.get(self.key)
                conditions = self._last_conditions(end, now)
                status = {
                    **self._drawn(),
                    "currentStep": None,
                    "completionTime": stamp(now),
                    "achieved": result or None,
                    "observedGeneration": self.obj["metadata"].get("generation", 0),
                    "conditions": conditions.listed(),
                }
                self.obj = await self.context.kube.patch_status(self.key, status)
                break
            except Missing:
                return
            except DrError as error:
                log.warning("status.not_written", extra={"run": self.key.name, "error": str(error)})
                await asyncio.sleep(1.0)
        await tell(self.context.kube, self.obj, conditions.changed())
        self.context.metrics.run_finished(
            self.key.namespace or "",
            self.key.name,
            self.snapshot.plan,
            self.snapshot.type.value,
            end.phase.value,
            recovery_time=result.get("recoveryTimeSeconds"),
            data_loss=result.get("dataLossSeconds"),
        )

    def _last_conditions(self, end: Ending, now: datetime) -> Conditions:
        conditions = Conditions(self.obj, now)
        good = end.phase in {RunPhase.SUCCEEDED, RunPhase.SUCCEEDED_WITH_WARNINGS}
        conditions.put("Succeeded", good, end.reason, end.message)
        conditions.put("Reconciling", False, "Ended")
        conditions.put("Stalled", end.phase is RunPhase.FAILED, end.reason, "" if good else end.message)
        conditions.put("Paused", False, "Ended")
        passed = past_no_return(self.snapshot, self.journal)
        conditions.put("PointOfNoReturnPassed", passed, "FailoverBegun" if passed else "NotReached")
        if passed:
            released = source_released(self.snapshot, self.journal)
            text = f"site {self.snapshot.source} was not seen released: keep its VMs off when it comes back"
            conditions.put(
                "SourceFenced", released, "Released" if released else "SourceNotReleased", "" if released else text
            )
        return conditions
