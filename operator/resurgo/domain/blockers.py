"""What keeps a plan from being ready: a reason, the affected items, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

NAMED = 10  # items named in a message


@dataclass(frozen=True, slots=True)
class Blocker:
    """One finding. ``blocking`` False is a warning: shown, but the plan may run."""

    reason: str
    message: str
    items: tuple[str, ...] = ()
    suggestion: str = ""
    blocking: bool = True

    def __str__(self) -> str:
        text = f"{self.message}: {listed(self.items)}" if self.items else self.message
        return f"{text} ({self.suggestion})" if self.suggestion else text


def listed(names: Iterable[str]) -> str:
    """At most ten names and how many more there are."""
    every = list(names)
    shown = ", ".join(every[:NAMED])
    return f"{shown} and {len(every) - NAMED} more" if len(every) > NAMED else shown


def in_words(blockers: Sequence[Blocker]) -> str:
    """All findings as one message, the blocking ones first."""
    return "; ".join(str(b) for b in sorted(blockers, key=lambda b: not b.blocking))
