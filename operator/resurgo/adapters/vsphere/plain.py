"""The properties that are watched, and their values as plain data: no pyvmomi object goes further than this."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from resurgo.adapters.vsphere.model import Mount, Question
from resurgo.adapters.vsphere.properties import moid
from resurgo.adapters.vsphere.sdk import ManagedObject, vim
from resurgo.domain.inventory import NfsExport

VM_PATHS: Final = (
    "name",
    "parent",
    "resourcePool",
    "datastore",
    "config.instanceUuid",
    "config.uuid",
    "config.files.vmPathName",
    "config.template",
    "config.hardware.memoryMB",
    "config.tools.pendingCustomization",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.question",
    "guest.toolsRunningStatus",
    "guest.ipAddress",
    "guestHeartbeatStatus",
)
DATASTORE_PATHS: Final = ("name", "summary.type", "summary.accessible", "info", "host")
PLACE_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "Datastore": DATASTORE_PATHS,
    "HostSystem": (
        "name",
        "parent",
        "runtime.connectionState",
        "runtime.inMaintenanceMode",
        "summary.hardware.memorySize",
        "summary.quickStats.overallMemoryUsage",
    ),
    "Network": ("name",),
    "Folder": ("name", "parent", "childType"),
    "ResourcePool": ("name", "parent", "owner"),
    "ComputeResource": ("name", "parent"),
    "Datacenter": ("name", "parent"),
}
QUIET: Final = frozenset({"summary.quickStats.overallMemoryUsage"})  # changes all the time and wakes nobody


def plain(path: str, value: Any) -> Any:
    """The value of a watched property without pyvmomi's types."""
    special = _SPECIAL.get(path)
    if special is not None:
        return special(value)
    if isinstance(value, ManagedObject):
        return moid(value)
    if isinstance(value, list):
        return tuple(plain("", item) for item in value)
    if isinstance(value, type):  # childType holds type objects
        return value.__name__.rpartition(".")[2]
    return str(value) if isinstance(value, str) else value


def export_of(info: Any) -> NfsExport | None:
    """The export behind a DatastoreInfo; None where it is no NFS datastore."""
    if not isinstance(info, vim.host.NasDatastoreInfo) or info.nas is None:
        return None
    return NfsExport(info.nas.remoteHost, info.nas.remotePath)


def mounts_of(hosts: Any) -> tuple[Mount, ...]:
    """Where a datastore is mounted, from its DatastoreHostMount list."""
    return tuple(
        Mount(
            host=moid(mount.key),
            read_write=mount.mountInfo.accessMode == "readWrite",
            mounted=mount.mountInfo.mounted is not False,
        )
        for mount in hosts or ()
    )


def question_of(question: Any) -> Question | None:
    """The question of a VM and, where it asks if it was moved or copied, the key for "moved"."""
    if question is None:
        return None
    ids = [m.id for m in question.message or () if getattr(m, "id", None)]
    about_uuid = any("uuid" in identifier.lower() for identifier in ids) or "copied" in question.text.lower()
    moved = next(
        (c.key for c in question.choice.choiceInfo if "moved" in f"{c.label or ''} {c.summary or ''}".lower()), ""
    )
    return Question(id=question.id, text=question.text, moved=moved if about_uuid else "")


_SPECIAL: Final[Mapping[str, Callable[[Any], Any]]] = {
    "info": export_of,
    "host": mounts_of,
    "runtime.question": question_of,
}
