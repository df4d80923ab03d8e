"""Carries out the calls of a run's steps. Each is an ensured end, so a call that was sent before is safe to send again.

What the storage tells on the way (a handle, a recovery point, device identities) is the record's note: any process that
takes the run over finds it in the journal.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from resurgo.domain.errors import DrError, Missing, NotSupported, OutcomeUnknown, Rejected, Retryable, Unreachable
from resurgo.domain.inventory import Datastore, DatastorePath, HostId, Inventory, NfsExport, Power, Vm, VmId
from resurgo.domain.journal import Journal, OpKey, Record, when
from resurgo.domain.ports import Done, IpSettings, Mark, NicChange, ReplicationEndpoint, VCenter
from resurgo.domain.replication import Access, GroupRef, GroupStatus, Op, Phase, Role
from resurgo.domain.settle import Outcome, Verdict
from resurgo.domain.snapshot import FrozenDatastore, FrozenGroup, FrozenVm, Snapshot
from resurgo.domain.steps import Call, Side, Step
from resurgo.engine.context import Context

log = logging.getLogger(__name__)

_LOOK = 0.2  # seconds between two looks at the inventory in memory
_RESUME_GRACE = 10.0  # seconds for a shutdown that another process may have asked for

Note = Callable[[str], None]  # keeps a note in the record while the call is still under way


@dataclass(frozen=True, slots=True)
class Target:
    """What a failover made of one consistency group: kept in the Failover record's note."""

    recovery_point: datetime | None
    exports: dict[str, NfsExport]  # device pair key -> export at the target

    def text(self) -> str:
        point = self.recovery_point.isoformat() if self.recovery_point else None
        return json.dumps({"rp": point, "nfs": {k: [e.server, e.path] for k, e in self.exports.items()}})

    @classmethod
    def read(cls, text: str) -> Target | None:
        try:
            raw = json.loads(text)
            point = datetime.fromisoformat(raw["rp"]) if raw["rp"] else None
            return cls(point, {k: NfsExport(*v) for k, v in raw["nfs"].items()})
        except (ValueError, KeyError, TypeError):
            return None


class Effects:
    """The calls of one run."""

    def __init__(self, context: Context, snapshot: Snapshot, journal: Journal) -> None:
        self._context, self._snapshot, self._journal = context, snapshot, journal
        self._vms = {v.key: v for v in snapshot.vms}
        self._groups = {g.key: g for g in snapshot.groups}
        self._stores = {d.key: d for d in snapshot.datastores}

    async def run(self, key: OpKey, step: Step, record: Record, note: Note) -> Outcome:
        """Bring about the end of one step of one item. Never raises but for cancellation."""
        try:
            return await self._call(step.call)(step, key.item, record, note)
        except OutcomeUnknown as error:
            return Outcome(Verdict.RETRYABLE, reason=error.reason, message=str(error))
        except Retryable as error:
            return Outcome(Verdict.RETRYABLE, reason=error.reason, message=str(error), after=error.after)
        except DrError as error:
            return Outcome(Verdict.REJECTED, reason=error.reason, message=str(error))
        except Exception:
            log.exception("step.bug", extra={"run": self._snapshot.run, "step": key.step, "vm": key.item})
            text = f"an error of the operator itself in {key.step}, see its log"
            return Outcome(Verdict.REJECTED, reason="InternalError", message=text)

    def _call(self, call: Call) -> Callable[[Step, str, Record, Note], Awaitable[Outcome]]:
        return {
            Call.SYNC: self._sync,
            Call.PREPARE_FAILOVER: self._prepare,
            Call.RESTORE: self._restore,
            Call.FAILOVER_PLANNED: self._failover,
            Call.FAILOVER_FORCED: self._failover,
            Call.SHUT_DOWN: self._shut_down,
            Call.UNREGISTER: self._unregister,
            Call.UNMOUNT: self._unmount,
            Call.MOUNT: self._mount,
            Call.REGISTER: self._register,
            Call.CONFIGURE: self._configure,
            Call.POWER_ON: self._power_on,
            Call.WAIT_READY: self._wait_ready,
        }[call]

    # -- what the calls work on ---------------------------------------------------------------------

    def _site(self, step: Step) -> str:
        return self._snapshot.source if step.side is Side.SOURCE else self._snapshot.target

    def _vcenter(self, step: Step) -> VCenter:
        site = self._site(step)
        view = self._context.sites.get(site)
        if view is None or view.vcenter is None:
            raise Unreachable(f"Site {site} is not connected: {self._context.site_problem(site)}")
        if not view.vcenter.reachable:
            raise Unreachable(f"the vCenter of site {site} does not answer")
        return view.vcenter

    def _endpoint(self, step: Step, group: FrozenGroup) -> tuple[ReplicationEndpoint, GroupRef]:
        return self._end(self._site(step), group)

    def _end(self, site: str, group: FrozenGroup) -> tuple[ReplicationEndpoint, GroupRef]:
        pair = self._context.pairs.get(group.pair)
        end = pair.ends.get(site) if pair else None
        if end is None:
            raise Unreachable(f"ReplicationPair {group.pair} has no endpoint at {site} now")
        known = end.groups.get(group.id)
        return end.endpoint, known.ref if known else GroupRef(group.id, group.pair_key)

    async def _find(self, step: Step, vm: FrozenVm) -> tuple[VCenter, Vm | None]:
        """The VM at the step's site, looked for twice before it counts as gone."""
        vcenter = self._vcenter(step)
        found = self._pick(step, vm, vcenter.inventory())
        if found is None:
            found = self._pick(step, vm, await vcenter.refresh())
        return vcenter, found

    def _pick(self, step: Step, vm: FrozenVm, inventory: Inventory) -> Vm | None:
        register = self._journal.get("Register" if step.side is Side.TARGET else "Reregister", vm.key)
        if register is not None and register.good and (known := inventory.vms.get(VmId(register.note))) is not None:
            return known
        store = self._store_name(step, self._stores[vm.datastore], inventory)
        same = [v for v in inventory.vms.values() if v.vmx.path == vm.vmx and v.vmx.datastore == store]
        return same[0] if same else None

    def _store_name(self, step: Step, store: FrozenDatastore, inventory: Inventory) -> str:
        if step.side is Side.SOURCE:
            found = inventory.datastore_by_export(store.export)
            return found.name if found else store.name
        export = self._target_export(store)
        found = inventory.datastore_by_export(export) if export else None
        return found.name if found else store.target_name

    def _target_export(self, store: FrozenDatastore) -> NfsExport | None:
        record = self._journal.get("Failover", store.consistency_group)
        target = Target.read(record.note) if record else None
        return target.exports.get(store.device) if target else None

    # -- replication ----------------------------------------------------------------------------------

    async def _sync(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        """Bring the target to the data of now: a recovery point that is not older than the step's first intent."""
        group = self._groups[item]
        endpoint, ref = self._endpoint(step, group)
        if record.attempt > 1 and not record.note and await self._synced_since(group, record):
            return Outcome(Verdict.ALREADY)
        try:
            if record.note:
                op = await self._resume(endpoint, record.note)
            else:
                op = await endpoint.sync(ref, op_id=self._op_id(step, item))
        except NotSupported:
            while not await self._synced_since(group, record):  # its schedule has to do it
                await asyncio.sleep(2.0)
            return Outcome(Verdict.ALREADY)
        return await self._follow(endpoint, op, note, f"sync of {group.id}")

    async def _synced_since(self, group: FrozenGroup, record: Record) -> bool:
        endpoint, ref = self._end(self._snapshot.target, group)
        point = (await endpoint.status(ref)).recovery_point
        return point is not None and point >= when(int(record.started))  # arrays tell whole seconds

    async def _prepare(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        group = self._groups[item]
        endpoint, ref = self._endpoint(step, group)
        try:
            op = await endpoint.prepare_failover(ref, op_id=self._op_id(step, item))
        except NotSupported:
            return Outcome(Verdict.ALREADY)  # this system has nothing to prepare
        return await self._follow(endpoint, op, note, f"prepareFailover of {group.id}")

    async def _restore(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        group = self._groups[item]
        endpoint, ref = self._endpoint(step, group)
        if (await endpoint.status(ref)).role is Role.SOURCE:
            return Outcome(Verdict.ALREADY)
        op = await endpoint.restore(ref, op_id=self._op_id(step, item))
        return await self._follow(endpoint, op, note, f"restore of {group.id}")

    async def _failover(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        group = self._groups[item]
        endpoint, ref = self._endpoint(step, group)
        already = False
        status = await endpoint.status(ref)
        if status.role is not Role.FAILED_OVER:
            planned = step.call is Call.FAILOVER_PLANNED
            op = await endpoint.failover(ref, op_id=self._op_id(step, item), planned=planned, access=self._access())
            outcome = await self._follow(endpoint, op, lambda _handle: None, f"failover of {group.id}")
            already = outcome.verdict is Verdict.ALREADY
            status = await endpoint.status(ref)
        else:
            already = True
        if status.role is not Role.FAILED_OVER:
            raise Rejected(
                f"failover of {group.id}: the array says it is done, but shows the group as {status.role}",
                reason="NotFailedOver",
                hint="look at the array, then retry",
            )
        return Outcome(Verdict.ALREADY if already else Verdict.DONE, note=_target_of(status).text())

    def _access(self) -> Access:
        inventory = self._inventory(self._snapshot.target)
        names = sorted(h.name for h in inventory.hosts.values()) if inventory else []
        return Access(self._snapshot.target, tuple(("NFS", name) for name in names))

    def _inventory(self, site: str) -> Inventory | None:
        view = self._context.sites.get(site)
        try:
            return view.vcenter.inventory() if view and view.vcenter else None
        except DrError:
            return None

    async def _resume(self, endpoint: ReplicationEndpoint, handle: str) -> Op:
        try:
            return await endpoint.poll(handle)
        except Missing as error:
            raise OutcomeUnknown(str(error), op=handle) from error

    async def _follow(self, endpoint: ReplicationEndpoint, op: Op, note: Note, what: str) -> Outcome:
        """Poll until the operation has ended; its handle is in the journal before the first wait."""
        if op.phase is Phase.RUNNING:
            note(op.handle)
        while op.phase is Phase.RUNNING:
            await asyncio.sleep(max(0.1, min(op.retry_after, 10.0)))
            op = await endpoint.poll(op.handle)
        undone = [r.pair_key for r in op.results if not r.done and not r.error]
        if op.phase is Phase.FAILED or op.failure:
            raise Rejected(f"{what}: {op.failure or 'the array reports a failure'}", reason="ReplicationFailed")
        if undone:
            raise Rejected(f"{what}: the array skipped {', '.join(undone)}", reason="ReplicationFailed")
        already = bool(op.results) and all(r.already for r in op.results)
        return Outcome(Verdict.ALREADY if already else Verdict.DONE)

    def _op_id(self, step: Step, item: str) -> str:
        return f"{self._snapshot.run}-{step.name}-{item}"

    # -- the source's VMs and datastores ------------------------------------------------------------

    async def _shut_down(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        """Guest shutdown, after its time limit power off. The limit counts from the first intent, over all processes."""
        frozen = self._vms[item]
        vcenter, vm = await self._find(step, frozen)
        if vm is None or (vm.power is Power.OFF and await self._is_off(vcenter, vm.id)):
            return Outcome(Verdict.ALREADY)
        end = record.started + min(frozen.shutdown_seconds, step.deadline - 10.0)
        if frozen.guest_shutdown:
            if record.attempt > 1:
                await self._until_off(vcenter, vm.id, min(end, self._now() + _RESUME_GRACE))
            if not await self._is_off(vcenter, vm.id):
                try:
                    await vcenter.shut_down_guest(vm.id)
                except Rejected as error:
                    if error.reason != "ToolsNotRunning":
                        raise
                    log.warning("guest.no_tools", extra={"run": self._snapshot.run, "vm": frozen.name})
                await self._until_off(vcenter, vm.id, end)
        return _outcome(await vcenter.ensure_powered_off(vm.id))

    async def _until_off(self, vcenter: VCenter, vm: VmId, end: float) -> None:
        """Wait until the VM is off, or *end*."""
        while self._now() < end:
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

    def _now(self) -> float:
        return self._context.clock.now().timestamp()

    async def _unregister(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        vcenter, vm = await self._find(step, self._vms[item])
        return Outcome(Verdict.ALREADY) if vm is None else _outcome(await vcenter.ensure_unregistered(vm.id))

    async def _unmount(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        store = self._stores[item]
        vcenter = self._vcenter(step)
        inventory = await vcenter.refresh()
        found = inventory.datastore_by_export(store.export)
        if found is None:
            return Outcome(Verdict.ALREADY)
        return _all([await vcenter.ensure_unmounted(store.export, host=h) for h in sorted(found.hosts)])

    # -- datastores and VMs where they are wanted -----------------------------------------------------

    async def _mount(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        store = self._stores[item]
        vcenter = self._vcenter(step)
        if step.side is Side.SOURCE:
            export, name, hosts = store.export, store.name, [HostId(h) for h in store.hosts]
        else:
            export, name = await self._export(store), store.target_name
            hosts = self._hosts(vcenter.inventory(), store)
        ensured = await asyncio.gather(*(vcenter.ensure_mounted(export, name=name, host=h) for h in hosts))
        await self._until_usable(vcenter, export)
        return _all(ensured)

    async def _export(self, store: FrozenDatastore) -> NfsExport:
        """Where the recovered device is found, from the failover's note or the array."""
        if (known := self._target_export(store)) is not None:
            return known
        endpoint, ref = self._end(self._snapshot.target, self._groups[store.consistency_group])
        found = _target_of(await endpoint.status(ref)).exports.get(store.device)
        if found is None:
            raise Rejected(
                f"the array at {self._snapshot.target} shows no NFS export for the copy of datastore {store.name}",
                reason="DeviceNotPresented",
            )
        return found

    def _hosts(self, inventory: Inventory, store: FrozenDatastore) -> list[HostId]:
        """Usable hosts of every cluster that gets a VM of this datastore."""
        pools = {v.target_pool for v in self._snapshot.vms if v.datastore == store.key}
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

    async def _register(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        vm = self._vms[item]
        vcenter = self._vcenter(step)
        inventory = vcenter.inventory()
        path = DatastorePath(self._store_name(step, self._stores[vm.datastore], inventory), vm.vmx)
        if step.side is Side.SOURCE:
            folder, pool, host = vm.folder, vm.pool, HostId(vm.host) if vm.host else None
        else:
            folder, pool, host = vm.target_folder, vm.target_pool, self._host_for(vm, inventory)
        done, found = await vcenter.ensure_registered(path, name=vm.name, folder=folder, pool=pool, host=host)
        return Outcome(_outcome(done).verdict, note=found)

    def _host_for(self, vm: FrozenVm, inventory: Inventory) -> HostId | None:
        """Hosts in turn by the VM's place in the snapshot: even, and the same after a crash."""
        hosts = [h for h in inventory.hosts_of_pool(vm.target_pool) if h.connected and not h.maintenance]
        return hosts[int(vm.key.rpartition("-")[2]) % len(hosts)].id if hosts else None

    async def _configure(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        frozen = self._vms[item]
        vcenter, vm = await self._find(step, frozen)
        if vm is None:
            raise Missing(f"VM {frozen.name} is not registered at {vcenter.site} any more", hint="retry the run")
        hardware = (await vcenter.hardware([vm.id])).get(vm.id)
        if hardware is None:
            raise Missing(f"VM {frozen.name} is not registered at {vcenter.site} any more", hint="retry the run")
        keys = {n.mac.lower(): n.key for n in hardware.nics}
        changes = [NicChange(keys.get(n.mac.lower(), n.key), n.target_network) for n in frozen.nics]
        done = await vcenter.ensure_configured(vm.id, nics=changes, mark=Mark(self._snapshot.run, frozen.instance_uuid))
        ips = [
            IpSettings(keys.get(n.mac.lower(), n.key), n.address, n.prefix, n.gateway, n.dns)
            for n in frozen.nics
            if n.address
        ]
        if not ips:
            return _outcome(done)
        return _all([done, await vcenter.ensure_customization(vm.id, hostname=frozen.name, ips=ips)])

    async def _power_on(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        frozen = self._vms[item]
        vcenter, vm = await self._find(step, frozen)
        if vm is None:
            raise Missing(f"VM {frozen.name} is not registered at {vcenter.site} any more", hint="retry the run")
        return _outcome(await vcenter.ensure_powered_on(vm.id))

    async def _wait_ready(self, step: Step, item: str, record: Record, note: Note) -> Outcome:
        """The stage's checks. The time limit counts from the step's first intent, over all processes."""
        frozen = self._vms[item]
        stage = next(s for s in self._snapshot.stages if s.name == frozen.stage)
        end = record.started + stage.readiness.timeout_seconds
        missing = "it was not looked at"
        while True:
            missing = await self._not_ready(step, frozen, record)
            if not missing:
                return Outcome(Verdict.DONE)
            if self._now() >= end:
                text = f"VM {frozen.name} is not ready after {stage.readiness.timeout_seconds} s: {missing}"
                raise Rejected(text, reason="NotReady", hint="look at the guest, then retry")
            await asyncio.sleep(_LOOK)

    async def _not_ready(self, step: Step, frozen: FrozenVm, record: Record) -> str:
        """What is still missing, "" when the VM is ready."""
        readiness = next(s for s in self._snapshot.stages if s.name == frozen.stage).readiness
        try:
            vm = self._pick(step, frozen, self._vcenter(step).inventory())
        except DrError as error:
            return str(error)
        if vm is None or vm.power is not Power.ON:
            return "it is not powered on"
        if readiness.tools_heartbeat and not (vm.tools_running and vm.heartbeat == "green"):
            return f"VMware Tools {'run' if vm.tools_running else 'do not run'}, heartbeat {vm.heartbeat or 'none'}"
        for port in readiness.tcp_ports:
            if not await _answers(vm.ip_address, port):
                return f"TCP port {port} of {vm.ip_address or 'no address'} does not answer"
        if (left := readiness.delay_seconds - (self._now() - record.started)) > 0:
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


def _target_of(status: GroupStatus) -> Target:
    exports = {
        d.pair_key: NfsExport(d.identity.server or "", d.identity.value)
        for d in status.devices
        if d.identity is not None and d.identity.kind == "nfs"
    }
    return Target(status.recovery_point, exports)


def _outcome(done: Done) -> Outcome:
    return Outcome(Verdict.ALREADY if done is Done.ALREADY else Verdict.DONE)


def _all(done: list[Done]) -> Outcome:
    return Outcome(Verdict.ALREADY if all(d is Done.ALREADY for d in done) else Verdict.DONE)
