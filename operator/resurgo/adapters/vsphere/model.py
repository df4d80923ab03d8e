"""The inventory of one vCenter in memory: raw properties by object, and the frozen reading made of them.

Knows no pyvmomi types: `plain.py` has turned them into ids, enums and tuples before. Safe to use from several threads.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from resurgo.domain.inventory import Datastore, DatastorePath, Host, HostId, Inventory, NfsExport, Power, Vm, VmId

VM: Final = "VirtualMachine"
HOST: Final = "HostSystem"
DATASTORE: Final = "Datastore"
FOLDERS: Final = frozenset({"Folder", "StoragePod"})
POOLS: Final = frozenset({"ResourcePool", "VirtualApp"})
NETWORKS: Final = frozenset({"Network", "DistributedVirtualPortgroup", "OpaqueNetwork"})
_POWER: Final = {"poweredOn": Power.ON, "poweredOff": Power.OFF, "suspended": Power.SUSPENDED}
_TOOLS: Final = frozenset({"guestToolsRunning", "guestToolsExecutingScripts"})
_PLACES: Final = frozenset({"name", "parent", "owner"})  # what paths are made of
_MIB: Final = 1 << 20

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mount:
    """A datastore on one host."""

    host: str
    read_write: bool
    mounted: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What a VM asks before it goes on. ``moved`` is the key of the answer "I moved it", "" for other questions."""

    id: str
    text: str
    moved: str


class Model:
    """One reading that is kept current. A new one is made for each connection and published once it is complete."""

    def __init__(self, site: str, root: str) -> None:
        self._site = site
        self._root = root
        self._lock = threading.Lock()
        self._kinds: dict[str, str] = {}
        self._raw: dict[str, Raw] = {}
        self._vms: dict[VmId, Vm] = {}
        self._told: dict[str, int] = {}  # how often each object's changes came from the watch
        self._paths: dict[str, str] = {}
        self._stale: set[str] = set()
        self._built: Inventory | None = None
        self._observed = datetime.now(UTC)

    def change(self, kind: str, moref: str, changes: Mapping[str, Any], unset: tuple[str, ...] = ()) -> None:
        """Take over properties of an object, new or known, as the watch tells them."""
        with self._lock:
            self._told[moref] = self._told.get(moref, 0) + 1
            self._change(kind, moref, changes, unset)

    def told(self) -> Mapping[str, int]:
        """To be asked before something is read beside the watch, for `take`."""
        with self._lock:
            return self._told.copy()

    def take(
        self, kind: str, moref: str, changes: Mapping[str, Any], unset: tuple[str, ...] = (), *, told: Mapping[str, int]
    ) -> bool:
        """Take over what was read beside the watch, unless that has told of the object since: it may be newer."""
        with self._lock:
            if self._told.get(moref, 0) != told.get(moref, 0):
                return False
            self._change(kind, moref, changes, unset)
            return True

    def _change(self, kind: str, moref: str, changes: Mapping[str, Any], unset: tuple[str, ...]) -> None:
        self._kinds[moref] = kind
        raw = self._raw.setdefault(moref, {})
        before = {path: raw.get(path) for path in _PLACES}
        raw.update(changes)
        for path in unset:
            raw.pop(path, None)
        moved = before != {path: raw.get(path) for path in _PLACES}
        self._touch(kind, moref, moved=moved)

    def leave(self, moref: str) -> None:
        """The object is gone."""
        with self._lock:
            self._told[moref] = self._told.get(moref, 0) + 1  # or a reading of before brings it back
            kind = self._kinds.pop(moref, "")
            self._raw.pop(moref, None)
            self._vms.pop(VmId(moref), None)
            self._stale.discard(moref)
            if kind:
                self._touch(kind, moref, moved=kind != VM)
                self._stale.discard(moref)

    def observed(self) -> None:
        """The server has just said that this is all that changed."""
        with self._lock:
            self._observed = datetime.now(UTC)

    def inventory(self) -> Inventory:
        """The reading of now; the same object until something changes."""
        with self._lock:
            if self._built is None:
                self._built = self._build()
            elif self._built.observed != self._observed:
                self._built = replace(self._built, observed=self._observed)
            return self._built

    def vm(self, moref: VmId) -> Vm | None:
        """One VM, without making a whole reading."""
        with self._lock:
            self._refresh_vms()
            return self._vms.get(moref)

    def question(self, moref: VmId) -> Question | None:
        """What the VM waits for, if it does."""
        with self._lock:
            found: Question | None = self._raw.get(moref, {}).get("runtime.question")
            return found

    def network(self, name: str) -> tuple[str, str] | None:
        """Kind and id of the network of that name."""
        with self._lock:
            for moref, kind in self._kinds.items():
                if kind in NETWORKS and self._raw[moref].get("name") == name:
                    return kind, moref
            return None

    def name_of(self, moref: str) -> str | None:
        """The name of any object that is known."""
        with self._lock:
            name: str | None = self._raw.get(moref, {}).get("name")
            return name

    def folder(self, path: str) -> str | None:
        """The id of the VM folder at *path*."""
        with self._lock:
            moref = self._at(path, FOLDERS)
            return moref if moref is not None and VM in self._raw[moref].get("childType", ()) else None

    def pool(self, path: str) -> tuple[str, str] | None:
        """Kind and id of the resource pool at *path*."""
        with self._lock:
            moref = self._at(path, POOLS)
            return None if moref is None else (self._kinds[moref], moref)

    def datacenter_of(self, moref: str) -> str | None:
        """The datacenter above an object."""
        with self._lock:
            at: str | None = moref
            while at is not None and self._kinds.get(at) != "Datacenter":
                at = self._raw.get(at, {}).get("parent")
            return at

    def _at(self, path: str, kinds: frozenset[str]) -> str | None:
        return next((m for m, kind in self._kinds.items() if kind in kinds and self._path(m) == path), None)

    def _touch(self, kind: str, moref: str, *, moved: bool) -> None:
        self._built = None
        if kind == VM:
            self._stale.add(moref)
        elif moved:
            self._paths.clear()
            self._stale.update(m for m, k in self._kinds.items() if k == VM)

    def _refresh_vms(self) -> None:
        for moref in self._stale:
            self._vms[VmId(moref)] = self._vm(moref, self._raw[moref])
        self._stale.clear()

    def _build(self) -> Inventory:
        self._refresh_vms()
        by_kind: dict[str, list[str]] = {}
        for moref, kind in self._kinds.items():
            by_kind.setdefault(kind, []).append(moref)
        pools = {self._path(m): m for kind in POOLS for m in by_kind.get(kind, ())}
        return Inventory(
            site=self._site,
            observed=self._observed,
            vms=dict(self._vms),
            hosts={HostId(m): self._host(m, self._raw[m]) for m in by_kind.get(HOST, ())},
            datastores=tuple(self._datastore(m, self._raw[m]) for m in by_kind.get(DATASTORE, ())),
            networks={self._raw[m].get("name", ""): m for kind in NETWORKS for m in by_kind.get(kind, ())},
            folders={
                self._path(m): m
                for kind in FOLDERS
                for m in by_kind.get(kind, ())
                if VM in self._raw[m].get("childType", ())
            },
            pools=pools,
            pool_clusters={path: self._path(self._raw[m].get("owner", "")) for path, m in pools.items()},
        )

    def _path(self, moref: str) -> str:
        """The inventory path; "" for the root and for what is not known."""
        if moref == self._root or moref not in self._raw:
            return ""
        path = self._paths.get(moref)
        if path is None:
            raw = self._raw[moref]
            name = str(raw.get("name", "")).replace("/", "%2f")
            path = self._paths[moref] = f"{self._path(raw.get('parent', ''))}/{name}"
        return path

    def _vm(self, moref: str, raw: Raw) -> Vm:
        host = raw.get("runtime.host")
        return Vm(
            id=VmId(moref),
            name=_unescaped(raw.get("name", "")),
            folder=self._path(raw.get("parent", "")),
            pool=self._path(raw.get("resourcePool", "")),
            host=HostId(host) if host else None,
            instance_uuid=raw.get("config.instanceUuid", ""),
            bios_uuid=raw.get("config.uuid", ""),
            vmx=_file(raw.get("config.files.vmPathName", "")),
            power=_POWER.get(raw.get("runtime.powerState", ""), Power.OFF),
            connected=raw.get("runtime.connectionState") == "connected",
            template=bool(raw.get("config.template", False)),
            tools_running=raw.get("guest.toolsRunningStatus") in _TOOLS,
            heartbeat=raw.get("guestHeartbeatStatus", "gray"),
            ip_address=raw.get("guest.ipAddress", "") or "",
            datastores=tuple(sorted(self._raw.get(d, {}).get("name", d) for d in raw.get("datastore", ()))),
            customization_pending=bool(raw.get("config.tools.pendingCustomization")),
            memory_mb=raw.get("config.hardware.memoryMB", 0),
        )

    def _host(self, moref: str, raw: Raw) -> Host:
        return Host(
            id=HostId(moref),
            name=raw.get("name", ""),
            cluster=self._path(raw.get("parent", "")),
            connected=raw.get("runtime.connectionState") == "connected",
            maintenance=bool(raw.get("runtime.inMaintenanceMode", False)),
            memory_mb=raw.get("summary.hardware.memorySize", 0) // _MIB,
            memory_used_mb=raw.get("summary.quickStats.overallMemoryUsage", 0),
        )

    @staticmethod
    def _datastore(moref: str, raw: Raw) -> Datastore:
        mounts: tuple[Mount, ...] = raw.get("host", ())
        export: NfsExport | None = raw.get("info")
        return Datastore(
            id=moref,
            name=raw.get("name", ""),
            type=raw.get("summary.type", ""),
            export=export,
            hosts=frozenset(HostId(m.host) for m in mounts if m.mounted),
            accessible=bool(raw.get("summary.accessible", False)),
            writable=any(m.read_write and m.mounted for m in mounts),
        )


def _file(text: str) -> DatastorePath:
    try:
        return DatastorePath.parse(text)
    except ValueError:
        return DatastorePath("", text)  # an inaccessible VM has none


def _unescaped(name: str) -> str:
    return name.replace("%2f", "/").replace("%2F", "/")
