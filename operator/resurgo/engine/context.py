"""What all reconcilers share: the ports, and what was last seen of sites, pairs and groups, in memory."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from resurgo.api import SiteSpec
from resurgo.domain.errors import Missing
from resurgo.domain.inventory import Hardware, Vm, VmId
from resurgo.domain.ports import Clock, Key, Kube, Obj, ReplicationEndpoint, VCenter
from resurgo.domain.records import GroupRecord
from resurgo.domain.replication import Capability, GroupStatus
from resurgo.metrics import Metrics

Credentials = Callable[[], tuple[str, str]]
MakeVCenter = Callable[[str, SiteSpec, Credentials, Callable[[], None]], VCenter]


class MakePair(Protocol):
    def __call__(
        self, name: str, spec: Mapping[str, Any], credentials: Mapping[str, Callable[[], tuple[str, str] | None]]
    ) -> Mapping[str, ReplicationEndpoint]: ...


@dataclass
class SiteView:
    """A Site as last reconciled. ``problem`` says why it can't be used, "" = it can."""

    vcenter: VCenter | None
    spec: SiteSpec
    problem: str = ""
    reason: str = ""

    def usable(self) -> VCenter | None:
        """The vCenter, unless it is known not to answer or to refuse us."""
        if self.vcenter is None or self.problem or not self.vcenter.reachable:
            return None
        return self.vcenter

    def why_not(self) -> str:
        """Why `usable` is None, in words."""
        if self.problem:
            return self.problem
        if self.vcenter is None:
            return "it has not been connected yet"
        return "" if self.vcenter.reachable else "its vCenter does not answer"


@dataclass
class EndView:
    """One end of a pair as last read."""

    endpoint: ReplicationEndpoint
    capabilities: frozenset[Capability] = frozenset()
    groups: Mapping[str, GroupStatus] = field(default_factory=dict)
    read: datetime | None = None  # of the last good reading
    problem: str = "it has not been read yet"
    reason: str = "NotObserved"


@dataclass
class PairView:
    ends: dict[str, EndView]  # by site

    def status(self, site: str, group: str, *, fresh: bool = True) -> GroupStatus | None:
        """What the end at *site* last said of *group*; with *fresh* nothing while that end has a problem."""
        end = self.ends.get(site)
        if end is None or (fresh and end.problem):
            return None
        return end.groups.get(group)


@dataclass
class Context:
    """Made once by the composition. Views are written by their kind's reconciler only."""

    kube: Kube
    clock: Clock
    metrics: Metrics
    make_vcenter: MakeVCenter
    make_pair: MakePair
    ring_kind: Callable[[str], None]  # wakes every loop of a kind
    may_act: Callable[[], bool]  # False: the Lease is not ours any more
    lost: Callable[[str], None]  # ends the process
    sites: dict[str, SiteView] = field(default_factory=dict)
    pairs: dict[str, PairView] = field(default_factory=dict)
    records: dict[tuple[str, str], GroupRecord] = field(default_factory=dict)  # (namespace, group)
    hardware: dict[tuple[str, VmId], tuple[Vm, Hardware, float]] = field(default_factory=dict)  # and when

    def site_problem(self, name: str) -> str:
        """Why a site's vCenter can't be used now, "" = it can."""
        view = self.sites.get(name)
        return f"Site {name} does not exist or was not read yet" if view is None else view.why_not()

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        """The decoded entries of a Secret. Missing, with what to do, where there is none."""
        try:
            obj = await self.kube.get(Key("secrets", namespace, name))
        except Missing as error:
            raise Missing(
                f"Secret {namespace}/{name} does not exist",
                reason="CredentialsMissing",
                hint="create it with the keys username and password",
            ) from error
        return {k: base64.b64decode(v).decode("utf-8", "replace") for k, v in (obj.get("data") or {}).items()}


def stamp(moment: datetime | None) -> str | None:
    """RFC 3339 with seconds, as Kubernetes writes times."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def owner_of(obj: Obj, api_version: str, kind: str) -> dict[str, object]:
    """An owner reference to *obj*."""
    meta = obj["metadata"]
    return {"apiVersion": api_version, "kind": kind, "name": meta["name"], "uid": meta["uid"], "controller": True}
