"""Who belongs to a group, what of them is replicated, and what is remembered of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from resurgo.api import Members
from resurgo.domain import membership
from resurgo.domain.inventory import DatastorePath, Disk, Power, VmId
from resurgo.domain.membership import replicated, select, uncovered
from resurgo.domain.replication import DeviceIdentity, GroupStatus, Role
from tests.domain.things import NOW, datastore, export, hardware, inventory, machine, member, record, status

APP, DB, OTHER = machine(1), machine(2), machine(3, vmx=DatastorePath("local", "x.vmx"), datastores=("local",))
SITE = inventory("a", DB, APP, OTHER, datastores=(datastore(), datastore("local", export=None)))


def members(**selector: object) -> Members:
    return Members.model_validate(selector)


def by_name(*references: dict[str, str]) -> Members:
    return members(virtualMachines=list(references))


def test_datastores_select_the_vms_whose_vmx_lies_there_in_order_of_their_paths() -> None:
    found = select(members(datastores=["ds"]), SITE)
    assert (("app-1", "app-2"), ("ds",)) == (tuple(v.name for v in found.vms), tuple(d.name for d in found.datastores))
    assert ((), (), ()) == (found.missing, found.ambiguous, found.strangers)


def test_a_datastore_that_is_not_there_is_named() -> None:
    assert ("datastore gone",) == select(members(datastores=["ds", "gone"]), SITE).missing


def test_vms_are_selected_by_name_or_path_each_once() -> None:
    found = select(by_name({"name": "app-1"}, {"path": "/a/vm/app-1"}, {"path": "/a/vm/app-2"}), SITE)
    assert (("app-1", "app-2"), ("ds",)) == (tuple(v.name for v in found.vms), tuple(d.name for d in found.datastores))


def test_vms_that_are_not_there_or_not_unique_are_named() -> None:
    twin = machine(4, name="app-1", folder="/a/vm/old")
    found = select(by_name({"name": "app-1"}, {"name": "gone"}), inventory("a", APP, twin, datastores=(datastore(),)))
    assert ("VM gone",) == found.missing
    assert ("VM app-1 stands for /a/vm/app-1, /a/vm/old/app-1",) == found.ambiguous


def test_a_slash_in_a_name_is_escaped_in_its_path() -> None:
    odd = machine(5, name="a/b")
    found = select(by_name({"path": "/a/vm/a%2fb"}), inventory("a", odd, datastores=(datastore(),)))
    assert (odd,) == found.vms


def test_tags_are_said_not_to_be_read() -> None:
    found = select(members(tag={"category": "dr", "name": "erp"}), SITE)
    assert ((), True) == (found.vms, "not read by this version" in found.missing[0])


def test_whoever_else_uses_the_datastores_is_a_stranger() -> None:
    template = machine(6, name="gold", template=True)
    guest = machine(7, name="guest", vmx=DatastorePath("local", "g.vmx"), datastores=("local", "ds"))
    found = select(members(datastores=["ds"]), inventory("a", APP, template, guest, datastores=(datastore(),)))
    assert ((APP,), ("/a/vm/gold", "/a/vm/guest")) == (found.vms, found.strangers)


def test_a_datastore_is_replicated_by_the_device_behind_its_export() -> None:
    stores = (datastore(), datastore("other"), datastore("local", export=None))
    assert {"ds": ("cg", "pair-ds")} == replicated(stores, [status(Role.SOURCE)])


@pytest.mark.parametrize("identity", [None, DeviceIdentity("naa", "/cg/ds", "nfs-a"), DeviceIdentity("nfs", "/cg/ds")])
def test_a_device_that_is_not_that_export_replicates_nothing(identity: DeviceIdentity | None) -> None:
    source = status(Role.SOURCE)
    assert {} == replicated((datastore(),), [replace(source, devices=(replace(source.devices[0], identity=identity),))])


def behind(*names: str, group: str = "cg") -> GroupStatus:
    """A consistency group that holds the devices of these datastores."""
    source = status(Role.SOURCE, group)
    device = source.devices[0]
    identities = [DeviceIdentity("nfs", export(n).path, "nfs-a") for n in names]
    return replace(source, devices=tuple(replace(device, identity=i) for i in identities))


@pytest.mark.parametrize(
    ("groups", "found"),
    [
        ((behind("ds"),), ()),
        ((behind("ds", "ds2"),), ("datastore ds2 of consistency group cg",)),
        ((behind("ds"), behind("ds2", group="cg2")),
         ("all of consistency group cg2", "datastore ds2 of consistency group cg2")),
        ((behind("ds"), behind("unseen", group="cg2")), ("all of consistency group cg2",)),
        ((), ()),
    ],
)  # fmt: skip
def test_what_the_consistency_groups_hold_beside_the_groups_datastores_is_named(
    groups: tuple[GroupStatus, ...], found: tuple[str, ...]
) -> None:
    site = inventory("a", datastores=(datastore(), datastore("ds2"), datastore("local", export=None)))
    assert found == uncovered((datastore(),), site, groups)


DEVICES = {"ds": ("cg", "pair-ds")}


def remembered(vm: object = APP, parts: object = None, before: object = None) -> membership.GroupRecord:
    site = inventory("a", vm, datastores=(datastore(),))  # type: ignore[arg-type]
    selection = select(members(datastores=["ds"]), site)
    read = {VmId("vm-1"): parts or hardware(1)}
    return membership.record(selection, DEVICES, read, before, site="a", now=NOW)  # type: ignore[arg-type]


def test_the_record_holds_what_a_recovery_needs() -> None:
    assert record(member(1)) == remembered()
    assert "/a/vm/app-1" == remembered().members[0].path


def test_addresses_of_a_guest_that_is_off_are_those_it_had() -> None:
    silent = replace(hardware(1), nics=(replace(hardware(1).nics[0], addresses=()),))
    off = machine(1, power=Power.OFF, tools_running=False)
    assert () == remembered(off, silent).members[0].nics[0].addresses
    now = remembered(off, silent, before=record(member(1), member(2)))
    assert ("10.1.0.7/24",) == now.members[0].nics[0].addresses
    assert not now.members[0].powered_on


def test_files_that_the_group_does_not_protect_are_named_once() -> None:
    parts = hardware(
        1,
        disks=(Disk("Hard disk 1", "[ds] a.vmdk", raw=False), Disk("Hard disk 2", "naa.6", raw=True)),
        isos=("[iso] debian.iso", "[ds] tools.iso", "[iso] debian.iso"),
    )
    vm = machine(1, datastores=("ds", "scratch"))
    outside = ("datastore scratch", "raw device Hard disk 2", "ISO [iso] debian.iso")
    assert outside == remembered(vm, parts).members[0].outside


def test_a_vm_that_vanished_meanwhile_and_datastores_without_a_device_are_left_out() -> None:
    selection = select(members(datastores=["ds", "bare"]), inventory("a", APP, DB, datastores=SITE.datastores))
    selection = replace(selection, datastores=(datastore(), datastore("bare"), datastore("local", export=None)))
    devices = {**DEVICES, "local": ("cg", "pair-local")}
    found = membership.record(selection, devices, {APP.id: hardware(1)}, None, site="a", now=NOW)
    assert ["app-1"] == [m.name for m in found.members]
    assert [("ds", export())] == [(d.name, d.export) for d in found.datastores]
