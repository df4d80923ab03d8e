"""Snapshots and group records survive being stored as JSON, whatever names users have given."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resurgo.domain.inventory import DatastorePath, NfsExport
from resurgo.domain.records import GroupRecord, Member, MemberDatastore, MemberNic
from resurgo.domain.snapshot import FrozenNic, FrozenStage, Readiness, Snapshot
from resurgo.domain.steps import Scope
from tests.domain.snapshots import snapshot, snapshots, vm
from tests.domain.things import NOW, member, record

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
MANY = st.lists(TEXTS, max_size=3).map(tuple)
PATHS = st.builds(DatastorePath, TEXTS, TEXTS)
EXPORTS = st.builds(NfsExport, TEXTS, TEXTS)
NICS = st.builds(MemberNic, st.integers(0, 9999), TEXTS, TEXTS, MANY)
MEMBERS = st.builds(
    Member,
    *[TEXTS] * 5,
    PATHS,
    st.booleans(),
    st.booleans(),
    st.integers(0, 10**6),
    TEXTS,
    st.lists(NICS, max_size=2).map(tuple),
    MANY,
)
RECORDS = st.builds(
    GroupRecord,
    TEXTS,
    st.datetimes(timezones=st.just(NOW.tzinfo)),
    st.lists(MEMBERS, max_size=3).map(tuple),
    st.lists(st.builds(MemberDatastore, TEXTS, EXPORTS, MANY, TEXTS, TEXTS), max_size=2).map(tuple),
    MANY,
    MANY,
)
FROZEN_NICS = st.builds(FrozenNic, st.integers(0, 9999), *[TEXTS] * 4, st.integers(0, 128), TEXTS, MANY)


@settings(deadline=None)
@given(RECORDS)
def test_a_group_record_comes_back_from_json(stored: GroupRecord) -> None:
    assert stored == GroupRecord.from_json(json.loads(json.dumps(stored.to_json())))


@pytest.mark.parametrize("younger", ["strangers", "uncovered"])
def test_a_record_of_before_a_field_was_kept_can_still_be_read(younger: str) -> None:
    raw = record(member(1)).to_json()
    del raw[younger]
    assert record(member(1)) == GroupRecord.from_json(json.loads(json.dumps(raw)))


@pytest.mark.parametrize("damage", [{"members": [{}]}, {"observed": "yesterday"}, {"datastores": [{"name": "x"}]}])
def test_a_damaged_record_is_an_error(damage: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        GroupRecord.from_json({**record(member(1)).to_json(), **damage})


def test_records_are_compared_without_the_time_of_reading() -> None:
    one = record(member(1))
    assert one.same_as(replace(one, observed=NOW + timedelta(hours=1)))
    assert not one.same_as(record(member(2)))
    assert not one.same_as(None)


@settings(max_examples=50, deadline=None)
@given(
    snapshots(), st.lists(FROZEN_NICS, max_size=2).map(tuple), st.lists(st.integers(1, 65535), max_size=2).map(tuple)
)
def test_a_snapshot_comes_back_from_json(frozen: Snapshot, nics: tuple, ports: tuple) -> None:
    first, *others = frozen.vms
    stage = FrozenStage("checked", readiness=Readiness(tcp_ports=ports))
    frozen = replace(frozen, vms=(replace(first, nics=nics), *others), stages=(*frozen.stages, stage))
    assert frozen == Snapshot.from_json(json.loads(json.dumps(frozen.to_json())))


@pytest.mark.parametrize("damage", [{"type": "Dance"}, {"vms": [{}]}, {"surprise": 1}])
def test_a_damaged_snapshot_is_an_error(damage: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        Snapshot.from_json({**snapshot(vm(0)).to_json(), **damage})


def test_items_are_listed_by_scope() -> None:
    frozen = snapshot(vm(0), vm(1))
    assert {
        Scope.RUN: ("run",),
        Scope.GROUP: ("cg-0",),
        Scope.DATASTORE: ("ds-0",),
        Scope.VM: ("vm-0", "vm-1"),
    } == {scope: frozen.items(scope) for scope in Scope}


@given(snapshots())
@settings(max_examples=50, deadline=None)
def test_every_item_has_one_journal_object_and_all_of_a_group_the_same(frozen: Snapshot) -> None:
    shards = frozen.shards()
    assert set(shards) == {i for scope in Scope if scope is not Scope.RUN for i in frozen.items(scope)}
    owners = {(o.group, shards[o.key]) for o in (*frozen.groups, *frozen.datastores, *frozen.vms)}
    assert len(owners) == len({group for group, _ in owners})
    assert set(range(len(owners))) == set(shards.values())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("[ds] a/b.vmx", DatastorePath("ds", "a/b.vmx")),
        ("[ds]/a.vmx", DatastorePath("ds", "a.vmx")),
        ("[my ds (1)]  x", DatastorePath("my ds (1)", "x")),
    ],
)
def test_a_datastore_path_is_read_as_vcenter_writes_it(text: str, path: DatastorePath) -> None:
    assert path == DatastorePath.parse(text)
    assert path == DatastorePath.parse(str(path))


@pytest.mark.parametrize("text", ["", "ds/a.vmx", "[ds a.vmx"])
def test_what_is_no_datastore_path_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not a datastore path"):
        DatastorePath.parse(text)
