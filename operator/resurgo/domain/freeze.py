"""From a plan and what is known of its groups to the snapshot a run works on, or to what keeps it from being made.

Pure, and the same for the continuous Ready condition and for the start of a run: what a plan calls ready can be run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from resurgo.api import IpPolicy, ProtectionGroup, RecoveryPlanSpec, Stage, StageFailurePolicy, VirtualMachineSettings
from resurgo.domain.blockers import Blocker
from resurgo.domain.graph import build, vm_cycle
from resurgo.domain.inventory import Inventory
from resurgo.domain.mapping import Address, Lookup, translate
from resurgo.domain.membership import matches_reference
from resurgo.domain.records import GroupRecord, Member, MemberNic
from resurgo.domain.replication import GroupStatus
from resurgo.domain.snapshot import (
    REST_STAGE,
    FrozenDatastore,
    FrozenGroup,
    FrozenNic,
    FrozenStage,
    FrozenVm,
    Readiness,
    SiteLimits,
    Snapshot,
)
from resurgo.domain.states import RunType


@dataclass(frozen=True, slots=True)
class Given:
    """Everything a snapshot is made from."""

    run: str
    plan_name: str
    plan: RecoveryPlanSpec
    type: RunType
    source: str
    target: str
    groups: Mapping[str, ProtectionGroup]  # by name, those the plan names and that exist
    records: Mapping[str, GroupRecord]  # by group name
    ends: Mapping[
        tuple[str, str], tuple[GroupStatus | None, GroupStatus | None]
    ]  # (pair, group id) -> (source, target)
    lookup: Lookup
    target_inventory: Inventory
    source_limits: SiteLimits
    target_limits: SiteLimits


def freeze(given: Given) -> tuple[Snapshot, list[Blocker]]:
    """The snapshot and every blocker found on the way. A snapshot with blocking findings must not be run."""
    return _Freezer(given).freeze()


class _Freezer:
    """Collects findings while the snapshot is put together. Lives for one call."""

    def __init__(self, given: Given) -> None:
        self.given = given
        self.blockers: list[Blocker] = []
        self.unmapped: dict[str, list[str]] = {}  # missing mapping -> VMs that need it

    def freeze(self) -> tuple[Snapshot, list[Blocker]]:
        given = self.given
        groups = self._groups()
        datastores = self._datastores(groups)
        stages, place = self._stages()
        vms = self._depend(self._vms(datastores, place))
        snapshot = Snapshot(
            run=given.run,
            plan=given.plan_name,
            type=given.type,
            source=given.source,
            target=given.target,
            fencing=given.plan.recovery.fencing.value,
            source_limits=given.source_limits,
            target_limits=given.target_limits,
            groups=groups,
            datastores=datastores,
            vms=vms,
            stages=stages,
        )
        self._check_graph(snapshot)
        self._report_unmapped()
        return snapshot, self.blockers

    def _block(self, reason: str, message: str, items: Sequence[str] = (), suggestion: str = "") -> None:
        self.blockers.append(Blocker(reason, message, tuple(items), suggestion))

    def _groups(self) -> tuple[FrozenGroup, ...]:
        found: list[FrozenGroup] = []
        for reference in self.given.plan.protection_groups:
            group = self.given.groups.get(reference.name)
            if group is None:
                self._block("GroupNotFound", f"ProtectionGroup {reference.name} does not exist in this namespace")
                continue
            replication = group.spec.replication
            for name in replication.consistency_groups:
                source, target = self.given.ends.get((replication.pair_ref.name, name), (None, None))
                ref = target.ref if target else source.ref if source else None
                if ref is None:
                    self._block(
                        "ConsistencyGroupNotFound",
                        f"consistency group {name} of ReplicationPair {replication.pair_ref.name} is not known",
                    )
                    continue
                key = f"cg-{len(found)}"
                found.append(FrozenGroup(key, name, reference.name, replication.pair_ref.name, ref.pair_key))
        return tuple(found)

    def _datastores(self, groups: tuple[FrozenGroup, ...]) -> tuple[FrozenDatastore, ...]:
        keys = {(g.group, g.id): g.key for g in groups}
        found: list[FrozenDatastore] = []
        for name, record in self.given.records.items():
            for store in record.datastores:
                target_name = self.given.lookup.datastores.get(store.name, store.name)
                found.append(
                    FrozenDatastore(
                        key=f"ds-{len(found)}",
                        name=store.name,
                        target_name=target_name,
                        group=name,
                        consistency_group=keys.get((name, store.consistency_group), ""),
                        device=store.device,
                        export=store.export,
                        hosts=store.hosts,
                    )
                )
        return tuple(found)

    def _stages(self) -> tuple[tuple[FrozenStage, ...], _Places]:
        stages = [_frozen_stage(s) for s in self.given.plan.stages]
        names = tuple(s.name for s in stages)
        rest = FrozenStage(REST_STAGE, depends_on=names)
        return (*stages, *([] if REST_STAGE in names else [rest])), _Places(self.given.plan.stages)

    def _vms(self, datastores: tuple[FrozenDatastore, ...], places: _Places) -> tuple[FrozenVm, ...]:
        stores = {(d.group, d.name): d.key for d in datastores}
        found: list[FrozenVm] = []
        for group, record in self.given.records.items():
            for member in record.members:
                store = stores.get((group, member.vmx.datastore), "")
                if not store:
                    self._block(
                        "VirtualMachineNotReplicated",
                        f"VM {member.name} lies on datastore {member.vmx.datastore}, which no consistency group of "
                        f"ProtectionGroup {group} replicates",
                    )
                    continue
                found.append(self._vm(f"vm-{len(found)}", group, member, store, places.stage(group, member)))
        for missing in places.missing(self.given.records.values()):
            self._block("StageMemberNotFound", f"a stage names {missing}, which no group of the plan contains")
        return tuple(found)

    def _vm(self, key: str, group: str, member: Member, store: str, stage: str) -> FrozenVm:
        settings = self._settings(member)
        nics = tuple(self._nic(member, nic, settings, index) for index, nic in enumerate(member.nics))
        return FrozenVm(
            key=key,
            name=member.name,
            group=group,
            stage=stage,
            instance_uuid=member.instance_uuid,
            datastore=store,
            vmx=member.vmx.path,
            folder=member.folder,
            pool=member.pool,
            host=member.host,
            target_folder=self._folder(member),
            target_pool=self._mapped(
                "resource pool", self.given.lookup.pools.get(member.pool), member.pool, member.name
            ),
            nics=nics,
            was_on=member.powered_on,
            power_on=settings.power_on,
            guest_shutdown=settings.shutdown.guest,
            shutdown_seconds=settings.shutdown.timeout_seconds,
            customize=any(n.address for n in nics),
        )

    def _folder(self, member: Member) -> str:
        target = self.given.lookup.folder(member.folder)
        path = self._mapped("folder", target, member.folder, member.name)
        if target is not None and target not in self.given.target_inventory.folders:
            self.unmapped.setdefault(f"folder {target} at site {self.given.target}", []).append(member.name)
        return path

    def _nic(self, member: Member, nic: MemberNic, settings: VirtualMachineSettings, index: int) -> FrozenNic:
        target = self._mapped("network", self.given.lookup.networks.get(nic.network), nic.network, member.name)
        address = self._address(member, nic, settings, index)
        if address is None:
            return FrozenNic(nic.key, nic.mac, nic.network, target)
        return FrozenNic(
            nic.key, nic.mac, nic.network, target, address.address, address.prefix, address.gateway, address.dns
        )

    def _address(self, member: Member, nic: MemberNic, settings: VirtualMachineSettings, index: int) -> Address | None:
        match settings.ip.policy:
            case IpPolicy.KEEP:
                return None
            case IpPolicy.STATIC:
                for static in settings.ip.static:
                    if static.site == self.given.target and static.adapter == index:
                        address, _, prefix = static.addresses[0].partition("/")
                        family = ":" in address
                        gateway = next((g for g in static.gateways if (":" in g) is family), "")
                        return Address(address, int(prefix), gateway, static.dns)
                return None
            case IpPolicy.RULES:
                try:
                    return translate(self.given.lookup.rules, nic.network, nic.addresses)
                except ValueError as error:
                    self._block("InvalidIpRule", str(error), [member.name])
                    return None

    def _settings(self, member: Member) -> VirtualMachineSettings:
        found = [s for s in self.given.plan.virtual_machines if matches_reference(s, member.name, member.path)]
        return found[0] if found else VirtualMachineSettings(name=member.name)

    def _mapped(self, kind: str, target: str | None, name: str, vm: str) -> str:
        if target is None:
            self.unmapped.setdefault(f"{kind} {name or '(none)'}", []).append(vm)
        return target or ""

    def _report_unmapped(self) -> None:
        for what, vms in self.unmapped.items():
            if " at site " in what:
                self._block(
                    "FolderNotFound", f"{what} does not exist, needed by VMs", vms, "create it or correct the mapping"
                )
            else:
                hint = f"add an entry for it to InventoryMapping {self.given.plan.inventory_mapping_ref.name}"
                self._block("MappingMissing", f"no mapping for {what}, needed by VMs", vms, hint)

    def _depend(self, vms: tuple[FrozenVm, ...]) -> tuple[FrozenVm, ...]:
        """Fill in dependsOn, which names VMs of the same stage by name or path."""
        wanted: dict[tuple[str, str], tuple[str, ...]] = {}
        for stage in self.given.plan.stages:
            for reference in stage.virtual_machines:
                if reference.depends_on:
                    wanted[stage.name, reference.key] = reference.depends_on
        if not wanted:
            return vms
        keys = {(v.stage, name): v.key for v in vms for name in (v.name, f"{v.folder}/{v.name}")}
        return tuple(self._with_needs(vm, wanted, keys) for vm in vms)

    def _with_needs(
        self, vm: FrozenVm, wanted: Mapping[tuple[str, str], tuple[str, ...]], keys: Mapping[tuple[str, str], str]
    ) -> FrozenVm:
        names = wanted.get((vm.stage, vm.name)) or wanted.get((vm.stage, f"{vm.folder}/{vm.name}")) or ()
        needs = []
        for name in names:
            if (key := keys.get((vm.stage, name))) is None:
                self._block("DependencyNotFound", f"VM {vm.name} depends on {name}, which is not in stage {vm.stage}")
            else:
                needs.append(key)
        return replace(vm, depends_on=tuple(needs))

    def _check_graph(self, snapshot: Snapshot) -> None:
        try:
            build(snapshot)
        except ValueError as error:
            self._block("StageCycle", str(error))
        if circle := vm_cycle(snapshot.vms):
            self._block("DependencyCycle", "VMs depend on each other in a circle", circle)
        if self.given.records and not snapshot.vms and not self.blockers:
            self._block("NoVirtualMachines", "no VM belongs to the plan's groups")


class _Places:
    """Which stage each VM belongs to: the first stage that names it, else one that names its group, else `rest`."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages

    def stage(self, group: str, member: Member) -> str:
        for stage in self.stages:
            if any(matches_reference(r, member.name, member.path) for r in stage.virtual_machines):
                return stage.name
        for stage in self.stages:
            if group in stage.protection_groups:
                return stage.name
        return REST_STAGE

    def missing(self, records: Iterable[GroupRecord]) -> list[str]:
        """VMs that a stage names and no group contains."""
        members = [m for record in records for m in record.members]
        return [
            f"VM {reference.key} in stage {stage.name}"
            for stage in self.stages
            for reference in stage.virtual_machines
            if not any(matches_reference(reference, m.name, m.path) for m in members)
        ]


def _frozen_stage(stage: Stage) -> FrozenStage:
    readiness = stage.readiness
    return FrozenStage(
        name=stage.name,
        depends_on=stage.depends_on,
        readiness=Readiness(
            tools_heartbeat=readiness.tools_heartbeat,
            tcp_ports=tuple(p.port for p in readiness.tcp),
            timeout_seconds=readiness.timeout_seconds,
            delay_seconds=readiness.delay_seconds,
        ),
        halt=stage.on_failure.policy is StageFailurePolicy.HALT,
        quorum=stage.on_failure.quorum,
        retries=stage.on_failure.retries,
    )
