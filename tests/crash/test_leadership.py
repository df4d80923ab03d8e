"""Who leads may change in the middle of a run: by death, by freezing, and when the API server is silent."""

from __future__ import annotations

import time

import pytest
from tests.crash import runs, trouble
from tests.crash.conftest import Crash
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.lab

SILENCE = 20.0  # seconds


@pytest.mark.parametrize(
    "step",
    [
        *(
            pytest.param(s, marks=pytest.mark.slow)
            for s in ("ShutDown", "Unmount", "FinalSync", "Failover", "Configure")
        ),
        "Register",
        pytest.param("PowerOn", marks=pytest.mark.slow),
    ],
)
def test_a_frozen_leader_does_nothing_more_when_it_thaws(crash: Crash, step: str):
    crash.undisturbed(runs.PLANNED)
    plan = crash.plan()
    trouble.slow(crash.lab)
    run = runs.begin(crash.lab, plan, runs.PLANNED)
    crash.wait_step(run, step)
    stale = crash.operators.leader()
    stale.freeze()
    try:
        crash.operators.add()
        crash.assert_as_undisturbed(plan, runs.PLANNED, run)
    finally:
        stale.thaw()
    assert 1 == stale.wait_end(30)
    crash.assert_as_undisturbed(plan, runs.PLANNED, run)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["ShutDown", "Failover"])
def test_the_api_server_is_silent_in_the_middle_of_a_run(crash: Crash, step: str):
    crash.undisturbed(runs.PLANNED)
    plan = crash.plan()
    trouble.slow(crash.lab)
    run = runs.begin(crash.lab, plan, runs.PLANNED)
    crash.wait_step(run, step)
    leader = crash.operators.leader()
    paused = time.monotonic()
    crash.lab.kube.pause()
    try:
        leader.wait_end(SILENCE)  # it can't renew the Lease
        crash.operators.add()
        wait_until(lambda: time.monotonic() > paused + SILENCE, "the silence ends", seconds=SILENCE + 1)
    finally:
        crash.lab.kube.resume()
    crash.assert_as_undisturbed(plan, runs.PLANNED, run)
