"""Names and addresses of one site as the other calls them, both ways, and no guesses."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resurgo.api import IpRule
from resurgo.domain.mapping import Address, lookup, translate, unmapped
from resurgo.domain.records import MemberNic
from tests.domain.things import mapping, member

FULL = mapping(
    networks=[{"from": "LAN", "to": "DR LAN"}, {"from": "Backup", "to": "DR Backup"}],
    folders=[{"from": "/a/vm", "to": "/b/vm"}, {"from": "/a/vm/erp", "to": "/b/vm/ERP"}],
    datastores=[{"from": "ds", "to": "ds-dr"}],
    ipRules=[
        {
            "network": "LAN",
            "from": "10.1.0.0/22",
            "to": "172.16.4.0/22",
            "gateway": "172.16.4.1",
            "fromGateway": "10.1.0.1",
            "dns": ["172.16.4.53"],
            "fromDns": ["10.1.0.53"],
        },
        {
            "network": "LAN",
            "from": "2001:db8:1::/64",
            "to": "2001:db8:2::/64",
            "gateway": "2001:db8:2::1",
            "fromGateway": "2001:db8:1::1",
        },
    ],
).spec
THERE, BACK = lookup(FULL, "a"), lookup(FULL, "b")


def test_every_kind_is_read_both_ways() -> None:
    assert ("DR LAN", "LAN") == (THERE.networks["LAN"], BACK.networks["DR LAN"])
    pools = mapping().spec.resource_pools[0]
    assert (pools.to, pools.from_) == (THERE.pools[pools.from_], BACK.pools[pools.to])
    assert ("ds-dr", "ds") == (THERE.datastores["ds"], BACK.datastores["ds-dr"])
    assert ((), ()) == (THERE.ambiguous, BACK.ambiguous)


def test_a_site_that_the_mapping_is_not_about_is_refused() -> None:
    with pytest.raises(ValueError, match="site c is none of the mapping's sites a, b"):
        lookup(FULL, "c")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/a/vm", "/b/vm"),
        ("/a/vm/x", "/b/vm/x"),
        ("/a/vm/erp", "/b/vm/ERP"),  # its own entry before that of the folder above
        ("/a/vm/erp/db/old", "/b/vm/ERP/db/old"),
        ("/a/vm/erp2", "/b/vm/erp2"),  # a common beginning of the name is no folder above
        ("/other/vm", None),
        ("", None),
    ],
)
def test_a_folder_follows_the_nearest_one_above_it(path: str, target: str | None) -> None:
    assert target == THERE.folder(path)


@pytest.mark.parametrize(
    ("field", "kind"),
    [("networks", "network"), ("folders", "folder"), ("resourcePools", "resource pool"), ("datastores", "datastore")],
)
def test_a_name_with_two_answers_has_none_and_is_named(field: str, kind: str) -> None:
    spec = mapping(**{field: [{"from": "/a/1", "to": "/b/x"}, {"from": "/a/2", "to": "/b/x"}]}).spec
    table = lookup(spec, "b")
    assert (f"{kind} /b/x",) == table.ambiguous
    assert "/b/x" not in {*table.networks, *table.folders, *table.pools, *table.datastores}
    assert () == lookup(spec, "a").ambiguous


def test_an_entry_that_is_written_twice_is_not_ambiguous() -> None:
    pairs = [{"from": "LAN", "to": "DR LAN"}] * 2
    assert () == lookup(mapping(networks=pairs).spec, "a").ambiguous


@pytest.mark.parametrize(
    ("addresses", "moved"),
    [
        (["10.1.2.7/22"], Address("172.16.6.7", 22, "172.16.4.1", ("172.16.4.53",))),
        (["10.1.2.7"], Address("172.16.6.7", 22, "172.16.4.1", ("172.16.4.53",))),
        (["2001:db8:1::beef/64"], Address("2001:db8:2::beef", 64, "2001:db8:2::1", ())),
        (["fe80::1/64", "192.0.2.1/24", "10.1.0.9/22"], Address("172.16.4.9", 22, "172.16.4.1", ("172.16.4.53",))),
        (["fe80::1%3/64"], None),
        (["10.1.4.1/22"], None),
        ([], None),
    ],
)
def test_the_first_address_that_a_rule_covers_moves_with_its_host_part(
    addresses: list[str], moved: Address | None
) -> None:
    assert moved == translate(THERE.rules, "LAN", addresses)


def test_the_way_back_uses_the_old_sites_gateway_and_name_servers() -> None:
    assert Address("10.1.2.7", 22, "10.1.0.1", ("10.1.0.53",)) == translate(BACK.rules, "DR LAN", ["172.16.6.7/22"])
    assert Address("2001:db8:1::beef", 64, "2001:db8:1::1", ()) == translate(
        BACK.rules, "DR LAN", ["2001:db8:2::beef/64"]
    )


def test_a_rule_holds_for_its_network_alone() -> None:
    assert None is translate(THERE.rules, "Backup", ["10.1.2.7/22"])
    assert None is translate(BACK.rules, "LAN", ["172.16.6.7/22"])


def test_a_rule_of_a_network_without_an_entry_keeps_the_networks_name() -> None:
    spec = mapping(networks=[], ipRules=[{"network": "LAN", "from": "10.1.0.0/24", "to": "10.2.0.0/24"}]).spec
    assert ["LAN"] == [r.network for r in lookup(spec, "b").rules]


@pytest.mark.parametrize("to", ["10.2.0.0/25", "2001:db8::/24"])
def test_a_rule_between_networks_of_different_size_is_an_error(to: str) -> None:
    rule = IpRule(network="LAN", from_="10.1.0.0/24", to=to)
    with pytest.raises(ValueError, match="different size"):
        translate([rule], "LAN", ["10.1.0.7/24"])


@given(st.one_of(st.ip_addresses(network="10.1.0.0/22"), st.ip_addresses(network="2001:db8:1::/64")))
def test_there_and_back_again_is_the_same_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    there = translate(THERE.rules, "LAN", [str(address)])
    assert there is not None
    back = translate(BACK.rules, "DR LAN", [f"{there.address}/{there.prefix}"])
    assert back is not None
    assert str(address) == back.address


def test_what_has_no_answer_is_named_once() -> None:
    nics = (MemberNic(4000, "m", "LAN"), MemberNic(4001, "m", "DMZ"))
    lost = member(1, folder="/elsewhere", pool="/a/host/c9/Resources", nics=nics)
    assert ["folder /elsewhere", "resource pool /a/host/c9/Resources", "network DMZ"] == unmapped(
        THERE, [lost, lost, member(2)]
    )
    assert [] == unmapped(THERE, [member(1)])
