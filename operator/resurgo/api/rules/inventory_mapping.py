"""The rules of InventoryMapping: entries are read both ways, so what they lead to must be unique too."""

from typing import Any

from resurgo.api.rules.rule import Case, Rule


def _unique_target(field: str, what: str, first: dict[str, str], second: dict[str, str]) -> Rule:
    """Demand that no two entries of *field* lead to the same *what*."""
    return Rule(
        kind="InventoryMapping",
        name=f"no two entries of {field} lead to the same {what}",
        at="spec",
        expression=f"!has(self.{field}) || self.{field}.all(a, self.{field}.exists_one(b, b.to == a.to))",
        message=f"two entries lead to the same {what}: read backwards for failback they would be ambiguous",
        field_path=f".{field}",
        accept=Case({field: [first, second]}),
        reject=Case({field: [first, {**second, "to": first["to"]}]}),
    )


def _ip(**changes: Any) -> Case:
    """Return a case with one IP rule that is right but for *changes*."""
    return Case({"ipRules": [{"network": "VM Network", "from": "10.1.0.0/24", "to": "10.2.0.0/24", **changes}]})


INVENTORY_MAPPING_RULES = (
    Rule(
        kind="InventoryMapping",
        name="a mapping lies between two different Sites",
        at="spec.sites",
        expression="self[0] != self[1]",
        message="the two sites must differ",
        accept=Case({"sites": ["leipzig", "berlin"]}),
        reject=Case({"sites": ["berlin", "berlin"]}),
    ),
    Rule(
        kind="InventoryMapping",
        name="the Sites of a mapping are immutable",
        at="spec",
        expression="self.sites == oldSelf.sites",
        message="sites are immutable: every entry is written for this direction; make a new mapping",
        field_path=".sites",
        reason="FieldValueForbidden",
        accept=Case({"networks": [{"from": "VM Network", "to": "DR Network"}]}, before={}),
        reject=Case({"sites": ["leipzig", "berlin"]}, before={}),
    ),
    _unique_target(
        "networks", "network", {"from": "VM Network", "to": "DR Network"}, {"from": "Backup", "to": "DR Backup"}
    ),
    _unique_target(
        "folders",
        "folder",
        {"from": "/berlin/vm/erp", "to": "/leipzig/vm/erp"},
        {"from": "/berlin/vm/crm", "to": "/leipzig/vm/crm"},
    ),
    _unique_target(
        "resourcePools",
        "resource pool",
        {"from": "/berlin/host/c1/Resources", "to": "/leipzig/host/c2/Resources"},
        {"from": "/berlin/host/c1/Resources/gold", "to": "/leipzig/host/c2/Resources/gold"},
    ),
    _unique_target(
        "datastores",
        "datastore",
        {"from": "ds-erp-01", "to": "ds-erp-01-dr"},
        {"from": "ds-erp-02", "to": "ds-erp-02-dr"},
    ),
    Rule(
        kind="InventoryMapping",
        name="no two IP rules of a network lead to the same subnet",
        at="spec",
        expression=(
            "!has(self.ipRules) || "
            "self.ipRules.all(a, self.ipRules.exists_one(b, b.to == a.to && b.network == a.network))"
        ),
        message="two rules of a network lead to the same subnet: read backwards for failback they would be ambiguous",
        field_path=".ipRules",
        accept=_ip(),
        reject=Case(
            {
                "ipRules": [
                    {"network": "VM Network", "from": "10.1.0.0/24", "to": "10.2.0.0/24"},
                    {"network": "VM Network", "from": "10.1.1.0/24", "to": "10.2.0.0/24"},
                ]
            }
        ),
    ),
    Rule(
        kind="InventoryMapping",
        name="an IP rule leads from a subnet to a subnet",
        at="spec.ipRules[]",
        expression=(
            "isCIDR(self.from) && isCIDR(self.to) && "
            "cidr(self.from) == cidr(self.from).masked() && cidr(self.to) == cidr(self.to).masked()"
        ),
        message="from and to must be subnets such as 10.1.0.0/24 or 2001:db8:1::/64, without host bits",
        accept=_ip(**{"from": "2001:db8:1::/64", "to": "2001:db8:2::/64"}),
        reject=_ip(to="10.2.0.7/24"),
    ),
    Rule(
        kind="InventoryMapping",
        name="an IP rule keeps the host part",
        at="spec.ipRules[]",
        expression=(
            "!isCIDR(self.from) || !isCIDR(self.to) || "
            "(cidr(self.from).ip().family() == cidr(self.to).ip().family() && "
            "cidr(self.from).prefixLength() == cidr(self.to).prefixLength())"
        ),
        message="from and to must be of the same family and size: the host part of an address is kept",
        accept=_ip(**{"from": "10.1.0.0/22", "to": "172.16.4.0/22"}),
        reject=_ip(to="10.2.0.0/25"),
    ),
    Rule(
        kind="InventoryMapping",
        name="a gateway lies in its subnet",
        at="spec.ipRules[]",
        expression=(
            "(!has(self.gateway) || !isCIDR(self.to) || cidr(self.to).containsIP(self.gateway)) && "
            "(!has(self.fromGateway) || !isCIDR(self.from) || cidr(self.from).containsIP(self.fromGateway))"
        ),
        message="gateway must lie in the subnet `to`, fromGateway in the subnet `from`",
        accept=_ip(gateway="10.2.0.1", fromGateway="10.1.0.1"),
        reject=_ip(gateway="10.1.0.1"),
    ),
    Rule(
        kind="InventoryMapping",
        name="name servers are given by address",
        at="spec.ipRules[]",
        expression=(
            "(!has(self.dns) || self.dns.all(a, isIP(a))) && (!has(self.fromDns) || self.fromDns.all(a, isIP(a)))"
        ),
        message="dns and fromDns must be IP addresses",
        accept=_ip(dns=["10.2.0.53", "2001:db8::53"], fromDns=["10.1.0.53"]),
        reject=_ip(dns=["ns.example"]),
    ),
)
