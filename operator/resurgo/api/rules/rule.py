"""What a rule is: a CEL expression for the API server, what it says when it refuses, and a case for either verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Case:
    """One thing a user does: create an object, or change one.

    *after* is a merge patch on the smallest valid spec of the kind (samples.py). With *before* given, the object is
    created with *before* as that patch, *status* is written, and *after* then changes it.
    """

    after: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    status: Mapping[str, Any] | None = None
    name: str | None = None
    says: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """A CEL rule: which kind, where in its schema (the empty path is the root), and what it demands.

    *message_expression* takes the place of *message* where the answer must name what is there.
    """

    kind: str
    name: str
    at: str
    expression: str
    message: str
    accept: Case
    reject: Case
    message_expression: str | None = None
    field_path: str | None = None
    # Not FieldValueDuplicate: the API server then says "Duplicate value" and drops the message.
    reason: Literal["FieldValueInvalid", "FieldValueForbidden"] = "FieldValueInvalid"

    def dump(self) -> dict[str, Any]:
        """Return the rule as a CRD writes it."""
        out = {"rule": self.expression, "message": self.message, "reason": self.reason}
        if self.message_expression:
            out["messageExpression"] = self.message_expression
        if self.field_path:
            out["fieldPath"] = self.field_path
        return out
