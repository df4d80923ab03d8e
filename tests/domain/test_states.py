"""Where workloads live, from what the two ends of their replication show."""

from __future__ import annotations

import pytest

from resurgo.domain.replication import ItemResult, Op, Phase, Role
from resurgo.domain.states import RETRYABLE, STARTED, TERMINAL, ActiveState, active_state, common_state, split_brain
from tests.domain.things import status

P, R, V = ActiveState.PROTECTED, ActiveState.RECOVERED, ActiveState.REPROTECTED


@pytest.mark.parametrize(
    ("here", "there", "state"),
    [
        (Role.SOURCE, Role.TARGET, P),
        (Role.PREPARED, Role.TARGET, P),
        (Role.FAILED_OVER, Role.TARGET, P),  # failed back, not yet reprotected
        (Role.SOURCE, None, P),
        (None, Role.TARGET, P),  # an end that does not answer says nothing: the other one is believed
        (Role.SOURCE, Role.UNKNOWN, P),
        (Role.FAILED_OVER, Role.PREPARED, P),
        (Role.REMOTE_FAILED_OVER, Role.FAILED_OVER, R),
        (Role.SOURCE, Role.FAILED_OVER, R),
        (None, Role.FAILED_OVER, R),
        (Role.PREPARED, Role.FAILED_OVER, R),
        (Role.TARGET, Role.SOURCE, V),
        (None, Role.SOURCE, V),
        (None, None, None),
        (Role.TARGET, None, None),
        (Role.TARGET, Role.TARGET, None),
        (Role.PREPARED, None, None),
        (Role.SPLIT_BRAIN, Role.UNKNOWN, None),
    ],
)
def test_where_a_group_lives(here: Role | None, there: Role | None, state: ActiveState | None) -> None:
    ends = [status(role) if role else None for role in (here, there)]
    assert state is active_state(*ends)


@pytest.mark.parametrize(
    ("states", "common"),
    [([P, P], P), ([P, R], None), ([P, None], None), ([None], None), ([], None), ([V], V)],
)
def test_groups_that_differ_have_no_state_in_common(
    states: list[ActiveState | None], common: ActiveState | None
) -> None:
    assert common is common_state(states)


@pytest.mark.parametrize(
    ("here", "there", "split"),
    [
        (Role.SOURCE, Role.FAILED_OVER, True),
        (Role.SOURCE, Role.SOURCE, True),
        (Role.FAILED_OVER, Role.SOURCE, True),
        (Role.SPLIT_BRAIN, None, True),
        (Role.SOURCE, Role.TARGET, False),
        (Role.PREPARED, Role.FAILED_OVER, False),
        (None, Role.FAILED_OVER, False),
        (None, None, False),
    ],
)
def test_two_writable_ends_are_a_split_brain(here: Role | None, there: Role | None, split: bool) -> None:
    ends = [status(role) if role else None for role in (here, there)]
    assert split is split_brain(*ends)


def test_what_can_be_tried_again_has_ended_and_what_is_under_way_has_not() -> None:
    assert RETRYABLE < TERMINAL
    assert not STARTED & TERMINAL


def test_what_failed_of_an_operation_is_told_with_its_advice() -> None:
    results = (
        ItemResult("a", done=True),
        ItemResult("b", done=False, error="full", hint="make room"),
        ItemResult("c", done=False, error="no"),
    )
    assert "b: full (make room); c: no" == Op("h", Phase.FAILED, results=results).failure
