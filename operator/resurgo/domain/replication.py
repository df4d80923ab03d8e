"""What a storage system shows and answers: the words of the replication contract.

One endpoint is one storage system at one site; every group is seen from both ends and joined by ``pair_key``.
Terms follow the public element names of the storage replication adapter protocol and VMware's SMS API.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from resurgo.api import AdapterCapability, ReplicationLink, ReplicationRole

Role = ReplicationRole
Link = ReplicationLink
Capability = AdapterCapability


class Phase(StrEnum):
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class GroupRef:
    """One consistency group at one end. ``id`` is the name users write; ``pair_key`` is equal at both ends."""

    id: str
    pair_key: str
    peer_id: str | None = None


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    kind: Literal["naa", "eui", "nguid", "nfs", "vmx"]
    value: str  # an NFS export's path, a LUN's identifier
    server: str | None = None  # the NFS server


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    pair_key: str
    name: str
    writable: bool
    identity: DeviceIdentity | None  # None while the device is not presentable here


@dataclass(frozen=True, slots=True)
class TestInfo:
    test_id: str
    devices: tuple[Device, ...]
    recovery_point: datetime | None

    __test__ = False  # not a test case, whatever pytest thinks of its name


@dataclass(frozen=True, slots=True)
class GroupStatus:
    ref: GroupRef
    role: Role
    link: Link
    healthy: bool
    message: str
    recovery_point: datetime | None  # age of the data of the newest complete copy at the target, UTC
    sync_percent: int | None
    test: TestInfo | None
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Access:
    """Who shall see the devices: host initiators of the recovery site. ``type`` is FC, iSCSI, NVMe or NFS."""

    host_group: str
    initiators: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ItemResult:
    """What became of one group or device. ``done`` without ``error`` is success; neither means it was skipped."""

    pair_key: str
    done: bool
    already: bool = False
    device: Device | None = None
    recovery_point: datetime | None = None
    error: str = ""
    hint: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Op:
    """An operation under way or ended. ``handle`` is opaque and survives the process: any process may poll it."""

    handle: str
    phase: Phase
    percent: int | None = None
    results: tuple[ItemResult, ...] = ()
    retry_after: float = 1.0  # seconds until the next poll makes sense

    @property
    def failure(self) -> str:
        """The failed items in words, "" where there are none."""
        return "; ".join(f"{r.pair_key}: {r.error}{f' ({r.hint})' if r.hint else ''}" for r in self.results if r.error)
