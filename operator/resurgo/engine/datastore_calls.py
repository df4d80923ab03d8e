"""What a run asks of datastores: mounted on every host that needs them, or on none."""

from __future__ import annotations

import asyncio

from resurgo.domain.errors import Rejected, Retryable
from resurgo.domain.inventory import Datastore, HostId, Inventory, NfsExport
from resurgo.domain.ports import VCenter
from resurgo.domain.settle import Outcome, Verdict
from resurgo.domain.snapshot import FrozenDatastore
from resurgo.domain.steps import Side
from resurgo.engine.places import Job, Places, Target, every

_LOOK = 0.2  # seconds


class DatastoreCalls:
    """The calls on NFS datastores."""

    def __init__(self, places: Places) -> None:
        self._at = places

    async def unmount(self, job: Job) -> Outcome:
        store = self._at.stores[job.item]
        vcenter = self._at.vcenter(job.step)
        inventory = await vcenter.refresh()
        found = inventory.datastore_by_export(store.export)
        if found is None:
            return Outcome(Verdict.ALREADY)
        return every([await vcenter.ensure_unmounted(store.export, host=h) for h in sorted(found.hosts)])

    async def mount(self, job: Job) -> Outcome:
        store = self._at.stores[job.item]
        vcenter = self._at.vcenter(job.step)
        if job.step.side is Side.SOURCE:
            export, name, hosts = store.export, store.name, [HostId(h) for h in store.hosts]
        else:
            export, name = await self._export(store), store.target_name
            hosts = self._hosts(vcenter.inventory(), store)
        ensured = await asyncio.gather(*(vcenter.ensure_mounted(export, name=name, host=h) for h in hosts))
        await self._until_usable(vcenter, export)
        return every(ensured)

    async def _export(self, store: FrozenDatastore) -> NfsExport:
        """Where the recovered device is found, from the failover's note or the array."""
        if (known := self._at.target_export(store)) is not None:
            return known
        endpoint, ref = self._at.end(self._at.snapshot.target, self._at.groups[store.consistency_group])
        found = Target.of(await endpoint.status(ref)).exports.get(store.device)
        if found is None:
            raise Rejected(
                f"the array at {self._at.snapshot.target} shows no NFS export for the copy of datastore {store.name}",
                reason="DeviceNotPresented",
            )
        return found

    def _hosts(self, inventory: Inventory, store: FrozenDatastore) -> list[HostId]:
        """Usable hosts of every cluster that gets a VM of the datastore's group: it may hold but disks of theirs."""
        vms = self._at.snapshot.vms
        pools = {v.target_pool for v in vms if v.group == store.group} or {v.target_pool for v in vms}
        hosts = {h.id: h for pool in pools for h in inventory.hosts_of_pool(pool) if h.connected and not h.maintenance}
        if not hosts and pools:
            raise Retryable(f"no usable host behind {', '.join(sorted(pools))} at {inventory.site}", reason="NoHost")
        return sorted(hosts)

    @staticmethod
    async def _until_usable(vcenter: VCenter, export: NfsExport) -> None:
        """Right after a mount vCenter may still show the datastore as inaccessible."""
        found: Datastore | None = None
        for _ in range(25):
            found = (await vcenter.refresh()).datastore_by_export(export)
            if found is not None and found.accessible:
                return
            await asyncio.sleep(_LOOK)
        state = "not accessible" if found is not None else "not there"
        raise Retryable(f"datastore of {export} is mounted at {vcenter.site} but {state}", reason="NotAccessible")
