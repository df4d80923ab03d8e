"""The rules of RecoveryPlan: what guards a change of desiredState, and what makes a plan consistent in itself."""

from typing import Any

from resurgo.api.rules.protection_group import site_rules, vm_named_once
from resurgo.api.rules.rule import Case, Rule

_RECOVERED = {"desiredState": "recovered"}
_STATIC = {"site": "leipzig", "addresses": ["10.2.0.15/24"]}


def _stages(*stages: dict[str, Any]) -> Case:
    return Case({"stages": list(stages)})


def _ip(**ip: Any) -> Case:
    return Case({"virtualMachines": [{"name": "erp-db-1", "ip": ip}]})


_MOVES = (
    Rule(
        kind="RecoveryPlan",
        name="desiredState moves only where the plan can go now",
        at="",
        expression=(
            "self.spec.desiredState == oldSelf.spec.desiredState || !has(oldSelf.status) || "
            "!has(oldSelf.status.validNextStates) || self.spec.desiredState in oldSelf.status.validNextStates"
        ),
        message="desiredState cannot change to this value now",
        message_expression=(
            "'desiredState cannot change to ' + self.spec.desiredState + ' now' + "
            "(oldSelf.status.validNextStates.size() == 0 ? ': a run is active' : "
            "'; allowed: ' + oldSelf.status.validNextStates.join(', '))"
        ),
        field_path=".spec.desiredState",
        reason="FieldValueForbidden",
        accept=Case(_RECOVERED, before={}, status={"validNextStates": ["recovered"]}),
        reject=Case(
            {"desiredState": "protected"},
            before=_RECOVERED,
            status={"validNextStates": ["recovered"]},
            says="desiredState cannot change to protected now; allowed: recovered",
        ),
    ),
    Rule(
        kind="RecoveryPlan",
        name="a requestID asks for one state",
        at="spec",
        expression=(
            "self.desiredState == oldSelf.desiredState || self.execution.requestID == '' || "
            "self.execution.requestID != oldSelf.execution.requestID"
        ),
        message="a new desiredState needs a new execution.requestID (or none): one request asks for one state",
        field_path=".execution.requestID",
        reason="FieldValueForbidden",
        accept=Case(
            {**_RECOVERED, "execution": {"requestID": "INC-4712"}}, before={"execution": {"requestID": "INC-4711"}}
        ),
        reject=Case(_RECOVERED, before={"execution": {"requestID": "INC-4711"}}),
    ),
    Rule(
        kind="RecoveryPlan",
        name="a disaster recovery acknowledges data loss",
        at="spec.recovery",
        expression="self.mode != 'DisasterRecovery' || self.acknowledgeDataLoss",
        message="DisasterRecovery loses what was written since the last recovery point: set acknowledgeDataLoss: true",
        field_path=".acknowledgeDataLoss",
        accept=Case({"recovery": {"mode": "DisasterRecovery", "acknowledgeDataLoss": True}}),
        reject=Case({"recovery": {"mode": "DisasterRecovery"}}),
    ),
)

_STAGES = (
    Rule(
        kind="RecoveryPlan",
        name="dependsOn names other stages of the plan",
        at="spec",
        expression=(
            "!has(self.stages) || self.stages.all(s, !has(s.dependsOn) || "
            "s.dependsOn.all(d, d != s.name && self.stages.exists(o, o.name == d)))"
        ),
        message="dependsOn must name other stages of this plan",
        field_path=".stages",
        accept=_stages({"name": "database"}, {"name": "application", "dependsOn": ["database"]}),
        reject=_stages({"name": "database"}, {"name": "application", "dependsOn": ["databse"]}),
    ),
    Rule(
        kind="RecoveryPlan",
        name="stages name only the plan's groups",
        at="spec",
        expression=(
            "!has(self.stages) || self.stages.all(s, !has(s.protectionGroups) || "
            "s.protectionGroups.all(g, self.protectionGroups.exists(p, p.name == g)))"
        ),
        message="a stage names a protection group that is not among the plan's protectionGroups",
        field_path=".stages",
        accept=_stages({"name": "application", "protectionGroups": ["erp"]}),
        reject=_stages({"name": "application", "protectionGroups": ["crm"]}),
    ),
    Rule(
        kind="RecoveryPlan",
        name="a group belongs to one stage at most",
        at="spec",
        expression=(
            "!has(self.stages) || self.protectionGroups.all(p, "
            "self.stages.filter(s, has(s.protectionGroups) && p.name in s.protectionGroups).size() <= 1)"
        ),
        message="two stages name the same protection group: its remaining VMs can start in one of them only",
        field_path=".stages",
        accept=_stages({"name": "database", "protectionGroups": ["erp"]}, {"name": "application"}),
        reject=_stages(
            {"name": "database", "protectionGroups": ["erp"]}, {"name": "application", "protectionGroups": ["erp"]}
        ),
    ),
    vm_named_once(
        "RecoveryPlan",
        "spec.stages[].virtualMachines[]",
        {"stages": [{"name": "database", "virtualMachines": [{"path": "/berlin/vm/erp/erp-db-1"}]}]},
        {"stages": [{"name": "database", "virtualMachines": [{"dependsOn": ["erp-db-2"]}]}]},
    ),
)

_VIRTUAL_MACHINES = (
    vm_named_once(
        "RecoveryPlan",
        "spec.virtualMachines[]",
        {"virtualMachines": [{"name": "erp-db-1", "powerOn": False}]},
        {"virtualMachines": [{"powerOn": False}]},
    ),
    vm_named_once(
        "RecoveryPlan",
        "spec.suspendAtRecoverySite[]",
        {"suspendAtRecoverySite": [{"name": "build-01"}]},
        {"suspendAtRecoverySite": [{}]},
    ),
    Rule(
        kind="RecoveryPlan",
        name="static addresses belong to the policy Static",
        at="spec.virtualMachines[].ip",
        expression="(self.policy == 'Static') == (has(self.static) && self.static.size() > 0)",
        message="policy Static needs addresses under static; other policies must not have them",
        accept=_ip(policy="Static", static=[_STATIC]),
        reject=_ip(policy="Static"),
    ),
    Rule(
        kind="RecoveryPlan",
        name="static addresses have a prefix length",
        at="spec.virtualMachines[].ip.static[]",
        expression=(
            "self.addresses.all(a, isCIDR(a)) && (!has(self.gateways) || self.gateways.all(g, isIP(g))) && "
            "(!has(self.dns) || self.dns.all(d, isIP(d)))"
        ),
        message="addresses must look like 10.2.0.15/24 or 2001:db8::15/64, gateways and dns like 10.2.0.1",
        accept=_ip(policy="Static", static=[{**_STATIC, "gateways": ["10.2.0.1"], "dns": ["2001:db8::53"]}]),
        reject=_ip(policy="Static", static=[{**_STATIC, "addresses": ["10.2.0.15"]}]),
    ),
)

_REST = (
    Rule(
        kind="RecoveryPlan",
        name="a plan's name fits into a label",
        at="",
        expression="self.metadata.name.size() <= 63",
        message="the name of a plan may have at most 63 characters: its runs bear it as a label",
        accept=Case({}, name="a" * 63),
        reject=Case({}, name="a" * 64),
    ),
    Rule(
        kind="RecoveryPlan",
        name="a schedule has five fields",
        at="spec.test",
        expression=r"!has(self.schedule) || self.schedule.matches('^\\S+( \\S+){4}$')",
        message="schedule must be cron's five fields: minute, hour, day of month, month, day of week",
        field_path=".schedule",
        accept=Case({"test": {"schedule": "0 3 * * 6", "timeZone": "Europe/Berlin"}}),
        reject=Case({"test": {"schedule": "weekly"}}),
    ),
)

RECOVERY_PLAN_RULES = (*_MOVES, *site_rules("RecoveryPlan"), *_STAGES, *_VIRTUAL_MACHINES, *_REST)
