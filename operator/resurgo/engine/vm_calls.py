"""What a run asks of a VM, at either site. Each end is looked at before it is asked for, and after."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from resurgo.domain.errors import DrError, Missing, Rejected, Unreachable
from resurgo.domain.inventory import DatastorePath, HostId, Inventory, Power, VmId
from resurgo.domain.ports import Done, IpSettings, Mark, NicChange, VCenter
from resurgo.domain.settle import Outcome, Verdict
from resurgo.domain.snapshot import FrozenVm
from resurgo.domain.steps import Side
from resurgo.engine.places import Job, Places, every, outcome

log = logging.getLogger(__name__)

_LOOK = 0.2  # seconds between two looks at the inventory in memory
_LOOK_CLOSER = 15.0  # seconds
_RESUME_GRACE = 10.0  # seconds for a shutdown that another process may have asked for


class VmCalls:
    """The calls on VMs."""

    def __init__(self, places: Places) -> None:
        self._at = places

    async def shut_down(self, job: Job) -> Outcome:
        """Guest shutdown, after its time limit power off; the limit counts from the first intent on, in any process."""
        frozen = self._at.vms[job.item]
        vcenter, vm = await self._at.find(job.step, frozen)
        if vm is None or (vm.power is Power.OFF and await self._is_off(vcenter, vm.id)):
            return Outcome(Verdict.ALREADY)
        end = job.record.started + min(frozen.shutdown_seconds, job.step.deadline - 10.0)
        asked = False
        if frozen.guest_shutdown:
            if job.record.attempt > 1:
                await self._until_off(vcenter, vm.id, min(end, self._at.now() + _RESUME_GRACE))
            if not await self._is_off(vcenter, vm.id):
                try:
                    asked = await vcenter.shut_down_guest(vm.id) is Done.DONE
                except Rejected as error:
                    if error.reason != "ToolsNotRunning":
                        raise
                    log.warning("guest.no_tools", extra={"run": self._at.snapshot.run, "vm": frozen.name})
                await self._until_off(vcenter, vm.id, end)
        done = await vcenter.ensure_powered_off(vm.id)
        return outcome(Done.DONE if asked else done)

    async def _until_off(self, vcenter: VCenter, vm: VmId, end: float) -> None:
        """Wait until the VM is off, or *end*."""
        while self._at.now() < end:
            known = vcenter.inventory().vms.get(vm)
            if (known is None or known.power is Power.OFF) and await self._is_off(vcenter, vm):
                return
            if not vcenter.reachable:
                raise Unreachable(f"the vCenter of site {vcenter.site} does not answer")
            await asyncio.sleep(_LOOK)

    @staticmethod
    async def _is_off(vcenter: VCenter, vm: VmId) -> bool:
        now = await vcenter.read_vm(vm)
        return now is None or now.power is Power.OFF

    async def unregister(self, job: Job) -> Outcome:
        vcenter, vm = await self._at.find(job.step, self._at.vms[job.item])
        return Outcome(Verdict.ALREADY) if vm is None else outcome(await vcenter.ensure_unregistered(vm.id))

    async def register(self, job: Job) -> Outcome:
        vm = self._at.vms[job.item]
        vcenter = self._at.vcenter(job.step)
        inventory = vcenter.inventory()
        path = DatastorePath(self._at.store_name(job.step, self._at.stores[vm.datastore], inventory), vm.vmx)
        if job.step.side is Side.SOURCE:
            folder, pool, host = vm.folder, vm.pool, HostId(vm.host) if vm.host else None
        else:
            folder, pool, host = vm.target_folder, vm.target_pool, self._host_for(vm, inventory)
        done, found = await vcenter.ensure_registered(path, name=vm.name, folder=folder, pool=pool, host=host)
        return Outcome(outcome(done).verdict, note=found)

    def _host_for(self, vm: FrozenVm, inventory: Inventory) -> HostId | None:
        """Hosts in turn by the VM's place in the snapshot: even, and the same after a crash."""
        hosts = [h for h in inventory.hosts_of_pool(vm.target_pool) if h.connected and not h.maintenance]
        return hosts[int(vm.key.rpartition("-")[2]) % len(hosts)].id if hosts else None

    async def configure(self, job: Job) -> Outcome:
        frozen = self._at.vms[job.item]
        vcenter, vm = await self._at.find(job.step, frozen)
        if vm is None:
            raise Missing(f"VM {frozen.name} is not registered at {vcenter.site} any more", hint="retry the run")
        hardware = (await vcenter.hardware([vm.id])).get(vm.id)
        if hardware is None:
            raise Missing(f"VM {frozen.name} is not registered at {vcenter.site} any more", hint="retry the run")
        keys = {n.mac.lower(): n.key for n in hardware.nics}
        changes = [NicChange(keys.get(n.mac.lower(), n.key), n.target_network) for n in frozen.nics]
        done = await vcenter.ensure_configured(
            vm.id, nics=changes, mark=Mark(self._at.snapshot.run, frozen.instance_uuid)
        )
        ips = [
            IpSettings(keys.get(n.mac.lower(), n.key), n.address, n.prefix, n.gateway, n.dns)
            for n in frozen.nics
            if n.address
        ]
        if not ips:
            return outcome(done)
        return every([done, await vcenter.ensure_customization(vm.id, hostname=frozen.name, ips=ips)])

    async def power_on(self, job: Job) -> Outcome:
        frozen = self._at.vms[job.item]
        vcenter, vm = await self._at.find(job.step, frozen)
        if vm is None:
            raise Missing(f"VM {frozen.name} is not registered at {vcenter.site} any more", hint="retry the run")
        return outcome(await vcenter.ensure_powered_on(vm.id))

    async def wait_ready(self, job: Job) -> Outcome:
        """The stage's checks. The time limit counts from the step's first intent, over all processes."""
        frozen = self._at.vms[job.item]
        stage = next(s for s in self._at.snapshot.stages if s.name == frozen.stage)
        end = job.record.started + stage.readiness.timeout_seconds
        missing, looked = "it was not looked at", self._at.now()
        while True:
            if self._at.now() - looked >= _LOOK_CLOSER:
                looked = self._at.now()
                await self._look_closer(job, frozen)
            missing = await self._not_ready(job, frozen)
            if not missing:
                return Outcome(Verdict.DONE)
            if self._at.now() >= end:
                text = f"VM {frozen.name} is not ready after {stage.readiness.timeout_seconds} s: {missing}"
                raise Rejected(text, reason="NotReady", hint="look at the guest, then retry")
            await asyncio.sleep(_LOOK)

    async def _look_closer(self, job: Job, frozen: FrozenVm) -> None:
        """Read the VM beside the inventory: a change that the watch has missed must not fail a VM that is well."""
        with contextlib.suppress(DrError):
            vcenter, vm = await self._at.find(job.step, frozen)
            if vm is not None:
                await vcenter.read_vm(vm.id)

    async def _not_ready(self, job: Job, frozen: FrozenVm) -> str:
        """What is still missing, "" when the VM is ready."""
        readiness = next(s for s in self._at.snapshot.stages if s.name == frozen.stage).readiness
        try:
            vm = self._at.pick(job.step, frozen, self._at.vcenter(job.step).inventory())
        except DrError as error:
            return str(error)
        if vm is None or vm.power is not Power.ON:
            return "it is not powered on"
        if readiness.tools_heartbeat and not (vm.tools_running and vm.heartbeat == "green"):
            return f"VMware Tools {'run' if vm.tools_running else 'do not run'}, heartbeat {vm.heartbeat or 'none'}"
        for port in readiness.tcp_ports:
            if not await _answers(vm.ip_address, port):
                return f"TCP port {port} of {vm.ip_address or 'no address'} does not answer"
        if (left := readiness.delay_seconds - (self._at.now() - job.record.started)) > 0:
            return f"its delay ends in {left:.0f} s"
        return ""


async def _answers(address: str, port: int) -> bool:
    if not address:
        return False
    try:
        async with asyncio.timeout(3.0):
            _, writer = await asyncio.open_connection(address, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    return True
