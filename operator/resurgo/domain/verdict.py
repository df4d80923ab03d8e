"""How a finished run ended, in one phase, one reason and one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from resurgo.domain.blockers import listed
from resurgo.domain.decide import CANCELLED, ROLL_BACK, error_rule, label, vm_ready
from resurgo.domain.graph import Graph, StageState, stage_state
from resurgo.domain.journal import Journal, Record
from resurgo.domain.snapshot import Snapshot
from resurgo.domain.states import RunPhase, StepState
from resurgo.domain.steps import OnError, Scope
from resurgo.domain.workflows import ROLLBACK, TABLES

_NEXT = "Mend the cause, then raise spec.retry by one"


HALTED = "StageHalted"  # the reason of a VM that was not tried because of others


@dataclass(frozen=True, slots=True)
class Failure:
    virtual_machine: str  # "" where the item is no VM
    step: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Ending:
    phase: RunPhase
    reason: str
    message: str


def failures(snapshot: Snapshot, journal: Journal) -> list[Failure]:
    """Everything that failed, and what was skipped because of it, in the order of the tables.

    What halted is told once, with its first step.
    """
    found = []
    halted: set[str] = set()
    for step in (*TABLES[snapshot.type], *ROLLBACK):
        for item in snapshot.items(step.scope):
            record = journal.get(step.name, item)
            if record is None:
                continue
            if record.state is not StepState.FAILED:
                if record.reason != HALTED or item in halted:
                    continue
                halted.add(item)
            name = label(snapshot, item)
            vm = name.removeprefix("VM ") if step.scope is Scope.VM else ""
            message = record.message if vm else f"{name}: {record.message}"
            found.append(Failure(vm, step.name, record.reason, message))
    return found


def ending(snapshot: Snapshot, graph: Graph, journal: Journal) -> Ending:
    """The end of a run that `decide` calls finished."""
    if (turn := journal.get(*ROLL_BACK)) is not None:
        return _rolled_back(snapshot, journal, turn)
    table = TABLES[snapshot.type]
    for step in table:
        if error_rule(step, snapshot) not in {OnError.STOP, OnError.ROLL_BACK}:
            continue
        for item in snapshot.items(step.scope):
            record = journal.get(step.name, item)
            if record is not None and record.state is StepState.FAILED:
                text = f"{step.name} of {label(snapshot, item)} failed: {record.message}. {_NEXT}"
                return Ending(RunPhase.FAILED, record.reason or "StepFailed", text)
    return _recovered(snapshot, graph, journal)


def _recovered(snapshot: Snapshot, graph: Graph, journal: Journal) -> Ending:
    missing = [v.name for v in snapshot.vms if vm_ready(journal, v.key) is not True]
    total = len(snapshot.vms)
    for name, stage in graph.stages.items():
        vms = graph.vms_of[name]
        ready = sum(vm_ready(journal, v.key) is True for v in vms)
        if stage_state(stage, total=len(vms), ready=ready, settled=len(vms)) is StageState.HALTED:
            return Ending(
                RunPhase.FAILED,
                "StageHalted",
                f"stage {name} reached {ready} of {len(vms)} VMs, {stage.quorum} % are required; not ready: "
                f"{listed(missing)}. {_NEXT}",
            )
    if missing:
        return Ending(
            RunPhase.SUCCEEDED_WITH_WARNINGS,
            "VirtualMachinesFailed",
            f"{total - len(missing)} of {total} VMs are ready; not ready: {listed(missing)}. {_NEXT}",
        )
    if not source_released(snapshot, journal):
        return Ending(
            RunPhase.SUCCEEDED_WITH_WARNINGS,
            "SourceNotReleased",
            f"{total} of {total} VMs are ready at {snapshot.target}; site {snapshot.source} was not seen released: "
            "make sure that its VMs stay off when it comes back",
        )
    return Ending(RunPhase.SUCCEEDED, "Recovered", f"{total} of {total} VMs are ready at {snapshot.target}")


def _rolled_back(snapshot: Snapshot, journal: Journal, turn: Record) -> Ending:
    left = [
        f"{step.name} of {label(snapshot, item)}: {record.message}"
        for step in ROLLBACK
        for item in snapshot.items(step.scope)
        if (record := journal.get(step.name, item)) is not None and record.state is StepState.FAILED
    ]
    if left:
        return Ending(
            RunPhase.FAILED,
            "RollbackIncomplete",
            f"{turn.message}; the way back to {snapshot.source} failed too: {listed(left)}. "
            f"The volumes of {snapshot.target} were not touched",
        )
    if turn.reason == CANCELLED:
        return Ending(RunPhase.CANCELLED, CANCELLED, f"rolled back to {snapshot.source}: {turn.message}")
    return Ending(
        RunPhase.FAILED,
        turn.reason or "RolledBack",
        f"{turn.message}. Rolled back: the VMs are at {snapshot.source} as before",
    )


def source_released(snapshot: Snapshot, journal: Journal) -> bool:
    """Whether every VM was seen off and every volume read-only at the source."""
    needed = {"FenceShutDown", "FencePrepare", "ShutDown", "PrepareFailover"}
    steps = [s for s in TABLES[snapshot.type] if s.name in needed]
    return all(
        (record := journal.get(step.name, item)) is not None and record.good
        for step in steps
        for item in snapshot.items(step.scope)
    )
