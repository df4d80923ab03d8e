"""The VCenter port in memory, with what matters of a real one: files on shared exports, tasks that take time, guests.

What a VM is lies in `Files` on an export, so it survives unregistering and can be found by another site that mounts
the same files. Not modelled: folders and pools come and go only by the test's hand, nothing checks resources.
tests/contract/test_vcenter.py runs on it and on the real adapter.
"""

from __future__ import annotations

import asyncio
import itertools
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from resurgo.domain.errors import Busy, InvalidPlan, InvalidState, Missing, Rejected, Unreachable
from resurgo.domain.inventory import (
    Datastore,
    DatastorePath,
    Disk,
    Hardware,
    Host,
    HostId,
    Inventory,
    NfsExport,
    Nic,
    Power,
    Vm,
    VmId,
)
from resurgo.domain.ports import Done, IpSettings, Mark, NicChange, SiteFacts


@dataclass
class Files:
    """One VM as its files say. *addresses* are what its NICs get at power-on, by key."""

    name: str
    instance_uuid: str
    nics: dict[int, str] = field(default_factory=dict)  # key -> network
    addresses: dict[int, str] = field(default_factory=dict)
    disks: tuple[str, ...] = ()
    isos: tuple[str, ...] = ()
    marks: dict[str, str] = field(default_factory=dict)
    memory_mb: int = 512
    guest_id: str = "debian12_64Guest"
    annotation: str = ""
    tools: bool = True
    refuses_shutdown: bool = False
    pending: dict[int, str] | None = None  # addresses of a customization that waits for the next power-on


@dataclass
class Export:
    """What stands behind an NFS export: the VMs' files by the path of their .vmx. Share it to replicate it."""

    files: dict[str, Files] = field(default_factory=dict)
    access: str = "rw"  # rw, ro, none


@dataclass
class _Registered:
    vmx: DatastorePath
    files: Files
    name: str
    folder: str
    pool: str
    host: HostId
    power: Power = Power.OFF
    booted: bool = False


class FakeVCenter:
    """Calls take *task_seconds*; *effects* counts what changed, as "PowerOn erp-db".

    *before* is called with operation and object before a change takes effect, *after* once it has: what they raise goes
    to the caller, as a refusal or as a lost answer.
    """

    def __init__(
        self,
        site: str,
        *,
        cluster: str = "c1",
        hosts: Sequence[str] = ("esx-1", "esx-2"),
        networks: Sequence[str] = ("VM Network",),
        folders: Sequence[str] = (),
        exports: Mapping[NfsExport, Export] | None = None,
    ) -> None:
        root = f"/{site}/host/{cluster}"
        self._site = site
        self.exports: dict[NfsExport, Export] = dict(exports or {})
        self.hosts = {
            HostId(f"host-{i}"): Host(HostId(f"host-{i}"), name, root, True, False, 65536, 0)
            for i, name in enumerate(hosts, 1)
        }
        self.networks = {name: f"network-{i}" for i, name in enumerate(networks, 1)}
        self.folders = {f"/{site}/vm{'/' + f if f else ''}": f"group-v{i}" for i, f in enumerate(("", *folders), 1)}
        self.pools = {f"{root}/Resources": "resgroup-1"}
        self.privileges_missing: tuple[str, ...] = ()
        self.version = "8.0.3"
        self.up = True
        self.effects: Counter[str] = Counter()
        self.before: Callable[[str, str], None] = lambda _operation, _object: None
        self.after: Callable[[str, str], None] = lambda _operation, _object: None
        self.on_change: Callable[[], None] = lambda: None
        self.task_seconds = 0.0
        self.boot_seconds = 0.0
        self.shutdown_seconds = 0.0
        self._mounts: dict[NfsExport, tuple[str, set[HostId]]] = {}
        self._vms: dict[VmId, _Registered] = {}
        self._ids = itertools.count(1)
        self._running: dict[str, asyncio.Task[object]] = {}
        self._since: datetime | None = None
        self._last = self._read()

    # -- By the test's hand

    def mount(self, export: NfsExport, name: str) -> None:
        """As if it had always been mounted on all hosts."""
        self._mounts[export] = (name, set(self.hosts))

    def register(self, vmx: DatastorePath, folder: str, *, on: bool = False) -> VmId:
        """As if the VM had always been registered."""
        files = self._files(vmx)
        vm = VmId(f"vm-{next(self._ids)}")
        pool = next(iter(self.pools))
        self._vms[vm] = _Registered(vmx, files, files.name, folder, pool, next(iter(self.hosts)))
        if on:
            self._vms[vm].power = Power.ON
            self._vms[vm].booted = True
        self._last = self._read()
        return vm

    def go(self, *, up: bool) -> None:
        """The whole site goes away, or comes back as it was."""
        if up:
            self._last = self._read()
        self.up = up
        self._since = None if up else datetime.now(UTC)
        self.on_change()

    # -- The port

    @property
    def site(self) -> str:
        return self._site

    @property
    def reachable(self) -> bool:
        return self.up

    @property
    def unreachable_since(self) -> datetime | None:
        return self._since

    async def facts(self) -> SiteFacts:
        await self._ask()
        return SiteFacts(f"uuid-of-{self._site}", self.version, self.privileges_missing)

    def inventory(self) -> Inventory:
        if self.up:
            self._last = self._read()
        return self._last

    async def refresh(self) -> Inventory:
        await self._ask()
        return self.inventory()

    async def hardware(self, vms: Sequence[VmId]) -> Mapping[VmId, Hardware]:
        await self._ask()
        return {vm: self._hardware(vm) for vm in vms if vm in self._vms}

    async def read_vm(self, vm: VmId) -> Vm | None:
        await self._ask()
        return self._show(vm) if vm in self._vms else None

    async def shut_down_guest(self, vm: VmId) -> Done:
        await self._ask()
        found = self._get(vm)
        if found.power is Power.OFF:
            return Done.ALREADY
        if not (found.files.tools and found.booted):
            raise Rejected(f"ShutdownGuest of VM {found.name} at {self.site}: no Tools", reason="ToolsNotRunning")
        self._begin("ShutdownGuest", found.name)
        if not found.files.refuses_shutdown:
            asyncio.get_running_loop().call_later(self.shutdown_seconds, self._power_off, vm)
        self._finish("ShutdownGuest", found.name)
        return Done.DONE

    async def ensure_powered_off(self, vm: VmId) -> Done:
        name = self._name(vm)
        return await self._ensure(
            "PowerOff", name, vm, lambda: self._get(vm).power is Power.OFF, lambda: self._power_off(vm)
        )

    async def ensure_powered_on(self, vm: VmId) -> Done:
        def act() -> None:
            found = self._get(vm)
            if self._access(found.vmx) != "rw":
                raise Missing(f"PowerOn of VM {found.name} at {self.site}: its files can't be written")
            found.power = Power.ON
            if found.files.pending is not None:
                found.files.addresses.update(found.files.pending)
                found.files.pending = None
            asyncio.get_running_loop().call_later(self.boot_seconds, self._booted, vm)

        return await self._ensure("PowerOn", self._name(vm), vm, lambda: self._get(vm).power is Power.ON, act)

    async def ensure_unregistered(self, vm: VmId) -> Done:
        def act() -> None:
            if self._vms[vm].power is Power.ON:
                raise Busy(f"Unregister of VM {name} at {self.site}: it is powered on", reason="InvalidPowerState")
            del self._vms[vm]

        name = self._vms[vm].name if vm in self._vms else vm
        return await self._ensure("Unregister", name, vm, lambda: vm not in self._vms, act)

    async def ensure_registered(
        self, vmx: DatastorePath, *, name: str, folder: str, pool: str, host: HostId | None
    ) -> tuple[Done, VmId]:
        await self._ask()
        if folder not in self.folders or pool not in self.pools:
            raise Missing(f"Register of VM {name} at {self.site}: there is no {folder} or no {pool}")

        def find() -> VmId | None:
            return next((vm for vm, found in self._vms.items() if found.vmx == vmx), None)

        def act() -> None:
            files = self._files(vmx)
            place = host or next(iter(self.hosts))
            self._vms[VmId(f"vm-{next(self._ids)}")] = _Registered(vmx, files, name, folder, pool, place)

        done = await self._ensure("Register", str(vmx), str(vmx), lambda: find() is not None, act)
        vm = find()
        assert vm is not None
        return done, vm

    async def ensure_configured(self, vm: VmId, *, nics: Sequence[NicChange], mark: Mark) -> Done:
        await self._ask()
        wanted = {nic.key: nic.network for nic in nics}
        marks = {"resurgo.run": mark.run, "resurgo.vm": mark.vm}
        files = self._get(vm).files
        unknown = set(wanted.values()) - set(self.networks)
        if unknown:
            raise Missing(f"Configure of VM {self._name(vm)} at {self.site}: no network {', '.join(sorted(unknown))}")
        if not set(wanted) <= set(files.nics):
            raise InvalidPlan(f"Configure of VM {self._name(vm)} at {self.site}: no such network adapter")

        def act() -> None:
            files.nics.update(wanted)
            files.marks.update(marks)

        return await self._ensure(
            "Configure",
            self._name(vm),
            vm,
            lambda: wanted.items() <= files.nics.items() and marks.items() <= files.marks.items(),
            act,
        )

    async def ensure_customization(self, vm: VmId, *, hostname: str, ips: Sequence[IpSettings]) -> Done:
        await self._ask()
        files = self._get(vm).files
        if not {ip.nic_key for ip in ips} <= set(files.nics):
            raise InvalidPlan(f"Customize of VM {self._name(vm)} ({hostname}) at {self.site}: no such network adapter")

        def act() -> None:
            files.pending = {ip.nic_key: f"{ip.address}/{ip.prefix}" for ip in ips}

        return await self._ensure("Customize", self._name(vm), vm, lambda: files.pending is not None, act)

    async def ensure_mounted(self, export: NfsExport, *, name: str, host: HostId) -> Done:
        await self._ask()
        what = f"Mount of datastore {name} ({export}) at {self.site}"
        if host not in self.hosts:
            raise Missing(f"{what}: there is no host {host}")

        def act() -> None:
            if any(n == name and hosts and e != export for e, (n, hosts) in self._mounts.items()):
                raise InvalidState(f"{what}: the name already stands for another export")
            if export not in self.exports or self.exports[export].access == "none":
                raise Busy(f"{what}: no such export")
            self._mounts.setdefault(export, (name, set()))[1].add(host)

        return await self._ensure("Mount", f"{export}@{host}", f"{export}", lambda: self._mounted(export, host), act)

    async def ensure_unmounted(self, export: NfsExport, *, host: HostId) -> Done:
        def act() -> None:
            name, hosts = self._mounts[export]
            if any(vm.host == host and vm.vmx.datastore == name for vm in self._vms.values()):
                raise Busy(f"Unmount of {export} at {self.site}: a VM uses it", reason="ResourceInUse")
            hosts.discard(host)
            if not hosts:
                del self._mounts[export]

        return await self._ensure(
            "Unmount", f"{export}@{host}", f"{export}", lambda: not self._mounted(export, host), act
        )

    async def aclose(self) -> None:
        for task in self._running.values():
            task.cancel()

    # -- How an end is reached

    async def _ask(self) -> None:
        await asyncio.sleep(0)
        if not self.up:
            raise Unreachable(f"the vCenter of {self.site} does not answer")

    async def _ensure(
        self, operation: str, about: str, lock: str, reached: Callable[[], bool], act: Callable[[], None]
    ) -> Done:
        """A task goes on if its caller gives up; the next caller waits for it and finds its end."""
        await self._ask()
        while not reached():
            running = self._running.get(lock)
            if running is None:
                break
            await asyncio.wait({running})
            await self._ask()
        if reached():
            return Done.ALREADY
        self._running[lock] = task = asyncio.ensure_future(self._task(operation, about, act))
        task.add_done_callback(lambda _: self._running.pop(lock, None))
        await asyncio.shield(task)
        return Done.DONE

    async def _task(self, operation: str, about: str, act: Callable[[], None]) -> None:
        self._begin(operation, about)
        if self.task_seconds:
            await asyncio.sleep(self.task_seconds)
        act()
        self._finish(operation, about)

    def _begin(self, operation: str, about: str) -> None:
        self.before(operation, about)

    def _finish(self, operation: str, about: str) -> None:
        self.effects[f"{operation} {about}"] += 1
        self.on_change()
        self.after(operation, about)

    def _power_off(self, vm: VmId) -> None:
        if vm in self._vms:
            self._vms[vm].power = Power.OFF
            self._vms[vm].booted = False
            self.on_change()

    def _booted(self, vm: VmId) -> None:
        if vm in self._vms and self._vms[vm].power is Power.ON:
            self._vms[vm].booted = True
            self.on_change()

    # -- What it shows

    def _name(self, vm: VmId) -> str:
        return self._vms[vm].name if vm in self._vms else vm

    def _get(self, vm: VmId) -> _Registered:
        if vm not in self._vms:
            raise Missing(f"VM {vm} is not in the inventory of {self.site} any more")
        return self._vms[vm]

    def _mounted(self, export: NfsExport, host: HostId) -> bool:
        return host in self._mounts.get(export, ("", set()))[1]

    def _export(self, datastore: str) -> NfsExport | None:
        return next((export for export, (name, hosts) in self._mounts.items() if name == datastore and hosts), None)

    def _access(self, vmx: DatastorePath) -> str:
        export = self._export(vmx.datastore)
        return self.exports[export].access if export in self.exports else "none"

    def _files(self, vmx: DatastorePath) -> Files:
        export = self._export(vmx.datastore)
        if export is None or self._access(vmx) == "none" or vmx.path not in self.exports[export].files:
            raise Missing(f"{vmx} at {self.site}: no such file")
        return self.exports[export].files[vmx.path]

    def _hardware(self, vm: VmId) -> Hardware:
        files = self._vms[vm].files
        on = self._vms[vm].booted and files.tools
        nics = tuple(
            Nic(
                key=key,
                label=f"Network adapter {i}",
                mac=f"00:50:56:00:{zlib.crc32(files.instance_uuid.encode()) % 256:02x}:{i:02x}",
                network=network,
                connected_at_power_on=network in self.networks,
                addresses=(files.addresses[key],) if on and key in files.addresses else (),
            )
            for i, (key, network) in enumerate(sorted(files.nics.items()), 1)
        )
        disks = tuple(Disk(f"Hard disk {i}", disk, raw=False) for i, disk in enumerate(files.disks, 1))
        return Hardware(vm, nics, disks, files.isos, dict(files.marks), files.guest_id, files.annotation)

    def _show(self, vm: VmId) -> Vm:
        found = self._vms[vm]
        files = found.files
        tools = found.booted and files.tools
        addresses = sorted(files.addresses.items())
        elsewhere = {disk[1:].partition("]")[0] for disk in files.disks}
        return Vm(
            id=vm,
            name=found.name,
            folder=found.folder,
            pool=found.pool,
            host=found.host,
            instance_uuid=files.instance_uuid,
            bios_uuid=files.instance_uuid,
            vmx=found.vmx,
            power=found.power,
            connected=self._access(found.vmx) != "none",
            template=False,
            tools_running=tools,
            heartbeat="green" if tools else "gray",
            ip_address=addresses[0][1].partition("/")[0] if tools and addresses else "",
            datastores=tuple(sorted({found.vmx.datastore, *elsewhere})),
            customization_pending=files.pending is not None,
            memory_mb=files.memory_mb,
        )

    def _read(self) -> Inventory:
        used: Counter[HostId] = Counter()
        for found in self._vms.values():
            if found.power is Power.ON:
                used[found.host] += found.files.memory_mb
        return Inventory(
            site=self.site,
            observed=datetime.now(UTC),
            vms={vm: self._show(vm) for vm in self._vms},
            hosts={key: replace(host, memory_used_mb=used[key]) for key, host in self.hosts.items()},
            datastores=tuple(
                Datastore(
                    id=f"datastore-{name}",
                    name=name,
                    type="NFS",
                    export=export,
                    hosts=frozenset(hosts),
                    accessible=export in self.exports and self.exports[export].access != "none",
                    writable=True,
                )
                for export, (name, hosts) in self._mounts.items()
            ),
            networks=dict(self.networks),
            folders=dict(self.folders),
            pools=dict(self.pools),
            pool_clusters={pool: pool.rpartition("/")[0] for pool in self.pools},
        )
