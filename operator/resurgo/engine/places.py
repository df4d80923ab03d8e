"""Where the things of a run are found: its VMs, datastores and groups at the two sites, as the journal knows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from resurgo.domain.errors import DrError, Unreachable
from resurgo.domain.inventory import Inventory, NfsExport, Vm, VmId
from resurgo.domain.journal import Journal, Record
from resurgo.domain.ports import Done, ReplicationEndpoint, VCenter
from resurgo.domain.replication import GroupRef, GroupStatus
from resurgo.domain.settle import Outcome, Verdict
from resurgo.domain.snapshot import FrozenDatastore, FrozenGroup, FrozenVm, Snapshot
from resurgo.domain.steps import Side, Step
from resurgo.engine.context import Context


@dataclass(frozen=True, slots=True)
class Job:
    """One call to make. ``note`` keeps a text in the record while the call is still under way."""

    step: Step
    item: str
    record: Record
    note: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Target:
    """What a failover made of one consistency group: kept in the Failover record's note."""

    recovery_point: datetime | None
    exports: dict[str, NfsExport]  # device pair key -> export at the target

    def text(self) -> str:
        point = self.recovery_point.isoformat() if self.recovery_point else None
        return json.dumps({"rp": point, "nfs": {k: [e.server, e.path] for k, e in self.exports.items()}})

    @classmethod
    def of(cls, status: GroupStatus) -> Target:
        """What a status shows of a group that has failed over to its end."""
        exports = {
            d.pair_key: NfsExport(d.identity.server or "", d.identity.value)
            for d in status.devices
            if d.identity is not None and d.identity.kind == "nfs"
        }
        return cls(status.recovery_point, exports)

    @classmethod
    def read(cls, text: str) -> Target | None:
        try:
            raw = json.loads(text)
            point = datetime.fromisoformat(raw["rp"]) if raw["rp"] else None
            return cls(point, {k: NfsExport(*v) for k, v in raw["nfs"].items()})
        except (ValueError, KeyError, TypeError):
            return None


class Places:
    """Look-ups of one run. Nothing here changes anything."""

    def __init__(self, context: Context, snapshot: Snapshot, journal: Journal) -> None:
        self.context, self.snapshot, self.journal = context, snapshot, journal
        self.vms = {v.key: v for v in snapshot.vms}
        self.groups = {g.key: g for g in snapshot.groups}
        self.stores = {d.key: d for d in snapshot.datastores}

    def saw(self, site: str, group: FrozenGroup, status: GroupStatus) -> None:
        """Let everybody know what an end shows now, before it is polled the next time."""
        pair = self.context.pairs.get(group.pair)
        if pair is not None and (end := pair.ends.get(site)) is not None:
            end.groups = {**end.groups, group.id: status}

    def now(self) -> float:
        return self.context.clock.now().timestamp()

    def site(self, step: Step) -> str:
        return self.snapshot.source if step.side is Side.SOURCE else self.snapshot.target

    def vcenter(self, step: Step) -> VCenter:
        site = self.site(step)
        view = self.context.sites.get(site)
        if view is None or view.vcenter is None:
            raise Unreachable(f"Site {site} is not connected: {self.context.site_problem(site)}")
        if not view.vcenter.reachable:
            raise Unreachable(f"the vCenter of site {site} does not answer")
        return view.vcenter

    def endpoint(self, step: Step, group: FrozenGroup) -> tuple[ReplicationEndpoint, GroupRef]:
        return self.end(self.site(step), group)

    def end(self, site: str, group: FrozenGroup) -> tuple[ReplicationEndpoint, GroupRef]:
        pair = self.context.pairs.get(group.pair)
        end = pair.ends.get(site) if pair else None
        if end is None:
            raise Unreachable(f"ReplicationPair {group.pair} has no endpoint at {site} now")
        known = end.groups.get(group.id)
        return end.endpoint, known.ref if known else GroupRef(group.id, group.pair_key)

    async def find(self, step: Step, vm: FrozenVm) -> tuple[VCenter, Vm | None]:
        """The VM at the step's site, looked for twice before it counts as gone."""
        vcenter = self.vcenter(step)
        found = self.pick(step, vm, vcenter.inventory())
        if found is None:
            found = self.pick(step, vm, await vcenter.refresh())
        return vcenter, found

    def pick(self, step: Step, vm: FrozenVm, inventory: Inventory) -> Vm | None:
        register = self.journal.get("Register" if step.side is Side.TARGET else "Reregister", vm.key)
        if register is not None and register.good and (known := inventory.vms.get(VmId(register.note))) is not None:
            return known
        store = self.store_name(step, self.stores[vm.datastore], inventory)
        same = [v for v in inventory.vms.values() if v.vmx.path == vm.vmx and v.vmx.datastore == store]
        return same[0] if same else None

    def store_name(self, step: Step, store: FrozenDatastore, inventory: Inventory) -> str:
        if step.side is Side.SOURCE:
            found = inventory.datastore_by_export(store.export)
            return found.name if found else store.name
        export = self.target_export(store)
        found = inventory.datastore_by_export(export) if export else None
        return found.name if found else store.target_name

    def target_export(self, store: FrozenDatastore) -> NfsExport | None:
        record = self.journal.get("Failover", store.consistency_group)
        target = Target.read(record.note) if record else None
        return target.exports.get(store.device) if target else None

    def inventory(self, site: str) -> Inventory | None:
        view = self.context.sites.get(site)
        try:
            return view.vcenter.inventory() if view and view.vcenter else None
        except DrError:
            return None


def outcome(done: Done) -> Outcome:
    return Outcome(Verdict.ALREADY if done is Done.ALREADY else Verdict.DONE)


def every(done: list[Done]) -> Outcome:
    return Outcome(Verdict.ALREADY if all(d is Done.ALREADY for d in done) else Verdict.DONE)
