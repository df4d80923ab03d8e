"""A run's status, drawn from its journal: what people read while it runs and after. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from resurgo.domain.decide import all_steps, label, rolling_back, vm_ready
from resurgo.domain.graph import Graph
from resurgo.domain.journal import Journal, Record, when
from resurgo.domain.snapshot import FrozenStage, Snapshot
from resurgo.domain.states import RunType, StepState
from resurgo.domain.steps import Step
from resurgo.domain.verdict import HALTED, failures
from resurgo.domain.workflows import ROLLBACK, TABLES
from resurgo.engine.context import stamp
from resurgo.engine.places import Target

_FAILURES = 50


def steps_status(snapshot: Snapshot, journal: Journal, begin: datetime) -> list[dict[str, Any]]:
    """One entry per step of the table in force and of what went before it; the first is Preflight, done by then."""
    table = [*TABLES[snapshot.type], *(ROLLBACK if rolling_back(journal) else ())]
    entries = [{"name": "Preflight", "state": "Done", "startTime": stamp(begin), "endTime": stamp(begin)}]
    for step in table:
        items = snapshot.items(step.scope)
        records = [r for i in items if (r := journal.get(step.name, i)) is not None]
        if step.undoes and not records:
            continue
        entries.append(_step(step, snapshot, journal, records, len(records) if step.undoes else len(items)))
    return entries


def _step(step: Step, snapshot: Snapshot, journal: Journal, records: list[Record], total: int) -> dict[str, Any]:
    settled = [r for r in records if r.settled]
    entry: dict[str, Any] = {"name": step.name, "state": str(_state(records, settled, total))}
    entry["progress"] = {"done": len(settled), "total": total}
    if records:
        entry["startTime"] = stamp(when(min(r.started for r in records)))
    if records and len(settled) == total:
        entry["endTime"] = stamp(when(max(r.ended for r in records)))
    if message := _message(step, snapshot, journal, records):
        entry["message"] = message[:1000]
    return entry


def _state(records: list[Record], settled: list[Record], total: int) -> StepState:
    if total and not records:
        return StepState.PENDING
    if len(settled) < total:
        return StepState.RUNNING
    states = {r.state for r in records}
    for one in (StepState.FAILED, StepState.DONE, StepState.ALREADY_DONE, StepState.SKIPPED):
        if one in states:
            return one
    return StepState.SKIPPED  # nothing to do


def _message(step: Step, snapshot: Snapshot, journal: Journal, records: list[Record]) -> str:
    """The first thing worth reading: a failure, or what is being retried, or why it was skipped."""
    telling = [r for r in records if r.message and (r.state is StepState.FAILED or not r.settled)]
    telling = telling or [r for r in records if r.message]
    if not telling:
        return ""
    first = telling[0]
    item = next(i for i in snapshot.items(step.scope) if journal.get(step.name, i) is first)
    more = f" (and {len(telling) - 1} more)" if len(telling) > 1 else ""
    return f"{label(snapshot, item)}: {first.message}{more}"


def stages_status(snapshot: Snapshot, graph: Graph, journal: Journal) -> list[dict[str, Any]]:
    return [_stage(stage, graph, journal) for stage in snapshot.stages if graph.vms_of[stage.name]]


def _stage(stage: FrozenStage, graph: Graph, journal: Journal) -> dict[str, Any]:
    vms = graph.vms_of[stage.name]
    ready = sum(vm_ready(journal, v.key) is True for v in vms)
    settled = sum(vm_ready(journal, v.key) is not None for v in vms)
    begun = any(journal.get("PowerOn", v.key) is not None for v in vms)
    state = StepState.PENDING
    if begun:
        state = StepState.RUNNING if settled < len(vms) else StepState.DONE
    if settled == len(vms) and ready * 100 < stage.quorum * len(vms):
        state = StepState.FAILED
    return {"name": stage.name, "state": str(state), "ready": ready, "total": len(vms)}


def counts(snapshot: Snapshot, journal: Journal) -> dict[str, int]:
    outcome = [vm_ready(journal, v.key) for v in snapshot.vms]
    failed = {f.virtual_machine for f in failures(snapshot, journal) if f.virtual_machine and f.reason != HALTED}
    ready = sum(o is True for o in outcome)
    return {
        "total": len(snapshot.vms),
        "ready": ready,
        "failed": len(failed),
        "skipped": max(0, sum(o is False for o in outcome) - len(failed)),
    }


def failures_status(snapshot: Snapshot, journal: Journal) -> list[dict[str, str]]:
    found = []
    for failure in failures(snapshot, journal)[:_FAILURES]:
        entry = {"step": failure.step, "reason": failure.reason or "Failed", "message": failure.message[:1000]}
        if failure.virtual_machine:
            entry["virtualMachine"] = failure.virtual_machine
        found.append(entry)
    return found


def achieved(snapshot: Snapshot, journal: Journal, begin: datetime) -> dict[str, Any]:
    """RTO from the accepted request to the last ready VM, RPO from the recovery point of the data that was used."""
    result: dict[str, Any] = {}
    points = [t.recovery_point for t in _targets(snapshot, journal) if t.recovery_point is not None]
    if points:
        point = min(points)
        result["recoveryPointTime"] = stamp(point)
        result["dataLossSeconds"] = _loss(snapshot, journal, point, begin)
    ready = [r.ended for v in snapshot.vms if (r := journal.get("Ready", v.key)) is not None and r.good]
    if ready:
        result["recoveryTimeSeconds"] = max(0, round(max(ready) - begin.timestamp()))
    return result


def _loss(snapshot: Snapshot, journal: Journal, point: datetime, begin: datetime) -> int:
    """Seconds of writes that the recovered data lacks at most: none where a sync followed the last VM's shutdown."""
    planned = snapshot.type is RunType.PLANNED_MIGRATION
    off, sync = ("ShutDown", "FinalSync") if planned else ("FenceShutDown", "LastSync")
    offs = [journal.get(off, v.key) for v in snapshot.vms]
    syncs = [journal.get(sync, g.key) for g in snapshot.groups]
    if all(r is not None and r.good for r in (*offs, *syncs)):
        return 0
    begun = [r.started for g in snapshot.groups if (r := journal.get("Failover", g.key)) is not None]
    return max(0, round(min(begun, default=begin.timestamp()) - point.timestamp()))


def _targets(snapshot: Snapshot, journal: Journal) -> Iterable[Target]:
    for group in snapshot.groups:
        record = journal.get("Failover", group.key)
        if record is not None and record.good and (target := Target.read(record.note)) is not None:
            yield target


def current_step(snapshot: Snapshot, journal: Journal) -> str:
    """The earliest step of the table in force that has something under way, "" where none has."""
    for step in all_steps(snapshot).values():
        if any((r := journal.get(step.name, i)) is not None and not r.settled for i in snapshot.items(step.scope)):
            return step.name
    return ""
