"""The journal on disk is the journal in memory, whatever is in it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resurgo.domain.journal import Journal, OpKey, Record, intent, when
from resurgo.domain.states import StepState
from tests.domain.things import NOW

TIMES = st.integers(0, 4 * 10**12).map(lambda ms: ms / 1000)  # records keep milliseconds
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
RECORDS = st.builds(
    Record,
    st.sampled_from([s for s in StepState if s is not StepState.PENDING]),
    TIMES,
    TIMES,
    st.integers(0, 1000),
    TIMES,
    TEXTS,
    TEXTS,
    TEXTS,
)
NAMES = st.sampled_from(["Register", "PowerOn", "Ready"])
ITEMS = st.sampled_from(["vm-0", "vm-1", "cg-0", "run"])


@given(RECORDS)
def test_a_record_comes_back_from_its_list(record: Record) -> None:
    assert record == Record.from_list(record.to_list())


@given(st.dictionaries(st.tuples(NAMES, ITEMS), RECORDS))
def test_a_journal_comes_back_from_disk(entries: dict[tuple[str, str], Record]) -> None:
    journal = Journal()
    touched = journal.put((OpKey(*key), record) for key, record in entries.items())
    assert {item for _, item in entries} == touched
    read = Journal.load({item: journal.item_json(item) for item in touched})
    assert dict(journal.all()) == dict(read.all())
    assert {OpKey(*key): record for key, record in entries.items()} == dict(read.all())


def test_what_was_removed_stays_removed_on_disk() -> None:
    journal = Journal()
    key = OpKey("Register", "vm-0")
    journal.put([(key, Record(StepState.DONE, 1.0))])
    assert {"vm-0"} == journal.put([(key, None), (OpKey("PowerOn", "vm-0"), None)])
    assert None is Journal.load({"vm-0": journal.item_json("vm-0")}).get("Register", "vm-0")
    assert "{}" == journal.item_json("vm-9")


def test_a_short_record_is_written_short() -> None:
    assert ["R", 1.5, 0, 1] == Record(StepState.RUNNING, 1.5).to_list()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"Register": 3}', '{"Register": ["X", 1]}', '{"Register": ["R", "soon"]}',
             '{"Register": ["R", 1, 2, 3, 4, "", "", "", "more"]}']
)  # fmt: skip
def test_a_damaged_entry_is_an_error_that_names_it(text: str) -> None:
    with pytest.raises(ValueError, match="entry for vm-0 is damaged"):
        Journal.load({"vm-0": text})


def test_begun_means_intended_by_any_item() -> None:
    journal = Journal()
    assert not journal.begun("Failover")
    journal.put([(OpKey("Failover", "cg-1"), Record(StepState.RUNNING, 1.0))])
    assert journal.begun("Failover")
    assert not journal.begun("Register")


@pytest.mark.parametrize(
    ("state", "settled", "good"),
    [
        (StepState.RUNNING, False, False),
        (StepState.DONE, True, True),
        (StepState.ALREADY_DONE, True, True),
        (StepState.SKIPPED, True, False),
        (StepState.FAILED, True, False),
        (StepState.CANCELLED, True, False),
    ],
)
def test_settled_and_good(state: StepState, settled: bool, good: bool) -> None:
    record = Record(state, 1.0)
    assert (settled, good) == (record.settled, record.good)


def test_the_first_intent_starts_the_clock_and_a_repeated_one_keeps_it() -> None:
    first = intent(NOW, None)
    assert Record(StepState.RUNNING, NOW.timestamp()) == first
    later = NOW + timedelta(hours=1)
    resting = Record(StepState.RUNNING, first.started, retry_at=9.0, reason="Busy", message="in use", note="handle")
    again = intent(later, resting)
    assert (first.started, 2, 0.0, "handle") == (again.started, again.attempt, again.retry_at, again.note)


@given(st.datetimes(min_value=NOW.replace(tzinfo=None), timezones=st.just(NOW.tzinfo)))
def test_stamps_are_utc(moment: object) -> None:
    stamp = round(moment.timestamp(), 3)  # type: ignore[attr-defined]
    assert abs(when(stamp) - moment) <= timedelta(milliseconds=1)  # type: ignore[operator]
