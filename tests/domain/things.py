"""What the tests of the domain speak about, each thing complete and unremarkable: a case changes what it is about."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from resurgo.api import InventoryMapping, ProtectionGroup, RecoveryPlan
from resurgo.domain.freeze import Given
from resurgo.domain.inventory import (
    Datastore,
    DatastorePath,
    Disk,
    Hardware,
    Host,
    HostId,
    Inventory,
    NfsExport,
    Nic,
    Power,
    Vm,
    VmId,
)
from resurgo.domain.mapping import lookup
from resurgo.domain.records import GroupRecord, Member, MemberDatastore, MemberNic
from resurgo.domain.replication import Device, DeviceIdentity, GroupRef, GroupStatus, Link, Role
from resurgo.domain.snapshot import SiteLimits
from resurgo.domain.states import RunType

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
POOL, DR_POOL = "/a/host/c1/Resources", "/b/host/c2/Resources"


def export(name: str = "ds", site: str = "a") -> NfsExport:
    return NfsExport(f"nfs-{site}", f"/cg/{name}")


# -- what a vCenter shows ------------------------------------------------------------------------------


def machine(number: int, **changes: Any) -> Vm:
    """VM `vm-1` called `app-1` on datastore ds of site a, on, with Tools."""
    name = f"app-{number}"
    usual = Vm(
        id=VmId(f"vm-{number}"),
        name=name,
        folder="/a/vm",
        pool=POOL,
        host=HostId("host-1"),
        instance_uuid=f"uuid-{number}",
        bios_uuid=f"bios-{number}",
        vmx=DatastorePath("ds", f"{name}/{name}.vmx"),
        power=Power.ON,
        connected=True,
        template=False,
        tools_running=True,
        heartbeat="green",
        ip_address="10.1.0.7",
        datastores=("ds",),
        memory_mb=1024,
    )
    return replace(usual, **changes)


def hardware(number: int, **changes: Any) -> Hardware:
    usual = Hardware(
        vm=VmId(f"vm-{number}"),
        nics=(Nic(4000, "Network adapter 1", f"00:50:56:00:00:{number:02x}", "LAN", True, ("10.1.0.7/24",)),),
        disks=(Disk("Hard disk 1", f"[ds] app-{number}/app-{number}.vmdk", raw=False),),
        isos=(),
        marks={},
        guest_id="debian12_64Guest",
        annotation="",
    )
    return replace(usual, **changes)


def datastore(name: str = "ds", site: str = "a", **changes: Any) -> Datastore:
    usual = Datastore(f"id-{name}", name, "NFS", export(name, site), frozenset({HostId("host-1")}), True, True)
    return replace(usual, **changes)


def host(number: int = 1, **changes: Any) -> Host:
    usual = Host(HostId(f"host-{number}"), f"esx-{number}", "/b/host/c2", True, False, 65536, 0)
    return replace(usual, **changes)


def inventory(site: str, *vms: Vm, datastores: tuple[Datastore, ...] = (), hosts: tuple[Host, ...] = ()) -> Inventory:
    cluster = {"a": "c1", "b": "c2"}[site]
    pool = f"/{site}/host/{cluster}/Resources"
    return Inventory(
        site=site,
        observed=NOW,
        vms={v.id: v for v in vms},
        hosts={h.id: h for h in hosts},
        datastores=datastores,
        networks={"LAN" if site == "a" else "DR LAN": "network-1"},
        folders={f"/{site}/vm": "group-v1"},
        pools={pool: "resgroup-1"},
        pool_clusters={pool: f"/{site}/host/{cluster}"},
    )


# -- what the storage shows ----------------------------------------------------------------------------


def status(role: Role, group: str = "cg", **changes: Any) -> GroupStatus:
    """A group of one device, whose newest copy is a minute old where it is a target's."""
    device = Device(f"{group}/ds", "pair-ds", "ds", True, DeviceIdentity("nfs", "/cg/ds", "nfs-a"))
    usual = GroupStatus(
        ref=GroupRef(group, f"pair-{group}"),
        role=role,
        link=Link.IDLE,
        healthy=True,
        message="",
        recovery_point=NOW - timedelta(minutes=1) if role is Role.TARGET else None,
        sync_percent=None,
        test=None,
        devices=(device,),
    )
    return replace(usual, **changes)


# -- what is remembered --------------------------------------------------------------------------------


def member(number: int, **changes: Any) -> Member:
    name = f"app-{number}"
    usual = Member(
        instance_uuid=f"uuid-{number}",
        name=name,
        folder="/a/vm",
        pool=POOL,
        host="host-1",
        vmx=DatastorePath("ds", f"{name}/{name}.vmx"),
        powered_on=True,
        tools_running=True,
        memory_mb=1024,
        guest_id="debian12_64Guest",
        nics=(MemberNic(4000, f"00:50:56:00:00:{number:02x}", "LAN", ("10.1.0.7/24",)),),
        outside=(),
    )
    return replace(usual, **changes)


def record(*members: Member, datastores: tuple[str, ...] = ("ds",), **changes: Any) -> GroupRecord:
    stores = tuple(MemberDatastore(n, export(n), ("host-1",), "cg", f"pair-{n}") for n in datastores)
    return replace(GroupRecord("a", NOW, members, stores), **changes)


# -- what users write ----------------------------------------------------------------------------------


def group(name: str = "g", *, conditions: tuple[dict[str, Any], ...] = (), **spec: Any) -> ProtectionGroup:
    usual = {
        "protectedSite": "a",
        "recoverySite": "b",
        "replication": {"pairRef": {"name": "pair"}, "consistencyGroups": ["cg"]},
        "members": {"datastores": ["ds"]},
    }
    meta = {"name": name, "namespace": "n", "uid": f"uid-{name}"}
    judged = [{"lastTransitionTime": NOW, "message": "", **c} for c in conditions]
    return ProtectionGroup.model_validate({"metadata": meta, "spec": usual | spec, "status": {"conditions": judged}})


def mapping(**changes: Any) -> InventoryMapping:
    usual = {
        "sites": ["a", "b"],
        "networks": [{"from": "LAN", "to": "DR LAN"}],
        "folders": [{"from": "/a/vm", "to": "/b/vm"}],
        "resourcePools": [{"from": POOL, "to": DR_POOL}],
        "ipRules": [{"network": "LAN", "from": "10.1.0.0/24", "to": "10.2.0.0/24", "gateway": "10.2.0.1"}],
    }
    return InventoryMapping.model_validate({"metadata": {"name": "m", "namespace": "n"}, "spec": usual | changes})


def plan(*, status: dict[str, Any] | None = None, uid: str = "uid-plan", **spec: Any) -> RecoveryPlan:
    usual = {
        "protectedSite": "a",
        "recoverySite": "b",
        "protectionGroups": [{"name": "g"}],
        "inventoryMappingRef": {"name": "m"},
    }
    meta = {"name": "plan", "namespace": "n", "uid": uid, "generation": 1}
    return RecoveryPlan.model_validate({"metadata": meta, "spec": usual | spec, "status": status or {}})


def given(*members: Member, **changes: Any) -> Given:
    """A plan over one group of *members* that can be frozen as it is."""
    usual = Given(
        run="run-uid",
        plan_name="plan",
        plan=plan().spec,
        type=RunType.PLANNED_MIGRATION,
        source="a",
        target="b",
        groups={"g": group()},
        records={"g": record(*(members or (member(1),)))},
        ends={("pair", "cg"): (status(Role.SOURCE), status(Role.TARGET))},
        lookup=lookup(mapping().spec, "a"),
        target_inventory=inventory("b", hosts=(host(),)),
        source_limits=SiteLimits(),
        target_limits=SiteLimits(),
    )
    return replace(usual, **changes)
