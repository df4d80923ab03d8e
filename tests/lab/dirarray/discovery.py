"""What an array shows: itself, its peer, and every group and device in its role. Both ends compute the same keys."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from envelope import element
from store import JSON, Array, Group


def group_key(name: str) -> str:
    return f"pair.{name}"


def device_id(group: str, device: str) -> str:
    return f"{group}/{device}"


def device_key(group: str, device: str) -> str:
    return f"pair.{group}/{device}"


def recovery_point(point: JSON | None) -> ET.Element | None:
    if point is None:
        return None
    name, time = element("Name", text=f"point {point['id']}"), element("Time", text=point["time"])
    return element("RecoveryPoint", name, time, id=point["id"])


def identity(array: Array, path: str) -> ET.Element:
    return element("Identity", element("NfsName", text=f"{array.config['server']}:{path}"))


def arrays(array: Array) -> ET.Element:
    return element(
        "Arrays",
        element(
            "Array",
            element("Name", text=array.id),
            element("Model", element("Name", text="Directory"), element("Vendor", text="Resurgo")),
            element("ReplicationSoftware", element("Name", text="dirarray"), element("Version", text="1.0")),
            element("PeerArrays", element("PeerArray", id=array.config["peerId"])),
            id=array.id,
        ),
    )


def devices(array: Array) -> ET.Element:
    groups = array.groups()
    sources = [g for g in groups if g.state.role == "source"]
    targets = [g for g in groups if g.state.role == "target"]
    return element(
        "ReplicatedDevices",
        element("ConsistencyGroups", *map(_source_group, sources)),
        element("TargetGroups", *map(_target_group, targets)),
        element("SourceDevices", *(_source_device(g, d) for g in sources for d in g.state.devices)),
        element("TargetDevices", *(target_device(g, d) for g in targets for d in g.state.devices)),
        element("StoragePorts", element("StoragePort", id=array.config["server"], type="NFS")),
    )


def _state(group: Group) -> str:
    return "read-write" if group.state.access == "rw" else "read-only"


def _source_group(group: Group) -> ET.Element:
    return element(
        "ConsistencyGroup",
        element("Name", text=group.name),
        element("TargetGroup", key=group_key(group.name)),
        element("SourceDevices", *(element("SourceDevice", id=device_id(group.name, d)) for d in group.state.devices)),
        id=group.name,
        state=_state(group),
    )


def _source_device(group: Group, device: str) -> ET.Element:
    writable = group.state.access == "rw"
    return element(
        "SourceDevice",
        element("Name", text=device),
        identity(group.array, f"/{group.name}/{device}") if writable else None,
        element("TargetDevice", key=device_key(group.name, device)),
        id=device_id(group.name, device),
        state=_state(group),
    )


def _target_group(group: Group) -> ET.Element:
    """RecoveryPoint is ours: the protocol has no place for the age of a replica that nobody tests or uses yet."""
    points = group.points()
    test = group.state.test
    refs = [element("TargetDevice", key=device_key(group.name, d)) for d in group.state.devices]
    running = None
    if test is not None:
        running = element("Snapshot", recovery_point(test["point"]), element("TargetDevices", *refs), id=test["key"])
    newest = points[-1] if points else None
    return element(
        "TargetGroup",
        element("Name", text=group.name),
        element("TargetDevices", *refs),
        recovery_point(group.state.recovered if group.state.access == "rw" else newest),
        running,
        key=group_key(group.name),
        id=group.name,
        state=_state(group),
    )


def target_device(group: Group, device: str) -> ET.Element:
    writable = group.state.access == "rw"
    return element(
        "TargetDevice",
        element("Name", text=device),
        identity(group.array, f"/{group.name}/{device}") if writable else None,
        snapshot(group, device),
        key=device_key(group.name, device),
        id=device_id(group.name, device),
        state=_state(group),
    )


def snapshot(group: Group, device: str) -> ET.Element | None:
    test = group.state.test
    if test is None:
        return None
    path = f"/{group.name}/tests/{test['key']}/{device}"
    return element("Snapshot", identity(group.array, path), recovery_point(test["point"]), id=test["key"])
