"""The checks behind a plan's Ready condition and a run's first step: each pure, each naming what to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from resurgo.api import (
    ApprovalMode,
    ConditionStatus,
    ProtectionGroup,
    RecoveryPlanSpec,
    SourceReturn,
    UnprotectedMembers,
)
from resurgo.domain.blockers import Blocker
from resurgo.domain.inventory import Inventory
from resurgo.domain.records import GroupRecord
from resurgo.domain.replication import GroupStatus, Role
from resurgo.domain.snapshot import Snapshot
from resurgo.domain.states import RunType, split_brain

Ends = tuple[GroupStatus | None, GroupStatus | None]  # at the source, at the target


@dataclass(frozen=True, slots=True)
class Seen:
    """The world as a check sees it."""

    type: RunType
    source: str
    target: str
    source_problem: str  # why the source's vCenter can't be used now, "" = it can
    target_problem: str
    source_array_problem: str
    target_array_problem: str
    snapshot: Snapshot
    groups: Mapping[str, ProtectionGroup]
    records: Mapping[str, GroupRecord]
    ends: Mapping[tuple[str, str], Ends]
    target_inventory: Inventory | None
    now: datetime

    @property
    def planned(self) -> bool:
        return self.type is RunType.PLANNED_MIGRATION


def check(seen: Seen) -> list[Blocker]:
    """Every finding, in the order a person would look."""
    return [finding for one in CHECKS for finding in one(seen)]


def sites(seen: Seen) -> Iterator[Blocker]:
    if seen.target_problem:
        yield Blocker("RecoverySiteUnavailable", f"site {seen.target}: {seen.target_problem}")
    if seen.source_problem:
        hint = "a planned migration needs both sites; with the site lost, set recovery.mode to DisasterRecovery"
        yield Blocker(
            "ProtectedSiteUnavailable",
            f"site {seen.source}: {seen.source_problem}",
            suggestion=hint,
            blocking=seen.planned,
        )


def arrays(seen: Seen) -> Iterator[Blocker]:
    if seen.target_array_problem:
        yield Blocker("RecoveryArrayUnavailable", f"the array at {seen.target}: {seen.target_array_problem}")
    if seen.source_array_problem:
        yield Blocker(
            "ProtectedArrayUnavailable",
            f"the array at {seen.source}: {seen.source_array_problem}",
            blocking=seen.planned,
        )


def groups_known(seen: Seen) -> Iterator[Blocker]:
    denied = set()  # nothing is read of a group that may not have what it names: tell the cause, not its effect
    for name, group in seen.groups.items():
        condition = group.status.condition("Ready")
        if condition is None or condition.status is not ConditionStatus.FALSE:
            continue
        if condition.reason in {"OwnedByAnother", "AccessDenied"}:
            denied.add(name)
            yield Blocker(condition.reason, f"ProtectionGroup {name}: {condition.message}")
    missing = [name for name in seen.groups if name not in seen.records and name not in denied]
    if missing:
        yield Blocker(
            "GroupNotObserved",
            "the members of these groups were never read",
            tuple(missing),
            "see the groups' conditions",
        )


def direction(seen: Seen) -> Iterator[Blocker]:
    for group in seen.snapshot.groups:
        source, target = seen.ends.get((group.pair, group.id), (None, None))
        if target is not None and target.role not in {Role.TARGET, Role.FAILED_OVER}:
            yield Blocker(
                "WrongDirection", f"consistency group {group.id} is {target.role} at {seen.target}, expected Target"
            )
        if seen.planned and source is not None and source.role not in {Role.SOURCE, Role.PREPARED}:
            yield Blocker(
                "WrongDirection", f"consistency group {group.id} is {source.role} at {seen.source}, expected Source"
            )
        if target is not None and target.test is not None:
            yield Blocker(
                "TestRunning", f"consistency group {group.id} has a test running", suggestion="clean it up first"
            )
        if seen.planned and split_brain(source, target):
            yield Blocker("SplitBrain", f"consistency group {group.id} is writable at both sites")


def recovery_points(seen: Seen) -> Iterator[Blocker]:
    for group in seen.snapshot.groups:
        source, target = seen.ends.get((group.pair, group.id), (None, None))
        points = [e.recovery_point for e in (target, source) if e is not None and e.recovery_point is not None]
        if not points:
            yield Blocker(
                "NoRecoveryPoint",
                f"consistency group {group.id} has no complete copy at {seen.target} yet",
                blocking=not seen.planned,
            )
            continue
        lag = (seen.now - max(points)).total_seconds()
        wanted = seen.groups[group.group].spec.rpo_seconds
        if wanted and lag > wanted:
            text = f"consistency group {group.id}: the newest copy is {lag:.0f} s old, the RPO is {wanted} s"
            yield Blocker("RPOExceeded", text, blocking=False)


def whole_virtual_machines(seen: Seen) -> Iterator[Blocker]:
    for name, record in seen.records.items():
        outside = [f"{m.name} ({', '.join(m.outside)})" for m in record.members if m.outside]
        if outside:
            block = seen.groups[name].spec.unprotected_members is UnprotectedMembers.BLOCK
            yield Blocker(
                "UnprotectedFiles",
                f"VMs of ProtectionGroup {name} have files that are not replicated with it",
                tuple(outside),
                "move the files to the group's datastores",
                blocking=block,
            )


def strangers(seen: Seen) -> Iterator[Blocker]:
    """A datastore that others use can't be taken away from its hosts."""
    for name, record in seen.records.items():
        if record.strangers:
            yield Blocker(
                "DatastoreShared",
                f"VMs or templates that are not members of ProtectionGroup {name} use its datastores",
                record.strangers,
                "make them members or move them to another datastore",
                blocking=seen.planned,
            )


def whole_consistency_groups(seen: Seen) -> Iterator[Blocker]:
    """A consistency group moves as a whole: nothing in it may belong to somebody else."""
    for name, record in seen.records.items():
        if record.uncovered:
            yield Blocker(
                "ConsistencyGroupNotOwned",
                f"the consistency groups of ProtectionGroup {name} hold more than its datastores",
                record.uncovered,
                "add these datastores to its members, or take the consistency group out",
            )


def tools(seen: Seen) -> Iterator[Blocker]:
    if not seen.planned:
        return
    running = {m.instance_uuid: m for record in seen.records.values() for m in record.members}
    silent = [
        v.name
        for v in seen.snapshot.vms
        if v.guest_shutdown and (m := running.get(v.instance_uuid)) is not None and m.powered_on and not m.tools_running
    ]
    if silent:
        yield Blocker(
            "ToolsNotRunning",
            "these VMs are on and VMware Tools does not answer, so that their guests can't be shut down",
            tuple(silent),
            "start VMware Tools, or set shutdown.guest: false for them to have them powered off",
        )


def names_free(seen: Seen) -> Iterator[Blocker]:
    if seen.target_inventory is None:
        return
    for store in seen.snapshot.datastores:
        other = seen.target_inventory.datastore_by_name(store.target_name)
        if other is not None and (other.export is None or other.export.path != store.export.path):
            yield Blocker(
                "DatastoreNameTaken",
                f"site {seen.target} already has another datastore called {store.target_name}",
                suggestion="map the datastore to another name",
            )
    ours = {v.instance_uuid for v in seen.snapshot.vms}
    taken = {(v.folder, v.name) for v in seen.target_inventory.vms.values() if v.instance_uuid not in ours}
    clash = [v.name for v in seen.snapshot.vms if (v.target_folder, v.name) in taken]
    if clash:
        yield Blocker(
            "VirtualMachineNameTaken",
            f"site {seen.target} already has VMs of these names in the mapped folders",
            tuple(clash),
        )


def names_apart(seen: Seen) -> Iterator[Blocker]:
    """Two things that differ at the source must not get one name at the target: the second could not be presented."""
    stores = Counter(d.target_name for d in seen.snapshot.datastores)
    if twice := [name for name, count in stores.items() if count > 1]:
        yield Blocker(
            "DatastoreNameTaken",
            f"several datastores of the plan would get the same name at {seen.target}",
            tuple(twice),
            "map them to names of their own",
        )
    places = Counter((v.target_folder, v.name) for v in seen.snapshot.vms if v.target_folder)
    if clash := [f"{folder}/{name}" for (folder, name), count in places.items() if count > 1]:
        yield Blocker(
            "VirtualMachineNameTaken",
            f"several VMs of the plan would lie at the same path at {seen.target}",
            tuple(clash),
            "map their folders to folders of their own",
        )


def capacity(seen: Seen) -> Iterator[Blocker]:
    if seen.target_inventory is None:
        return
    need: dict[str, int] = {}
    memory = {m.instance_uuid: m.memory_mb for r in seen.records.values() for m in r.members}
    for vm in seen.snapshot.vms:
        if vm.power_on and vm.target_pool:
            need[vm.target_pool] = need.get(vm.target_pool, 0) + memory.get(vm.instance_uuid, 0)
    for pool, wanted in need.items():
        if pool not in seen.target_inventory.pools:
            yield Blocker("ResourcePoolNotFound", f"site {seen.target} has no resource pool {pool}")
            continue
        hosts = [h for h in seen.target_inventory.hosts_of_pool(pool) if h.connected and not h.maintenance]
        if not hosts:
            yield Blocker("NoHost", f"no usable host behind resource pool {pool} at {seen.target}")
            continue
        free = sum(h.memory_mb - h.memory_used_mb for h in hosts)
        if wanted > free:
            yield Blocker(
                "NotEnoughMemory",
                f"the VMs need {wanted} MB of memory in {pool}, its hosts have {free} MB free",
                blocking=False,
            )


def networks(seen: Seen) -> Iterator[Blocker]:
    if seen.target_inventory is None:
        return
    wanted = {n.target_network for v in seen.snapshot.vms for n in v.nics if n.target_network}
    missing = sorted(wanted - set(seen.target_inventory.networks))
    if missing:
        yield Blocker(
            "NetworkNotFound",
            f"site {seen.target} has no network of these names",
            tuple(missing),
            "correct the mapping",
        )


def not_available(plan: RecoveryPlanSpec) -> list[Blocker]:
    """Settings of a plan that this version can't honour: what a run would need stops it, the rest is said."""
    asked = {
        "approval.mode: Required": (plan.approval.mode is ApprovalMode.REQUIRED, True),
        "stages[].hooks": (any(s.hooks and (s.hooks.before or s.hooks.after) for s in plan.stages), True),
        "suspendAtRecoverySite": (bool(plan.suspend_at_recovery_site), True),
        "recovery.sourceReturn: Fence": (plan.recovery.source_return is SourceReturn.FENCE, False),
        "test.schedule": (plan.test.schedule is not None, False),
    }
    return [
        Blocker("NotSupported", f"{name} is not part of this version", blocking=blocking)
        for name, (wanted, blocking) in asked.items()
        if wanted
    ]


CHECKS = (
    sites,
    arrays,
    groups_known,
    direction,
    recovery_points,
    whole_virtual_machines,
    strangers,
    whole_consistency_groups,
    tools,
    names_free,
    names_apart,
    capacity,
    networks,
)
