"""What may be in flight, from the journal alone."""

from __future__ import annotations

from resurgo.domain.budget import free
from resurgo.domain.decide import all_steps
from resurgo.domain.journal import Journal, OpKey, Record
from resurgo.domain.snapshot import SiteLimits, Snapshot
from resurgo.domain.states import StepState
from resurgo.domain.steps import Side
from tests.domain.snapshots import snapshot, vm

RUNNING = Record(StepState.RUNNING, 1.0)


def small(tasks: int, power_ons: int = 1) -> Snapshot:
    return snapshot(vm(0), vm(1), vm(2), limits=SiteLimits(tasks, power_ons))


def journal(**records: Record) -> Journal:
    """By step, all of vm-0."""
    found = Journal()
    found.put((OpKey(step, "vm-0"), record) for step, record in records.items())
    return found


def test_each_site_has_its_own_tasks() -> None:
    frozen = small(1)
    steps = all_steps(frozen)
    budget = free(frozen, Journal(), steps, {})
    assert [True, False] == [budget.take(steps["Register"], "") for _ in range(2)]
    assert [True, False] == [budget.take(steps["Unregister"], "") for _ in range(2)]


def test_waiting_for_a_guest_and_work_on_storage_cost_nothing() -> None:
    frozen = small(1)
    steps = all_steps(frozen)
    budget = free(frozen, journal(Ready=RUNNING, ShutDown=RUNNING, Present=RUNNING), steps, {})
    for name in ("Ready", "ShutDown", "Failover", "Present", "Unmount"):
        assert all(budget.take(steps[name], "host-1") for _ in range(5)), name
    assert budget.take(steps["Register"], "")


def test_open_intents_count_those_that_rest_or_have_ended_do_not() -> None:
    frozen = small(2)
    steps = all_steps(frozen)
    done, resting = Record(StepState.DONE, 1.0, 2.0), Record(StepState.RUNNING, 1.0, retry_at=9.0)
    cases = {1: journal(Register=RUNNING), 2: journal(Register=done, Configure=resting, Unknown=RUNNING)}
    for left, before in cases.items():
        assert left == free(frozen, before, steps, {}).tasks[Side.TARGET]


def test_power_ons_are_bounded_by_host() -> None:
    frozen = small(32)
    steps = all_steps(frozen)
    budget = free(frozen, journal(PowerOn=RUNNING), steps, {"vm-0": "host-1"})
    assert not budget.take(steps["PowerOn"], "host-1")
    assert budget.take(steps["PowerOn"], "host-2")
    assert budget.take(steps["PowerOn"], ""), "a host that is not known bounds nothing"
    assert budget.take(steps["Configure"], "host-1")
    assert 32 - 1 - 3 == budget.tasks[Side.TARGET], "a refused power-on takes no task"


def test_an_open_power_on_whose_host_is_not_known_still_takes_a_task() -> None:
    frozen = small(3)
    budget = free(frozen, journal(PowerOn=RUNNING), all_steps(frozen), {})
    assert (2, 0) == (budget.tasks[Side.TARGET], budget.power_ons.total())
