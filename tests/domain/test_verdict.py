"""How a run ended: every ending, with what a person reads of it."""

from __future__ import annotations

import pytest

from resurgo.domain.decide import CANCELLED, ROLL_BACK, label
from resurgo.domain.graph import build
from resurgo.domain.journal import Journal, OpKey, Record
from resurgo.domain.snapshot import FrozenStage, Snapshot
from resurgo.domain.states import RunPhase, RunType, StepState
from resurgo.domain.steps import Scope
from resurgo.domain.verdict import Ending, Failure, ending, failures, source_released
from resurgo.domain.workflows import TABLES
from tests.domain.snapshots import snapshot, vm

DISASTER = RunType.DISASTER_RECOVERY
DONE = Record(StepState.DONE, 1.0, 2.0)


def failed(reason: str = "Broken", message: str = "it broke") -> Record:
    return Record(StepState.FAILED, 1.0, 2.0, reason=reason, message=message)


def skipped(reason: str, message: str = "because") -> Record:
    return Record(StepState.SKIPPED, 1.0, 2.0, reason=reason, message=message)


def after(frozen: Snapshot, changes: dict[tuple[str, str], Record | None] | None = None) -> Journal:
    """A journal in which all went well but *changes*."""
    journal = Journal()
    journal.put((OpKey(step.name, i), DONE) for step in TABLES[frozen.type] for i in frozen.items(step.scope))
    journal.put((OpKey(*key), record) for key, record in (changes or {}).items())
    return journal


def end(frozen: Snapshot, changes: dict[tuple[str, str], Record | None] | None = None) -> Ending:
    return ending(frozen, build(frozen), after(frozen, changes))


TWO = snapshot(vm(0), vm(1))
NEXT = "Mend the cause, then raise spec.retry by one"


def test_all_ready() -> None:
    assert Ending(RunPhase.SUCCEEDED, "Recovered", "2 of 2 VMs are ready at b") == end(TWO)


def test_a_vm_that_is_kept_off_counts_as_ready() -> None:
    assert RunPhase.SUCCEEDED is end(TWO, {("Ready", "vm-1"): skipped("NotWanted")}).phase


def test_a_vm_that_failed_where_the_stage_goes_on() -> None:
    frozen = snapshot(vm(0, "s"), vm(1, "s"), stages=(FrozenStage("s", quorum=50),))
    missing = {("PowerOn", "vm-1"): failed(), ("Ready", "vm-1"): skipped("DependencyFailed")}
    assert Ending(
        RunPhase.SUCCEEDED_WITH_WARNINGS,
        "VirtualMachinesFailed",
        f"1 of 2 VMs are ready; not ready: machine-1. {NEXT}",
    ) == end(frozen, missing)


def test_a_stage_that_missed_its_quorum() -> None:
    frozen = snapshot(vm(0, "s"), vm(1, "s"), stages=(FrozenStage("s", quorum=75),))
    assert Ending(
        RunPhase.FAILED,
        "StageHalted",
        f"stage s reached 1 of 2 VMs, 75 % are required; not ready: machine-1. {NEXT}",
    ) == end(frozen, {("Ready", "vm-1"): failed()})


@pytest.mark.parametrize(
    ("step", "item", "what"),
    [
        ("Failover", "cg-0", "Failover of consistency group cg"),
        ("Present", "ds-0", "Present of datastore ds"),
    ],
)
def test_a_step_that_stops_the_run(step: str, item: str, what: str) -> None:
    assert Ending(RunPhase.FAILED, "Broken", f"{what} failed: it broke. {NEXT}") == end(TWO, {(step, item): failed()})


def test_a_failure_without_a_reason_still_has_one() -> None:
    assert "StepFailed" == end(TWO, {("Failover", "cg-0"): failed(reason="")}).reason


@pytest.mark.parametrize(
    "changes",
    [
        {("FenceShutDown", "vm-0"): skipped("SourceUnreachable")},
        {("FencePrepare", "cg-0"): failed()},
        {("FencePrepare", "cg-0"): None},
    ],
)
def test_a_source_that_was_not_seen_released(changes: dict) -> None:
    frozen = snapshot(vm(0), type_=DISASTER)
    found = end(frozen, changes)
    assert (RunPhase.SUCCEEDED_WITH_WARNINGS, "SourceNotReleased") == (found.phase, found.reason)
    assert "make sure that its VMs stay off" in found.message
    assert not source_released(frozen, after(frozen, changes))


@pytest.mark.parametrize("step", ["FenceUnregister", "FenceUnmount", "LastSync"])
def test_a_source_is_released_by_what_is_off_and_read_only_alone(step: str) -> None:
    frozen = snapshot(vm(0), type_=DISASTER)
    (scope,) = (s.scope for s in TABLES[DISASTER] if s.name == step)
    assert RunPhase.SUCCEEDED is end(frozen, {(step, frozen.items(scope)[0]): failed()}).phase


def test_with_required_fencing_a_failure_at_the_source_ends_the_run() -> None:
    frozen = snapshot(vm(0), type_=DISASTER, fencing="Required")
    assert (RunPhase.FAILED, "Broken") == (
        (found := end(frozen, {("FencePrepare", "cg-0"): failed()})).phase,
        found.reason,
    )


# -- the way back --------------------------------------------------------------------------------------


def turned(reason: str = "Broken", message: str = "ShutDown of VM machine-0: it broke") -> dict:
    return {tuple(ROLL_BACK): Record(StepState.DONE, 1.0, reason=reason, message=message)}


def test_rolled_back_after_a_failure() -> None:
    assert Ending(
        RunPhase.FAILED,
        "Broken",
        "ShutDown of VM machine-0: it broke. Rolled back: the VMs are at a as before",
    ) == end(TWO, turned())
    assert "RolledBack" == end(TWO, turned(reason="")).reason


def test_rolled_back_because_somebody_cancelled() -> None:
    assert Ending(RunPhase.CANCELLED, "Cancelled", "rolled back to a: on request") == end(
        TWO, turned(CANCELLED, "on request")
    )


@pytest.mark.parametrize("reason", ["Broken", CANCELLED])
def test_a_way_back_that_failed_says_what_is_left(reason: str) -> None:
    left = {("Reregister", "vm-1"): failed(message="no such folder"), ("Remount", "ds-0"): failed(message="no export")}
    found = end(TWO, turned(reason) | left)
    assert (RunPhase.FAILED, "RollbackIncomplete") == (found.phase, found.reason)
    assert "the way back to a failed too: Remount of datastore ds: no export, Reregister of VM machine-1" in (
        found.message
    )


# -- what failed, one by one ---------------------------------------------------------------------------


def test_failures_are_told_in_the_order_of_the_steps() -> None:
    journal = after(TWO, {("Register", "vm-1"): failed(), ("Present", "ds-0"): failed(), ("PowerOn", "vm-0"): failed()})
    journal.put([(OpKey("Reregister", "vm-0"), failed(message="no such folder"))])
    assert [
        Failure("", "Present", "Broken", "datastore ds: it broke"),
        Failure("machine-1", "Register", "Broken", "it broke"),
        Failure("machine-0", "PowerOn", "Broken", "it broke"),
        Failure("machine-0", "Reregister", "Broken", "no such folder"),
    ] == failures(TWO, journal)


def test_what_halted_is_told_once_and_what_was_skipped_for_its_own_failure_is_not() -> None:
    halted, own = skipped("StageHalted", "stage db did not reach its quorum"), skipped("DependencyFailed")
    journal = after(TWO, {("PowerOn", "vm-0"): halted, ("Ready", "vm-0"): halted, ("Ready", "vm-1"): own})
    assert [Failure("machine-0", "PowerOn", "StageHalted", halted.message)] == failures(TWO, journal)


def test_a_journal_that_has_just_begun_tells_of_nothing() -> None:
    assert [] == failures(TWO, Journal())


@pytest.mark.parametrize(
    ("item", "words"),
    [("vm-1", "VM machine-1"), ("ds-0", "datastore ds"), ("cg-0", "consistency group cg"), ("run", "the run")],
)
def test_items_are_called_as_users_call_them(item: str, words: str) -> None:
    assert words == label(TWO, item)
    assert Scope.RUN.value == "run"
