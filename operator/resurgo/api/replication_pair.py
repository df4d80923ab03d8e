"""ReplicationPair: two storage endpoints, one per Site, and the adapter that drives the replication between them."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resurgo.api.base import (
    ConditionedStatus,
    Count,
    Model,
    ObjectName,
    PositiveSeconds,
    Resource,
    Scope,
    SecretReference,
    ShortText,
    StorageId,
    Text,
    Time,
    list_map,
    list_set,
)


class AdapterType(StrEnum):
    """The adapters by the name of their block in the spec."""

    SRA = "sra"
    ZFS = "zfs"
    RBD_MIRROR = "rbdMirror"
    SNAP_MIRROR = "snapMirror"
    VVOLS_SMS = "vvolsSms"
    GRPC = "grpc"


class ReplicationRole(StrEnum):
    """What one end of a replicated group is, as its storage reports it."""

    SOURCE = "Source"
    TARGET = "Target"
    PREPARED = "Prepared"
    FAILED_OVER = "FailedOver"
    REMOTE_FAILED_OVER = "RemoteFailedOver"
    SPLIT_BRAIN = "SplitBrain"
    UNKNOWN = "Unknown"


class ReplicationLink(StrEnum):
    """What the replication between the two ends is doing."""

    IN_SYNC = "InSync"
    SYNCING = "Syncing"
    IDLE = "Idle"
    PAUSED = "Paused"
    BROKEN = "Broken"
    UNKNOWN = "Unknown"


class AdapterCapability(StrEnum):
    """What an adapter can do for its groups."""

    SYNC_NOW = "SyncNow"
    TEST = "Test"
    PREPARE = "Prepare"
    REVERSE = "Reverse"
    RESTORE = "Restore"
    CONSISTENCY_GROUPS = "ConsistencyGroups"
    POINTS_IN_TIME = "PointsInTime"
    PRESENTS_DEVICES = "PresentsDevices"


class Adapter(Model):
    """Which adapter drives a pair."""

    type: AdapterType
    """The adapter: sra, zfs, rbdMirror, snapMirror, vvolsSms or grpc. The block of that name must be given, and no
    other."""


class SraAdapter(Model):
    """A Storage Replication Adapter, run as a child process of the operator."""

    name: Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_]*[A-Za-z0-9])?$")]
    """The adapter's folder in the operator's SRA directory. A manifest cannot name a path to run."""
    command_timeout_seconds: PositiveSeconds = 300
    """How long one command of the adapter may take."""


class ZfsAdapter(Model):
    """ZFS datasets replicated by snapshots and send/receive."""

    ssh_port: Annotated[int, Field(ge=1, le=65535)] = 22
    """The port of the SSH server at the endpoints' addresses."""
    command_timeout_seconds: PositiveSeconds = 300
    """How long one command may take; a transfer of data is not bound by it."""


class RbdMirrorAdapter(Model):
    """Ceph RBD images mirrored by rbd-mirror."""

    pool: StorageId
    """The pool of the mirrored images, the same at both clusters."""
    command_timeout_seconds: PositiveSeconds = 300
    """How long one command may take; a forced promotion is never cut short."""


class SnapMirrorAdapter(Model):
    """ONTAP SnapMirror relationships, driven over REST."""

    request_timeout_seconds: PositiveSeconds = 60
    """How long one request may take."""


class VvolsSmsAdapter(Model):
    """Array-based vVols replication, driven through vCenter's storage monitoring service."""

    request_timeout_seconds: PositiveSeconds = 60
    """How long one request may take."""


class GrpcAdapter(Model):
    """An adapter of a vendor that runs as a process of its own."""

    address: Annotated[str, Field(min_length=1, max_length=512)]
    """Where it listens: host:port, or unix:///path of a socket."""
    tls_secret_ref: SecretReference | None = None
    """The Secret with the keys tls.crt, tls.key and ca.crt for mutual TLS; required but for a Unix socket."""


class Endpoint(Model):
    """The storage at one Site."""

    site: ObjectName
    """The Site this storage belongs to."""
    id: StorageId
    """What the adapter calls this storage system."""
    addresses: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=512)], ...], Field(max_length=8)] = ()
    """Where its management interface is, in the order the adapter asks for."""
    credentials_secret_ref: SecretReference | None = None
    """The Secret with the keys username and password, if the adapter needs one."""
    parameters: Annotated[Mapping[str, Annotated[str, Field(max_length=1024)]], Field(max_length=32)] = {}
    """Further settings of the adapter; never secrets."""


class ReplicationPairSpec(Model):
    """Two storage endpoints and the adapter that drives them."""

    adapter: Adapter
    """Which adapter drives this pair."""
    sra: SraAdapter | None = None
    """Settings for adapter type sra."""
    zfs: ZfsAdapter | None = None
    """Settings for adapter type zfs."""
    rbd_mirror: RbdMirrorAdapter | None = None
    """Settings for adapter type rbdMirror."""
    snap_mirror: SnapMirrorAdapter | None = None
    """Settings for adapter type snapMirror."""
    vvols_sms: VvolsSmsAdapter | None = None
    """Settings for adapter type vvolsSms."""
    grpc: GrpcAdapter | None = None
    """Settings for adapter type grpc."""
    endpoints: Annotated[tuple[Endpoint, ...], Field(min_length=2, max_length=2), list_map("site")]
    """The two ends, exactly one per Site."""
    poll_seconds: Annotated[int, Field(ge=5, le=3600)] = 30
    """How often the replication state is read."""


class EndpointStatus(Model):
    """What was last seen of one endpoint."""

    site: ObjectName
    """The endpoint's Site."""
    reachable: bool
    """Whether it answered the last time it was asked."""
    message: Text = ""
    """What it answered, if it did not answer well."""
    clock_offset_seconds: Annotated[int, Field(ge=-31_536_000, le=31_536_000)] | None = None
    """How far its clock is ahead of the operator's; recovery point times are corrected by it."""


class ReplicatedGroup(Model):
    """A consistency group that the adapter found."""

    id: StorageId
    """What the adapter calls it; ProtectionGroups name it so."""
    source_site: ObjectName | None = None
    """The Site whose copy is the source; absent while nobody knows."""
    role: ReplicationRole
    """The role of the copy at sourceSite, as the storage reports it."""
    link: ReplicationLink
    """What the replication is doing."""
    healthy: bool
    """The adapter's verdict on this group."""
    recovery_point_time: Time | None = None
    """The age of the newest complete copy at the other site; absent until there is one."""
    test: bool = False
    """Whether a test of this group is running."""
    devices: Count = 0
    """How many devices it has."""
    message: ShortText = ""
    """Why it is not healthy."""


class ReplicationPairStatus(ConditionedStatus):
    """What the adapter can do and what it found."""

    observed_time: Time | None = None
    """When the replication state was last read."""
    capabilities: Annotated[tuple[AdapterCapability, ...], Field(max_length=16), list_set()] = ()
    """What the adapter can do."""
    endpoints: Annotated[tuple[EndpointStatus, ...], Field(max_length=2), list_map("site")] = ()
    """The two ends, as last seen."""
    groups: Annotated[tuple[ReplicatedGroup, ...], Field(max_length=1000), list_map("id")] = ()
    """The consistency groups the adapter found."""


class ReplicationPair(Resource):
    """Two storage endpoints, one per Site, and the adapter that drives the replication between them."""

    KIND: ClassVar[str] = "ReplicationPair"
    PLURAL: ClassVar[str] = "replicationpairs"
    SINGULAR: ClassVar[str] = "replicationpair"
    SHORT_NAME: ClassVar[str] = "replpair"
    SCOPE: ClassVar[Scope] = Scope.CLUSTER

    kind: Literal["ReplicationPair"] = "ReplicationPair"
    """The kind of this object."""
    spec: ReplicationPairSpec
    """What is wanted."""
    status: ReplicationPairStatus = ReplicationPairStatus()
    """What was observed; written by the operator."""
