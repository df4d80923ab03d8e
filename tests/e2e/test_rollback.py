"""Before the point of no return a run that fails or is cancelled puts everything back; after it, it goes forward."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e import acting, objects
from tests.e2e.acting import reason_of, step_states
from tests.lab.lab import Lab, condition_of

pytestmark = pytest.mark.lab

KEPT = ("path", "powerState", "uuid", "instanceUuid", "networks", "pool", "vmx", "disks", "annotation")
"""What a VM must have again after a rollback; its id and, with it, its host may be new."""


def at_berlin(lab: Lab, group: str) -> dict[str, dict[str, Any]]:
    vms = lab.protected.admin.vms()
    return {name: {k: vm[k] for k in KEPT} for name, vm in vms.items() if name.startswith(f"{group}-")}


def assert_all_back(lab: Lab, group: str, before: dict[str, Any]) -> None:
    assert before == at_berlin(lab, group)
    store = lab.protected.admin.datastores()[f"ds-{group}"]
    assert (["esx-ber-1", "esx-ber-2"], True) == (store["hosts"], store["accessible"])
    assert "rw" == lab.exports(lab.design.sites[0])[f"/cg-{group}/ds-{group}"]["access"]
    assert "none" == lab.exports(lab.design.sites[1])[f"/cg-{group}/ds-{group}"]["access"]
    assert [] == [name for name in lab.recovery.admin.vms() if name.startswith(f"{group}-")]
    assert f"ds-{group}" not in lab.recovery.admin.datastores()
    assert [] == lab.protected.admin.writers()["overlaps"]


def stages(group: str) -> list[dict[str, Any]]:
    return [
        {"name": "first", "virtualMachines": [{"name": f"{group}-1"}]},
        {"name": "second", "dependsOn": ["first"], "protectionGroups": [group]},
    ]


def test_an_array_that_refuses_to_prepare_leaves_everything_as_it_was(lab: Lab):
    group = "array-fails"
    lab.kube.apply(objects.plan(group, group, stages=stages(group)))
    acting.ready(lab, group)
    before = at_berlin(lab, group)
    error = {"code": 1017, "description": "the volume is in use by a backup", "fixHint": "end the backup"}
    acting.array_faults(lab, 0, {"command": "prepareFailover", "group": f"cg-{group}", "effect": {"itemError": error}})
    run = acting.over(lab, acting.recover(lab, group))
    assert "Failed" == run["status"]["phase"], run["status"]
    _, _, text = reason_of(run, "Succeeded") or ("", "", "")
    wanted = ("PrepareFailover", f"cg-{group}", "the volume is in use by a backup", "Rolled back", "berlin as before")
    assert [] == [part for part in wanted if part not in text], text
    assert text == acting.wait_event(lab, run["metadata"]["name"], (reason_of(run, "Succeeded") or ("", ""))[1])
    assert ("False", "NotReached") == (reason_of(run, "PointOfNoReturnPassed") or ())[:2]
    states = step_states(run)
    assert ("Failed", "Pending") == (states["PrepareFailover"], states["Failover"])
    assert {"Done"} == {states[s] for s in ("Remount", "Reregister", "PowerBackOn")}
    assert_all_back(lab, group, before)
    _starts_in_order(lab, group)
    plan = acting.wait_for(lab, "recoveryplan", group, lambda p: condition_of(p, "Stalled") == "True", "it is stalled")
    assert "RunFailed" == (reason_of(plan, "InSync") or ())[1]
    assert ["protected", "recovered"] == sorted(plan["status"]["validNextStates"])


def _starts_in_order(lab: Lab, group: str) -> None:
    runs = [r for r in lab.protected.admin.writers()["runs"] if r["vm"].startswith(f"{group}-") and r["running"]]
    assert [f"{group}-1", f"{group}-2"] == [r["vm"] for r in sorted(runs, key=lambda r: r["on"])]


def test_a_cancel_before_the_point_of_no_return_leaves_everything_as_it_was(lab: Lab):
    group = "cancelled"
    lab.kube.apply(objects.plan(group, group, stages=stages(group)))
    acting.ready(lab, group)
    before = at_berlin(lab, group)
    acting.array_faults(
        lab, 0, {"command": "syncOnce", "group": f"cg-{group}", "effect": {"delaySeconds": 2, "progress": True}}
    )
    run = acting.recover(lab, group)
    acting.at_step(lab, run, "FinalSync")
    acting.control(lab, run, "Cancel")
    run = acting.over(lab, run)
    assert "Cancelled" == run["status"]["phase"], run["status"]
    assert ("False", "Cancelled") == (reason_of(run, "Succeeded") or ())[:2]
    assert ("False", "NotReached") == (reason_of(run, "PointOfNoReturnPassed") or ())[:2]
    assert "Pending" == step_states(run)["PrepareFailover"]
    assert_all_back(lab, group, before)


def test_a_cancel_after_the_point_of_no_return_is_answered_and_the_run_goes_on(lab: Lab):
    group = "too-late"
    lab.kube.apply(objects.plan(group, group))
    acting.ready(lab, group)
    lab.recovery.admin.rules({"match": {"method": "RegisterVM_Task"}, "effect": {"when": "task", "delayMs": 4000}})
    run = acting.recover(lab, group)
    acting.at_step(lab, run, "Register")
    acting.control(lab, run, "Cancel")
    answered = acting.wait_for(
        lab,
        "recoveryrun",
        run["metadata"]["name"],
        lambda r: condition_of(r, "CancelAccepted") == "False",
        "the cancel is answered",
    )
    _, reason, text = reason_of(answered, "CancelAccepted") or ("", "", "")
    assert "PastPointOfNoReturn" == reason
    assert [] == [part for part in ("leipzig", "reprotect and fail back") if part not in text]
    assert text == acting.wait_event(lab, run["metadata"]["name"], "PastPointOfNoReturn")
    run = acting.over(lab, run)
    assert "Succeeded" == run["status"]["phase"], run["status"]
    assert "poweredOn" == lab.recovery.admin.vms()["too-late-1"]["powerState"]
