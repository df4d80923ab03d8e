"""When an edit of a plan becomes a run: once for each request, never by itself, and under the same name every time."""

from __future__ import annotations

from typing import Any

import pytest

from resurgo.api import HandledRequest, RecoveryMode, RecoveryPlan
from resurgo.domain.requests import Answer, Request, judge, next_states, run_name, run_type
from resurgo.domain.states import ActiveState, RunType
from tests.domain.things import plan

P, R, V = ActiveState.PROTECTED, ActiveState.RECOVERED, ActiveState.REPROTECTED
PLANNED, DISASTER = RecoveryMode.PLANNED_MIGRATION, RecoveryMode.DISASTER_RECOVERY


def wish(
    desired: ActiveState,
    last: HandledRequest | None,
    *,
    mode: RecoveryMode = PLANNED,
    request: str = "",
    handled: tuple[str, ...] = (),
) -> RecoveryPlan:
    status: dict[str, Any] = {"handledRequests": list(handled)}
    if last is not None:
        status["lastRequest"] = last.dump()
    recovery = {"mode": mode.value, "acknowledgeDataLoss": mode is DISASTER}
    return plan(status=status, desiredState=desired.value, recovery=recovery, execution={"requestID": request})


def noted(desired: ActiveState, *, mode: RecoveryMode = PLANNED, request: str = "", run: str = "") -> HandledRequest:
    return HandledRequest(desired_state=desired, mode=mode, request_id=request, run=run or None)


NOTHING, REMEMBER, EXECUTE, AGAIN = Answer.NOTHING, Answer.REMEMBER, Answer.EXECUTE, Answer.ALREADY_HANDLED

ROWS = {
    "a world that says nothing asks for nothing": (
        wish(R, noted(P)), None, Request(NOTHING, noted(P))),
    "nothing is remembered of a plan in a world that says nothing": (
        wish(R, None), None, Request(NOTHING, None)),
    "a plan that is new and as the world is": (
        wish(P, None), P, Request(REMEMBER, noted(P))),
    "a plan that was created as recovered is noted and not run": (
        wish(R, None), P, Request(REMEMBER, noted(R))),
    "and stays so": (
        wish(R, noted(R)), P, Request(NOTHING, noted(R))),
    "also with a requestID that it came with": (
        wish(R, noted(R, request="INC-1"), request="INC-1"), P, Request(NOTHING, noted(R, request="INC-1"))),
    "also when its mode changes, for it was never tried": (
        wish(R, noted(R), mode=DISASTER), P, Request(NOTHING, noted(R))),
    "until a requestID confirms it": (
        wish(R, noted(R), request="INC-1"), P,
        Request(EXECUTE, noted(R, request="INC-1"), RunType.PLANNED_MIGRATION)),
    "a plan that was created as recovered over a recovered world is adopted": (
        wish(R, None), R, Request(REMEMBER, noted(R))),
    "protected to recovered is a planned migration": (
        wish(R, noted(P)), P, Request(EXECUTE, noted(R), RunType.PLANNED_MIGRATION)),
    "or a disaster recovery by its mode": (
        wish(R, noted(P), mode=DISASTER), P,
        Request(EXECUTE, noted(R, mode=DISASTER), RunType.DISASTER_RECOVERY)),
    "recovered to reprotected is a reprotect": (
        wish(V, noted(R, run="r")), R, Request(EXECUTE, noted(V), RunType.REPROTECT)),
    "reprotected to protected is a planned migration back": (
        wish(P, noted(V)), V, Request(EXECUTE, noted(P), RunType.PLANNED_MIGRATION)),
    "recovered to protected has no run": (
        wish(P, noted(R, run="r")), R, Request(REMEMBER, noted(P))),
    "protected to reprotected has no run": (
        wish(V, noted(P)), P, Request(REMEMBER, noted(V))),
    "a run that failed is not repeated by the same wish": (
        wish(R, noted(R, run="r")), P, Request(NOTHING, noted(R, run="r"))),
    "after a failed run another mode asks again": (
        wish(R, noted(R, run="r"), mode=DISASTER), P,
        Request(EXECUTE, noted(R, mode=DISASTER), RunType.DISASTER_RECOVERY)),
    "after a failed run a new requestID asks again": (
        wish(R, noted(R, run="r"), request="INC-2"), P,
        Request(EXECUTE, noted(R, request="INC-2"), RunType.PLANNED_MIGRATION)),
    "after a failed run the way over protected is remembered first": (
        wish(P, noted(R, run="r")), P, Request(REMEMBER, noted(P, run="r"))),
    "and then asks again": (
        wish(R, noted(P, run="r")), P, Request(EXECUTE, noted(R), RunType.PLANNED_MIGRATION)),
    "a wish that came true is remembered with its run": (
        wish(R, noted(R, run="r")), R, Request(REMEMBER, noted(R, run="r"))),
    "a world that was moved by hand is adopted when the plan says so": (
        wish(R, noted(P)), R, Request(REMEMBER, noted(R))),
    "a world that was moved by hand fires nothing": (
        wish(P, noted(P)), R, Request(NOTHING, noted(P))),
    "a requestID that was executed is not executed again": (
        wish(R, noted(R, request="INC-2", run="r"), request="INC-1", handled=("INC-1", "INC-2")), P,
        Request(AGAIN, noted(R, request="INC-1"))),
    "and that stays to be read": (
        wish(R, noted(R, request="INC-1"), request="INC-1", handled=("INC-1", "INC-2")), P,
        Request(AGAIN, noted(R, request="INC-1"))),
    "not by another mode either": (
        wish(R, noted(R, request="INC-1", run="r"), mode=DISASTER, request="INC-1", handled=("INC-1",)), P,
        Request(AGAIN, noted(R, mode=DISASTER, request="INC-1"))),
    "not by the way over protected either": (
        wish(R, noted(P, request="INC-1"), request="INC-1", handled=("INC-1",)), P,
        Request(AGAIN, noted(R, request="INC-1"))),
    "a requestID whose run failed says how it failed, not that it was handled": (
        wish(R, noted(R, request="INC-1", run="r"), request="INC-1", handled=("INC-1",)), P,
        Request(NOTHING, noted(R, request="INC-1", run="r"))),
    "a requestID that is taken away asks again": (
        wish(R, noted(R, request="INC-1", run="r"), handled=("INC-1",)), P,
        Request(EXECUTE, noted(R), RunType.PLANNED_MIGRATION)),
}  # fmt: skip


@pytest.mark.parametrize(("asked", "state", "request_"), ROWS.values(), ids=ROWS.keys())
def test_a_wish_is_judged(asked: RecoveryPlan, state: ActiveState | None, request_: Request) -> None:
    assert request_ == judge(asked, state)


def test_what_was_executed_and_noted_is_not_executed_again() -> None:
    """The answer that makes a run, noted with its run, makes none when judged again, over every row."""
    for name, (asked, state, _) in ROWS.items():
        first = judge(asked, state)
        if first.answer is not EXECUTE:
            continue
        assert first.noted is not None
        done = first.noted.model_copy(update={"run": "r2"})
        handled = (*asked.status.handled_requests, *([done.request_id] if done.request_id else []))
        after = wish(done.desired_state, done, mode=done.mode, request=done.request_id, handled=handled)
        for world in (state, asked.spec.desired_state):
            assert judge(after, world).answer in {NOTHING, REMEMBER}, name


@pytest.mark.parametrize("state", list(ActiveState))
@pytest.mark.parametrize("wanted", list(ActiveState))
def test_only_four_moves_have_a_run(state: ActiveState, wanted: ActiveState) -> None:
    moves = {
        (P, R): (RunType.PLANNED_MIGRATION, RunType.DISASTER_RECOVERY),
        (R, V): (RunType.REPROTECT, RunType.REPROTECT),
        (V, P): (RunType.PLANNED_MIGRATION, RunType.PLANNED_MIGRATION),
    }
    expected = moves.get((state, wanted), (None, None))
    assert expected == tuple(run_type(state, wanted, mode) for mode in (PLANNED, DISASTER))


@pytest.mark.parametrize(
    ("state", "wanted", "allowed"),
    [
        (None, P, None),
        (P, P, ["recovered"]),
        (P, R, ["protected", "recovered"]),
        (P, V, ["protected", "recovered"]),
        (R, R, ["recovered"]),  # and reprotected, once there is a workflow that leads there
        (R, P, ["recovered"]),
        (V, V, ["protected", "reprotected"]),
    ],
)
def test_the_next_edits(state: ActiveState | None, wanted: ActiveState, allowed: list[str] | None) -> None:
    assert allowed == next_states(state, wanted, active=False)


def test_an_active_run_allows_no_edit_of_the_state() -> None:
    assert [] == next_states(P, R, active=True)
    assert [] == next_states(None, R, active=True)


# -- the run's name ------------------------------------------------------------------------------------


def test_a_process_that_died_between_making_and_noting_makes_the_same_name_again() -> None:
    asked = wish(R, noted(P))
    assert run_name(asked, P, "") == run_name(asked, P, "")


def test_without_a_request_id_each_new_try_has_a_name_of_its_own() -> None:
    one, again = wish(R, noted(P)), wish(R, noted(P))
    names = {run_name(one, P, ""), run_name(again, P, "first"), run_name(again, R, ""), run_name(wish(V, None), P, "")}
    assert 4 == len(names)
    assert run_name(plan(uid="new", desiredState="recovered"), P, "") not in names


def test_with_a_request_id_it_depends_on_plan_and_request_alone() -> None:
    first = run_name(wish(R, None, request="INC-1"), P, "")
    assert first == run_name(wish(R, noted(R, run="r"), mode=DISASTER, request="INC-1"), R, "last")
    remade = plan(uid="another", desiredState="recovered", execution={"requestID": "INC-1"})
    assert first == run_name(remade, P, "")
    assert first != run_name(wish(R, None, request="INC-2"), P, "")


@pytest.mark.parametrize("name", ["erp", "x" * 80, "a" * 51 + ".b", "a" * 51 + "--b"])
def test_the_name_is_a_legal_label_whatever_the_plan_is_called(name: str) -> None:
    asked = wish(R, None)
    asked = asked.model_copy(update={"metadata": asked.metadata.model_copy(update={"name": name})})
    made = run_name(asked, P, "")
    head, _, digest = made.rpartition("-")
    assert (True, 10, True) == (len(made) <= 63, len(digest), head[-1].isalnum())
