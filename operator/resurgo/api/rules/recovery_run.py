"""The rules of RecoveryRun: its input is immutable, and what may change moves one way."""

from resurgo.api.rules.rule import Case, Rule

_INPUT = ("planRef", "type", "requestID", "requestedBy", "expect", "acknowledgeDataLoss", "force")
_OPTIONAL = frozenset({"requestedBy", "expect"})


def _unchanged(field: str) -> str:
    """Return CEL for: *field* is as it was, absent included."""
    if field not in _OPTIONAL:
        return f"self.{field} == oldSelf.{field}"
    return f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})"


RECOVERY_RUN_RULES = (
    Rule(
        kind="RecoveryRun",
        name="a run's input is immutable",
        at="spec",
        expression=" && ".join(_unchanged(field) for field in _INPUT),
        message="a run's input is immutable: only control, retry and skipSteps may change; create another run",
        reason="FieldValueForbidden",
        accept=Case({"control": "Pause", "skipSteps": [{"step": "PreSync", "reason": "array is busy"}]}, before={}),
        reject=Case({"expect": {"sourceSite": "berlin", "targetSite": "leipzig"}}, before={}),
    ),
    Rule(
        kind="RecoveryRun",
        name="a cancel is not taken back",
        at="spec",
        expression="oldSelf.control != 'Cancel' || self.control == 'Cancel'",
        message="a cancelled run cannot be resumed; create another run",
        field_path=".control",
        reason="FieldValueForbidden",
        accept=Case({"control": "Run"}, before={"control": "Pause"}),
        reject=Case({"control": "Run"}, before={"control": "Cancel"}),
    ),
    Rule(
        kind="RecoveryRun",
        name="retry grows by one",
        at="spec",
        expression="self.retry == oldSelf.retry || self.retry == oldSelf.retry + 1",
        message="retry may only be raised by one",
        field_path=".retry",
        accept=Case({"retry": 1}, before={}),
        reject=Case({"retry": 2}, before={}),
    ),
    Rule(
        kind="RecoveryRun",
        name="a disaster recovery acknowledges data loss",
        at="spec",
        expression="self.type != 'DisasterRecovery' || self.acknowledgeDataLoss",
        message="DisasterRecovery loses what was written since the last recovery point: set acknowledgeDataLoss: true",
        field_path=".acknowledgeDataLoss",
        accept=Case({"type": "DisasterRecovery", "acknowledgeDataLoss": True}),
        reject=Case({"type": "DisasterRecovery"}),
    ),
    Rule(
        kind="RecoveryRun",
        name="only Cleanup and Reprotect can be forced",
        at="spec",
        expression="!self.force || self.type in ['Cleanup', 'Reprotect']",
        message="force is for Cleanup and Reprotect only",
        field_path=".force",
        accept=Case({"type": "Cleanup", "force": True}),
        reject=Case({"force": True}),
    ),
    Rule(
        kind="RecoveryRun",
        name="the expected sites differ",
        at="spec.expect",
        expression="self.sourceSite != self.targetSite",
        message="sourceSite and targetSite must differ",
        accept=Case({"expect": {"sourceSite": "berlin", "targetSite": "leipzig"}}),
        reject=Case({"expect": {"sourceSite": "berlin", "targetSite": "berlin"}}),
    ),
    Rule(
        kind="RecoveryRun",
        name="a run's name fits into a label",
        at="",
        expression="self.metadata.name.size() <= 63",
        message="the name of a run may have at most 63 characters: what belongs to it bears it as a label",
        accept=Case({}, name="a" * 63),
        reject=Case({}, name="a" * 64),
    ),
)
