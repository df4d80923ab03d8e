"""The operator is killed at every step; the runs end as if nothing had happened."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

import pytest
from tests.crash import effects, runs, trouble
from tests.crash.conftest import Crash
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.lab

RANDOM_KILLS = 25
# What tells that a step has done something: site, method or command, and a part of the name.
SIGNS: Mapping[str, str] = {
    "PreSync": "berlin syncOnce",
    "FinalSync": "berlin syncOnce",
    "LastSync": "berlin syncOnce",
    "ShutDown": "berlin ShutdownGuest",
    "FenceShutDown": "berlin ShutdownGuest",
    "Unregister": "berlin UnregisterVM",
    "FenceUnregister": "berlin UnregisterVM",
    "Unmount": "berlin RemoveDatastore",
    "FenceUnmount": "berlin RemoveDatastore",
    "PrepareFailover": "berlin prepareFailover",
    "FencePrepare": "berlin prepareFailover",
    "Failover": "leipzig failover",
    "Present": "leipzig CreateNasDatastore",
    "Register": "leipzig RegisterVM_Task",
    "Configure": "leipzig ReconfigVM_Task",
    "PowerOn": "leipzig PowerOnVM_Task",
}


@pytest.mark.parametrize("type_", [runs.PLANNED, pytest.param(runs.DISASTER, marks=pytest.mark.slow)])
def test_killed_at_the_beginning_of_every_step(crash: Crash, type_: str):
    crash.undisturbed(type_)
    plan = crash.plan()
    before = runs.uuids(crash.lab, plan)
    trouble.slow(crash.lab)
    run = runs.begin(crash.lab, plan, type_)
    for step in runs.steps(type_):
        crash.wait_step(run, step)
        crash.operators.kill_leader()
    crash.assert_as_undisturbed(plan, type_, run)
    assert before == runs.uuids(crash.lab, plan)


@pytest.mark.slow
@pytest.mark.parametrize("pod", [True, False], ids=["with its children", "its children run on"])
@pytest.mark.parametrize("type_", [runs.PLANNED, runs.DISASTER])
def test_killed_between_what_a_step_does_and_the_record_of_it(crash: Crash, type_: str, pod: bool):
    crash.undisturbed(type_)
    plan = crash.plan()
    trouble.slow(crash.lab)
    run = runs.begin(crash.lab, plan, type_)
    for step in runs.steps(type_):
        if step not in SIGNS:
            continue
        crash.wait_step(run, step)
        leader = crash.operators.leader()
        earlier = 1 if step == "FinalSync" else 0
        _until(lambda s=step: _count(effects.asked(crash.lab, plan), SIGNS[s]), earlier, f"{step} is asked")
        leader.freeze()
        _until(lambda s=step: _count(effects.effects(crash.lab, plan), SIGNS[s]), earlier, f"{step} is done")
        crash.operators.kill_leader(pod=pod)
    crash.assert_as_undisturbed(plan, type_, run)


def _until(count: Callable[[], int], more_than: int, what: str) -> None:
    wait_until(lambda: count() > more_than, what, every=0.005)


def _count(counts: effects.Counts, sign: str) -> int:
    return sum(n for what, n in counts.items() if what.startswith(sign))


@pytest.mark.slow
@pytest.mark.parametrize("type_", [runs.PLANNED, runs.DISASTER])
def test_killed_at_random_moments(crash: Crash, type_: str):
    crash.undisturbed(type_)
    seed = time.time_ns() % 1_000_000
    chance = random.Random(seed)  # noqa: S311 - a test wants to be repeated
    print(f"seed {seed}")
    left, plans = RANDOM_KILLS, 0
    while left:
        plan = crash.plan()
        trouble.slow(crash.lab, ms=200, jitter_ms=300)
        run = runs.begin(crash.lab, plan, type_)
        for _ in range(min(left, 9)):
            crash.operators.leader()
            if not crash.over_within(run, chance.uniform(0.3, 4.0)):
                crash.operators.kill_leader(pod=chance.random() < 0.7)
                left -= 1
        if type_ == runs.DISASTER:
            crash.assert_recovered(plan, run)  # so many kills may use up the time that a step at the source has
        else:
            crash.assert_as_undisturbed(plan, type_, run)
        plans += 1
    print(f"seed {seed}: {RANDOM_KILLS} kills over {plans} runs of {type_}")
