"""What an outcome makes of a record: done, again later, or failed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from resurgo.domain.journal import Record
from resurgo.domain.settle import Outcome, Verdict, retries_of, settle
from resurgo.domain.snapshot import FrozenStage
from resurgo.domain.states import StepState
from resurgo.domain.steps import Call, OnError, Scope, Side, Step
from tests.domain.snapshots import snapshot, vm
from tests.domain.things import NOW

STARTED = NOW.timestamp()
STEP = Step("Mount", Scope.DATASTORE, Side.TARGET, Call.MOUNT, OnError.STOP, 600, "", tries=3)
BUSY = Outcome(Verdict.RETRYABLE, reason="Busy", message="in use", after=2.0)
NO = Outcome(Verdict.REJECTED, reason="NotAllowed", message="no right", note="of the failure")


def running(attempt: int = 1, **more: object) -> Record:
    return Record(StepState.RUNNING, STARTED, attempt=attempt, **more)  # type: ignore[arg-type]


def after(seconds: float, record: Record, outcome: Outcome, *, retries: int = 0) -> Record:
    return settle(STEP, record, outcome, NOW + timedelta(seconds=seconds), retries=retries)


@pytest.mark.parametrize(
    ("verdict", "attempt", "state"),
    [
        (Verdict.DONE, 1, StepState.DONE),
        (Verdict.DONE, 3, StepState.DONE),
        (Verdict.ALREADY, 1, StepState.ALREADY_DONE),
        (Verdict.ALREADY, 2, StepState.DONE),  # a repeated call that finds its end reached confirms the first
    ],
)
def test_a_reached_end_ends_the_record_and_clears_its_trouble(verdict: Verdict, attempt: int, state: StepState) -> None:
    troubled = running(attempt, retry_at=1.0, reason="Busy", message="in use")
    assert Record(state, STARTED, STARTED + 5, attempt, note="here") == after(
        5, troubled, Outcome(verdict, note="here")
    )


def test_a_note_outlives_an_outcome_without_one() -> None:
    assert "handle" == after(1, running(note="handle"), Outcome(Verdict.DONE)).note


@pytest.mark.parametrize(
    ("attempt", "advised", "wait"),
    [(1, 0.0, 1.0), (2, 0.0, 2.0), (1, 7.0, 7.0), (1, 500.0, 30.0)],
)
def test_a_temporary_error_is_tried_again_later_and_later(attempt: int, advised: float, wait: float) -> None:
    outcome = Outcome(Verdict.RETRYABLE, reason="Busy", message="in use", after=advised)
    again = after(10, running(attempt), outcome)
    assert (StepState.RUNNING, STARTED + 10 + wait, "Busy", "in use") == (
        again.state,
        again.retry_at,
        again.reason,
        again.message,
    )
    assert not again.settled


def test_the_wait_does_not_grow_beyond_its_limit() -> None:
    step = Step("Mount", Scope.DATASTORE, Side.TARGET, Call.MOUNT, OnError.STOP, 1e9, "", tries=100_000)
    record = settle(step, running(99_999), BUSY, NOW, retries=0)
    assert STARTED + 30.0 == record.retry_at


@pytest.mark.parametrize(
    ("seconds", "attempt"),
    [(600, 1), (601, 1), (1, 3)],
    ids=["at its deadline", "after it", "tries used up"],
)
def test_a_temporary_error_counts_once_time_or_tries_are_used_up(seconds: float, attempt: int) -> None:
    failed = after(seconds, running(attempt, note="handle", retry_at=3.0), BUSY)
    assert Record(StepState.FAILED, STARTED, STARTED + seconds, attempt, 0.0, "Busy", "in use", "handle") == failed


@pytest.mark.parametrize(
    ("attempt", "retries", "state"),
    [(1, 0, StepState.FAILED), (1, 1, StepState.RUNNING), (2, 1, StepState.FAILED), (2, 2, StepState.RUNNING)],
)
def test_a_rejection_is_tried_again_as_often_as_the_stage_says(attempt: int, retries: int, state: StepState) -> None:
    record = after(1, running(attempt), NO, retries=retries)
    assert (state, "NotAllowed", "no right") == (record.state, record.reason, record.message)


def test_a_rejection_is_tried_again_also_after_the_deadline() -> None:
    assert StepState.RUNNING is after(6000, running(), NO, retries=1).state


@pytest.mark.parametrize(
    ("step", "item", "retries"),
    [
        (Step("PowerOn", Scope.VM, Side.TARGET, Call.POWER_ON, OnError.ITEM, 1, ""), vm(0, "app"), 4),
        (Step("PowerOn", Scope.VM, Side.TARGET, Call.POWER_ON, OnError.ITEM, 1, ""), vm(0, "unknown"), 0),
        (Step("Ready", Scope.VM, Side.TARGET, Call.WAIT_READY, OnError.ITEM, 1, ""), vm(0, "app"), 0),
        (Step("ShutDown", Scope.VM, Side.SOURCE, Call.SHUT_DOWN, OnError.ROLL_BACK, 1, ""), vm(0, "app"), 0),
        (STEP, None, 0),
    ],
)
def test_retries_are_the_stages_and_for_the_recovery_sites_vms_alone(step: Step, item: object, retries: int) -> None:
    frozen = snapshot(vm(0, "app"), stages=(FrozenStage("app", retries=4),))
    assert retries == retries_of(frozen, step, item)  # type: ignore[arg-type]
