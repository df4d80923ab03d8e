"""What a call's outcome means for its record: pure, the one place where errors become retries or failures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from resurgo.domain.journal import Record
from resurgo.domain.snapshot import FrozenVm, Snapshot
from resurgo.domain.states import StepState
from resurgo.domain.steps import Call, Scope, Side, Step

BACKOFF_FIRST, BACKOFF_MOST = 1.0, 30.0  # seconds


class Verdict(StrEnum):
    DONE = "Done"
    ALREADY = "AlreadyDone"
    RETRYABLE = "Retryable"  # nothing happened, or it can be asked again safely
    REJECTED = "Rejected"  # asking again changes nothing


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one call ended. ``after`` is the advised wait in seconds before the next try."""

    verdict: Verdict
    note: str = ""
    reason: str = ""
    message: str = ""
    after: float = 0.0


def settle(step: Step, record: Record, outcome: Outcome, now: datetime, *, retries: int) -> Record:
    """The record after *outcome*: done, to be tried again, or failed.

    A retryable error counts when the step's deadline or its number of tries is used up; a rejection is tried again
    *retries* times.
    """
    stamp = now.timestamp()
    note = outcome.note or record.note
    match outcome.verdict:
        case Verdict.DONE:
            return replace(record, state=StepState.DONE, ended=stamp, note=note, retry_at=0.0, reason="", message="")
        case Verdict.ALREADY:
            # A repeated call that finds its end reached only confirms the earlier one.
            state = StepState.ALREADY_DONE if record.attempt == 1 else StepState.DONE
            return replace(record, state=state, ended=stamp, note=note, retry_at=0.0, reason="", message="")
        case Verdict.RETRYABLE if stamp - record.started < step.deadline and record.attempt < step.tries:
            return _again(record, outcome, stamp)
        case Verdict.REJECTED if record.attempt <= retries:
            return _again(record, outcome, stamp)
        case _:
            return replace(
                record,
                state=StepState.FAILED,
                ended=stamp,
                retry_at=0.0,
                reason=outcome.reason,
                message=outcome.message,
            )


def _again(record: Record, outcome: Outcome, stamp: float) -> Record:
    wait = min(BACKOFF_MOST, max(outcome.after, BACKOFF_FIRST * 2 ** min(record.attempt - 1, 10)))
    return replace(record, retry_at=stamp + wait, reason=outcome.reason, message=outcome.message)


def retries_of(snapshot: Snapshot, step: Step, vm: FrozenVm | None) -> int:
    """How often a rejected call of *step* is repeated: the stage's setting, for VMs at the recovery site."""
    if vm is None or step.scope is not Scope.VM or step.side is not Side.TARGET or step.call is Call.WAIT_READY:
        return 0
    return next((s.retries for s in snapshot.stages if s.name == vm.stage), 0)
