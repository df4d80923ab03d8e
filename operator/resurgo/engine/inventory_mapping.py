"""Reconciles an InventoryMapping: looks every name up at the site it belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from resurgo.api import ISOLATED, InventoryMapping, InventoryMappingSpec
from resurgo.domain.blockers import listed
from resurgo.domain.errors import DrError, Unreachable
from resurgo.domain.inventory import Inventory
from resurgo.domain.ports import Key
from resurgo.engine.context import Context
from resurgo.engine.loop import Pass

_SHOWN = 100
_SOON = 5.0  # seconds until a site that can't be asked is looked at again


class MappingReconciler:
    ready = "Ready"

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reconcile(self, work: Pass) -> None:
        """Ready when every name exists; unresolved lists those that don't."""
        mapping = InventoryMapping.model_validate(work.obj)
        try:
            inventories = {site: self._inventory(site) for site in mapping.spec.sites}
        except Unreachable as error:
            work.conditions.put("Ready", None, error.reason, str(error))
            work.after = _SOON
            return
        missing = list(_unresolved(mapping.spec, inventories))
        work.status["unresolved"] = [{"site": s, "kind": k, "name": n} for s, k, n in missing[:_SHOWN]]
        if missing:
            names = listed(f"{k} {n} at {s}" for s, k, n in missing)
            work.conditions.put("Ready", False, "NamesNotFound", f"not found: {names}")
        else:
            work.conditions.put("Ready", True, "AllResolved")
        self._context.ring_kind("recoveryplans")

    async def forget(self, key: Key) -> None:
        """Nothing is kept of a mapping."""

    def _inventory(self, site: str) -> Inventory:
        view = self._context.sites.get(site)
        if view is None or view.vcenter is None:
            raise Unreachable(
                f"Site {site} is not connected: {self._context.site_problem(site)}", reason="SiteNotReady"
            )
        try:
            return view.vcenter.inventory()
        except DrError as error:
            raise Unreachable(f"Site {site}: {error}", reason="SiteNotReady") from error


def _unresolved(spec: InventoryMappingSpec, inventories: dict[str, Inventory]) -> Iterator[tuple[str, str, str]]:
    """Site, kind and name of everything that is not there. A datastore's name after failover need not exist before."""
    first, second = spec.sites
    here, there = inventories[first], inventories[second]
    wanted = [
        *((first, "Network", n.from_, here.networks) for n in spec.networks),
        *((second, "Network", n.to, there.networks) for n in spec.networks),
        *((second, "Network", n.test, there.networks) for n in spec.networks if n.test != ISOLATED),
        *((first, "Folder", f.from_, here.folders) for f in spec.folders),
        *((second, "Folder", f.to, there.folders) for f in spec.folders),
        *((first, "ResourcePool", p.from_, here.pools) for p in spec.resource_pools),
        *((second, "ResourcePool", p.to, there.pools) for p in spec.resource_pools),
    ]
    seen: set[tuple[str, str, str]] = set()
    for site, kind, name, known in wanted:
        if name not in known and (site, kind, name) not in seen:
            seen.add((site, kind, name))
            yield site, kind, name
