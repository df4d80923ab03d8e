"""Everything a plan depends on, gathered: for its Ready condition, and again, read afresh, at the start of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from resurgo.api import InventoryMapping, ProtectionGroup, RecoveryPlan, SiteLimits
from resurgo.domain.blockers import Blocker
from resurgo.domain.errors import DrError, Missing
from resurgo.domain.freeze import Given, freeze
from resurgo.domain.inventory import Inventory
from resurgo.domain.mapping import Lookup, lookup
from resurgo.domain.membership import select
from resurgo.domain.ports import Key
from resurgo.domain.readiness import Ends, Seen, check, not_available
from resurgo.domain.records import GroupRecord
from resurgo.domain.snapshot import SiteLimits as FrozenLimits
from resurgo.domain.snapshot import Snapshot
from resurgo.domain.states import ActiveState, RunType, active_state, common_state
from resurgo.engine import group_store
from resurgo.engine.context import Context
from resurgo.engine.group_view import group_ends, keeps, read_record
from resurgo.engine.replication_pair import read_end

_FRESH_SECONDS = 20.0  # for all that is read again at the start of a run


@dataclass(frozen=True, slots=True)
class Survey:
    """``blockers`` holds findings of every weight; ``snapshot`` must not be run while one is blocking."""

    snapshot: Snapshot
    blockers: tuple[Blocker, ...]

    @property
    def blocking(self) -> tuple[Blocker, ...]:
        return tuple(b for b in self.blockers if b.blocking)

    @property
    def warnings(self) -> tuple[Blocker, ...]:
        return tuple(b for b in self.blockers if not b.blocking)


async def groups_of(context: Context, plan: RecoveryPlan) -> dict[str, ProtectionGroup]:
    """The plan's groups that exist, by name."""
    found = {}
    for reference in plan.spec.protection_groups:
        try:
            obj = await context.kube.get(Key("protectiongroups", plan.metadata.namespace, reference.name))
        except Missing:
            continue
        found[reference.name] = ProtectionGroup.model_validate(obj)
    return found


def plan_state(context: Context, plan: RecoveryPlan, groups: Mapping[str, ProtectionGroup]) -> ActiveState | None:
    """Where the plan's workloads live; None where its groups differ or nobody can say."""
    if len(groups) < len(plan.spec.protection_groups):
        return None
    return common_state(
        active_state(*e) for g in groups.values() for e in (group_ends(context, g) or {"": (None, None)}).values()
    )


async def survey(
    context: Context,
    plan: RecoveryPlan,
    groups: Mapping[str, ProtectionGroup],
    *,
    type_: RunType,
    source: str,
    target: str,
    run: str = "",
) -> Survey:
    """Put the snapshot together from what is known now and check it. Reads nothing but the API server and memory."""
    namespace = plan.metadata.namespace or ""
    findings: list[Blocker] = []
    for name, group in groups.items():
        sites = {group.spec.protected_site, group.spec.recovery_site}
        if sites != {plan.spec.protected_site, plan.spec.recovery_site}:
            findings.append(Blocker("SitesDiffer", f"ProtectionGroup {name} is about other sites than the plan"))
    findings += not_available(plan.spec)
    table = await _lookup(context, plan, source, findings)
    inventory = _inventory(context, target)
    records: dict[str, GroupRecord] = {}
    for name in groups:
        if (record := await group_store.load(context, namespace, name)) is not None:
            records[name] = record
    ends = _ends(context, groups, source)
    given = Given(
        run=run,
        plan_name=plan.metadata.name,
        plan=plan.spec,
        type=type_,
        source=source,
        target=target,
        groups=groups,
        records=records,
        ends=ends,
        lookup=table,
        target_inventory=inventory or _nothing(context, target),
        source_limits=_limits(context, source, plan),
        target_limits=_limits(context, target, plan),
    )
    snapshot, frozen = freeze(given)
    if inventory is None:  # folders can't be missing where none can be seen
        frozen = [b for b in frozen if b.reason != "FolderNotFound"]
    seen = Seen(
        type=type_,
        source=source,
        target=target,
        source_problem=context.site_problem(source),
        target_problem=context.site_problem(target),
        source_array_problem=_array_problem(context, groups, source),
        target_array_problem=_array_problem(context, groups, target),
        snapshot=snapshot,
        groups=groups,
        records=records,
        ends=ends,
        target_inventory=inventory,
        now=context.clock.now(),
    )
    return Survey(snapshot, (*findings, *frozen, *check(seen)))


async def refresh(context: Context, groups: Mapping[str, ProtectionGroup], *, sites: tuple[str, ...]) -> None:
    """Read again, within a bound, what a survey is made from: inventories and arrays of *sites*, members of groups.

    What does not answer keeps its old reading; the checks say so.
    """
    pairs = {g.spec.replication.pair_ref.name for g in groups.values()}
    reads = [
        asyncio.create_task(read_end(context, end))
        for name in pairs
        if (view := context.pairs.get(name)) is not None
        for site, end in view.ends.items()
        if site in sites
    ]
    reads += [asyncio.create_task(_refresh_site(context, site)) for site in sites]
    _, late = await asyncio.wait(reads, timeout=_FRESH_SECONDS) if reads else (set(), set())
    for task in late:
        task.cancel()
    for group in groups.values():
        if group.spec.protected_site in sites:
            await _refresh_members(context, group)


async def _refresh_site(context: Context, site: str) -> None:
    view = context.sites.get(site)
    if view is None or (vcenter := view.usable()) is None:
        return
    try:
        await vcenter.refresh()
    except DrError as error:
        view.problem, view.reason = str(error), error.reason


async def _refresh_members(context: Context, group: ProtectionGroup) -> None:
    view = context.sites.get(group.spec.protected_site)
    ends = group_ends(context, group)
    state = common_state(active_state(*e) for e in ends.values()) if ends else None
    if view is None or (vcenter := view.usable()) is None or state is not ActiveState.PROTECTED:
        return
    namespace, name = group.metadata.namespace or "", group.metadata.name
    known = await group_store.load(context, namespace, name)
    try:
        selection = select(group.spec.members, vcenter.inventory())
        fresh = await read_record(context, selection, ends, known, vcenter, fresh=True)
    except DrError as error:
        view.problem, view.reason = str(error), error.reason
        return
    if not keeps(fresh, known):
        obj = await context.kube.get(Key("protectiongroups", namespace, name))
        await group_store.store(context, obj, fresh)


async def _lookup(context: Context, plan: RecoveryPlan, source: str, findings: list[Blocker]) -> Lookup:
    name = plan.spec.inventory_mapping_ref.name
    try:
        obj = await context.kube.get(Key("inventorymappings", plan.metadata.namespace, name))
        found = lookup(InventoryMapping.model_validate(obj).spec, source)
    except Missing:
        findings.append(Blocker("MappingNotFound", f"InventoryMapping {name} does not exist in this namespace"))
    except ValueError as error:
        findings.append(Blocker("MappingNotFound", f"InventoryMapping {name}: {error}"))
    else:
        if found.ambiguous:
            findings.append(
                Blocker(
                    "MappingAmbiguous",
                    f"InventoryMapping {name} read from {source} has two answers for",
                    found.ambiguous,
                )
            )
        return found
    return Lookup({}, {}, {}, {})


def _ends(context: Context, groups: Mapping[str, ProtectionGroup], source: str) -> dict[tuple[str, str], Ends]:
    """Each consistency group at the run's source and target. Old readings serve to name a group, never to judge it."""
    found: dict[tuple[str, str], Ends] = {}
    for group in groups.values():
        pair = group.spec.replication.pair_ref.name
        for name, both in group_ends(context, group).items():
            ends = both if group.spec.protected_site == source else (both[1], both[0])
            found[pair, name] = ends
    return found


def _array_problem(context: Context, groups: Mapping[str, ProtectionGroup], site: str) -> str:
    problems = []
    for pair in dict.fromkeys(g.spec.replication.pair_ref.name for g in groups.values()):
        view = context.pairs.get(pair)
        end = view.ends.get(site) if view else None
        if end is None:
            problems.append(f"ReplicationPair {pair} does not exist, was not read yet or has no end here")
        elif end.problem:
            problems.append(f"{pair}: {end.problem}")
    return "; ".join(problems)


def _inventory(context: Context, site: str) -> Inventory | None:
    view = context.sites.get(site)
    if view is None or (vcenter := view.usable()) is None:
        return None
    try:
        return vcenter.inventory()
    except DrError:
        return None


def _nothing(context: Context, site: str) -> Inventory:
    return Inventory(site, context.clock.now(), {}, {}, (), {}, {}, {})


def _limits(context: Context, site: str, plan: RecoveryPlan) -> FrozenLimits:
    view = context.sites.get(site)
    limits = view.spec.limits if view else SiteLimits()
    own = plan.spec.execution.concurrency.virtual_machines
    tasks = min(limits.concurrent_tasks, own) if own else limits.concurrent_tasks
    return FrozenLimits(tasks, limits.concurrent_power_ons_per_host)
