"""Every error that crosses a port, in one tree.

    DrError
      Retryable(after)     nothing happened, ask again later
        Unreachable        no answer: refused, dropped, timed out
        Throttled          the other side asks for patience
        Busy               it is in use, or resources are short for now
        Conflict           somebody else wrote first: read again
      Rejected             asking again changes nothing, a person must act
        InvalidPlan        what was asked can't be done as it is written
        NotAllowed         login, privilege or trust refused
        Missing            it is not there
        NotSupported       this system can't do it
        InvalidState       it is in a state that forbids it
      OutcomeUnknown(op)   it may have happened: observe before anything else
      LeaseLost            another process leads now: end at once

Adapters raise nothing else. ``reason`` is CamelCase and goes into conditions as it is; the message names what was
asked, what the other side answered and, where there is something, what to do next.
"""

from __future__ import annotations


class DrError(Exception):
    """Base of the tree. ``str()`` is the message for people; it never holds a secret."""

    reason = "Failed"

    def __init__(self, message: str, *, reason: str | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if reason is not None:
            self.reason = reason

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class Retryable(DrError):
    """Nothing happened. ``after`` is the advised wait in seconds."""

    reason = "Retrying"

    def __init__(self, message: str, *, after: float = 5.0, reason: str | None = None, hint: str = "") -> None:
        super().__init__(message, reason=reason, hint=hint)
        self.after = after


class Unreachable(Retryable):
    reason = "Unreachable"


class Throttled(Retryable):
    reason = "Throttled"


class Busy(Retryable):
    reason = "Busy"


class Conflict(Retryable):
    reason = "Conflict"


class Rejected(DrError):
    reason = "Rejected"


class InvalidPlan(Rejected):
    reason = "InvalidPlan"


class NotAllowed(Rejected):
    reason = "NotAllowed"


class Missing(Rejected):
    reason = "NotFound"


class NotSupported(Rejected):
    reason = "NotSupported"


class InvalidState(Rejected):
    reason = "InvalidState"


class OutcomeUnknown(DrError):
    """The call may have taken effect. ``op`` names it, for the message and the journal."""

    reason = "OutcomeUnknown"

    def __init__(self, message: str, *, op: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.op = op


class LeaseLost(DrError):
    reason = "LeaseLost"
