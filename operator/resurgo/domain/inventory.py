"""What a vCenter shows: plain, frozen data, read by the adapter and used by every decision.

Identifiers are vCenter's own (morefs) and mean nothing without their site: two vCenters issue the same ones.
Paths are inventory paths (``/berlin/vm/erp``); a ``/`` inside a name is escaped as ``%2f``, as vCenter does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

VmId = NewType("VmId", str)
HostId = NewType("HostId", str)


class Power(StrEnum):
    ON = "On"
    OFF = "Off"
    SUSPENDED = "Suspended"


@dataclass(frozen=True, slots=True)
class NfsExport:
    """One NFS export: the identity of an NFS datastore, whatever it is called."""

    server: str
    path: str

    def __str__(self) -> str:
        return f"{self.server}:{self.path}"


@dataclass(frozen=True, slots=True)
class DatastorePath:
    """A file on a datastore: ``[datastore] path``."""

    datastore: str
    path: str

    @classmethod
    def parse(cls, text: str) -> DatastorePath:
        """Read ``[ds] dir/file``; a blank after the bracket and a leading slash are optional. ValueError otherwise."""
        if not text.startswith("[") or "]" not in text:
            raise ValueError(f"not a datastore path: {text!r}")
        datastore, _, path = text[1:].partition("]")
        return cls(datastore, path.strip().lstrip("/"))

    def __str__(self) -> str:
        return f"[{self.datastore}] {self.path}"


@dataclass(frozen=True, slots=True)
class Vm:
    """A registered VM, without its devices (see `Hardware`)."""

    id: VmId
    name: str
    folder: str  # inventory path of the folder it is in
    pool: str  # inventory path of its resource pool, "" for a template
    host: HostId | None
    instance_uuid: str
    bios_uuid: str
    vmx: DatastorePath
    power: Power
    connected: bool  # False: inaccessible, orphaned, disconnected, invalid
    template: bool
    tools_running: bool
    heartbeat: str  # green, yellow, red, gray
    ip_address: str
    datastores: tuple[str, ...]  # names of every datastore a file of it lies on
    customization_pending: bool = False
    memory_mb: int = 0

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name.replace('/', '%2f')}"


@dataclass(frozen=True, slots=True)
class Nic:
    key: int  # device key, stable in the VM's configuration
    label: str
    mac: str
    network: str  # name of the network it is attached to; as recorded in the VM where this site doesn't know it
    connected_at_power_on: bool
    addresses: tuple[str, ...] = ()  # what the guest reports for it now, "10.1.0.7/24"; empty while it is off


@dataclass(frozen=True, slots=True)
class Disk:
    label: str
    file: str  # "[ds] path", or what the device says where it is no file (an RDM's device name)
    raw: bool  # a raw device mapping


@dataclass(frozen=True, slots=True)
class Hardware:
    """The devices and marks of one VM, read on demand."""

    vm: VmId
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    isos: tuple[str, ...]  # files behind connected CD drives
    marks: Mapping[str, str]  # extraConfig entries whose key starts with "resurgo."
    guest_id: str
    annotation: str


@dataclass(frozen=True, slots=True)
class Datastore:
    id: str
    name: str
    type: str  # NFS, NFS41, VMFS, vsan, VVOL, ...
    export: NfsExport | None  # None where it is no NFS datastore
    hosts: frozenset[HostId]  # hosts that mount it
    accessible: bool
    writable: bool


@dataclass(frozen=True, slots=True)
class Host:
    id: HostId
    name: str
    cluster: str  # inventory path of its compute resource
    connected: bool
    maintenance: bool
    memory_mb: int
    memory_used_mb: int


@dataclass(frozen=True, slots=True)
class Inventory:
    """One consistent reading of a vCenter."""

    site: str
    observed: datetime
    vms: Mapping[VmId, Vm]
    hosts: Mapping[HostId, Host]
    datastores: tuple[Datastore, ...]
    networks: Mapping[str, str]  # inventory name -> id
    folders: Mapping[str, str]  # inventory path of VM folders -> id
    pools: Mapping[str, str]  # inventory path of resource pools -> id
    pool_clusters: Mapping[str, str] = field(default_factory=dict)  # pool path -> path of its compute resource

    def vm_by_instance_uuid(self, uuid: str) -> Vm | None:
        return next((vm for vm in self.vms.values() if vm.instance_uuid == uuid), None)

    def datastore_by_export(self, export: NfsExport) -> Datastore | None:
        return next((d for d in self.datastores if d.export == export), None)

    def datastore_by_name(self, name: str) -> Datastore | None:
        return next((d for d in self.datastores if d.name == name), None)

    def hosts_of_pool(self, pool: str) -> tuple[Host, ...]:
        """Hosts of the compute resource that *pool* belongs to, by name; empty for an unknown pool."""
        cluster = self.pool_clusters.get(pool)
        return tuple(sorted((h for h in self.hosts.values() if h.cluster == cluster), key=lambda h: h.name))
