"""When a plan's edit becomes a run, and which edits come next: pure, from plan, world and what was handled before.

A request is a change: of desiredState, of requestID, or of recovery.mode after a try that did not reach the state.
A wish that stays unfulfilled does not fire again by itself, and a plan that was created with a wish never fires.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from resurgo.api import HandledRequest, RecoveryMode, RecoveryPlan
from resurgo.domain.states import ActiveState, RunType
from resurgo.domain.workflows import TABLES


class Answer(StrEnum):
    NOTHING = "Nothing"
    REMEMBER = "Remember"  # note the request, make no run
    ALREADY_HANDLED = "RequestAlreadyHandled"
    EXECUTE = "Execute"


@dataclass(frozen=True, slots=True)
class Request:
    answer: Answer
    noted: HandledRequest | None  # what lastRequest shall say, before a run's name is known
    type: RunType | None = None


def judge(plan: RecoveryPlan, state: ActiveState | None) -> Request:
    """What the plan's present wish means while no run is active."""
    spec, last = plan.spec, plan.status.last_request
    now = HandledRequest(
        desired_state=spec.desired_state, mode=spec.recovery.mode, request_id=spec.execution.request_id
    )
    if state is None:
        return Request(Answer.NOTHING, last)
    if last is None:
        return Request(Answer.REMEMBER, now)
    if state is spec.desired_state:
        return Request(Answer.REMEMBER, now.model_copy(update={"run": last.run}))
    asked = last.desired_state != now.desired_state or last.request_id != now.request_id
    other_way = last.mode != now.mode and last.run is not None
    known = bool(now.request_id) and now.request_id in plan.status.handled_requests
    if not asked and not other_way:
        return Request(Answer.ALREADY_HANDLED if known and last.run is None else Answer.NOTHING, last)
    if known:  # never again, whatever else has changed: also another way needs a requestID of its own
        return Request(Answer.ALREADY_HANDLED, now)
    type_ = run_type(state, spec.desired_state, spec.recovery.mode)
    if type_ is None:
        return Request(Answer.REMEMBER, now)
    return Request(Answer.EXECUTE, now, type_)


def run_type(state: ActiveState, wanted: ActiveState, mode: RecoveryMode) -> RunType | None:
    """The run that leads from *state* to *wanted*, None where no single one does."""
    match state, wanted:
        case ActiveState.PROTECTED, ActiveState.RECOVERED:
            return RunType.DISASTER_RECOVERY if mode is RecoveryMode.DISASTER_RECOVERY else RunType.PLANNED_MIGRATION
        case ActiveState.RECOVERED, ActiveState.REPROTECTED:
            return RunType.REPROTECT
        case ActiveState.REPROTECTED, ActiveState.PROTECTED:
            return RunType.PLANNED_MIGRATION
        case _:
            return None


def next_states(state: ActiveState | None, wanted: ActiveState, *, active: bool) -> list[str] | None:
    """What the API server shall accept as a change of desiredState; None = leave what is there."""
    if active:
        return []
    match state, wanted:
        case None, _:
            return None
        case ActiveState.PROTECTED, ActiveState.PROTECTED:
            return ["recovered"]
        case ActiveState.PROTECTED, _:
            return ["protected", "recovered"]
        case ActiveState.RECOVERED, _:
            return ["recovered", *([] if RunType.REPROTECT not in TABLES else ["reprotected"])]
        case _:
            return ["protected", "reprotected"]


def run_name(plan: RecoveryPlan, state: ActiveState, last_run: str) -> str:
    """The name of the run that this wish makes: the same from every door and after every crash.

    With a requestID it depends on namespace, plan and requestID alone.
    """
    meta, spec = plan.metadata, plan.spec
    if spec.execution.request_id:
        parts = [meta.namespace or "", meta.name, spec.execution.request_id]
    else:
        parts = [meta.namespace or "", meta.name, meta.uid, state.value, spec.desired_state.value, last_run]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
    return f"{meta.name[:52].rstrip('-.')}-{digest}"
