"""The rules of ProtectionGroup, and those it shares with RecoveryPlan."""

from collections.abc import Mapping
from typing import Any

from resurgo.api.rules.rule import Case, Rule


def site_rules(kind: str) -> tuple[Rule, ...]:
    """Return the rules on protectedSite and recoverySite, the same for groups and plans."""
    return (
        Rule(
            kind=kind,
            name="protected and recovery site differ",
            at="spec",
            expression="self.protectedSite != self.recoverySite",
            message="protectedSite and recoverySite must differ",
            field_path=".recoverySite",
            accept=Case({"recoverySite": "jena"}),
            reject=Case({"recoverySite": "berlin"}),
        ),
        Rule(
            kind=kind,
            name="the sites are immutable",
            at="spec",
            expression="self.protectedSite == oldSelf.protectedSite && self.recoverySite == oldSelf.recoverySite",
            message="protectedSite and recoverySite are immutable; when the VMs move, activeSite changes, not these",
            reason="FieldValueForbidden",
            accept=Case({"protectedSite": "berlin", "recoverySite": "leipzig"}, before={}),
            reject=Case({"protectedSite": "leipzig", "recoverySite": "berlin"}, before={}),
        ),
    )


def vm_named_once(kind: str, at: str, accept: Mapping[str, Any], reject: Mapping[str, Any]) -> Rule:
    """Demand that the VM at *at* is given by name or by path."""
    return Rule(
        kind=kind,
        name=f"a VM of {at} has a name or a path",
        at=at,
        expression="has(self.name) != has(self.path)",
        message="give the VM's name, or its inventory path where names are not unique",
        accept=Case(accept),
        reject=Case(reject),
    )


PROTECTION_GROUP_RULES = (
    *site_rules("ProtectionGroup"),
    Rule(
        kind="ProtectionGroup",
        name="the pair of a group is immutable",
        at="spec",
        expression="self.replication.pairRef == oldSelf.replication.pairRef",
        message="pairRef is immutable; make a new group for data that is replicated elsewhere",
        field_path=".replication.pairRef",
        reason="FieldValueForbidden",
        accept=Case({"replication": {"consistencyGroups": ["cg-erp", "cg-erp-logs"]}}, before={}),
        reject=Case({"replication": {"pairRef": {"name": "other"}}}, before={}),
    ),
    Rule(
        kind="ProtectionGroup",
        name="members are selected in one way",
        at="spec.members",
        expression="[has(self.datastores), has(self.tag), has(self.virtualMachines)].exists_one(x, x)",
        message="give exactly one of datastores, tag and virtualMachines",
        accept=Case({"members": {"datastores": None, "tag": {"category": "dr", "name": "erp"}}}),
        reject=Case({"members": {"tag": {"category": "dr", "name": "erp"}}}),
    ),
    vm_named_once(
        "ProtectionGroup",
        "spec.members.virtualMachines[]",
        {"members": {"datastores": None, "virtualMachines": [{"path": "/berlin/vm/erp/erp-db-1"}]}},
        {"members": {"datastores": None, "virtualMachines": [{"name": "erp-db-1", "path": "/berlin/vm/erp/erp-db-1"}]}},
    ),
)
