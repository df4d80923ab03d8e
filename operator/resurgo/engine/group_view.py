"""What is known of a protection group now: the two ends of its replication, and its members read afresh."""

from __future__ import annotations

from datetime import datetime

from resurgo.api import ProtectionGroup
from resurgo.domain.inventory import Hardware, Vm, VmId
from resurgo.domain.membership import Selection, record, replicated, uncovered
from resurgo.domain.ports import VCenter
from resurgo.domain.records import GroupRecord
from resurgo.domain.replication import GroupStatus
from resurgo.engine.context import Context

_GOOD_FOR = 300.0  # seconds

Ends = tuple[GroupStatus | None, GroupStatus | None]  # at the protected site, at the recovery site


def unread(context: Context, group: ProtectionGroup) -> bool:
    """Whether this process still waits for the first answer of an end of the pair, good or bad."""
    pair = context.pairs.get(group.spec.replication.pair_ref.name)
    return pair is not None and any(e.reason == "NotObserved" for e in pair.ends.values())


def group_ends(context: Context, group: ProtectionGroup) -> dict[str, Ends]:
    """What the two ends of each consistency group last said; an end with a problem says nothing."""
    pair = context.pairs.get(group.spec.replication.pair_ref.name)
    if pair is None:
        return {}
    return {
        name: (pair.status(group.spec.protected_site, name), pair.status(group.spec.recovery_site, name))
        for name in group.spec.replication.consistency_groups
    }


def recovery_point(ends: dict[str, Ends]) -> datetime | None:
    """The newest point that every consistency group can be recovered to."""
    points = []
    for both in ends.values():
        known = [e.recovery_point for e in both if e is not None and e.recovery_point is not None]
        if not known:
            return None
        points.append(max(known))
    return min(points) if points else None


async def read_record(
    context: Context,
    selection: Selection,
    ends: dict[str, Ends],
    known: GroupRecord | None,
    vcenter: VCenter,
    *,
    fresh: bool = False,
) -> GroupRecord:
    """The group's record as its protected site shows it now. Raises what the vCenter raises.

    Devices are costly to read: those of a VM that has not changed are taken from a reading of the last minutes, unless
    *fresh*.
    """
    statuses = [e for both in ends.values() for e in both[:1] if e is not None]
    if statuses:
        devices = replicated(selection.datastores, statuses)
    else:  # the source array does not answer: its devices are where they were
        devices = {d.name: (d.consistency_group, d.device) for d in known.datastores} if known else {}
    more = (
        uncovered(selection.datastores, vcenter.inventory(), statuses) if statuses else known.uncovered if known else ()
    )
    hardware = await _hardware(context, vcenter, selection.vms, fresh=fresh)
    return record(selection, devices, hardware, known, uncovered=more, site=vcenter.site, now=context.clock.now())


async def _hardware(context: Context, vcenter: VCenter, vms: tuple[Vm, ...], *, fresh: bool) -> dict[VmId, Hardware]:
    now, cache, site = context.clock.monotonic(), context.hardware, vcenter.site
    found: dict[VmId, Hardware] = {}
    for vm in vms:
        seen = cache.get((site, vm.id))
        if seen is not None and not fresh and seen[0] == vm and now - seen[2] < _GOOD_FOR:
            found[vm.id] = seen[1]
    read = await vcenter.hardware([v.id for v in vms if v.id not in found])
    cache.update({(site, vm.id): (vm, read[vm.id], now) for vm in vms if vm.id in read})
    return {**found, **read}


def keeps(fresh: GroupRecord, known: GroupRecord | None) -> bool:
    """Whether what was known is better than a reading that lost everything, as of a site that is going down."""
    return known is not None and not fresh.members and not fresh.datastores and bool(known.datastores)
