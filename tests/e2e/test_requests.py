"""A plan executes when it is asked to, once for each request, and one run at a time."""

from __future__ import annotations

from typing import Any

import pytest
from tests.e2e import acting, objects
from tests.e2e.acting import Untouched, reason_of
from tests.lab.lab import Lab, condition_of

pytestmark = pytest.mark.lab


def in_sync(lab: Lab, plan: str, reason: str) -> dict[str, Any]:
    return acting.wait_for(
        lab,
        "recoveryplan",
        plan,
        lambda p: (
            (reason_of(p, "InSync") or ("", ""))[1] == reason
            and p["status"].get("observedGeneration") == p["metadata"]["generation"]
        ),
        f"InSync says {reason}",
    )


def test_a_plan_that_is_created_as_recovered_waits_for_a_request(lab: Lab):
    with Untouched(lab):
        lab.kube.apply(objects.plan("created", "created", desiredState="recovered"))
        plan = in_sync(lab, "created", "AwaitingConfirmation")
        assert "set a new execution.requestID" in acting.message_of(plan, "InSync")
        lab.kube.apply(objects.plan("created", "created", desiredState="recovered", runHistoryLimit=7))
        in_sync(lab, "created", "AwaitingConfirmation")
        lab.operator.stop()
        lab.operator.start()
        lab.patch("recoveryplan", "created", {"runHistoryLimit": 8})
        in_sync(lab, "created", "AwaitingConfirmation")
        assert [] == acting.runs(lab, "created")
    acting.ready(lab, "created")
    run = acting.over(lab, acting.recover(lab, "created", execution={"requestID": "INC-1"}))
    assert ("Succeeded", "INC-1") == (run["status"]["phase"], run["spec"]["requestID"]), run["status"]


def test_an_old_request_is_not_executed_again(lab: Lab):
    lab.kube.apply(objects.mapping(lab, "numbered", networks=[{"from": "Nobody's", "to": "DR Network"}]))
    lab.kube.apply(objects.plan("numbered", "numbered", mapping="numbered"))
    acting.settled(lab, "numbered")
    with Untouched(lab):
        for request in ("INC-1", "INC-2"):
            run = acting.over(lab, acting.recover(lab, "numbered", execution={"requestID": request}))
            assert ("Refused", request) == (run["status"]["phase"], run["spec"]["requestID"])
            in_sync(lab, "numbered", "RunRefused")
        lab.kube.apply(objects.mapping(lab, "numbered"))  # a run would succeed now
        acting.ready(lab, "numbered")
        lab.patch("recoveryplan", "numbered", {"execution": {"requestID": "INC-1"}})
        plan = in_sync(lab, "numbered", "RequestAlreadyHandled")
        text = acting.message_of(plan, "InSync")
        assert ("INC-1" in text, "set a new one" in text) == (True, True)
        assert text == acting.wait_event(lab, "numbered", "RequestAlreadyHandled")
        assert 2 == len(acting.runs(lab, "numbered"))
    run = acting.over(lab, acting.recover(lab, "numbered", execution={"requestID": "INC-3"}))
    assert "Succeeded" == run["status"]["phase"], run["status"]
    assert ["INC-1", "INC-2", "INC-3"] == lab.get("recoveryplan", "numbered")["status"]["handledRequests"]


def test_a_second_plan_over_a_group_that_is_on_the_move_is_refused(lab: Lab):
    group = "two-plans"
    lab.kube.apply(objects.plan("early", group), objects.plan("late", group))
    acting.ready(lab, "early")
    acting.ready(lab, "late")
    slow = {"command": "syncOnce", "group": f"cg-{group}", "times": 1, "effect": {"delaySeconds": 5, "progress": True}}
    acting.array_faults(lab, 0, slow)
    first = acting.recover(lab, "early")
    acting.at_step(lab, first, "PreSync")
    second = acting.over(lab, acting.recover(lab, "late"))
    assert ("Refused", ("False", "AnotherRunActive")) == (
        second["status"]["phase"],
        (reason_of(second, "Succeeded") or ())[:2],
    )
    text = acting.message_of(second, "Succeeded")
    assert [] == [part for part in (first["metadata"]["name"], "protectiongroup two-plans") if part not in text], text
    assert first["metadata"]["name"] in acting.wait_event(lab, second["metadata"]["name"], "AnotherRunActive")
    first = acting.over(lab, first)
    assert "Succeeded" == first["status"]["phase"], first["status"]
    assert 1 == acting.array_effects(lab)[f"leipzig failover cg-{group}"]


def test_a_paused_run_starts_nothing_and_works_on_its_own_copy_of_plan_and_group(lab: Lab):
    group = "orphaned"
    lab.kube.apply(objects.mapping(lab, group), objects.plan(group, group, mapping=group))
    acting.ready(lab, group)
    slow = {"command": "syncOnce", "group": f"cg-{group}", "times": 1, "effect": {"delaySeconds": 2, "progress": True}}
    acting.array_faults(lab, 0, slow)
    run = acting.recover(lab, group)
    acting.at_step(lab, run, "PreSync")
    acting.control(lab, run, "Pause")
    name = run["metadata"]["name"]
    acting.wait_for(lab, "recoveryrun", name, lambda r: condition_of(r, "Paused") == "True", "it is paused")
    with Untouched(lab):
        for kind in ("recoveryplan", "protectiongroup", "inventorymapping"):
            done = lab.kube.kubectl("delete", kind, group, "-n", lab.namespace, "--timeout=30s")
            assert (0, "") == (done.returncode, done.stderr)
        assert "Paused" == lab.get("recoveryrun", name)["status"]["phase"]
    acting.control(lab, run, "Run")
    run = acting.over(lab, run)
    assert "Succeeded" == run["status"]["phase"], run["status"]
    vms = lab.recovery.admin.vms()
    assert ["/leipzig/vm/orphaned"] * 2 == [vms[f"{group}-{n}"]["folder"] for n in (1, 2)]
