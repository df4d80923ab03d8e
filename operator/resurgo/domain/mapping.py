"""Names of the protected site to names of the recovery site and back, and addresses by rule. Never a guess."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from resurgo.api import InventoryMappingSpec, IpRule
from resurgo.domain.records import Member


@dataclass(frozen=True, slots=True)
class Lookup:
    """One direction of a mapping. A name without an entry has no answer; an ambiguous one neither."""

    networks: Mapping[str, str]
    folders: Mapping[str, str]
    pools: Mapping[str, str]
    datastores: Mapping[str, str]
    rules: tuple[IpRule, ...] = ()
    ambiguous: tuple[str, ...] = field(default=())

    def folder(self, path: str) -> str | None:
        """The folder for *path*: by its own entry, or by the nearest folder above with the rest of the path kept."""
        head, tail = path, ""
        while head:
            if head in self.folders:
                return self.folders[head] + tail
            head, _, last = head.rpartition("/")
            tail = f"/{last}{tail}"
        return None


def lookup(spec: InventoryMappingSpec, source: str) -> Lookup:
    """The mapping as read from *source* to the other site. ValueError if *source* is none of its sites."""
    if source not in spec.sites:
        raise ValueError(f"site {source} is none of the mapping's sites {', '.join(spec.sites)}")
    forward = spec.sites[0] == source
    ambiguous: list[str] = []

    def turn(kind: str, pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
        found: dict[str, str] = {}
        doubtful: set[str] = set()
        for here, there in pairs if forward else ((b, a) for a, b in pairs):
            if here in found and found[here] != there:
                doubtful.add(here)
            found[here] = there
        ambiguous.extend(f"{kind} {name}" for name in sorted(doubtful))
        return {name: other for name, other in found.items() if name not in doubtful}

    networks = turn("network", ((n.from_, n.to) for n in spec.networks))
    return Lookup(
        networks=networks,
        folders=turn("folder", ((f.from_, f.to) for f in spec.folders)),
        pools=turn("resource pool", ((p.from_, p.to) for p in spec.resource_pools)),
        datastores=turn("datastore", ((d.from_, d.to) for d in spec.datastores)),
        rules=spec.ip_rules if forward else tuple(_backward(r, spec) for r in spec.ip_rules),
        ambiguous=tuple(ambiguous),
    )


def _backward(rule: IpRule, spec: InventoryMappingSpec) -> IpRule:
    network = next((n.to for n in spec.networks if n.from_ == rule.network), rule.network)
    return IpRule(
        network=network,
        from_=rule.to,
        to=rule.from_,
        gateway=rule.from_gateway,
        from_gateway=rule.gateway,
        dns=rule.from_dns,
        from_dns=rule.dns,
    )


@dataclass(frozen=True, slots=True)
class Address:
    address: str
    prefix: int
    gateway: str
    dns: tuple[str, ...]


def translate(rules: Iterable[IpRule], network: str, addresses: Iterable[str]) -> Address | None:
    """The first of *addresses* that a rule of *network* covers, moved to the rule's target: the host part stays.

    None where no rule covers any of them. *addresses* may carry a prefix length. ValueError for a rule whose two
    networks differ in size.
    """
    for text in addresses:
        address = ipaddress.ip_interface(text).ip
        for rule in rules:
            if rule.network != network:
                continue
            old, new = ipaddress.ip_network(rule.from_, strict=False), ipaddress.ip_network(rule.to, strict=False)
            if old.version != new.version or old.prefixlen != new.prefixlen:
                raise ValueError(f"the IP rule {rule.from_} -> {rule.to} joins networks of different size")
            if address.version == old.version and address in old:
                host = int(address) - int(old.network_address)
                return Address(str(new[host]), new.prefixlen, rule.gateway or "", rule.dns)
    return None


def unmapped(table: Lookup, members: Iterable[Member]) -> list[str]:
    """What the members use and the mapping has no answer for, each once."""
    missing: dict[str, None] = {}
    for member in members:
        if table.folder(member.folder) is None:
            missing[f"folder {member.folder}"] = None
        if member.pool not in table.pools:
            missing[f"resource pool {member.pool}"] = None
        missing |= {f"network {n.network}": None for n in member.nics if n.network not in table.networks}
    return list(missing)
