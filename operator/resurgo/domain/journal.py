"""The journal: what a run intended and what came of it, one record per step and item.

An intent is on disk before its call leaves; a result is written when it is known. After a crash an intent without
a result says only that the call may have been sent: the call is repeated, and being an ensured end it looks before
it acts. Records are short JSON lists in the data of unwatched ConfigMaps, one key per item, so that a write carries
what changed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import NamedTuple

from resurgo.domain.states import StepState


class OpKey(NamedTuple):
    step: str
    item: str


_CODES = {
    StepState.RUNNING: "R",
    StepState.DONE: "D",
    StepState.ALREADY_DONE: "A",
    StepState.SKIPPED: "S",
    StepState.FAILED: "F",
    StepState.CANCELLED: "C",
}
_STATES = {code: state for state, code in _CODES.items()}
_SHORTEST = 4  # values of a record that are always written
_GOOD = frozenset({StepState.DONE, StepState.ALREADY_DONE})


@dataclass(frozen=True, slots=True)
class Record:
    """One step of one item. Times are UTC seconds since the epoch, to the millisecond."""

    state: StepState
    started: float
    ended: float = 0.0
    attempt: int = 1  # 0: it was settled without being tried
    retry_at: float = 0.0  # an intent that failed for now: not before this time
    reason: str = ""
    message: str = ""
    note: str = ""  # what a later step or process needs: a handle, a recovery point

    @property
    def settled(self) -> bool:
        return self.state is not StepState.RUNNING

    @property
    def good(self) -> bool:
        return self.state in _GOOD

    @property
    def tried(self) -> bool:
        """Whether its call may have been sent."""
        return self.attempt > 0

    def to_list(self) -> list[object]:
        """Compact form: trailing defaults are left out."""
        values: list[object] = [
            _CODES[self.state],
            round(self.started, 3),
            round(self.ended, 3),
            self.attempt,
            round(self.retry_at, 3),
            self.reason,
            self.message,
            self.note,
        ]
        while len(values) > _SHORTEST and values[-1] in {0, ""}:
            values.pop()
        return values

    @classmethod
    def from_list(cls, values: list[object]) -> Record:
        padded = [*values, *["", 0, 0, 1, 0, "", "", ""][len(values) :]]
        state, started, ended, attempt, retry_at, reason, message, note = padded
        return cls(
            _STATES[str(state)],
            float(str(started)),
            float(str(ended)),
            int(str(attempt)),
            float(str(retry_at)),
            str(reason),
            str(message),
            str(note),
        )


@dataclass
class Journal:
    """All records of one run, in memory, by item and step. The only place where they change is `put`."""

    items: dict[str, dict[str, Record]] = field(default_factory=dict)

    def get(self, step: str, item: str) -> Record | None:
        return self.items.get(item, {}).get(step)

    def begun(self, step: str) -> bool:
        """Whether any item's step was ever intended."""
        return any(step in records for records in self.items.values())

    def all(self) -> Iterator[tuple[OpKey, Record]]:
        for item, records in self.items.items():
            for step, record in records.items():
                yield OpKey(step, item), record

    def put(self, changes: Iterable[tuple[OpKey, Record | None]]) -> frozenset[str]:
        """Take over *changes* (None removes) and return the items they touch."""
        touched = set()
        for key, record in changes:
            records = self.items.setdefault(key.item, {})
            if record is None:
                records.pop(key.step, None)
            else:
                records[key.step] = record
            touched.add(key.item)
        return frozenset(touched)

    def item_json(self, item: str) -> str:
        """All records of one item as stored."""
        entries = {step: record.to_list() for step, record in self.items.get(item, {}).items()}
        return json.dumps(entries, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def load(cls, stored: Mapping[str, str]) -> Journal:
        """Read what `item_json` wrote, item by item. ValueError where it is damaged."""
        journal = cls()
        for item, text in stored.items():
            try:
                journal.items[item] = {step: Record.from_list(values) for step, values in json.loads(text).items()}
            except (AttributeError, KeyError, TypeError, ValueError) as error:
                raise ValueError(f"the journal's entry for {item} is damaged") from error
        return journal


def intent(now: datetime, previous: Record | None) -> Record:
    """The record to write before a call leaves; a repeated one keeps its start, for deadlines outlive processes."""
    stamp = now.timestamp()
    if previous is None:
        return Record(StepState.RUNNING, stamp)
    return replace(previous, state=StepState.RUNNING, attempt=previous.attempt + 1, retry_at=0.0)


def when(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
