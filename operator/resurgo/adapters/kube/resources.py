"""Where each resource that Resurgo touches lies in the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from resurgo.domain.errors import NotSupported
from resurgo.domain.ports import Key

_OURS = "/apis/resurgo.dev/v1alpha1"


@dataclass(frozen=True, slots=True)
class Resource:
    """*prefix* is the path of its group and version."""

    prefix: str
    kind: str
    namespaced: bool = True


RESOURCES: Mapping[str, Resource] = {
    "sites": Resource(_OURS, "Site", namespaced=False),
    "replicationpairs": Resource(_OURS, "ReplicationPair", namespaced=False),
    "inventorymappings": Resource(_OURS, "InventoryMapping"),
    "recoveryhooks": Resource(_OURS, "RecoveryHook"),
    "protectiongroups": Resource(_OURS, "ProtectionGroup"),
    "recoveryplans": Resource(_OURS, "RecoveryPlan"),
    "recoveryruns": Resource(_OURS, "RecoveryRun"),
    "configmaps": Resource("/api/v1", "ConfigMap"),
    "secrets": Resource("/api/v1", "Secret"),
    "namespaces": Resource("/api/v1", "Namespace", namespaced=False),
    "jobs": Resource("/apis/batch/v1", "Job"),
    "validatingadmissionpolicies": Resource(
        "/apis/admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", namespaced=False
    ),
    "validatingadmissionpolicybindings": Resource(
        "/apis/admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicyBinding", namespaced=False
    ),
}


def resource(plural: str) -> Resource:
    """The resource of that name. NotSupported for one that Resurgo does not use."""
    if found := RESOURCES.get(plural):
        return found
    raise NotSupported(f"Resurgo does not use the resource {plural!r}")


def api_version(plural: str) -> str:
    """Its apiVersion, as it stands in manifests."""
    return resource(plural).prefix.removeprefix("/apis/").removeprefix("/api/")


def collection_path(plural: str, namespace: str | None) -> str:
    """The path under which its objects are listed and created; over all namespaces where none is given."""
    found = resource(plural)
    if namespace and found.namespaced:
        return f"{found.prefix}/namespaces/{quote(namespace, safe='')}/{plural}"
    return f"{found.prefix}/{plural}"


def object_path(key: Key, subresource: str = "") -> str:
    """The path of one object, or of its *subresource*."""
    if resource(key.plural).namespaced and not key.namespace:
        raise NotSupported(f"{key}: a namespace is needed")
    path = f"{collection_path(key.plural, key.namespace)}/{quote(key.name, safe='')}"
    return f"{path}/{subresource}" if subresource else path
