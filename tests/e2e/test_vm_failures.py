"""A VM that can't be recovered keeps no other from it, is named with its cause; a retry does only what is left."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e import acting, objects
from tests.e2e.acting import reason_of, refuse
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab


def powered_on(lab: Lab, group: str) -> list[str]:
    vms = lab.recovery.admin.vms()
    return [n for n, vm in vms.items() if n.startswith(f"{group}-") and vm["powerState"] == "poweredOn"]


def effects(lab: Lab, group: str) -> dict[str, int]:
    """What took effect at leipzig for the VMs of *group*, and how often."""
    done = lab.recovery.admin.counters()["effects"]
    return {what: n for what, n in done.items() if f"{group}-" in what or f"/ds-{group}@" in what}


def failovers(lab: Lab, group: str) -> dict[str, int]:
    return {what: n for what, n in acting.array_effects(lab).items() if what.endswith(f" cg-{group}")}


def retry(lab: Lab, run: dict[str, Any]) -> dict[str, Any]:
    """Raise spec.retry and return the run once it has ended again."""
    name = run["metadata"]["name"]
    lab.patch("recoveryrun", name, {"retry": 1})
    return acting.wait_for(
        lab,
        "recoveryrun",
        name,
        lambda r: r["status"].get("handledRetry") == 1 and r["status"]["phase"] in acting.OVER and acting.let_go(r),
        "the retry ends",
    )


def failures(run: dict[str, Any]) -> list[tuple[str, str]]:
    return [(f["virtualMachine"], f["step"]) for f in run["status"]["failures"]]


def test_a_vm_that_is_not_registered_fails_alone_where_the_quorum_allows_it(lab: Lab):
    group = "one-lost"
    stages = [{"name": "all", "protectionGroups": [group], "onFailure": {"quorum": 60}}]
    lab.kube.apply(objects.plan(group, group, stages=stages))
    acting.ready(lab, group)
    rule = refuse("RegisterVM_Task", "one-lost-2", "the configuration file is damaged", "InvalidVmConfig", when="task")
    lab.recovery.admin.rules(rule)
    run = acting.over(lab, acting.recover(lab, group))
    assert "SucceededWithWarnings" == run["status"]["phase"], run["status"]
    assert {"total": 3, "ready": 2, "failed": 1, "skipped": 0} == run["status"]["counts"]
    assert [("one-lost-2", "Register")] == failures(run)
    (failure,) = run["status"]["failures"]
    assert [] == [
        p for p in ("one-lost-2", "leipzig", "the configuration file is damaged") if p not in failure["message"]
    ]
    assert "not ready: one-lost-2" in (reason_of(run, "Succeeded") or ("", "", ""))[2]
    assert ["one-lost-1", "one-lost-3"] == powered_on(lab, group)
    before = effects(lab, group)

    lab.recovery.admin.clear_rules()
    run = retry(lab, run)
    assert ("Succeeded", []) == (run["status"]["phase"], run["status"]["failures"]), run["status"]
    steps = (
        "RegisterVM_Task [ds-one-lost] one-lost-2/one-lost-2.vmx",
        "PowerOnVM_Task one-lost-2",
        "ReconfigVM_Task one-lost-2",
    )
    after = effects(lab, group)
    assert dict.fromkeys(steps, 1) == {k: n - before.get(k, 0) for k, n in after.items() if n != before.get(k, 0)}


def test_a_retry_of_a_run_that_succeeded_is_answered(lab: Lab):
    (run,) = acting.runs(lab, "one-lost")
    with acting.Untouched(lab):
        lab.patch("recoveryrun", run["metadata"]["name"], {"retry": 2})
        told = acting.wait_event(lab, run["metadata"]["name"], "NothingToRetry")
        assert "ask for a new one at its plan" in told
        run = acting.over(lab, run)
    assert ("Succeeded", 2) == (run["status"]["phase"], run["status"]["handledRetry"])


HALTED = [
    {"name": "front", "virtualMachines": [{"name": "halted-1"}, {"name": "halted-2"}]},
    {"name": "behind", "dependsOn": ["front"], "virtualMachines": [{"name": "halted-3"}]},
    {"name": "beside", "virtualMachines": [{"name": "halted-4"}]},
]


def test_a_stage_without_its_quorum_halts_what_depends_on_it_and_a_retry_completes_the_run(lab: Lab):
    group = "halted"
    lab.kube.apply(objects.plan(group, group, stages=HALTED))
    acting.ready(lab, group)
    lab.recovery.admin.reset_counters()
    lab.recovery.admin.rules(refuse("PowerOnVM_Task", "halted-1", "you may not power this on"))
    run = acting.over(lab, acting.recover(lab, group))
    assert ("Failed", "StageHalted") == (run["status"]["phase"], (reason_of(run, "Succeeded") or ("", ""))[1])
    text = acting.message_of(run, "Succeeded")
    wanted = ("stage front reached 1 of 2 VMs", "halted-1", "raise spec.retry by one")
    assert [] == [part for part in wanted if part not in text], text
    assert [("halted-1", "PowerOn"), ("halted-3", "PowerOn")] == failures(run)
    first, third = run["status"]["failures"]
    assert [] == [p for p in ("halted-1", "leipzig", "you may not power this on") if p not in first["message"]]
    assert ("StageHalted", True) == (third["reason"], "front" in third["message"])
    assert {"total": 4, "ready": 2, "failed": 1, "skipped": 1} == run["status"]["counts"]
    assert ["halted-2", "halted-4"] == powered_on(lab, group)
    before = effects(lab, group)

    lab.recovery.admin.clear_rules()
    run = retry(lab, run)
    assert "Succeeded" == run["status"]["phase"], run["status"]
    assert ([], {"total": 4, "ready": 4, "failed": 0, "skipped": 0}) == (
        run["status"]["failures"],
        run["status"]["counts"],
    )
    after = effects(lab, group)
    assert {"PowerOnVM_Task halted-1": 1, "PowerOnVM_Task halted-3": 1} == {
        what: n - before.get(what, 0) for what, n in after.items() if n != before.get(what, 0)
    }
    assert {1} == set(after.values())
    wanted_effects = {"berlin prepareFailover": 1, "leipzig failover": 1}
    got = failovers(lab, group)
    assert wanted_effects == {k.removesuffix(f" cg-{group}"): n for k, n in got.items() if "ailover" in k}


def test_a_stage_that_may_fail_lets_the_next_one_start(lab: Lab):
    group = "carries-on"
    stages = [
        {
            "name": "one",
            "virtualMachines": [{"name": "carries-on-1"}],
            "onFailure": {"policy": "Continue", "retries": 0},
        },
        {"name": "two", "dependsOn": ["one"], "virtualMachines": [{"name": "carries-on-2"}]},
    ]
    lab.kube.apply(objects.plan(group, group, stages=stages))
    acting.ready(lab, group)
    lab.recovery.admin.reset_counters()
    lab.recovery.admin.rules(refuse("PowerOnVM_Task", "carries-on-1", "you may not power this on"))
    run = acting.over(lab, acting.recover(lab, group))
    assert "SucceededWithWarnings" == run["status"]["phase"], run["status"]
    assert [("carries-on-1", "PowerOn")] == failures(run)
    assert ["carries-on-2"] == powered_on(lab, group)
    assert 1 == lab.recovery.admin.counters()["mutations"]["PowerOnVM_Task carries-on-1"]
