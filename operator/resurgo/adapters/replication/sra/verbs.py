"""The operations of the port as a table: which command, where it is allowed, when there is nothing left to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from resurgo.adapters.replication.sra.discovery import Found
from resurgo.adapters.replication.sra.document import make
from resurgo.domain.replication import Access, GroupStatus, Role


@dataclass(frozen=True, slots=True)
class Verb:
    """One operation. ``item`` is how the request names a device outside of any group; groups follow from ``keyed``."""

    name: str
    command: str
    item: str
    keyed: bool = False  # groups are TargetGroup@key, not ConsistencyGroup@id
    allowed: frozenset[Role] = frozenset()  # roles it can start from
    end: frozenset[Role] = frozenset()  # roles in which there is nothing left to do
    names_peer: bool = False
    gives_access: bool = False

    @property
    def results(self) -> str:
        return f"{self.command[0].upper()}{self.command[1:]}Results"

    @property
    def group(self) -> str:
        return "TargetGroup" if self.keyed else "ConsistencyGroup"

    def reached(self, status: GroupStatus) -> bool:
        """Whether the end that this operation is for is there."""
        match self.name:
            case "testStart":
                return status.test is not None
            case "testStop":
                return status.test is None
        return status.role in self.end


_SOURCES = frozenset({Role.SOURCE, Role.PREPARED})
SYNC = Verb("sync", "syncOnce", "SourceDevice", allowed=_SOURCES, names_peer=True)
SYNC_STATUS = Verb("syncStatus", "querySyncStatus", "SourceDevice", names_peer=True)
PREPARE = Verb(
    "prepare",
    "prepareFailover",
    "SourceDevice",
    allowed=frozenset({Role.SOURCE}),
    end=frozenset({Role.PREPARED}),
)
RESTORE = Verb(
    "restore",
    "restoreReplication",
    "Device",
    allowed=frozenset({Role.PREPARED}),
    end=frozenset({Role.SOURCE}),
    names_peer=True,
)
FAILOVER = Verb(
    "failover",
    "failover",
    "TargetDevice",
    keyed=True,
    allowed=frozenset({Role.TARGET}),
    end=frozenset({Role.FAILED_OVER}),
    gives_access=True,
)
TEST_START = Verb(
    "testStart", "testFailoverStart", "TargetDevice", keyed=True, allowed=frozenset({Role.TARGET}), gives_access=True
)
TEST_STOP = Verb("testStop", "testFailoverStop", "TargetDevice", keyed=True, allowed=frozenset(Role))
PREPARE_REVERSE = Verb(
    "prepareReverse",
    "prepareReverseReplication",
    "Device",
    allowed=_SOURCES,
    end=frozenset({Role.TARGET}),
    names_peer=True,
)
REVERSE = Verb(
    "reverse",
    "reverseReplication",
    "Device",
    allowed=frozenset({Role.FAILED_OVER}),
    end=frozenset({Role.SOURCE}),
    names_peer=True,
    gives_access=True,
)
VERBS = {v.name: v for v in (SYNC, PREPARE, RESTORE, FAILOVER, TEST_START, TEST_STOP, PREPARE_REVERSE, REVERSE)}


def parameters(
    verb: Verb, found: Found, array: str, peer: str, access: Access | None, sync_ids: dict[str, str] | None = None
) -> Sequence[ET.Element]:
    """The request's elements for one group. *sync_ids* are by device id, "" for the group's own."""
    offered = access if verb.gives_access and access is not None and access.initiators else None
    item = _item(verb, found, offered, sync_ids or {})
    made = [make("ArrayId", text=array), make("PeerArrayId", text=peer) if verb.names_peer else None]
    if offered is not None:
        hosts = (make("Initiator", id=id_, type=kind) for kind, id_ in offered.initiators)
        made.append(make("AccessGroups", make("AccessGroup", *hosts, id=offered.host_group)))
    made.append(make(f"{item.tag.rpartition('}')[2]}s", item))
    return [m for m in made if m is not None]


def _item(verb: Verb, found: Found, access: Access | None, sync_ids: dict[str, str]) -> ET.Element:
    status = found.status
    grants = make("AccessGroups", make("AccessGroup", id=access.host_group)) if access is not None else None
    name = {"key": status.ref.pair_key} if verb.keyed else {"id": status.ref.id}
    if verb.command == "failover":
        name["isolationRequired"] = "false"
    if "" in sync_ids:
        name["syncId"] = sync_ids[""]
    if found.single:
        return make(verb.item, grants, **name)
    members = None
    if verb.gives_access:
        devices = (
            make(verb.item, _again(grants), **({"key": d.pair_key} if verb.keyed else {"id": d.id}))
            for d in status.devices
        )
        members = make(f"{verb.item}s", *devices)
    elif sync_ids.keys() - {""}:
        members = make(f"{verb.item}s", *(make(verb.item, id=k, syncId=v) for k, v in sync_ids.items() if k))
    return make(verb.group, members, **name)


def _again(grants: ET.Element | None) -> ET.Element | None:
    """An element has one parent: each device gets a copy."""
    return None if grants is None else ET.fromstring(ET.tostring(grants))  # noqa: S314 (we made it)
