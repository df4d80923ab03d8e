"""Conditions that keep their transition time, and the events that tell of their changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from resurgo.domain.ports import Kube, Obj

_BAD_WHEN_TRUE = frozenset({"SplitBrain", "Stalled", "SourceCleanupPending", "TestCleanupPending"})
_NEUTRAL = frozenset({"Reconciling", "Executing", "AwaitingApproval", "Paused", "PointOfNoReturnPassed"})
_SILENT = frozenset({"Reconciling", "Executing", "TestedRecently"})  # progress and reminders are no news
_MESSAGE = 4000


class Conditions:
    """The conditions of one object's next status, put one by one, compared with those it has."""

    def __init__(self, obj: Obj, now: datetime) -> None:
        self._old = {c["type"]: c for c in (obj.get("status") or {}).get("conditions", [])}
        self._new: dict[str, dict[str, Any]] = {}
        self._generation = obj["metadata"].get("generation", 0)
        self._now = now.strftime("%Y-%m-%dT%H:%M:%SZ")

    def put(self, kind: str, status: bool | None, reason: str, message: str = "") -> None:
        """Set one condition; None is Unknown. The transition time moves only with the status."""
        value = "Unknown" if status is None else str(status)
        old = self._old.get(kind)
        same = old is not None and old["status"] == value
        self._new[kind] = {
            "type": kind,
            "status": value,
            "reason": reason or "Unknown",
            "message": message[:_MESSAGE],
            "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else self._now,
            "observedGeneration": self._generation,
        }

    def settle(self, kind: str, status: bool, reason: str) -> None:
        """Put one that this pass has said nothing about."""
        if kind not in self._new:
            self.put(kind, status, reason)

    def keep(self, *kinds: str) -> None:
        """Take these over as they are: what they speak of was not looked at."""
        for kind in kinds:
            if kind in self._old:
                self._new[kind] = self._old[kind]
            else:
                self.put(kind, None, "NotObserved")

    def status(self, kind: str) -> str:
        return str(self._new[kind]["status"])

    def listed(self) -> list[dict[str, Any]]:
        """All conditions, those that were not put included, in the order of their types."""
        merged = {**self._old, **self._new}
        return [merged[kind] for kind in sorted(merged)]

    def changed(self) -> list[Mapping[str, Any]]:
        """Those whose status or reason is not what it was; first readings that are good or unknown don't count."""
        return [c for kind, c in self._new.items() if self._tells(self._old.get(kind), c)]

    @staticmethod
    def _tells(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
        if new["type"] in _SILENT or new["reason"] == "RunActive":
            return False
        if old is None or old["status"] == "Unknown":
            return is_bad(new)
        return (old["status"], old["reason"]) != (new["status"], new["reason"]) and new["status"] != "Unknown"


def is_bad(condition: Mapping[str, Any]) -> bool:
    """Whether a condition says that a person may have to act."""
    kind, status = condition["type"], condition["status"]
    if kind in _NEUTRAL:
        return False
    return bool(status == ("True" if kind in _BAD_WHEN_TRUE else "False"))


async def tell(kube: Kube, obj: Obj, changed: Iterable[Mapping[str, Any]]) -> None:
    """Post one event for each changed condition, after the status that says so was written."""
    for condition in changed:
        if condition["type"] in _NEUTRAL | _BAD_WHEN_TRUE and condition["status"] != "True":
            continue
        note = condition["message"] or f"{condition['type']} is {condition['status']}"
        await kube.event(
            obj,
            type_="Warning" if is_bad(condition) else "Normal",
            reason=condition["reason"],
            action=condition["type"],
            note=note,
        )
