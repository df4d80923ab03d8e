"""InventoryMapping: what the things of one Site are called at the other. Written one way, read both ways."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resurgo.api.base import (
    Cidr,
    ConditionedStatus,
    InventoryName,
    InventoryPath,
    IpAddress,
    Model,
    ObjectName,
    Resource,
    list_map,
)

ISOLATED = "Isolated"
"""The value of `test` that stands for a network made for the test, without an uplink."""


class NetworkMapping(Model):
    """A network and its counterpart."""

    from_: InventoryName
    """The network's name at the first site."""
    to: InventoryName
    """The network's name at the second site."""
    test: InventoryName = ISOLATED
    """Where VMs are connected in a test: Isolated for a network made for the test without an uplink, or the name of a
    network."""


class FolderMapping(Model):
    """A VM folder and its counterpart."""

    from_: InventoryPath
    """The folder's inventory path at the first site; folders below follow it."""
    to: InventoryPath
    """The folder's inventory path at the second site."""


class ResourcePoolMapping(Model):
    """A resource pool and its counterpart."""

    from_: InventoryPath
    """The pool's inventory path at the first site; .../Resources is the cluster itself."""
    to: InventoryPath
    """The pool's inventory path at the second site."""


class DatastoreMapping(Model):
    """The name of a datastore after failover."""

    from_: InventoryName
    """The datastore's name at the first site."""
    to: InventoryName
    """The name it gets at the second site."""


class IpRule(Model):
    """How the addresses of VMs in a network change: the host part is kept."""

    network: InventoryName
    """The network at the first site."""
    from_: Cidr
    """The subnet at the first site, IPv4 or IPv6, for instance 10.1.0.0/24."""
    to: Cidr
    """The subnet at the second site, of the same family and size."""
    gateway: IpAddress | None = None
    """The gateway at the second site."""
    from_gateway: IpAddress | None = None
    """The gateway at the first site, for the way back."""
    dns: Annotated[tuple[IpAddress, ...], Field(max_length=8)] = ()
    """The name servers at the second site."""
    from_dns: Annotated[tuple[IpAddress, ...], Field(max_length=8)] = ()
    """The name servers at the first site, for the way back."""


class InventoryMappingSpec(Model):
    """What the things of one Site are called at the other."""

    sites: Annotated[tuple[ObjectName, ...], Field(min_length=2, max_length=2)]
    """The two Sites. Entries are written from the first to the second, and read backwards for failback."""
    networks: Annotated[tuple[NetworkMapping, ...], Field(max_length=256), list_map("from")] = ()
    """Networks by name."""
    folders: Annotated[tuple[FolderMapping, ...], Field(max_length=200), list_map("from")] = ()
    """VM folders by inventory path."""
    resource_pools: Annotated[tuple[ResourcePoolMapping, ...], Field(max_length=200), list_map("from")] = ()
    """Resource pools by inventory path."""
    datastores: Annotated[tuple[DatastoreMapping, ...], Field(max_length=256), list_map("from")] = ()
    """Names of datastores after failover; a datastore without an entry keeps its name."""
    ip_rules: Annotated[tuple[IpRule, ...], Field(max_length=256), list_map("network", "from")] = ()
    """How addresses change, IPv4 and IPv6; the first rule that matches an address counts."""


class InventoryKind(StrEnum):
    """What a name stands for at a vCenter."""

    NETWORK = "Network"
    FOLDER = "Folder"
    RESOURCE_POOL = "ResourcePool"
    DATASTORE = "Datastore"


class UnresolvedName(Model):
    """A name that its vCenter does not know."""

    site: ObjectName
    """The Site that was asked."""
    kind: InventoryKind
    """What was looked for."""
    name: Annotated[str, Field(min_length=1, max_length=512)]
    """The name or inventory path."""


class InventoryMappingStatus(ConditionedStatus):
    """Whether both vCenters know every name."""

    unresolved: Annotated[tuple[UnresolvedName, ...], Field(max_length=100), list_map("site", "kind", "name")] = ()
    """Names that were not found, at most 100."""


class InventoryMapping(Resource):
    """Networks, test networks, folders, resource pools, datastores and IP rules between two Sites, read both ways."""

    KIND: ClassVar[str] = "InventoryMapping"
    PLURAL: ClassVar[str] = "inventorymappings"
    SINGULAR: ClassVar[str] = "inventorymapping"
    SHORT_NAME: ClassVar[str] = "invmap"

    kind: Literal["InventoryMapping"] = "InventoryMapping"
    """The kind of this object."""
    spec: InventoryMappingSpec
    """What is wanted."""
    status: InventoryMappingStatus = InventoryMappingStatus()
    """What was observed; written by the operator."""
