"""The Kubernetes objects of a lab, made from its design: Secrets, Sites, pair, mapping, groups and plans."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from tests.lab import arrays
from tests.lab.arrays import SRA_NAME, array_dir
from tests.lab.design import LabDesign, PlanDesign, SiteDesign
from tests.lab.kube import OPERATOR_NAMESPACE
from tests.lab.sites import OPERATOR_USER, LabSim

Manifest = dict[str, Any]
API_VERSION = "resurgo.dev/v1alpha1"
LABELS = {"dr": "true"}
"""What a namespace bears so that the lab's Sites let it protect VMs."""


def pair_name(design: LabDesign) -> str:
    """Return the name of the lab's ReplicationPair."""
    short = {"berlin": "ber", "leipzig": "lpz"}
    return "-".join(short.get(site.name, site.name) for site in design.sites)


def mapping_name(design: LabDesign) -> str:
    """Return the name of the lab's InventoryMapping."""
    return "-".join(site.name for site in design.sites)


def vcenter_secret(of: LabSim) -> Manifest:
    """Return the Secret with the operator's account at one vCenter."""
    account = {"username": OPERATOR_USER, "password": of.passwords[OPERATOR_USER]}
    return _secret(f"{of.site.name}-vcenter", account)


def array_secret(lab: Path, at: SiteDesign) -> Manifest:
    """Return the Secret with the account at one array."""
    return _secret(f"{at.name}-array", arrays.credentials(lab, at))


def site(of: LabSim) -> Manifest:
    """Return the Site of one vCenter: namespaces labelled dr=true may protect every ds-* datastore."""
    secret = {"namespace": OPERATOR_NAMESPACE, "name": f"{of.site.name}-vcenter"}
    ca = base64.b64encode(of.ca.read_bytes()).decode()
    access = {"namespaceSelector": {"matchLabels": LABELS}, "datastores": ["ds-*"], "folders": [of.site.vm_folder]}
    spec = {
        "vcenter": {"url": of.url, "caBundle": ca, "credentialsSecretRef": secret},
        "access": [access],
        "limits": {"requestTimeoutSeconds": 10},
    }
    return _object("Site", of.site.name, spec)


def pair(lab: Path, design: LabDesign) -> Manifest:
    """Return the ReplicationPair that drives both arrays through the reference SRA."""
    spec = {
        "adapter": {"type": "sra"},
        "sra": {"name": SRA_NAME, "commandTimeoutSeconds": 60},
        "endpoints": [_endpoint(lab, at, peer) for at, peer in (design.sites, design.sites[::-1])],
        "pollSeconds": design.poll_seconds,
    }
    return _object("ReplicationPair", pair_name(design), spec)


def mapping(design: LabDesign) -> Manifest:
    """Return the InventoryMapping: networks by place, each folder by name, the clusters' root pools."""
    here, there = design.sites
    paths = ["", *(f"/{folder}" for folder in design.folders)]
    spec = {
        "sites": [here.name, there.name],
        "networks": [{"from": a, "to": b} for a, b in zip(here.networks, there.networks, strict=True)],
        "folders": [{"from": here.vm_folder + path, "to": there.vm_folder + path} for path in paths],
        "resourcePools": [{"from": here.resource_pool, "to": there.resource_pool}],
        "ipRules": list(design.ip_rules),
    }
    return _object("InventoryMapping", mapping_name(design), spec, design.namespace)


def protection_group(design: LabDesign, name: str) -> Manifest:
    """Return the ProtectionGroup *name* over its datastores."""
    datastores = design.groups[name]
    groups = sorted({design.device(datastore).group for datastore in datastores})
    spec = {
        **_direction(design),
        "replication": {"pairRef": {"name": pair_name(design)}, "consistencyGroups": groups},
        "members": {"datastores": list(datastores)},
    }
    return _object("ProtectionGroup", name, spec, design.namespace)


def recovery_plan(design: LabDesign, plan: PlanDesign) -> Manifest:
    """Return the RecoveryPlan for *plan*, in the state `protected`."""
    spec = {
        **_direction(design),
        "desiredState": "protected",
        "protectionGroups": [{"name": group} for group in plan.groups],
        "inventoryMappingRef": {"name": mapping_name(design)},
        "stages": list(plan.stages),
        "virtualMachines": list(plan.settings),
        **plan.extra,
    }
    return _object("RecoveryPlan", plan.name, spec, design.namespace)


def _direction(design: LabDesign) -> dict[str, str]:
    here, there = design.sites
    return {"protectedSite": here.name, "recoverySite": there.name}


def _endpoint(lab: Path, at: SiteDesign, peer: SiteDesign) -> Manifest:
    parameters = {"dirarray.root": str(array_dir(lab, at)), "dirarray.peer": str(array_dir(lab, peer))}
    secret = {"namespace": OPERATOR_NAMESPACE, "name": f"{at.name}-array"}
    return {
        "site": at.name,
        "id": at.array_id,
        "addresses": [at.nfs_server],
        "credentialsSecretRef": secret,
        "parameters": parameters,
    }


def _secret(name: str, account: dict[str, str]) -> Manifest:
    metadata = {"name": name, "namespace": OPERATOR_NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": account}


def _object(kind: str, name: str, spec: dict[str, Any], namespace: str | None = None) -> Manifest:
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
