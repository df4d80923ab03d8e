"""Every rule on a real API server: what it accepts, what it refuses, and what it says then."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.api.server import RefusedError, Server

from resurgo.api.rules import RULES, Case, Rule

pytestmark = pytest.mark.lab

by_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.kind}: {rule.name}")


def attempt(server: Server, rule: Rule, case: Case) -> dict[str, Any]:
    """Do what *case* says, its last step as a dry run."""
    if case.before is None:
        return server.create(server.manifest(rule.kind, case.after, case.name), dry_run=True)
    name = server.create(server.manifest(rule.kind, case.before, case.name))["metadata"]["name"]
    if case.status is not None:
        server.write_status(rule.kind, name, case.status)
    return server.change(rule.kind, name, {"spec": case.after}, dry_run=True)


def holds(answer: Any, wanted: Any) -> bool:
    """Whether *answer* is *wanted* plus defaults; None stands for absence."""
    if isinstance(wanted, Mapping):
        return all(
            name not in answer if value is None else holds(answer[name], value) for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        return len(answer) == len(wanted) and all(map(holds, answer, wanted))
    return bool(answer == wanted)


@by_rule
def test_a_rule_lets_the_right_thing_pass(server: Server, rule: Rule) -> None:
    assert holds(attempt(server, rule, rule.accept)["spec"], rule.accept.after)


@by_rule
def test_a_rule_refuses_the_wrong_thing_in_its_own_words(server: Server, rule: Rule) -> None:
    with pytest.raises(RefusedError) as refused:
        attempt(server, rule, rule.reject)
    assert [rule.reject.says or rule.message] == [_words(cause) for cause in refused.value.causes]
    assert [rule.reason] == [cause["reason"] for cause in refused.value.causes]


def _words(cause: dict[str, Any]) -> str:
    """What a cause says behind the `Invalid value: ...: ` that the API server puts first."""
    said = str(cause["message"])
    return next((rule_says for rule_says in _ALL_WORDS if said.endswith(rule_says)), said)


_ALL_WORDS = sorted(
    {words for rule in RULES for words in (rule.reject.says, rule.message) if words}, key=len, reverse=True
)


# -- desiredState, beyond one case each --------------------------------------------------------------------------------


def plan(server: Server, spec: dict[str, Any], status: dict[str, Any] | None) -> str:
    name: str = server.create(server.manifest("RecoveryPlan", spec))["metadata"]["name"]
    if status is not None:
        server.write_status("RecoveryPlan", name, status)
    return name


def test_while_a_run_is_active_no_state_can_be_asked_for(server: Server) -> None:
    name = plan(server, {"desiredState": "recovered"}, {"validNextStates": []})
    with pytest.raises(RefusedError, match=r"desiredState cannot change to protected now: a run is active$"):
        server.change("RecoveryPlan", name, {"spec": {"desiredState": "protected"}})


def test_the_refusal_names_every_allowed_state(server: Server) -> None:
    name = plan(server, {"desiredState": "recovered"}, {"validNextStates": ["recovered", "reprotected"]})
    with pytest.raises(
        RefusedError, match=r"desiredState cannot change to protected now; allowed: recovered, reprotected$"
    ):
        server.change("RecoveryPlan", name, {"spec": {"desiredState": "protected"}})


def test_the_state_in_force_can_be_applied_again_at_any_time(server: Server) -> None:
    name = plan(server, {"desiredState": "recovered"}, {"validNextStates": []})
    answer = server.change("RecoveryPlan", name, {"spec": {"desiredState": "recovered", "runHistoryLimit": 7}})
    assert answer["spec"]["runHistoryLimit"] == 7


def test_a_plan_the_operator_has_not_seen_yet_can_be_corrected(server: Server) -> None:
    name = plan(server, {"desiredState": "recovered"}, None)
    answer = server.change("RecoveryPlan", name, {"spec": {"desiredState": "protected"}})
    assert answer["spec"]["desiredState"] == "protected"


def test_removing_desired_state_is_a_change_to_its_default(server: Server) -> None:
    name = plan(server, {"desiredState": "recovered"}, {"validNextStates": ["reprotected"]})
    with pytest.raises(RefusedError, match="cannot change to protected now; allowed: reprotected"):
        server.change("RecoveryPlan", name, {"spec": {"desiredState": None}})


def test_writing_the_spec_does_not_touch_next_states_and_writing_the_status_does_not_touch_the_spec(
    server: Server,
) -> None:
    name = plan(server, {"desiredState": "recovered"}, {"validNextStates": []})
    bypass = {"spec": {"runHistoryLimit": 8}, "status": {"validNextStates": ["protected"]}}
    assert server.change("RecoveryPlan", name, bypass)["status"]["validNextStates"] == []
    both = {"spec": {"desiredState": "protected"}, "status": {"validNextStates": ["protected"]}}
    answer = server.change("RecoveryPlan", name, both, subresource="/status")
    assert ("recovered", ["protected"]) == (answer["spec"]["desiredState"], answer["status"]["validNextStates"])


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("", "INC-1"), ("INC-1", ""), ("INC-1", "INC-2")], ids=lambda i: i or "none"
)
def test_a_new_state_may_come_with_a_new_request_or_none(server: Server, before: str, after: str) -> None:
    name = plan(server, {"execution": {"requestID": before}}, None)
    answer = server.change(
        "RecoveryPlan", name, {"spec": {"desiredState": "recovered", "execution": {"requestID": after}}}
    )
    assert ("recovered", after) == (answer["spec"]["desiredState"], answer["spec"]["execution"]["requestID"])


def test_a_request_may_be_named_anew_without_a_new_state(server: Server) -> None:
    name = plan(server, {"execution": {"requestID": "INC-1"}}, None)
    answer = server.change("RecoveryPlan", name, {"spec": {"execution": {"requestID": "INC-2"}}})
    assert answer["spec"]["execution"]["requestID"] == "INC-2"


def test_a_refused_migration_becomes_a_disaster_recovery_by_one_edit(server: Server) -> None:
    name = plan(server, {"desiredState": "recovered"}, {"validNextStates": ["protected", "recovered"]})
    disaster = {"mode": "DisasterRecovery", "acknowledgeDataLoss": True}
    answer = server.change("RecoveryPlan", name, {"spec": {"recovery": disaster}})
    assert answer["spec"]["recovery"]["mode"] == "DisasterRecovery"


# -- runs, beyond one case each ----------------------------------------------------------------------------------------

INPUT = {
    "planRef": {"name": "erp", "uid": "11111111-1111-1111-1111-111111111111"},
    "type": "Reprotect",
    "requestID": "INC-4711",
    "requestedBy": "anna",
    "expect": {"sourceSite": "berlin", "targetSite": "leipzig", "planGeneration": 7},
    "acknowledgeDataLoss": True,
    "force": True,
}
CHANGES: dict[str, Any] = {
    "planRef": {"uid": "2"},
    "type": "Cleanup",
    "requestID": "INC-4712",
    "requestedBy": "berta",
    "expect": {"planGeneration": 8},
    "acknowledgeDataLoss": False,
    "force": False,
}


@pytest.mark.parametrize("field", sorted(INPUT))
def test_no_input_of_a_run_can_be_changed(server: Server, field: str) -> None:
    name = server.create(server.manifest("RecoveryRun", INPUT))["metadata"]["name"]
    with pytest.raises(RefusedError, match="a run's input is immutable"):
        server.change("RecoveryRun", name, {"spec": {field: CHANGES[field]}})


@pytest.mark.parametrize("field", ["requestID", "requestedBy", "expect", "acknowledgeDataLoss", "force"])
def test_no_input_of_a_run_can_be_removed(server: Server, field: str) -> None:
    name = server.create(server.manifest("RecoveryRun", INPUT))["metadata"]["name"]
    with pytest.raises(RefusedError, match="a run's input is immutable"):
        server.change("RecoveryRun", name, {"spec": {field: None}})


@pytest.mark.parametrize(
    ("before", "after", "allowed"),
    [
        ("Run", "Pause", True),
        ("Pause", "Run", True),
        ("Run", "Cancel", True),
        ("Pause", "Cancel", True),
        ("Cancel", "Run", False),
        ("Cancel", "Pause", False),
        ("Cancel", None, False),
    ],
)
def test_control_moves_freely_but_never_back_from_cancel(
    server: Server, before: str, after: str | None, *, allowed: bool
) -> None:
    name = server.create(server.manifest("RecoveryRun", {"control": before}))["metadata"]["name"]
    if allowed:
        assert after == server.change("RecoveryRun", name, {"spec": {"control": after}})["spec"]["control"]
        return
    with pytest.raises(RefusedError, match="a cancelled run cannot be resumed"):
        server.change("RecoveryRun", name, {"spec": {"control": after}})


@pytest.mark.parametrize(("after", "allowed"), [(3, True), (4, True), (5, False), (2, False), (None, False)])
def test_retry_stays_or_grows_by_one(server: Server, after: int | None, *, allowed: bool) -> None:
    name = server.create(server.manifest("RecoveryRun", {"retry": 3}))["metadata"]["name"]
    if allowed:
        assert after == server.change("RecoveryRun", name, {"spec": {"retry": after}})["spec"]["retry"]
        return
    with pytest.raises(RefusedError, match="retry may only be raised by one"):
        server.change("RecoveryRun", name, {"spec": {"retry": after}})


# -- pairs: every adapter type -----------------------------------------------------------------------------------------

BLOCKS: dict[str, dict[str, Any]] = {
    "sra": {"name": "dirarray"},
    "zfs": {},
    "rbdMirror": {"pool": "vols"},
    "snapMirror": {},
    "vvolsSms": {},
    "grpc": {"address": "unix:///run/adapter.sock"},
}


@pytest.mark.parametrize("adapter", BLOCKS)
@pytest.mark.parametrize("block", BLOCKS)
def test_an_adapter_type_takes_its_own_block_only(server: Server, adapter: str, block: str) -> None:
    manifest = server.manifest("ReplicationPair", {"adapter": {"type": adapter}, "sra": None})
    manifest["spec"][block] = BLOCKS[block]
    if adapter == block:
        assert BLOCKS[block].items() <= server.create(manifest, dry_run=True)["spec"][block].items()
        return
    with pytest.raises(RefusedError, match=f"give the block {adapter} and no other adapter block"):
        server.create(manifest, dry_run=True)
