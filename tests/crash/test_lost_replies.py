"""What was done although its answer was lost is found again, and not done again."""

from __future__ import annotations

import pytest
from tests.crash import effects, runs, trouble
from tests.crash.conftest import Crash

pytestmark = pytest.mark.lab

METHODS = ("RegisterVM_Task", "PowerOnVM_Task", "UnregisterVM", "ReconfigVM_Task", "CreateNasDatastore")
MORE = ("ShutdownGuest", "RemoveDatastore", "CustomizeVM_Task")


def test_no_reply_of_a_vcenter_ever_arrives(crash: Crash):
    wanted = crash.undisturbed(runs.PLANNED)
    plan = crash.plan()
    rules = [{"match": {"method": m}, "effect": {"drop": "after"}} for m in (*METHODS, *MORE)]
    for sim in crash.lab.sites.values():
        sim.admin.rules(*rules)
    crash.assert_as_undisturbed(plan, runs.PLANNED, runs.begin(crash.lab, plan, runs.PLANNED))
    _asked_once(crash, plan, wanted.effects)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_the_reply_to_one_method_is_lost(crash: Crash, method: str):
    wanted = crash.undisturbed(runs.PLANNED)
    plan = crash.plan()
    for sim in crash.lab.sites.values():
        sim.admin.outage("lostReply", match=f"{method}*", count=3)
    crash.assert_as_undisturbed(plan, runs.PLANNED, runs.begin(crash.lab, plan, runs.PLANNED))
    _asked_once(crash, plan, wanted.effects)


@pytest.mark.parametrize("type_", [runs.PLANNED, pytest.param(runs.DISASTER, marks=pytest.mark.slow)])
def test_an_array_command_dies_after_its_effect(crash: Crash, type_: str):
    wanted = crash.undisturbed(type_)
    plan = crash.plan()
    dies = {"times": 1, "effect": {"dieAfterEffect": True}}
    for site in crash.lab.design.sites:
        trouble.faults(crash.lab, site, *({"command": c, "group": f"cg-{plan}", **dies} for c in trouble.CHANGING))
    crash.assert_as_undisturbed(plan, type_, runs.begin(crash.lab, plan, type_))
    _asked_once(crash, plan, wanted.effects)


def _asked_once(crash: Crash, plan: str, wanted: effects.Counts) -> None:
    assert {} == effects.repeats(wanted, effects.asked(crash.lab, plan))
