"""Disasters: berlin is dead or hangs, before a run begins or in the middle of it; leipzig does not wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from tests.crash import effects, runs, trouble
from tests.crash.conftest import Crash
from tests.e2e import acting
from tests.lab.lab import condition_of

pytestmark = pytest.mark.lab

BOUND = 90.0  # seconds from the request to the last ready VM, whatever berlin does


@contextmanager
def down(crash: Crash) -> Iterator[None]:
    """berlin's vCenter is gone, its array can't be reached; both come back afterwards."""
    lab = crash.lab
    lab.protected.kill()
    trouble.faults(lab, lab.design.sites[0], {"command": "*", "times": None, "effect": {"unreachable": True}})
    try:
        yield
    finally:
        trouble.faults(lab, lab.design.sites[0])
        lab.protected.start()
        _back(crash)


@contextmanager
def hanging(crash: Crash) -> Iterator[None]:
    """berlin's vCenter takes connections and says nothing, commands of its array never end."""
    lab = crash.lab
    lab.protected.process.pause()
    trouble.faults(lab, lab.design.sites[0], {"command": "*", "times": None, "effect": {"hang": True}})
    try:
        yield
    finally:
        trouble.faults(lab, lab.design.sites[0])
        lab.protected.process.resume()
        _back(crash)


def _back(crash: Crash) -> None:
    """Operators that have waited for the dead are replaced: the next test begins with fresh ones."""
    crash.operators.kill_leader()
    acting.wait_for(crash.lab, "site", "berlin", lambda s: condition_of(s, "Ready") == "True", "berlin is back")


Death = Callable[[Crash], AbstractContextManager[None]]
SLOW_DOWN, SLOW_HANGING = (pytest.param(d, marks=pytest.mark.slow) for d in (down, hanging))


@pytest.mark.parametrize("dead", [down, SLOW_HANGING])
def test_before_the_run(crash: Crash, dead: Death):
    crash.undisturbed(runs.DISASTER)
    plan = crash.plan()
    acting.ready(crash.lab, plan)
    with dead(crash):
        began = time.monotonic()
        _recovers(crash, plan, runs.ask(crash.lab, plan, runs.DISASTER), began)


@pytest.mark.parametrize("dead", [SLOW_DOWN, hanging])
def test_in_the_middle_of_the_run(crash: Crash, dead: Death):
    crash.undisturbed(runs.DISASTER)
    plan = crash.plan()
    trouble.slow(crash.lab)
    began = time.monotonic()
    run = runs.begin(crash.lab, plan, runs.DISASTER)
    crash.wait_step(run, "FenceShutDown")
    with dead(crash):
        _recovers(crash, plan, run, began)


@pytest.mark.slow
def test_the_operator_is_started_again_while_berlin_is_dead(crash: Crash):
    crash.undisturbed(runs.DISASTER)
    plan = crash.plan()
    acting.ready(crash.lab, plan)
    with down(crash):
        killed = crash.operators.kill_leader()
        crash.operators.leader(but=killed)
        began = time.monotonic()
        _recovers(crash, plan, runs.ask(crash.lab, plan, runs.DISASTER), began)


@pytest.mark.slow
def test_a_planned_migration_is_refused_and_one_edit_recovers(crash: Crash):
    crash.undisturbed(runs.DISASTER)
    plan = crash.plan()
    acting.ready(crash.lab, plan)
    with down(crash):
        acting.wait_for(
            crash.lab, "recoveryplan", plan, lambda p: condition_of(p, "Ready") == "False", "the plan is not ready"
        )
        refused = runs.end(crash.lab, runs.ask(crash.lab, plan, runs.PLANNED))
        assert "Refused" == refused["status"]["phase"], runs.phase(refused)
        assert {} == effects.asked(crash.lab, plan, site="leipzig")
        known = {r["metadata"]["name"] for r in acting.runs(crash.lab, plan)}
        began = time.monotonic()
        crash.lab.patch("recoveryplan", plan, {"recovery": runs.RECOVERY[runs.DISASTER]})
        acting.wait_for(
            crash.lab,
            "recoveryplan",
            plan,
            lambda _: len(acting.runs(crash.lab, plan)) > len(known),
            "the edit makes a run",
        )
        (run,) = {r["metadata"]["name"] for r in acting.runs(crash.lab, plan)} - known
        _recovers(crash, plan, run, began)


def _recovers(crash: Crash, plan: str, run: str, began: float) -> None:
    crash.over_within(run, BOUND)
    ended = runs.end(crash.lab, run, seconds=10)
    took = time.monotonic() - began
    print(f"{plan}: recovered {took:.1f} s after the request")
    assert took < BOUND
    assert "SucceededWithWarnings" == ended["status"]["phase"], runs.phase(ended)
    assert {"total": 3, "ready": 3, "failed": 0, "skipped": 0} == ended["status"]["counts"]
    assert "False" == condition_of(ended, "SourceFenced")
    acting.wait_for(
        crash.lab,
        "recoveryplan",
        plan,
        lambda p: condition_of(p, "SourceCleanupPending") == "True",
        "the plan tells that berlin was not seen released",
    )
    wanted = crash.undisturbed(runs.DISASTER)
    assert wanted.place["vms"] == runs.there(crash.lab, plan)
    at_leipzig = {k: n for k, n in wanted.effects.items() if k.startswith("leipzig")}
    assert at_leipzig == effects.effects(crash.lab, plan, site="leipzig")
