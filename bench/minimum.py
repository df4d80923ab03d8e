"""The minimum: the calls of a planned migration, in its order and at its concurrency, with nothing around them.

No journal, no status, no look before or after a call; all that may be known beforehand is read before the clock starts.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.designs import BIG_PLAN, STAGES, stage
from bench.plain_array import PlainArray
from bench.plain_vcenter import PlainVCenter, moid
from tests.lab.design import DeviceDesign
from tests.lab.lab import Lab

from resurgo.adapters.vsphere.calls import Limits
from resurgo.adapters.vsphere.sdk import vim
from resurgo.domain.snapshot import SiteLimits

_TASKS, _PER_HOST = SiteLimits().concurrent_tasks, SiteLimits().power_ons_per_host
_CALLS = Limits().calls


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. ``recovery``: from the first call to register a VM until the last power-on is done."""

    whole: float
    recovery: float


class Slots:
    """The tasks that may be in flight at one vCenter; who waits is let in by urgency, the smallest first."""

    def __init__(self, free: int) -> None:
        self._free, self._asked = free, 0
        self._waiting: list[tuple[tuple[int, int], int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def one(self, urgency: tuple[int, int] = (0, 0)) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._asked += 1
            heapq.heappush(self._waiting, (urgency, self._asked, turn))
            await turn
        try:
            yield
        finally:
            if self._waiting:
                heapq.heappop(self._waiting)[2].set_result(None)
            else:
                self._free += 1


def measure(lab: Lab) -> Times:
    """Migrate the lab's VMs and say how long it took."""
    return asyncio.run(_measure(lab))


async def _measure(lab: Lab) -> Times:
    async with AsyncExitStack() as stack:
        here, there = [
            await stack.enter_async_context(PlainVCenter(sim, _CALLS).connected())
            for sim in (lab.protected, lab.recovery)
        ]
        migration = Migration(lab, here, there)
        await migration.look_around()
        began = time.monotonic()
        await migration.release()
        await migration.recover()
        end = time.monotonic()
    return Times(end - began, end - migration.registering)


class Migration:
    """One planned migration, from the first vCenter to the second."""

    def __init__(self, lab: Lab, here: PlainVCenter, there: PlainVCenter) -> None:
        self._lab, self._here, self._there = lab, here, there
        first, second = lab.design.sites
        self._arrays = PlainArray(lab.folder, first, second), PlainArray(lab.folder, second, first)
        self._here_slots, self._slots = Slots(_TASKS), Slots(_TASKS)
        self._opened = [asyncio.Event() for _ in range(STAGES + 1)]
        self._stages = {n: [v.name for v in lab.design.vms if v.folder == stage(n)] for n in range(1, STAGES + 1)}
        self.registering = 0.0

    async def look_around(self) -> None:
        """All that the operator knows from its inventory."""
        self._vms = await self._here.call(lambda: self._here.objects(vim.VirtualMachine))
        self._stores = await self._here.call(lambda: self._here.objects(vim.Datastore))
        self._old_hosts = await self._systems(self._here)
        self._mounters = await self._systems(self._there)
        self._hosts = list((await self._there.call(lambda: self._there.objects(vim.HostSystem))).values())
        self._power_ons = [asyncio.Semaphore(_PER_HOST) for _ in self._hosts]
        self._folders = await self._there.call(lambda: self._there.objects(vim.Folder))
        self._pool = next(iter((await self._there.call(lambda: self._there.objects(vim.ResourcePool))).values()))
        self._networks = await self._there.call(lambda: self._there.objects(vim.Network))
        for vm in self._vms.values():
            await self._here.call(partial(self._here.watch, vm, "runtime.powerState"))

    async def release(self) -> None:
        """Everything up to writable storage at the second site."""
        groups = [device.group for device in self._lab.design.devices]
        first, second = self._arrays
        await asyncio.gather(*map(first.sync, groups))
        for n in range(STAGES, 0, -1):
            await asyncio.gather(*map(self._shut_down, self._stages[n]))
        await asyncio.gather(*map(self._unregister, self._vms))
        await asyncio.gather(*map(self._unmount, self._lab.design.devices))
        await asyncio.gather(*map(first.sync, groups))
        await asyncio.gather(*map(first.prepare_failover, groups))
        await asyncio.gather(*map(second.failover, groups))

    async def recover(self) -> None:
        """From writable storage to the last power-on."""
        await asyncio.gather(*map(self._mount, self._lab.design.devices))
        self.registering = time.monotonic()
        self._opened[1].set()
        await asyncio.gather(*(self._recover_stage(n) for n in self._stages))

    async def _recover_stage(self, number: int) -> None:
        first = sum(len(self._stages[n]) for n in range(1, number))
        await asyncio.gather(*(self._recover(number, first + i, v) for i, v in enumerate(self._stages[number])))
        if number < STAGES:
            self._opened[number + 1].set()

    async def _recover(self, stage_number: int, number: int, name: str) -> None:
        """One VM: register, configure, power on in its stage's turn. Early stages first, as in the operator."""
        place = number % len(self._hosts)
        path = f"[ds-{stage(stage_number)}] {name}/{name}.vmx"
        folder = self._folders[stage(stage_number)]
        there = self._there
        async with self._slots.one((stage_number, 3)):
            vm = await there.task(
                lambda: folder.RegisterVM_Task(
                    path=path, name=name, asTemplate=False, pool=self._pool, host=self._hosts[place]
                )
            )
        vm = there.bind(vm)
        devices = await there.call(lambda: there.read(vm, "config.hardware.device"))
        change = self._attached(devices, name)
        async with self._slots.one((stage_number, 2)):
            await there.task(lambda: vm.ReconfigVM_Task(change))
        await self._opened[stage_number].wait()
        async with self._power_ons[place], self._slots.one((stage_number, 1)):
            await there.task(vm.PowerOn)

    def _attached(self, devices: Any, name: str) -> Any:
        network = self._networks[self._lab.design.sites[1].networks[0]]
        changes = []
        for card in (d for d in devices if isinstance(d, vim.vm.device.VirtualEthernetCard)):
            card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(
                deviceName=self._lab.design.sites[1].networks[0], network=network
            )
            card.connectable.startConnected = True
            changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
        marks = [vim.option.OptionValue(key=f"bench.{k}", value=v) for k, v in (("run", BIG_PLAN), ("vm", name))]
        return vim.vm.ConfigSpec(deviceChange=changes, extraConfig=marks)

    async def _shut_down(self, name: str) -> None:
        vm = self._vms[name]
        await self._here.call(vm.ShutdownGuest)
        await self._here.until(moid(vm), lambda p: p["runtime.powerState"] == "poweredOff")

    async def _unregister(self, name: str) -> None:
        async with self._here_slots.one():
            await self._here.call(self._vms[name].UnregisterVM)

    async def _unmount(self, device: DeviceDesign) -> None:
        for system in self._old_hosts:
            await self._here.call(partial(system.RemoveDatastore, self._stores[device.name]))

    async def _mount(self, device: DeviceDesign) -> None:
        """Host by host: two at once may give one export two datastores."""
        wanted = vim.host.NasVolume.Specification(
            remoteHost=self._lab.design.sites[1].nfs_server,
            remotePath=device.path,
            localPath=device.name,
            accessMode="readWrite",
            type="NFS",
        )
        for system in self._mounters:
            await self._there.call(partial(system.CreateNasDatastore, wanted))

    @staticmethod
    async def _systems(vcenter: PlainVCenter) -> list[Any]:
        hosts = await vcenter.call(lambda: vcenter.objects(vim.HostSystem))
        path = "configManager.datastoreSystem"
        return [await vcenter.call(partial(vcenter.read, host, path)) for host in hosts.values()]
