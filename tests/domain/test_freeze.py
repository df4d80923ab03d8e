"""From plan and records to the snapshot of a run, and everything that keeps it from being made."""

from __future__ import annotations

from typing import Any

import pytest

from resurgo.domain.freeze import Given, freeze
from resurgo.domain.inventory import DatastorePath
from resurgo.domain.mapping import lookup
from resurgo.domain.records import MemberNic
from resurgo.domain.replication import Role
from resurgo.domain.snapshot import FrozenNic, FrozenStage, FrozenVm, Readiness, Snapshot
from tests.domain.things import DR_POOL, given, group, inventory, mapping, member, plan, record, status

APP, DB = member(1), member(2)


def frozen(what: Given) -> Snapshot:
    """The snapshot of something that nothing stands against."""
    snapshot, blockers = freeze(what)
    assert [] == blockers
    return snapshot


def only(what: Given) -> tuple[str, str]:
    """Reason and text of the one blocker."""
    _, blockers = freeze(what)
    assert 1 == len(blockers), blockers
    assert blockers[0].blocking
    return blockers[0].reason, str(blockers[0])


def planned(*members: Any, **spec: Any) -> Given:
    return given(*members, plan=plan(**spec).spec)


def mapped(*members: Any, **changes: Any) -> Given:
    return given(*members, lookup=lookup(mapping(**changes).spec, "a"))


# -- what it holds -------------------------------------------------------------------------------------


def test_a_vm_is_frozen_with_its_places_at_both_sites_and_its_new_address() -> None:
    assert (
        FrozenVm(
            key="vm-0",
            name="app-1",
            group="g",
            stage="rest",
            instance_uuid="uuid-1",
            datastore="ds-0",
            vmx="app-1/app-1.vmx",
            folder="/a/vm",
            pool="/a/host/c1/Resources",
            host="host-1",
            target_folder="/b/vm",
            target_pool=DR_POOL,
            nics=(FrozenNic(4000, "00:50:56:00:00:01", "LAN", "DR LAN", "10.2.0.7", 24, "10.2.0.1"),),
            customize=True,
        ),
    ) == frozen(given(APP)).vms


def test_datastores_and_groups_are_frozen_with_their_identity() -> None:
    snapshot = frozen(mapped(APP, datastores=[{"from": "ds", "to": "ds-dr"}]))
    (store,), (one,) = snapshot.datastores, snapshot.groups
    assert ("ds", "ds-dr", "cg-0", "pair-ds", "/cg/ds") == (
        store.name,
        store.target_name,
        store.consistency_group,
        store.device,
        store.export.path,
    )
    assert ("cg-0", "cg", "g", "pair", "pair-cg") == (one.key, one.id, one.group, one.pair, one.pair_key)


@pytest.mark.parametrize("ends", [(status(Role.SOURCE), None), (None, status(Role.TARGET))])
def test_one_end_is_enough_to_know_a_group(ends: tuple) -> None:
    assert "pair-cg" == frozen(given(APP, ends={("pair", "cg"): ends})).groups[0].pair_key


def test_a_stage_is_frozen_with_its_checks_and_policy_and_the_rest_comes_last() -> None:
    stage = {
        "name": "db",
        "virtualMachines": [{"name": "app-2"}],
        "readiness": {"toolsHeartbeat": False, "tcp": [{"port": 5432}], "timeoutSeconds": 60, "delaySeconds": 5},
        "onFailure": {"policy": "Continue", "quorum": 50, "retries": 3},
    }
    snapshot = frozen(planned(APP, DB, stages=[stage]))
    checks = Readiness(tools_heartbeat=False, tcp_ports=(5432,), timeout_seconds=60, delay_seconds=5)
    assert (
        FrozenStage("db", (), checks, halt=False, quorum=50, retries=3),
        FrozenStage("rest", ("db",)),
    ) == snapshot.stages
    assert {"app-1": "rest", "app-2": "db"} == {v.name: v.stage for v in snapshot.vms}


def test_a_named_vm_goes_before_its_group_and_a_rest_of_the_users_own_replaces_ours() -> None:
    stages = [
        {"name": "all", "protectionGroups": ["g"]},
        {"name": "rest", "virtualMachines": [{"path": "/a/vm/app-2"}]},
    ]
    snapshot = frozen(planned(APP, DB, stages=stages))
    assert {"app-1": "all", "app-2": "rest"} == {v.name: v.stage for v in snapshot.vms}
    assert ["all", "rest"] == [s.name for s in snapshot.stages]


@pytest.mark.parametrize("name", ["app-1", "/a/vm/app-1"])
def test_dependencies_are_found_by_name_or_path(name: str) -> None:
    stage = {"name": "db", "virtualMachines": [{"name": "app-1"}, {"path": "/a/vm/app-2", "dependsOn": [name]}]}
    vms = {v.name: v for v in frozen(planned(APP, DB, stages=[stage])).vms}
    assert (vms["app-1"].key,) == vms["app-2"].depends_on


def test_settings_of_a_vm_are_taken_over() -> None:
    settings = {"name": "app-1", "powerOn": False, "shutdown": {"guest": False, "timeoutSeconds": 7}}
    one, two = frozen(planned(APP, DB, virtualMachines=[settings])).vms
    assert (False, False, 7) == (one.power_on, one.guest_shutdown, one.shutdown_seconds)
    assert (True, True, 300) == (two.power_on, two.guest_shutdown, two.shutdown_seconds)


def test_a_vm_that_was_off_is_remembered_as_off() -> None:
    assert not frozen(given(member(1, powered_on=False))).vms[0].was_on


# -- addresses -----------------------------------------------------------------------------------------


def nic_of(what: Given) -> FrozenNic:
    return frozen(what).vms[0].nics[0]


def test_kept_addresses_are_left_to_the_guest() -> None:
    snapshot = frozen(planned(APP, virtualMachines=[{"name": "app-1", "ip": {"policy": "Keep"}}]))
    assert ("", False) == (snapshot.vms[0].nics[0].address, snapshot.vms[0].customize)


def test_an_address_that_no_rule_covers_is_left_to_the_guest() -> None:
    assert "" == nic_of(given(member(1, nics=(MemberNic(4000, "m", "LAN", ("192.0.2.1/24",)),)))).address


@pytest.mark.parametrize(
    ("addresses", "gateways", "expected"),
    [
        (["10.2.0.15/24"], ["10.2.0.1"], ("10.2.0.15", 24, "10.2.0.1")),
        (["10.2.0.15/24"], [], ("10.2.0.15", 24, "")),
        (["2001:db8::15/64"], ["10.2.0.1", "2001:db8::1"], ("2001:db8::15", 64, "2001:db8::1")),
        (["10.2.0.15/24", "2001:db8::15/64"], ["2001:db8::1", "10.2.0.1"], ("10.2.0.15", 24, "10.2.0.1")),
        (["10.2.0.15/24"], ["2001:db8::1"], ("10.2.0.15", 24, "")),
    ],
)
def test_a_static_address_comes_with_the_gateway_of_its_family(
    addresses: list[str], gateways: list[str], expected: tuple[str, int, str]
) -> None:
    entries = [
        {"site": "a", "addresses": ["10.1.0.15/24"]},
        {"site": "b", "adapter": 1, "addresses": ["10.9.0.1/24"]},
        {"site": "b", "addresses": addresses, "gateways": gateways, "dns": ["10.2.0.53"]},
    ]
    settings = {"name": "app-1", "ip": {"policy": "Static", "static": entries}}
    nic = nic_of(planned(APP, virtualMachines=[settings]))
    assert (*expected, ("10.2.0.53",)) == (nic.address, nic.prefix, nic.gateway, nic.dns)


def test_an_adapter_without_a_static_address_is_left_to_the_guest() -> None:
    settings = {"policy": "Static", "static": [{"site": "a", "addresses": ["10.1.0.15/24"]}]}
    assert "" == nic_of(planned(APP, virtualMachines=[{"name": "app-1", "ip": settings}])).address


# -- what stands against it ----------------------------------------------------------------------------


def test_a_group_that_does_not_exist() -> None:
    assert ("GroupNotFound", "ProtectionGroup g does not exist in this namespace") == only(given(records={}, groups={}))


def test_a_consistency_group_that_no_array_shows() -> None:
    reason, text = only(given(ends={}))
    assert ("ConsistencyGroupNotFound", True) == (reason, "cg of ReplicationPair pair" in text)


def test_a_vm_on_a_datastore_that_is_not_replicated() -> None:
    reason, text = only(given(APP, member(2, vmx=DatastorePath("local", "x.vmx"))))
    assert ("VirtualMachineNotReplicated", True) == (reason, "VM app-2 lies on datastore local" in text)


def test_a_stage_that_names_a_vm_of_no_group() -> None:
    reason, text = only(planned(APP, stages=[{"name": "db", "virtualMachines": [{"name": "gone"}]}]))
    assert ("StageMemberNotFound", "a stage names VM gone in stage db, which no group of the plan contains") == (
        reason,
        text,
    )


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"networks": []}, "network LAN"),
        ({"folders": []}, "folder /a/vm"),
        ({"resourcePools": []}, "resource pool /a/host/c1/Resources"),
    ],
)
def test_a_missing_mapping_names_what_and_for_whom(changes: dict[str, Any], what: str) -> None:
    reason, text = only(mapped(APP, DB, **changes))
    assert ("MappingMissing", True, True, True) == (
        reason,
        what in text,
        "app-1, app-2" in text,
        "add an entry for it to InventoryMapping m" in text,
    )


def test_a_network_that_has_no_name_is_called_so() -> None:
    assert "(none)" in only(given(member(1, nics=(MemberNic(4000, "m", ""),))))[1]


def test_a_mapped_folder_that_is_not_there() -> None:
    reason, text = only(mapped(APP, folders=[{"from": "/a/vm", "to": "/b/vm/dr"}]))
    assert ("FolderNotFound", True) == (reason, text.startswith("folder /b/vm/dr at site b does not exist"))


def test_a_rule_that_can_not_be_followed() -> None:
    reason, text = only(mapped(APP, ipRules=[{"network": "LAN", "from": "10.1.0.0/24", "to": "10.2.0.0/25"}]))
    assert ("InvalidIpRule", True) == (reason, "different size" in text)


def test_a_dependency_outside_the_stage() -> None:
    stages = [{"name": "db", "virtualMachines": [{"name": "app-1", "dependsOn": ["app-2"]}]}]
    reason, text = only(planned(APP, DB, stages=stages))
    assert ("DependencyNotFound", "VM app-1 depends on app-2, which is not in stage db") == (reason, text)


def test_stages_in_a_circle() -> None:
    stages = [{"name": "db", "dependsOn": ["web"]}, {"name": "web", "dependsOn": ["db"]}]
    assert "StageCycle" == only(planned(APP, stages=stages))[0]


def test_vms_in_a_circle() -> None:
    stage = {
        "name": "db",
        "virtualMachines": [{"name": "app-1", "dependsOn": ["app-2"]}, {"name": "app-2", "dependsOn": ["app-1"]}],
    }
    reason, text = only(planned(APP, DB, stages=[stage]))
    assert ("DependencyCycle", "VMs depend on each other in a circle: app-1, app-2") == (reason, text)


def test_groups_without_any_vm() -> None:
    assert ("NoVirtualMachines", "no VM belongs to the plan's groups") == only(given(records={"g": record()}))


def test_two_groups_are_frozen_side_by_side() -> None:
    second = group("h", replication={"pairRef": {"name": "pair"}, "consistencyGroups": ["cg2"]})
    other = member(2, vmx=DatastorePath("ds2", "x.vmx"))
    what = given(
        plan=plan(protectionGroups=[{"name": "g"}, {"name": "h"}]).spec,
        groups={"g": group(), "h": second},
        records={"g": record(APP), "h": record(other, datastores=("ds2",))},
        ends={("pair", name): (status(Role.SOURCE, name), status(Role.TARGET, name)) for name in ("cg", "cg2")},
    )
    snapshot = frozen(what)
    assert [("vm-0", "g", "ds-0"), ("vm-1", "h", "ds-1")] == [(v.key, v.group, v.datastore) for v in snapshot.vms]
    assert {"cg-0": 0, "cg-1": 1, "ds-0": 0, "ds-1": 1, "vm-0": 0, "vm-1": 1} == snapshot.shards()


def test_nothing_is_said_of_folders_of_a_site_that_has_them() -> None:
    site = inventory("b")
    assert [] == freeze(given(APP, target_inventory=site))[1]
