"""The journal's writes: what stands, what was lost, and who else has written."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from resurgo.domain.errors import LeaseLost, NotAllowed, OutcomeUnknown, Unreachable
from resurgo.domain.journal import Journal, OpKey, Record
from resurgo.domain.ports import Key, Obj
from resurgo.domain.snapshot import FrozenDatastore, FrozenGroup
from resurgo.domain.states import StepState
from resurgo.engine.commit import JournalStore
from tests.domain.snapshots import DATASTORE, GROUP, snapshot, vm
from tests.fakes.kube import FakeKube

RUN: Obj = {
    "apiVersion": "resurgo.dev/v1alpha1",
    "kind": "RecoveryRun",
    "metadata": {"name": "r", "namespace": "n", "uid": "u"},
}
SECOND = FrozenGroup("cg-1", "cg2", "h", "pair", "key-2")
SECOND_STORE = FrozenDatastore("ds-1", "ds2", "ds2", "h", "cg-1", "dev2", DATASTORE.export, ())
FROZEN = snapshot(
    vm(0), vm(1, group="h", datastore="ds-1"), groups=(GROUP, SECOND), datastores=(DATASTORE, SECOND_STORE)
)
RUNNING = Record(StepState.RUNNING, 1.0)


def name(shard: int) -> Key:
    return Key("configmaps", "n", f"r.journal-{shard}.resurgo.dev")


class Desk:
    """A store that has been opened, and its journal."""

    def __init__(self, kube: FakeKube) -> None:
        self.kube, self.store = kube, JournalStore(kube, RUN, FROZEN)

    async def open(self) -> Desk:
        self.journal = await self.store.open()
        return self

    async def write(self, item: str, step: str = "Register", record: Record = RUNNING) -> None:
        await self.store.commit(self.journal, self.journal.put([(OpKey(step, item), record)]))


async def opened(kube: FakeKube | None = None) -> Desk:
    return await Desk(kube or FakeKube()).open()


async def on_disk(kube: FakeKube) -> dict[OpKey, Record]:
    return dict((await JournalStore(kube, RUN, FROZEN).open()).all())


async def test_a_commit_is_on_disk_when_it_returns_in_the_object_of_its_group() -> None:
    desk = await opened()
    await desk.write("vm-0")
    await desk.write("vm-1")
    assert {OpKey("Register", "vm-0"): RUNNING, OpKey("Register", "vm-1"): RUNNING} == await on_disk(desk.kube)
    assert [["vm-0"], ["vm-1"]] == [sorted((await desk.kube.get(name(n)))["data"]) for n in (0, 1)]
    owners = (await desk.kube.get(name(0)))["metadata"]["ownerReferences"]
    assert [{"apiVersion": "resurgo.dev/v1alpha1", "kind": "RecoveryRun", "name": "r", "uid": "u"}] == owners


async def test_one_commit_writes_each_object_once_and_only_what_changed() -> None:
    desk = await opened()
    await desk.write("vm-0")
    before = desk.kube.writes
    touched = desk.journal.put(
        [(OpKey(s, i), RUNNING) for s in ("Register", "PowerOn") for i in ("cg-0", "ds-0", "cg-1")]
    )
    await desk.store.commit(desk.journal, touched)
    assert 2 == desk.kube.writes - before
    assert 7 == len(await on_disk(desk.kube))


async def test_another_process_reads_what_was_written() -> None:
    desk = await opened()
    await desk.write("vm-0")
    again = await opened(desk.kube)
    assert dict(desk.journal.all()) == dict(again.journal.all())
    await again.write("vm-0", "PowerOn")


async def test_a_conflict_about_something_else_is_read_again_and_written() -> None:
    desk = await opened()
    await desk.kube.patch(name(0), {"metadata": {"labels": {"seen": "yes"}}})
    await desk.write("vm-0")
    assert {OpKey("Register", "vm-0"): RUNNING} == await on_disk(desk.kube)


@pytest.mark.parametrize("applied", [True, False])
@pytest.mark.parametrize("times", [1, 3])
async def test_after_a_lost_answer_the_write_stands_once(*, applied: bool, times: int) -> None:
    desk = await opened()
    await desk.write("vm-0")
    left = [times]

    def lose(verb: str, key: Key) -> None:
        if left[0]:
            left[0] -= 1
            raise OutcomeUnknown(f"{verb} of {key}: the answer was lost", op=verb)

    if applied:
        desk.kube.after_write = lose
    else:
        desk.kube.before_write = lose
    await desk.write("vm-0", "PowerOn")
    await desk.write("vm-0", "Ready")
    assert {"Register", "PowerOn", "Ready"} == {key.step for key in await on_disk(desk.kube)}


async def test_a_server_that_is_away_is_waited_for() -> None:
    desk = await opened()
    away = [3]

    def refuse(verb: str, key: Key) -> None:
        if away[0]:
            away[0] -= 1
            raise Unreachable(f"{verb} of {key}: no answer")

    real_get = desk.kube.get

    async def get(key: Key) -> Obj:
        if away[0]:
            raise Unreachable(f"get of {key}: no answer")
        return await real_get(key)

    desk.kube.before_write, desk.kube.get = refuse, get  # type: ignore[method-assign]
    await asyncio.wait_for(desk.write("vm-0"), 5)
    assert {OpKey("Register", "vm-0"): RUNNING} == await on_disk(desk.kube)


async def test_a_journal_that_another_process_has_written_is_not_ours_any_more() -> None:
    desk = await opened()
    await desk.write("vm-0")
    successor = await opened(desk.kube)
    await successor.write("vm-0", "PowerOn")
    with pytest.raises(LeaseLost, match="another process writes the journal of run r"):
        await desk.write("vm-0", "Ready")
    assert {"Register", "PowerOn"} == {key.step for key in await on_disk(desk.kube)}


async def test_a_stale_process_writes_nothing_even_where_its_answer_is_lost() -> None:
    desk = await opened()
    successor = await opened(desk.kube)
    await successor.write("vm-0", "PowerOn")

    def lose(verb: str, key: Key) -> None:
        raise OutcomeUnknown(f"{verb} of {key}: the answer was lost", op=verb)

    desk.kube.after_write = lose
    with pytest.raises(LeaseLost):
        await desk.write("vm-0", "Ready")
    assert {OpKey("PowerOn", "vm-0"): RUNNING} == await on_disk(desk.kube)


async def test_a_journal_that_was_deleted_ends_the_run_here() -> None:
    desk = await opened()
    await desk.kube.delete(name(0))
    with pytest.raises(LeaseLost, match="the journal of run r is gone"):
        await desk.write("vm-0")


async def test_a_write_that_is_refused_is_an_error_of_its_own() -> None:
    desk = await opened()

    def refuse(verb: str, key: Key) -> None:
        raise NotAllowed(f"{verb} of {key}: forbidden")

    desk.kube.before_write = refuse
    with pytest.raises(NotAllowed):
        await desk.write("vm-0")


async def test_two_that_open_at_once_share_the_objects() -> None:
    kube = FakeKube()
    missing = kube.get
    asked = asyncio.Barrier(2)

    async def get(key: Key) -> Obj:
        try:
            return await missing(key)
        finally:
            if asked.n_waiting < 2 and key not in kube.objects:
                await asked.wait()

    kube.get = get  # type: ignore[method-assign]
    await asyncio.wait_for(asyncio.gather(opened(kube), opened(kube)), 5)
    assert {name(0), name(1)} == set(kube.objects)


@pytest.mark.parametrize("data", [{"vm-0": "{"}, {"vm-0": '{"Register":["X",1]}'}])
async def test_a_damaged_journal_is_an_error(data: dict[str, Any]) -> None:
    desk = await opened()
    await desk.kube.patch(name(0), {"data": data})
    with pytest.raises(ValueError, match="damaged"):
        await opened(desk.kube)


def test_an_empty_journal_needs_no_object() -> None:
    assert {} == Journal().items
