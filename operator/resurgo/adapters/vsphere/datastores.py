"""NFS datastores on hosts. Nothing here touches another type: removing a VMFS datastore destroys it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from resurgo.adapters.vsphere.calls import Calls, Limits
from resurgo.adapters.vsphere.effects import Effects, Seen
from resurgo.adapters.vsphere.inventory import Watch
from resurgo.adapters.vsphere.login import Api
from resurgo.adapters.vsphere.model import Mount
from resurgo.adapters.vsphere.plain import DATASTORE_PATHS, plain
from resurgo.adapters.vsphere.properties import moid, retrieve, spec
from resurgo.adapters.vsphere.sdk import vim
from resurgo.domain.errors import Busy, InvalidState, Missing
from resurgo.domain.inventory import HostId, NfsExport
from resurgo.domain.ports import Done

NFS_TYPES: Final = frozenset({"NFS", "NFS41"})
_ACCESSIBLE: Final = (0.0, 0.1, 0.3, 1.0, 2.0)  # right after a mount it may not yet show as accessible


@dataclass(frozen=True, slots=True)
class _Mounted:
    id: str
    name: str
    type: str
    export: NfsExport | None
    accessible: bool
    read_write: bool


@dataclass(frozen=True, slots=True)
class _HostSeen:
    name: str
    datastore_system: Any
    mounted: tuple[_Mounted, ...]

    def of(self, export: NfsExport) -> _Mounted | None:
        return next((m for m in self.mounted if m.export == export), None)


class Datastores:
    """NFS mounts of the hosts of one site."""

    def __init__(self, calls: Calls, effects: Effects, watch: Watch, limits: Limits) -> None:
        self._calls = calls
        self._effects = effects
        self._watch = watch
        self._timeout = limits.request_timeout
        # Two hosts that mount one export at once may get two datastores, the second renamed by vCenter.
        self._turns: dict[NfsExport, asyncio.Lock] = {}

    async def ensure_mounted(self, export: NfsExport, name: str, host: HostId) -> Done:
        seen = await self._host(host)
        about = f"datastore {name} ({export}) on host {seen.name}"
        what = self._calls.what("Mount", about)
        async with self._turns.setdefault(export, asyncio.Lock()):
            done = await self._effects.ensure(
                what,
                lambda: self._observe_mounted(export, name, host, what),
                lambda: self._mount(export, name, host, about),
            )
        await self._accessible(export, host, what)
        return done

    async def ensure_unmounted(self, export: NfsExport, host: HostId) -> Done:
        seen = await self._host(host)
        about = f"datastore {export} on host {seen.name}"
        what = self._calls.what("Unmount", about)

        async def observe() -> Seen:
            return Seen((await self._host(host)).of(export) is None)

        async def act() -> None:
            found = await self._host(host)
            mounted = found.of(export)
            if mounted is None:
                return
            if mounted.type not in NFS_TYPES:
                raise InvalidState(
                    f"{what}: {mounted.name} is a {mounted.type} datastore, only NFS is removed from a host"
                )
            await self._calls.mutate("RemoveDatastore", _removal(found.datastore_system, mounted.id), about=about)

        return await self._effects.ensure(what, observe, act)

    async def _observe_mounted(self, export: NfsExport, name: str, host: HostId, what: str) -> Seen:
        seen = await self._host(host)
        mounted = seen.of(export)
        if mounted is not None:
            if not mounted.read_write:
                raise InvalidState(f"{what}: it is mounted read-only as {mounted.name}", hint="unmount it there")
            return Seen(reached=True)
        model = await self._watch.ready(self._timeout)
        known = model.inventory().datastore_by_name(name)
        elsewhere = known.export if known is not None and known.export != export and known.hosts else None
        here = next((m for m in seen.mounted if m.name == name), None)
        if here is not None or elsewhere is not None:
            other = here.export if here is not None else elsewhere
            raise InvalidState(f"{what}: the name {name} already stands for {other or 'a datastore of another type'}")
        return Seen(reached=False)

    async def _mount(self, export: NfsExport, name: str, host: HostId, about: str) -> None:
        system = (await self._host(host)).datastore_system
        wanted = vim.host.NasVolume.Specification(
            remoteHost=export.server, remotePath=export.path, localPath=name, accessMode="readWrite", type="NFS"
        )
        await self._calls.mutate(
            "CreateNasDatastore",
            lambda api: api.bind(system).CreateNasDatastore(wanted) and None,
            about=about,
        )

    async def _accessible(self, export: NfsExport, host: HostId, what: str) -> None:
        for wait in _ACCESSIBLE:
            await asyncio.sleep(wait)
            mounted = (await self._host(host)).of(export)
            if mounted is not None and mounted.accessible:
                return
        raise Busy(f"{what}: it is mounted, but not accessible", reason="DatastoreNotAccessible")

    async def _host(self, host: HostId) -> _HostSeen:
        """The mounts of one host, read now and put into the inventory."""
        model = self._watch.model
        told = model.told() if model is not None else {}
        seen, datastores = await self._calls.read("ReadHost", lambda api: _read(api, host))
        if seen is None:
            raise Missing(f"host {host} is not in the inventory of {self._calls.site} any more")
        if model is not None:
            for moref, properties in datastores.items():
                model.take("Datastore", moref, properties, told=told)
        return seen


def _removal(system: Any, datastore: str) -> Callable[[Api], None]:
    return lambda api: api.bind(system).RemoveDatastore(api.object("Datastore", datastore))


def _read(api: Api, host: HostId) -> tuple[_HostSeen | None, dict[str, dict[str, Any]]]:
    paths = {"HostSystem": ("name", "configManager.datastoreSystem"), "Datastore": DATASTORE_PATHS}
    found = retrieve(api, spec([api.object("HostSystem", host)], paths, traverse=(("HostSystem", "datastore"),)))
    own = next((properties for obj, properties in found if isinstance(obj, vim.HostSystem)), None)
    if own is None:
        return None, {}
    datastores = {
        moid(obj): {path: plain(path, value) for path, value in properties.items()}
        for obj, properties in found
        if isinstance(obj, vim.Datastore)
    }
    mounted = (_mounted(moref, host, properties) for moref, properties in datastores.items())
    system = own.get("configManager.datastoreSystem")
    return _HostSeen(str(own.get("name", host)), system, tuple(m for m in mounted if m is not None)), datastores


def _mounted(moref: str, host: HostId, properties: dict[str, Any]) -> _Mounted | None:
    mounts: tuple[Mount, ...] = properties.get("host", ())
    here = next((m for m in mounts if m.host == host and m.mounted), None)
    if here is None:
        return None
    return _Mounted(
        id=moref,
        name=properties.get("name", ""),
        type=properties.get("summary.type", ""),
        export=properties.get("info"),
        accessible=bool(properties.get("summary.accessible", False)),
        read_write=here.read_write,
    )
