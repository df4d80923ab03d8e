"""From an answer to discoverDevices to groups in their roles, as one end sees them.

A device that belongs to no consistency group counts as a group of one, with the device's own id and key. RecoveryPoint
directly below TargetGroup or TargetDevice is read where an adapter gives it: the protocol itself tells the age of a
replica only while a test runs and after failover.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from resurgo.adapters.replication.sra.document import child, children, identifier, text
from resurgo.adapters.replication.sra.facts import Facts
from resurgo.domain.replication import Device, DeviceIdentity, GroupRef, GroupStatus, Link, Role, TestInfo

WRITABLE, READ_ONLY = "read-write", "read-only"
_ROLES = {
    ("source", WRITABLE): Role.SOURCE,
    ("source", READ_ONLY): Role.PREPARED,  # RemoteFailedOver looks the same here: the other end's role tells them apart
    ("target", READ_ONLY): Role.TARGET,
    ("target", WRITABLE): Role.FAILED_OVER,
}
_LINKS = {Role.SOURCE: Link.IDLE, Role.TARGET: Link.IDLE, Role.PREPARED: Link.IDLE, Role.FAILED_OVER: Link.BROKEN}


@dataclass(frozen=True, slots=True)
class Found:
    """A group as discovered. ``single`` is a device outside of any consistency group."""

    status: GroupStatus
    single: bool


def read_groups(answer: ET.Element, facts: Facts) -> tuple[Found, ...]:
    """Every group of the answer, in its order."""
    root = child(answer, "ReplicatedDevices")
    return (*_Reader(root, facts, "source").groups(), *_Reader(root, facts, "target").groups())


class _Reader:
    """Reads the groups of one role, ``source`` or ``target``."""

    def __init__(self, root: ET.Element | None, facts: Facts, end: str) -> None:
        self._facts = facts
        self._end = end
        self._group_tags, self._device_tags, self._name = (
            (("ConsistencyGroups", "ConsistencyGroup"), ("SourceDevices", "SourceDevice"), "id")
            if end == "source"
            else (("TargetGroups", "TargetGroup"), ("TargetDevices", "TargetDevice"), "key")
        )
        self._groups = list(children(root, *self._group_tags))
        self._details: Mapping[str, ET.Element] = {d.get(self._name, ""): d for d in children(root, *self._device_tags)}
        ports = (p.get("id", "") for p in children(root, "StoragePorts", "StoragePort") if p.get("type") == "NFS")
        self._server = next(ports, None)

    def groups(self) -> Iterable[Found]:
        grouped: set[str] = set()
        for group in self._groups:
            members = [d.get(self._name, "") for d in children(group, *self._device_tags)]
            grouped.update(members)
            yield Found(self._status(group, [self._details.get(m) for m in members]), single=False)
        for name, device in self._details.items():
            if name not in grouped:
                yield Found(self._status(device, [device]), single=True)

    def _status(self, group: ET.Element, listed: list[ET.Element | None]) -> GroupStatus:
        devices = [d for d in listed if d is not None]
        states = {s for e in (group, *devices) if (s := e.get("state", ""))}
        role = _ROLES.get((self._end, next(iter(states))), Role.UNKNOWN) if len(states) == 1 else Role.UNKNOWN
        message = self._message(group, listed, devices, states)
        return GroupStatus(
            ref=self._ref(group),
            role=role,
            link=_LINKS.get(role, Link.UNKNOWN),
            healthy=not message,
            message=message,
            recovery_point=read_point(group, devices) if self._end == "target" else None,
            sync_percent=None,
            test=self._test(group, devices),
            devices=tuple(read_device(d, self._server, writable=d.get("state") == WRITABLE) for d in devices),
        )

    def _ref(self, group: ET.Element) -> GroupRef:
        if self._end == "source":
            peer = (
                child(group, "TargetGroup") if child(group, "TargetGroup") is not None else child(group, "TargetDevice")
            )
            id_ = identifier(group, "id")
            return GroupRef(id=id_, pair_key=identifier(peer, "key") or id_)
        key = identifier(group, "key")
        return GroupRef(id=identifier(group, "id") or text(group, "Name") or key, pair_key=key)

    def _message(
        self, group: ET.Element, listed: list[ET.Element | None], devices: list[ET.Element], states: set[str]
    ) -> str:
        said = [self._facts.explain(e) for item in (group, *devices) for e in children(item, "Error")]
        if said:
            return "; ".join(f"{what} ({hint})" if hint else what for what, hint in said)
        if len(states) != 1 or not states <= {WRITABLE, READ_ONLY}:
            return f"its devices do not agree on a state: {', '.join(sorted(states)) or 'none given'}"
        if len(devices) != len(listed):
            return f"{len(listed) - len(devices)} of its devices are not described"
        return ""

    def _test(self, group: ET.Element, devices: list[ET.Element]) -> TestInfo | None:
        if self._end == "source":
            return None
        running = [s for e in (group, *devices) for s in children(e, "Snapshot")]
        if not running:
            return None
        return TestInfo(
            test_id=identifier(running[0], "id"),
            devices=tuple(
                read_device(d, self._server, writable=True, presented=s)
                for d in devices
                for s in children(d, "Snapshot")
            ),
            recovery_point=read_point(running[0], running),
        )


def read_device(
    device: ET.Element, server: str | None, *, writable: bool, presented: ET.Element | None = None
) -> Device:
    """One device; *presented* is the element that holds the identity where it is not the device's own."""
    target = child(device, "TargetDevice")
    key = identifier(target, "key") or identifier(device, "key", "id")
    return Device(
        id=identifier(device, "id") or key,
        pair_key=key,
        name=text(device, "Name") or identifier(device, "id") or key,
        writable=writable,
        identity=read_identity(child(presented if presented is not None else device, "Identity"), server),
    )


def read_identity(identity: ET.Element | None, server: str | None) -> DeviceIdentity | None:
    """NfsName is ``server:/path``, or ``/path`` at the array's NFS port; Wwn any spelling of hexadecimal digits."""
    if nfs := text(identity, "NfsName"):
        before, colon, path = nfs.partition(":/")
        if colon:
            return DeviceIdentity("nfs", f"/{path}", before.removeprefix("[").removesuffix("]"))
        return DeviceIdentity("nfs", nfs, server)
    if wwn := text(identity, "Wwn"):
        return DeviceIdentity("naa", re.sub(r"^naa\.|[^0-9a-f]", "", wwn.lower()))
    return None


def read_point(group: ET.Element, members: Iterable[ET.Element] = ()) -> datetime | None:
    """The RecoveryPoint directly below *group*, else the oldest of its *members*: the whole is as old as that. UTC."""
    for elements in ((group,), members):
        times = [t for e in elements for p in children(e, "RecoveryPoint") if (t := read_time(text(p, "Time")))]
        if times:
            return min(times)
    return None


def read_time(said: str) -> datetime | None:
    """An ISO 8601 time, or seconds since 1970; UTC where it names no zone. None for anything else."""
    try:
        if said.isdigit():
            return datetime.fromtimestamp(int(said), UTC)
        time = datetime.fromisoformat(said)
    except (ValueError, OverflowError, OSError):
        return None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
