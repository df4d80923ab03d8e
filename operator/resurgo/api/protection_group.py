"""ProtectionGroup: VMs that move together, the consistency groups their data lies in, and their recovery point
objective.
"""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resurgo.api.base import (
    ConditionedStatus,
    Count,
    InventoryName,
    LocalReference,
    Model,
    ObjectName,
    Percent,
    Resource,
    Seconds,
    StorageId,
    Text,
    Time,
    Uid,
    VirtualMachineReference,
    list_set,
)
from resurgo.api.replication_pair import ReplicationLink, ReplicationRole


class UnprotectedMembers(StrEnum):
    """What to do about a VM with a disk outside the group's datastores."""

    REPORT = "Report"
    BLOCK = "Block"


class GroupReplication(Model):
    """Where the group's data is replicated."""

    pair_ref: LocalReference
    """The ReplicationPair. Immutable."""
    consistency_groups: Annotated[tuple[StorageId, ...], Field(min_length=1, max_length=64), list_set()]
    """The consistency groups of that pair which hold the group's data."""


class TagSelector(Model):
    """A vSphere tag."""

    category: InventoryName
    """The tag's category."""
    name: InventoryName
    """The tag's name."""


class Members(Model):
    """Which VMs belong to the group; exactly one of the selectors."""

    datastores: Annotated[tuple[InventoryName, ...], Field(min_length=1, max_length=64), list_set()] | None = None
    """Every VM whose files lie on these datastores."""
    tag: TagSelector | None = None
    """Every VM that bears this tag."""
    virtual_machines: Annotated[tuple[VirtualMachineReference, ...], Field(min_length=1, max_length=500)] | None = None
    """These VMs."""


class ProtectionGroupSpec(Model):
    """VMs that move together."""

    protected_site: ObjectName
    """The Site where the VMs run as long as nothing has happened. Immutable."""
    recovery_site: ObjectName
    """The Site where they are recovered. Immutable."""
    replication: GroupReplication
    """Where their data is replicated."""
    members: Members
    """Which VMs belong to the group."""
    unprotected_members: UnprotectedMembers = UnprotectedMembers.REPORT
    """A VM with a disk outside the group's datastores: Report says so in a condition, Block also makes plans of this
    group not ready."""
    rpo_seconds: Annotated[int, Field(ge=0, le=2_592_000)] = 900
    """The recovery point objective: how old the newest complete copy at the other site may be. 0 = synchronous."""
    suspend: bool = False
    """Silences the RPO alerts of this group, nothing else."""


class GroupReplicationStatus(Model):
    """The replication of all of the group's consistency groups together: the worst of each."""

    role: ReplicationRole = ReplicationRole.UNKNOWN
    """The role of the copy at the active site."""
    link: ReplicationLink = ReplicationLink.UNKNOWN
    """What the replication is doing."""
    recovery_point_time: Time | None = None
    """The newest point that all consistency groups can be recovered to; absent until there is one."""
    rpo_lag_seconds: Seconds | None = None
    """How old that point was when it was read."""
    sync_percent: Percent | None = None
    """How far a running transfer has come."""
    healthy: bool = False
    """The adapter's verdict."""
    message: Text = ""
    """Why it is not healthy."""


class ActiveRun(Model):
    """The one run that holds an object."""

    name: ObjectName
    """The RecoveryRun's name."""
    uid: Uid
    """The RecoveryRun's UID: the claim that keeps every other run away."""


class ProtectionGroupStatus(ConditionedStatus):
    """What was last seen of the group."""

    observed_time: Time | None = None
    """When the replication state was last read."""
    active_site: ObjectName | None = None
    """The Site where the group's data is writable."""
    replication: GroupReplicationStatus | None = None
    """How the replication stands."""
    virtual_machines: Count | None = None
    """How many VMs belong to the group."""
    unprotected_virtual_machines: Count | None = None
    """How many of them have a disk outside the group's datastores."""
    active_run: ActiveRun | None = None
    """The run that is moving or testing this group."""


class ProtectionGroup(Resource):
    """VMs that move together: their consistency groups and their recovery point objective."""

    KIND: ClassVar[str] = "ProtectionGroup"
    PLURAL: ClassVar[str] = "protectiongroups"
    SINGULAR: ClassVar[str] = "protectiongroup"
    SHORT_NAME: ClassVar[str] = "protgrp"

    kind: Literal["ProtectionGroup"] = "ProtectionGroup"
    """The kind of this object."""
    spec: ProtectionGroupSpec
    """What is wanted."""
    status: ProtectionGroupStatus = ProtectionGroupStatus()
    """What was observed; written by the operator."""
