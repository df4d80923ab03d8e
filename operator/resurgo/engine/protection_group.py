"""Reconciles a ProtectionGroup: who belongs to it, how its data is replicated, what stands against its recovery."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from resurgo.api import InventoryMapping, ProtectionGroup, RecoveryPlan
from resurgo.domain.blockers import listed
from resurgo.domain.errors import DrError, Missing
from resurgo.domain.mapping import lookup, unmapped
from resurgo.domain.membership import Selection, select
from resurgo.domain.ports import Key
from resurgo.domain.records import GroupRecord
from resurgo.domain.replication import GroupStatus, Role
from resurgo.domain.states import TERMINAL, ActiveState, active_state, common_state, split_brain
from resurgo.engine import group_store
from resurgo.engine.context import Context, stamp
from resurgo.engine.group_access import denied, namespace_labels, refusal
from resurgo.engine.group_view import Ends, group_ends, keeps, read_record, recovery_point, unread
from resurgo.engine.loop import Pass


class GroupReconciler:
    ready = "Ready"

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, work: Pass) -> None:
        """All conditions of the group, its record and its metrics."""
        group = ProtectionGroup.model_validate(work.obj)
        ends = group_ends(self._context, group)
        state = common_state(active_state(*e) for e in ends.values()) if ends else None
        labels = await namespace_labels(self._context, group)
        refused = await refusal(self._context, group, labels)
        known = await group_store.load(self._context, group.metadata.namespace or "", group.metadata.name)
        selection: Selection | None = None
        if refused is None and state is ActiveState.PROTECTED and not await self._being_moved(group):
            selection, known = await self._read_members(work, group, ends, known)
        self._replication(work, group, ends, state)
        self._sites(work, group)
        self._members(work, group, selection, known)
        await self._mappings(work, group, known)
        self._verdict(work, group, state, labels, refused, selection, known)
        self._measure(group, ends, known)
        work.after = 30.0
        self._context.ring_kind("recoveryplans")

    async def forget(self, key: Key) -> None:
        self._context.records.pop((key.namespace or "", key.name), None)
        self._context.metrics.drop_group(key.namespace or "", key.name)
        self._context.ring_kind("protectiongroups")  # a younger group may take over what this one held

    async def _being_moved(self, group: ProtectionGroup) -> bool:
        """Whether a live run holds the group: what its VMs look like meanwhile is not what has to be remembered."""
        held = group.status.active_run
        if held is None:
            return False
        try:
            run = await self._context.kube.get(Key("recoveryruns", group.metadata.namespace, held.name))
        except Missing:
            return False
        return run["metadata"]["uid"] == held.uid and (run.get("status") or {}).get("phase") not in TERMINAL

    # -- members ------------------------------------------------------------------------------------

    async def _read_members(
        self, work: Pass, group: ProtectionGroup, ends: dict[str, Ends], known: GroupRecord | None
    ) -> tuple[Selection | None, GroupRecord | None]:
        """The members as the protected site shows them now; what was known where it does not answer."""
        site = self._context.sites.get(group.spec.protected_site)
        vcenter = site.usable() if site else None
        if vcenter is None:
            return None, known
        try:
            inventory = vcenter.inventory()
            selection = select(group.spec.members, inventory)
            fresh = await read_record(self._context, selection, ends, known, vcenter)
        except DrError:
            return None, known
        if keeps(fresh, known):
            return selection, known
        await group_store.store(self._context, work.obj, fresh)
        return selection, fresh

    def _members(
        self, work: Pass, group: ProtectionGroup, selection: Selection | None, known: GroupRecord | None
    ) -> None:
        if known is None:
            work.conditions.put("MembersProtected", None, "NotObserved", "the members were never read")
            return
        work.status["virtualMachines"] = len(known.members)
        outside = [f"{m.name} ({', '.join(m.outside)})" for m in known.members if m.outside]
        work.status["unprotectedVirtualMachines"] = len(outside)
        bare = []
        if selection is not None:
            replicas = {d.name for d in known.datastores}
            bare = [d.name for d in selection.datastores if d.name not in replicas]
        if bare:
            names = ", ".join(group.spec.replication.consistency_groups)
            text = f"datastore {listed(bare)} is in none of the consistency groups {names}: its VMs are not replicated"
            work.conditions.put("MembersProtected", False, "DatastoreNotReplicated", text)
        elif known.uncovered:
            text = f"the consistency groups hold more than the group's datastores: {listed(known.uncovered)}"
            work.conditions.put("MembersProtected", False, "ConsistencyGroupNotOwned", text)
        elif known.strangers:
            text = f"VMs or templates that are no members use the group's datastores: {listed(known.strangers)}"
            work.conditions.put("MembersProtected", False, "DatastoreShared", text)
        elif outside:
            text = (
                f"VMs with files outside the group's datastores: {listed(outside)}; move them to the group's datastores"
            )
            work.conditions.put("MembersProtected", False, "UnprotectedFiles", text)
        else:
            work.conditions.put("MembersProtected", True, "AllReplicated", f"{len(known.members)} VMs")

    async def _mappings(self, work: Pass, group: ProtectionGroup, known: GroupRecord | None) -> None:
        """Whether every plan that names the group has a mapping for all that its VMs use."""
        namespace = group.metadata.namespace
        missing: list[str] = []
        plans = [
            RecoveryPlan.model_validate(o) for o in await self._context.kube.list("recoveryplans", namespace=namespace)
        ]
        plans = [p for p in plans if any(g.name == group.metadata.name for g in p.spec.protection_groups)]
        for plan in plans:
            name = plan.spec.inventory_mapping_ref.name
            try:
                obj = await self._context.kube.get(Key("inventorymappings", namespace, name))
                table = lookup(InventoryMapping.model_validate(obj).spec, group.spec.protected_site)
            except (Missing, ValueError):
                missing.append(f"InventoryMapping {name}")
                continue
            missing += [f"{what} in {name}" for what in unmapped(table, known.members if known else ())]
        if missing:
            text = f"not mapped: {listed(dict.fromkeys(missing))}"
            work.conditions.put("MappingsComplete", False, "MappingMissing", text)
        elif plans and known:
            work.conditions.put("MappingsComplete", True, "AllMapped")
        else:
            work.conditions.put("MappingsComplete", None, "NoPlan" if known else "NotObserved")

    # -- replication ----------------------------------------------------------------------------------

    def _replication(
        self, work: Pass, group: ProtectionGroup, ends: dict[str, Ends], state: ActiveState | None
    ) -> None:
        spec, now = group.spec, self._context.clock.now()
        sides = {None: None, ActiveState.PROTECTED: spec.protected_site}
        site = sides.get(state, spec.recovery_site)
        if site is not None:
            work.status["activeSite"] = site
        both = [e for pair in ends.values() for e in pair if e is not None]
        work.conditions.put(
            "SplitBrain",
            any(split_brain(*e) for e in ends.values()),
            "WritableAtBothSites" if any(split_brain(*e) for e in ends.values()) else "OneWritableSite",
            "the data is writable at both sites: power off the VMs of the stale side before anything is replicated",
        )
        if unread(self._context, group):
            for kind in ("Replicating", "RPOMet"):
                work.conditions.put(kind, None, "NotObserved", "the ReplicationPair was not read yet")
            return
        missing = [name for name, e in ends.items() if e == (None, None)]
        if missing or not both:
            text = (
                f"consistency group {listed(missing)} of ReplicationPair {spec.replication.pair_ref.name} is not known"
            )
            work.conditions.put("Replicating", False, "ConsistencyGroupNotFound", text)
            work.conditions.put("RPOMet", None, "NotObserved", text)
            return
        point = recovery_point(ends)
        healthy = all(e.healthy for e in both)
        message = "; ".join(dict.fromkeys(e.message for e in both if e.message))
        self._status_of_replication(work, both, point, healthy, message, now)
        if state is ActiveState.RECOVERED:
            work.conditions.put("Replicating", False, "NotReprotected", "failed over; nothing replicates back yet")
        elif healthy:
            work.conditions.put("Replicating", True, "Healthy")
        else:
            work.conditions.put("Replicating", False, "Unhealthy", message or "the adapter reports an unhealthy group")
        self._rpo(work, group, state, point, now)

    def _status_of_replication(
        self,
        work: Pass,
        both: Sequence[GroupStatus],
        point: datetime | None,
        healthy: bool,
        message: str,
        now: datetime,
    ) -> None:
        active = next((e for e in both if e.role in {Role.SOURCE, Role.FAILED_OVER}), both[0])
        lag = max(0, int((now - point).total_seconds())) if point else None
        percent = [e.sync_percent for e in both if e.sync_percent is not None]
        old = (work.obj.get("status") or {}).get("replication") or {}
        if point is not None and old.get("recoveryPointTime") == stamp(point):
            lag = old.get("rpoLagSeconds", lag)  # of the reading that found it: no write for the passing of time
        work.status["replication"] = {
            "role": str(active.role),
            "link": str(active.link),
            "recoveryPointTime": stamp(point),
            "rpoLagSeconds": lag,
            "syncPercent": min(percent) if percent else None,
            "healthy": healthy,
            "message": message[:1000],
        }
        work.status["replication"] = {k: v for k, v in work.status["replication"].items() if v is not None}
        work.status["observedTime"] = stamp(now)

    def _rpo(
        self, work: Pass, group: ProtectionGroup, state: ActiveState | None, point: datetime | None, now: datetime
    ) -> None:
        wanted = group.spec.rpo_seconds
        if point is None:
            work.conditions.put("RPOMet", False, "NoRecoveryPoint", "there is no complete copy at the other site yet")
        elif state is ActiveState.RECOVERED:
            work.conditions.put("RPOMet", False, "NotReprotected", "nothing replicates back yet")
        elif wanted == 0:
            work.conditions.put("RPOMet", work.conditions.status("Replicating") == "True", "Synchronous")
        elif (now - point).total_seconds() > wanted:
            text = f"the newest copy is of {stamp(point)}, older than the {wanted} s that are allowed"
            work.conditions.put("RPOMet", False, "RPOExceeded", text)
        else:
            work.conditions.put("RPOMet", True, "WithinObjective")

    def _sites(self, work: Pass, group: ProtectionGroup) -> None:
        names = (group.spec.protected_site, group.spec.recovery_site)
        problems = [f"{n}: {p}" for n in names if (p := self._context.site_problem(n))]
        pair = self._context.pairs.get(group.spec.replication.pair_ref.name)
        if pair is None:
            problems.append(
                f"ReplicationPair {group.spec.replication.pair_ref.name} does not exist or was not read yet"
            )
        else:
            problems += [f"array at {s}: {e.problem}" for s, e in pair.ends.items() if e.problem]
        if unread(self._context, group) or any(n not in self._context.sites for n in names):
            work.conditions.put("SitesReachable", None, "NotObserved", "; ".join(problems))
            return
        work.conditions.put(
            "SitesReachable", not problems, "Unreachable" if problems else "Answered", "; ".join(problems)
        )

    def _verdict(
        self,
        work: Pass,
        group: ProtectionGroup,
        state: ActiveState | None,
        labels: dict[str, str],
        refused: tuple[str, str] | None,
        selection: Selection | None,
        known: GroupRecord | None,
    ) -> None:
        conditions = work.conditions
        if refused is not None:
            conditions.put("Ready", False, *refused)
        elif unread(self._context, group):
            conditions.keep("Ready")
        elif state is ActiveState.RECOVERED:
            text = f"the VMs run at {group.spec.recovery_site}; nothing protects them until they are reprotected"
            conditions.put("Ready", False, "NotReprotected", text)
        elif conditions.status("Replicating") == "False" and not known:
            conditions.put("Ready", False, "NotReplicating", "see the condition Replicating")
        elif known is None:
            conditions.put(
                "Ready", False, "NotObserved", f"the members were never read: see Site {group.spec.protected_site}"
            )
        elif selection is not None and (selection.missing or selection.ambiguous):
            text = listed([*(f"{m} does not exist" for m in selection.missing), *selection.ambiguous])
            conditions.put("Ready", False, "MembersNotFound", f"at site {group.spec.protected_site}: {text}")
        elif selection is not None and (without := self._denied(group, labels, selection)):
            text = f"Site {group.spec.protected_site} gives this namespace no access to {listed(without)}"
            conditions.put("Ready", False, "AccessDenied", text)
        elif conditions.status("MembersProtected") == "False":
            conditions.put("Ready", False, "MembersNotProtected", "see the condition MembersProtected")
        elif conditions.status("SplitBrain") == "True":
            conditions.put("Ready", False, "SplitBrain", "see the condition SplitBrain")
        else:
            conditions.put("Ready", True, "Protected")

    def _denied(self, group: ProtectionGroup, labels: dict[str, str], selection: Selection) -> list[str]:
        return denied(self._context, group, labels, selection.vms, [d.name for d in selection.datastores])

    def _measure(self, group: ProtectionGroup, ends: dict[str, Ends], known: GroupRecord | None) -> None:
        point = recovery_point(ends)
        pair = self._context.pairs.get(group.spec.replication.pair_ref.name)
        reads = [e.read for e in pair.ends.values() if e.read] if pair else []
        writable = {
            site
            for both in ends.values()
            for site, e in zip((group.spec.protected_site, group.spec.recovery_site), both, strict=True)
            if e is not None and e.role in {Role.SOURCE, Role.FAILED_OVER}
        }
        every = [e for both in ends.values() for e in both if e is not None]
        self._context.metrics.group(
            group.metadata.namespace or "",
            group.metadata.name,
            rpo_target=group.spec.rpo_seconds,
            last_recovery_point=point.timestamp() if point else None,
            observed=max(reads).timestamp() if reads else None,
            healthy=bool(every) and all(e.healthy for e in every),
            suspended=group.spec.suspend,
            writable_sites=len(writable) if every else None,
            vms=len(known.members) if known else None,
            unprotected=sum(bool(m.outside) for m in known.members) if known else None,
        )
