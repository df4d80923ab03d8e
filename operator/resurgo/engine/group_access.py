"""Who may protect what, and who was first: a Site's `access`, and one owner for each VM, datastore and group.

A refusal tells the tenant nothing about another's objects but that they exist.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from typing import Protocol

from resurgo.api import LabelSelector, ProtectionGroup, SelectorOperator, SiteAccess
from resurgo.domain.blockers import listed
from resurgo.domain.ports import Key
from resurgo.engine.context import Context


async def refusal(context: Context, group: ProtectionGroup, labels: dict[str, str]) -> tuple[str, str] | None:
    """Reason and message where this group may not have what it names."""
    if (reason := _access(context, group, labels)) is not None:
        return "AccessDenied", reason
    mine = group.metadata
    names = {(group.spec.replication.pair_ref.name, g) for g in group.spec.replication.consistency_groups}
    stores = {(group.spec.protected_site, d) for d in group.spec.members.datastores or ()}
    for obj in await context.kube.list("protectiongroups"):
        other = ProtectionGroup.model_validate(obj)
        if other.metadata.uid == mine.uid or not _older(other, group):
            continue
        theirs = {(other.spec.replication.pair_ref.name, g) for g in other.spec.replication.consistency_groups}
        taken = sorted(n for _, n in names & theirs)
        taken_stores = sorted(
            n for _, n in stores & {(other.spec.protected_site, d) for d in other.spec.members.datastores or ()}
        )
        if taken or taken_stores:
            what = listed([f"consistency group {n}" for n in taken] + [f"datastore {n}" for n in taken_stores])
            return "OwnedByAnother", f"an older ProtectionGroup has {what} already"
        if shared := _shared_vms(context, group, other):
            return "OwnedByAnother", f"an older ProtectionGroup has these VMs already: {listed(shared)}"
    return None


def _shared_vms(context: Context, group: ProtectionGroup, other: ProtectionGroup) -> list[str]:
    ours = context.records.get((group.metadata.namespace or "", group.metadata.name))
    theirs = context.records.get((other.metadata.namespace or "", other.metadata.name))
    if ours is None or theirs is None or ours.site != theirs.site:
        return []
    uuids = {m.instance_uuid for m in theirs.members}
    return [m.name for m in ours.members if m.instance_uuid in uuids]


def _access(context: Context, group: ProtectionGroup, labels: dict[str, str]) -> str | None:
    """Why the namespace may not protect this, None = it may. Both Sites have a say."""
    for name in (group.spec.protected_site, group.spec.recovery_site):
        site = context.sites.get(name)
        if site is None:
            return None  # nothing is granted, and nothing done, until the Site was read
        entries = [a for a in site.spec.access if selects(a.namespace_selector, labels)]
        if not entries:
            return f"Site {name} gives no access to namespace {group.metadata.namespace}: see its spec.access"
        if name == group.spec.protected_site:
            refused = [d for d in group.spec.members.datastores or () if not _any_glob(entries, d)]
            if refused:
                return f"Site {name} gives this namespace no access to datastore {listed(refused)}"
    return None


class _Placed(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> str: ...


def denied(
    context: Context,
    group: ProtectionGroup,
    labels: dict[str, str],
    vms: Iterable[_Placed],
    datastores: Iterable[str],
) -> list[str]:
    """Those VMs and datastores, in words, whose folder or name the protected Site does not grant."""
    site = context.sites.get(group.spec.protected_site)
    entries = [a for a in site.spec.access if selects(a.namespace_selector, labels)] if site else []
    found = [f"the folder of VM {v.name}" for v in vms if not folder_allowed(entries, v.folder)]
    return found + [f"datastore {name}" for name in datastores if not _any_glob(entries, name)]


async def namespace_labels(context: Context, group: ProtectionGroup) -> dict[str, str]:
    """The labels of the group's namespace, by which Sites give access."""
    namespace = await context.kube.get(Key("namespaces", None, group.metadata.namespace or ""))
    return namespace["metadata"].get("labels") or {}


def _older(one: ProtectionGroup, other: ProtectionGroup) -> bool:
    def age(group: ProtectionGroup) -> tuple[str, str]:
        return str(group.metadata.creation_timestamp), group.metadata.uid

    return age(one) < age(other)


def selects(selector: LabelSelector, labels: dict[str, str]) -> bool:
    """A Kubernetes label selector; an empty one selects everything."""
    if any(labels.get(k) != v for k, v in selector.match_labels.items()):
        return False
    for need in selector.match_expressions:
        value = labels.get(need.key)
        holds = {
            SelectorOperator.IN: value in need.values,
            SelectorOperator.NOT_IN: value not in need.values,
            SelectorOperator.EXISTS: need.key in labels,
            SelectorOperator.DOES_NOT_EXIST: need.key not in labels,
        }[need.operator]
        if not holds:
            return False
    return True


def _any_glob(entries: Sequence[SiteAccess], datastore: str) -> bool:
    return any(fnmatch.fnmatchcase(datastore, glob) for e in entries for glob in e.datastores)


def folder_allowed(entries: Sequence[SiteAccess], folder: str) -> bool:
    """Whether a VM folder lies at or below one that is granted."""
    return any(
        fnmatch.fnmatchcase(folder, glob) or fnmatch.fnmatchcase(folder, f"{glob.rstrip('/')}/*")
        for e in entries
        for glob in e.folders
    )
