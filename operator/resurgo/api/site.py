"""Site: one vCenter, how to reach it, what it may be asked, and who may use it."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resurgo.api.base import (
    CaBundle,
    ConditionedStatus,
    InventoryName,
    InventoryPath,
    LabelSelector,
    Model,
    Resource,
    Scope,
    SecretReference,
    Time,
    Url,
)


class VCenter(Model):
    """Where a vCenter is and how it is trusted. Without caBundle, thumbprint and insecureSkipTLSVerify the system's
    trust store decides.
    """

    url: Url
    """The vCenter's address, https only, for instance https://vcenter.berlin.example."""
    ca_bundle: CaBundle | None = None
    """PEM certificates, in base64, that must have signed the vCenter's."""
    thumbprint: (
        Annotated[
            str,
            Field(
                max_length=95, pattern=r"^([0-9A-Fa-f]{2}:){19}[0-9A-Fa-f]{2}$|^([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}$"
            ),
        ]
        | None
    ) = None
    """The SHA-256 (or SHA-1) thumbprint of the vCenter's certificate, hex pairs separated by colons."""
    insecure_skip_tls_verify: bool = False
    """Trust any certificate. Anybody on the network path can then read the credentials; a condition warns as long as
    it is set."""
    credentials_secret_ref: SecretReference
    """The Secret with the keys username and password."""


class SiteAccess(Model):
    """What the namespaces that match may protect and recover at this site."""

    namespace_selector: LabelSelector
    """The namespaces, by their labels."""
    datastores: Annotated[tuple[InventoryName, ...], Field(min_length=1, max_length=64)]
    """Datastores by name; * and ? are wildcards."""
    folders: Annotated[tuple[InventoryPath, ...], Field(min_length=1, max_length=64)]
    """VM folders by inventory path; what lies below is included; * and ? are wildcards."""


class SiteLimits(Model):
    """How much may be asked of the vCenter at a time, over all plans."""

    concurrent_tasks: Annotated[int, Field(ge=1, le=640)] = 32
    """Tasks in flight at the vCenter."""
    concurrent_power_ons_per_host: Annotated[int, Field(ge=1, le=64)] = 4
    """VMs that are starting on one ESXi host."""
    request_timeout_seconds: Annotated[int, Field(ge=5, le=600)] = 60
    """How long one call may take before the vCenter counts as hanging."""


class SiteSpec(Model):
    """One vCenter and who may use it."""

    vcenter: VCenter
    """The vCenter of this site."""
    access: Annotated[tuple[SiteAccess, ...], Field(max_length=64)] = ()
    """Who may protect what here; nobody by default."""
    limits: SiteLimits = SiteLimits()
    """How much may be asked of the vCenter at a time."""


class SiteStatus(ConditionedStatus):
    """What was last seen of the vCenter."""

    instance_uuid: Annotated[str, Field(max_length=64)] | None = None
    """The vCenter's own identity; a Site that suddenly shows another one is refused."""
    version: Annotated[str, Field(max_length=64)] | None = None
    """The vCenter's version."""
    observed_time: Time | None = None
    """When the vCenter last answered."""


class Site(Resource):
    """One vCenter: its address, trust, credentials, limits, and the namespaces that may use it."""

    KIND: ClassVar[str] = "Site"
    PLURAL: ClassVar[str] = "sites"
    SINGULAR: ClassVar[str] = "site"
    SHORT_NAME: ClassVar[str] = "drsite"
    SCOPE: ClassVar[Scope] = Scope.CLUSTER

    kind: Literal["Site"] = "Site"
    """The kind of this object."""
    spec: SiteSpec
    """What is wanted."""
    status: SiteStatus = SiteStatus()
    """What was observed; written by the operator."""
