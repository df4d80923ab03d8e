"""The Kubernetes objects that a test applies beside those of its lab."""

from __future__ import annotations

from typing import Any

from tests.lab import manifests
from tests.lab.lab import Lab

Obj = dict[str, Any]
NAMESPACE = "dr-demo"
SITES = {"protectedSite": "berlin", "recoverySite": "leipzig"}
MAPPING = "berlin-leipzig"
PAIR = "ber-lpz"


def resource(kind: str, name: str, spec: Obj, namespace: str | None = NAMESPACE) -> Obj:
    """A manifest; *namespace* None for kinds without namespaces."""
    metadata = {"name": name} if namespace is None else {"name": name, "namespace": namespace}
    return {"apiVersion": manifests.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def group(
    name: str, datastore: str, consistency_group: str, *, namespace: str = NAMESPACE, pair: str = PAIR, **spec: Any
) -> Obj:
    """A ProtectionGroup over one datastore in one consistency group."""
    replication = {"pairRef": {"name": pair}, "consistencyGroups": [consistency_group]}
    content = {**SITES, "replication": replication, "members": {"datastores": [datastore]}, **spec}
    return resource("ProtectionGroup", name, content, namespace)


def plan(name: str, group_name: str, *, namespace: str = NAMESPACE, mapping: str = MAPPING, **spec: Any) -> Obj:
    """A RecoveryPlan over one group, in the state `protected` unless *spec* says otherwise."""
    content = {
        **SITES,
        "protectionGroups": [{"name": group_name}],
        "inventoryMappingRef": {"name": mapping},
        **spec,
    }
    return resource("RecoveryPlan", name, content, namespace)


def mapping(lab: Lab, name: str, *, namespace: str = NAMESPACE, **changed: Any) -> Obj:
    """The lab's InventoryMapping under another name, with entries *changed*."""
    made = manifests.mapping(lab.design)
    return resource("InventoryMapping", name, {**made["spec"], **changed}, namespace)
