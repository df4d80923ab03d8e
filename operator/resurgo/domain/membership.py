"""Which VMs and datastores belong to a protection group, and what of them the group does not protect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from resurgo.api import Members, VirtualMachineReference
from resurgo.domain.inventory import Datastore, Hardware, Inventory, NfsExport, Power, Vm, VmId
from resurgo.domain.records import GroupRecord, Member, MemberDatastore, MemberNic
from resurgo.domain.replication import GroupStatus


@dataclass(frozen=True, slots=True)
class Selection:
    """What a selector finds at one site. ``missing`` and ``ambiguous`` are in users' words."""

    vms: tuple[Vm, ...]
    datastores: tuple[Datastore, ...]
    missing: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()  # VMs and templates that use the datastores without being selected


def select(members: Members, inventory: Inventory) -> Selection:
    """The VMs and datastores a group names. Templates do not count as VMs to recover."""
    found = _selected(members, inventory)
    ours, names = {v.id for v in found.vms}, {d.name for d in found.datastores}
    others = (v for v in inventory.vms.values() if v.id not in ours and names.intersection(v.datastores))
    return replace(found, strangers=tuple(sorted(v.path for v in others)))


def _selected(members: Members, inventory: Inventory) -> Selection:
    if members.datastores is not None:
        found = [inventory.datastore_by_name(name) for name in members.datastores]
        missing = tuple(f"datastore {n}" for n, d in zip(members.datastores, found, strict=True) if d is None)
        names = set(members.datastores)
        vms = (v for v in inventory.vms.values() if v.vmx.datastore in names)
        return Selection(_sorted(vms), tuple(d for d in found if d is not None), missing)
    if members.virtual_machines is not None:
        return _by_name(members.virtual_machines, inventory)
    return Selection((), (), ("the tag selector: tags are not read by this version, name datastores or VMs instead",))


def _by_name(references: Iterable[VirtualMachineReference], inventory: Inventory) -> Selection:
    vms: list[Vm] = []
    missing: list[str] = []
    ambiguous: list[str] = []
    for reference in references:
        matches = [v for v in inventory.vms.values() if matches_reference(reference, v.name, v.path)]
        if not matches:
            missing.append(f"VM {reference.key}")
        elif len(matches) > 1:
            ambiguous.append(f"VM {reference.key} stands for {', '.join(sorted(v.path for v in matches))}")
        vms.extend(matches[:1])
    names = {v.vmx.datastore for v in vms}
    stores = tuple(d for d in inventory.datastores if d.name in names)
    return Selection(_sorted(vms), stores, tuple(missing), tuple(ambiguous))


def matches_reference(reference: VirtualMachineReference, name: str, path: str) -> bool:
    return reference.path == path if reference.path else reference.name == name


def _sorted(vms: Iterable[Vm]) -> tuple[Vm, ...]:
    """Each once, however often it was named, and no templates."""
    return tuple(sorted({v.id: v for v in vms if not v.template}.values(), key=lambda v: (v.path, v.id)))


def replicated(datastores: Sequence[Datastore], groups: Sequence[GroupStatus]) -> dict[str, tuple[str, str]]:
    """Datastore name -> (consistency group id, device pair key), for those that a device of *groups* stands behind."""
    devices = {
        NfsExport(device.identity.server or "", device.identity.value): (group.ref.id, device.pair_key)
        for group in groups
        for device in group.devices
        if device.identity is not None and device.identity.kind == "nfs"
    }
    return {d.name: devices[d.export] for d in datastores if d.export is not None and d.export in devices}


def uncovered(datastores: Sequence[Datastore], inventory: Inventory, groups: Sequence[GroupStatus]) -> tuple[str, ...]:
    """What *groups* hold beside *datastores*: a consistency group moves as a whole, so all of it must be the group's.

    Empty where every datastore behind the groups' devices is among them and each group holds at least one.
    """
    ours = {d.name for d in datastores}
    behind = replicated(inventory.datastores, groups)
    found = [f"datastore {name} of consistency group {cg}" for name, (cg, _) in behind.items() if name not in ours]
    used = {behind[name][0] for name in ours if name in behind}
    found += [f"all of consistency group {g.ref.id}" for g in groups if g.ref.id not in used]
    return tuple(sorted(found))


def record(
    selection: Selection,
    devices: Mapping[str, tuple[str, str]],
    hardware: Mapping[VmId, Hardware],
    before: GroupRecord | None,
    *,
    uncovered: tuple[str, ...] = (),
    site: str,
    now: datetime,
) -> GroupRecord:
    """What to remember of the group. Addresses of guests that are off now are taken over from *before*."""
    known = {m.instance_uuid: m for m in before.members} if before else {}
    protected = set(devices)
    return GroupRecord(
        site=site,
        observed=now,
        strangers=selection.strangers,
        uncovered=uncovered,
        members=tuple(
            _member(v, hardware[v.id], known.get(v.instance_uuid), protected) for v in selection.vms if v.id in hardware
        ),
        datastores=tuple(
            MemberDatastore(d.name, d.export, tuple(sorted(d.hosts)), *devices[d.name])
            for d in selection.datastores
            if d.name in devices and d.export is not None
        ),
    )


def _member(vm: Vm, hardware: Hardware, before: Member | None, protected: set[str]) -> Member:
    old = {n.key: n.addresses for n in before.nics} if before else {}
    outside = [f"datastore {name}" for name in vm.datastores if name not in protected]
    outside += [f"raw device {d.label}" for d in hardware.disks if d.raw]
    outside += [f"ISO {iso}" for iso in hardware.isos if iso.partition("]")[0].removeprefix("[") not in protected]
    return Member(
        instance_uuid=vm.instance_uuid,
        name=vm.name,
        folder=vm.folder,
        pool=vm.pool,
        host=vm.host or "",
        vmx=vm.vmx,
        powered_on=vm.power is Power.ON,
        tools_running=vm.tools_running,
        memory_mb=vm.memory_mb,
        guest_id=hardware.guest_id,
        nics=tuple(MemberNic(n.key, n.mac, n.network, n.addresses or old.get(n.key, ())) for n in hardware.nics),
        outside=tuple(dict.fromkeys(outside)),
    )
