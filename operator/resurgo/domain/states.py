"""The states of runs, steps and plans. The words are the API's; which of them end something is said here."""

from __future__ import annotations

from collections.abc import Iterable

from resurgo.api import PlanState as ActiveState
from resurgo.api import RunControl as Control
from resurgo.api import RunPhase, RunType, StepState
from resurgo.domain.replication import GroupStatus, Role

TERMINAL = frozenset(
    {
        RunPhase.SUCCEEDED,
        RunPhase.SUCCEEDED_WITH_WARNINGS,
        RunPhase.FAILED,
        RunPhase.CANCELLED,
        RunPhase.REFUSED,
    }
)
RETRYABLE = frozenset({RunPhase.FAILED, RunPhase.SUCCEEDED_WITH_WARNINGS})  # what spec.retry starts again
STARTED = frozenset({RunPhase.RUNNING, RunPhase.PAUSED, RunPhase.ROLLING_BACK})


def active_state(at_protected: GroupStatus | None, at_recovery: GroupStatus | None) -> ActiveState | None:
    """Where one consistency group lives, from what the two ends show; None where they do not say.

    An end that does not answer (None) says nothing; the other one is then believed.
    """
    here = at_protected.role if at_protected else Role.UNKNOWN
    there = at_recovery.role if at_recovery else Role.UNKNOWN
    if there is Role.FAILED_OVER:
        return ActiveState.RECOVERED
    if there is Role.SOURCE:
        return ActiveState.REPROTECTED
    if here is Role.SOURCE or (there is Role.TARGET and here in {Role.UNKNOWN, Role.PREPARED}):
        return ActiveState.PROTECTED
    if here is Role.FAILED_OVER:
        return ActiveState.PROTECTED
    return None


def common_state(states: Iterable[ActiveState | None]) -> ActiveState | None:
    """The state all groups share, None where they differ or any is unknown."""
    found = set(states)
    return found.pop() if len(found) == 1 else None


def split_brain(at_protected: GroupStatus | None, at_recovery: GroupStatus | None) -> bool:
    """Both ends writable, or one of them says so itself."""
    ends = [e for e in (at_protected, at_recovery) if e is not None]
    writable = [e for e in ends if e.role in {Role.SOURCE, Role.FAILED_OVER}]
    return len(writable) > 1 or any(e.role is Role.SPLIT_BRAIN for e in ends)


__all__ = [
    "RETRYABLE",
    "STARTED",
    "TERMINAL",
    "ActiveState",
    "Control",
    "RunPhase",
    "RunType",
    "StepState",
    "active_state",
    "common_state",
    "split_brain",
]
