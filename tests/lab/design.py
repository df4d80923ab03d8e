"""What a lab looks like: two sites, replicated datastores, the VMs on them. Tests make smaller ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class SiteDesign:
    """One site: its vCenter's inventory and its array. Networks are mapped to the other site's by place."""

    name: str
    cluster: str
    hosts: tuple[str, ...]
    networks: tuple[str, ...]
    nfs_server: str
    array_id: str

    @property
    def vm_folder(self) -> str:
        """The inventory path of the folder that all VM folders lie in."""
        return f"/{self.name}/vm"

    @property
    def resource_pool(self) -> str:
        """The inventory path of the cluster's root resource pool."""
        return f"/{self.name}/host/{self.cluster}/Resources"


@dataclass(frozen=True, slots=True)
class DeviceDesign:
    """A replicated NFS datastore and the consistency group it belongs to. Both sites export it under the same path."""

    name: str
    group: str

    @property
    def path(self) -> str:
        """The path of the NFS export."""
        return f"/{self.group}/{self.name}"


@dataclass(frozen=True, slots=True)
class VmDesign:
    """A VM that exists when the lab is up. *folder* counts from the site's VM folder; *guest* overrides the site's."""

    name: str
    datastore: str
    folder: str = ""
    networks: tuple[str, ...] = ("VM Network",)
    cpus: int = 1
    memory_mb: int = 512
    disk_mb: int = 4
    annotation: str = ""
    power_on: bool = True
    guest: Mapping[str, Any] | None = None
    extra_config: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanDesign:
    """A RecoveryPlan over groups of the lab. *stages* and *settings* are the plan's `stages` and `virtualMachines`."""

    name: str
    groups: tuple[str, ...]
    stages: tuple[Mapping[str, Any], ...] = ()
    settings: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)


BERLIN = SiteDesign("berlin", "c1", ("esx-ber-1", "esx-ber-2"), ("VM Network", "Backup"), "nfs-ber.lab", "array-ber")
LEIPZIG = SiteDesign(
    "leipzig", "c2", ("esx-lpz-1", "esx-lpz-2"), ("DR Network", "DR Backup"), "nfs-lpz.lab", "array-lpz"
)

_QUICK = {"timeoutSeconds": 120}
ERP_STAGES: tuple[Mapping[str, Any], ...] = (
    {"name": "database", "virtualMachines": [{"name": "erp-db-1"}], "readiness": _QUICK},
    {"name": "application", "dependsOn": ["database"], "virtualMachines": [{"name": "erp-app-1"}], "readiness": _QUICK},
    {"name": "frontend", "dependsOn": ["application"], "virtualMachines": [{"name": "erp-web-1"}], "readiness": _QUICK},
)


@dataclass(frozen=True, slots=True)
class LabDesign:
    """A whole lab. The first site is the protected one. *groups* maps ProtectionGroups to the datastores of each."""

    sites: tuple[SiteDesign, SiteDesign] = (BERLIN, LEIPZIG)
    devices: tuple[DeviceDesign, ...] = (
        DeviceDesign("ds-erp-01", "cg-erp"),
        DeviceDesign("ds-web-01", "cg-web"),
        DeviceDesign("ds-hand-01", "cg-hand"),
    )
    folders: tuple[str, ...] = ("erp", "web", "hand")
    vms: tuple[VmDesign, ...] = (
        VmDesign("erp-db-1", "ds-erp-01", "erp", networks=("VM Network", "Backup"), annotation="ERP database"),
        VmDesign("erp-app-1", "ds-erp-01", "erp", annotation="ERP application server"),
        VmDesign("erp-web-1", "ds-erp-01", "erp", annotation="ERP web front end"),
        VmDesign("web-1", "ds-web-01", "web"),
        VmDesign("web-2", "ds-web-01", "web"),
    )
    groups: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {"erp": ("ds-erp-01",), "web": ("ds-web-01",)}
    )
    plans: tuple[PlanDesign, ...] = (
        PlanDesign("erp", ("erp",), ERP_STAGES),
        PlanDesign("web", ("web",), ({"name": "web", "protectionGroups": ["web"], "readiness": _QUICK},)),
    )
    guest: Mapping[str, Any] = field(
        default_factory=lambda: {"bootSeconds": 0.3, "shutdownSeconds": 0.3, "tools": True}
    )
    ip_rules: tuple[Mapping[str, Any], ...] = ()
    namespace: str = "dr-demo"
    poll_seconds: int = 5
    sync_seconds: float | None = 10
    """How often the arrays replicate by themselves; None: once, when the lab starts."""

    def device(self, name: str) -> DeviceDesign:
        """Return the replicated datastore *name*."""
        return next(device for device in self.devices if device.name == name)
