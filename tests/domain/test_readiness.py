"""Every check fires on what it is about, and is silent on a world that is all right."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from resurgo.domain.blockers import Blocker, in_words, listed
from resurgo.domain.freeze import freeze
from resurgo.domain.mapping import lookup
from resurgo.domain.readiness import CHECKS, Seen, check, not_available
from resurgo.domain.replication import Role, TestInfo
from resurgo.domain.snapshot import Snapshot
from resurgo.domain.states import RunType
from tests.domain.things import (
    DR_POOL,
    NOW,
    datastore,
    export,
    given,
    group,
    host,
    inventory,
    machine,
    mapping,
    member,
    plan,
    record,
    status,
)

SITE_B = inventory("b", datastores=(datastore("ds", "b"),), hosts=(host(1), host(2)))


def frozen(**changes: Any) -> Snapshot:
    return freeze(given(**changes))[0]


def seen(**changes: Any) -> Seen:
    usual = Seen(
        type=RunType.PLANNED_MIGRATION,
        source="a",
        target="b",
        source_problem="",
        target_problem="",
        source_array_problem="",
        target_array_problem="",
        snapshot=frozen(),
        groups={"g": group()},
        records={"g": record(member(1))},
        ends={("pair", "cg"): (status(Role.SOURCE), status(Role.TARGET))},
        target_inventory=SITE_B,
        now=NOW,
    )
    return replace(usual, **changes)


def ends(source: Any, target: Any) -> dict[tuple[str, str], Any]:
    return {("pair", "cg"): (source, target)}


def disaster(**changes: Any) -> Seen:
    return seen(type=RunType.DISASTER_RECOVERY, **changes)


SOURCE, TARGET = status(Role.SOURCE), status(Role.TARGET)
DENIED = group(conditions=({"type": "Ready", "status": "False", "reason": "AccessDenied"},))
UNJUDGED = group(conditions=({"type": "Ready", "status": "Unknown", "reason": "AccessDenied"},))
OTHER_REASON = group(conditions=({"type": "Ready", "status": "False", "reason": "MembersNotFound"},))
TESTING = replace(TARGET, test=TestInfo("t", (), None))
NO_POINT = replace(TARGET, recovery_point=None)
OLD = replace(TARGET, recovery_point=NOW - timedelta(hours=1))
HALF = {"g": record(member(1, outside=("datastore local",)))}
SHARED = {"g": record(member(1), strangers=("/a/vm/gold",))}
SPREAD = {"g": record(member(1), uncovered=("datastore ds2 of consistency group cg",))}
MUTE = {"g": record(member(1, tools_running=False))}
HUGE = {"g": record(member(1, memory_mb=200_000))}
TWIN = machine(9, name="app-1", folder="/b/vm")
POWERED_OFF = frozen(plan=plan(virtualMachines=[{"name": "app-1", "powerOn": False}]).spec)
NOT_SHUT_DOWN = frozen(plan=plan(virtualMachines=[{"name": "app-1", "shutdown": {"guest": False}}]).spec)
CONVERGING = lookup(
    mapping(folders=[{"from": "/a/vm", "to": "/b/vm"}, {"from": "/a/vm/old", "to": "/b/vm/x"}]).spec, "a"
)
NAMESAKES = (member(1, folder="/a/vm/x"), member(2, name="app-1", folder="/a/vm/old"))
ONE_NAME = lookup(mapping(datastores=[{"from": "ds", "to": "other"}]).spec, "a")


@pytest.mark.parametrize(
    ("world", "reason", "blocking"),
    [
        (seen(target_problem="gone"), "RecoverySiteUnavailable", True),
        (disaster(target_problem="gone"), "RecoverySiteUnavailable", True),
        (seen(source_problem="gone"), "ProtectedSiteUnavailable", True),
        (disaster(source_problem="gone"), "ProtectedSiteUnavailable", False),
        (seen(target_array_problem="gone"), "RecoveryArrayUnavailable", True),
        (seen(source_array_problem="gone"), "ProtectedArrayUnavailable", True),
        (disaster(source_array_problem="gone"), "ProtectedArrayUnavailable", False),
        (seen(groups={"g": DENIED}), "AccessDenied", True),
        (seen(groups={"g": DENIED}, records={}), "AccessDenied", True),  # the cause alone, not its effect
        (seen(records={}), "GroupNotObserved", True),
        (seen(groups={"g": OTHER_REASON}, records={}), "GroupNotObserved", True),
        (seen(ends=ends(SOURCE, status(Role.PREPARED, recovery_point=NOW))), "WrongDirection", True),
        (seen(ends=ends(status(Role.TARGET), TARGET)), "WrongDirection", True),
        (disaster(ends=ends(None, status(Role.SOURCE, recovery_point=NOW))), "WrongDirection", True),
        (seen(ends=ends(SOURCE, TESTING)), "TestRunning", True),
        (seen(ends=ends(SOURCE, status(Role.FAILED_OVER, recovery_point=NOW))), "SplitBrain", True),
        (seen(ends=ends(SOURCE, NO_POINT)), "NoRecoveryPoint", False),  # the run syncs first
        (disaster(ends=ends(None, NO_POINT)), "NoRecoveryPoint", True),
        (seen(ends=ends(SOURCE, OLD)), "RPOExceeded", False),
        (seen(records=HALF), "UnprotectedFiles", False),
        (seen(records=HALF, groups={"g": group(unprotectedMembers="Block")}), "UnprotectedFiles", True),
        (seen(records=SHARED), "DatastoreShared", True),
        (disaster(records=SHARED), "DatastoreShared", False),
        (seen(records=SPREAD), "ConsistencyGroupNotOwned", True),
        (disaster(records=SPREAD), "ConsistencyGroupNotOwned", True),
        (seen(records=MUTE), "ToolsNotRunning", True),
        (seen(target_inventory=inventory("b", datastores=(datastore("ds", "b", export=None),), hosts=(host(),))),
         "DatastoreNameTaken", True),
        (seen(target_inventory=inventory("b", datastores=(datastore("ds", "b", export=export("x")),), hosts=(host(),))),
         "DatastoreNameTaken", True),
        (seen(target_inventory=inventory("b", TWIN, hosts=(host(),))), "VirtualMachineNameTaken", True),
        (seen(snapshot=frozen(records={"g": record(member(1), datastores=("ds", "other"))}, lookup=ONE_NAME)),
         "DatastoreNameTaken", True),
        (seen(snapshot=frozen(records={"g": record(*NAMESAKES)}, lookup=CONVERGING)), "VirtualMachineNameTaken", True),
        (seen(target_inventory=replace(SITE_B, pools={})), "ResourcePoolNotFound", True),
        (seen(target_inventory=inventory("b")), "NoHost", True),
        (seen(target_inventory=inventory("b", hosts=(host(1, connected=False), host(2, maintenance=True)))),
         "NoHost", True),
        (seen(records=HUGE), "NotEnoughMemory", False),
        (seen(target_inventory=replace(SITE_B, networks={})), "NetworkNotFound", True),
    ],
)  # fmt: skip
def test_a_check_fires(world: Seen, reason: str, blocking: bool) -> None:
    assert [(reason, blocking)] == [(b.reason, b.blocking) for b in check(world)]


@pytest.mark.parametrize(
    "world",
    [
        seen(),
        disaster(),
        disaster(ends=ends(None, TARGET), source_problem=""),
        disaster(ends=ends(SOURCE, status(Role.FAILED_OVER, recovery_point=NOW))),  # a retry finds its own failover
        disaster(records=MUTE),
        seen(ends=ends(status(Role.PREPARED), TARGET)),
        seen(ends=ends(replace(SOURCE, recovery_point=NOW), NO_POINT)),  # some arrays tell it at the source
        seen(ends=ends(SOURCE, OLD), groups={"g": group(rpoSeconds=0)}),
        seen(groups={"g": UNJUDGED}),
        seen(snapshot=NOT_SHUT_DOWN, records=MUTE),
        seen(records={"g": record(member(1, powered_on=False, tools_running=False))}),
        seen(snapshot=POWERED_OFF, records=HUGE),
        seen(target_inventory=None),  # what can't be seen is judged when it can
        seen(target_inventory=inventory("b", hosts=(host(),))),
        seen(target_inventory=replace(SITE_B, vms={TWIN.id: replace(TWIN, instance_uuid="uuid-1")})),
        seen(target_inventory=replace(SITE_B, vms={TWIN.id: replace(TWIN, folder="/b/vm/else")})),
    ],
)
def test_all_checks_are_silent(world: Seen) -> None:
    assert [] == check(world)


def test_every_check_has_a_case_above() -> None:
    fired = {
        one.__name__
        for mark in test_a_check_fires.pytestmark
        for world, *_ in mark.args[1]
        for one in CHECKS
        if list(one(world))
    }
    assert {one.__name__ for one in CHECKS} == fired


def test_memory_is_added_up_by_pool() -> None:
    records = {"g": record(member(1, memory_mb=70_000), member(2, memory_mb=70_000))}
    (finding,) = check(seen(records=records, snapshot=frozen(records=records)))
    assert f"the VMs need 140000 MB of memory in {DR_POOL}, its hosts have 131072 MB free" == str(finding)


@pytest.mark.parametrize(
    ("spec", "said", "blocking"),
    [
        ({"approval": {"mode": "Required"}}, "approval.mode: Required", True),
        ({"stages": [{"name": "s", "hooks": {"before": [{"name": "h"}]}}]}, "stages[].hooks", True),
        ({"stages": [{"name": "s", "hooks": {"after": [{"name": "h"}]}}]}, "stages[].hooks", True),
        ({"suspendAtRecoverySite": [{"name": "build"}]}, "suspendAtRecoverySite", True),
        ({"recovery": {"sourceReturn": "Fence"}}, "recovery.sourceReturn: Fence", False),
        ({"test": {"schedule": "0 3 * * 6"}}, "test.schedule", False),
    ],
)
def test_what_this_version_can_not_do_is_said(spec: dict[str, Any], said: str, blocking: bool) -> None:
    expected = Blocker("NotSupported", f"{said} is not part of this version", blocking=blocking)
    assert [expected] == not_available(plan(**spec).spec)


@pytest.mark.parametrize("spec", [{}, {"stages": [{"name": "s", "hooks": {}}]}, {"stages": [{"name": "s"}]}])
def test_nothing_is_said_of_a_plan_that_asks_for_nothing_more(spec: dict[str, Any]) -> None:
    assert [] == not_available(plan(**spec).spec)


def test_findings_in_words_blocking_ones_first_and_ten_items_named() -> None:
    warning, bad = Blocker("W", "look", blocking=False), Blocker("B", "stop", ("x", "y"), "do this")
    assert "stop: x, y (do this); look" == in_words([warning, bad])
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more" == listed(str(n) for n in range(12))
    assert "0, 1" == listed("01")
