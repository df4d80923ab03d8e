"""The loop of every kind: what a pass leaves behind, when it comes again, and what it never lets out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from resurgo.api import ReplicationPair
from resurgo.domain.errors import (
    Conflict,
    DrError,
    InvalidState,
    LeaseLost,
    Missing,
    NotAllowed,
    Throttled,
    Unreachable,
)
from resurgo.domain.ports import Key
from resurgo.engine.bell import Stop
from resurgo.engine.context import stamp
from resurgo.engine.loop import Loop, Pass
from tests.engine.world import PAIR, World, condition, message
from tests.fakes.bell import FakeBell

Act = Callable[[Pass], None]


def good(work: Pass) -> None:
    work.conditions.put("Ready", True, "Good")
    work.after = 33.0


class Scripted:
    """One act per pass, the last one again and again; the bell says stop when all have run *passes* times."""

    ready = "Ready"

    def __init__(self, *acts: Act | Exception, passes: int | None = None) -> None:
        self.acts, self.passes = acts, passes or len(acts)
        self.done, self.forgotten = 0, list[Key]()
        self.bell = FakeBell(patient=False)

    async def reconcile(self, work: Pass) -> None:
        act = self.acts[min(self.done, len(self.acts) - 1)]
        self.done += 1
        if self.done >= self.passes:
            self.bell.stop_with(Stop.NOW)
        if isinstance(act, Exception):
            raise act
        act(work)

    async def forget(self, key: Key) -> None:
        self.forgotten.append(key)


class Stage:
    """One object and its loop."""

    def __init__(self) -> None:
        self.world = World()

    async def play(self, script: Scripted) -> list[float]:
        """Run the loop to the end of the script and return how long it rested after each pass."""
        if PAIR not in self.world.kube.objects:
            spec = {"adapter": {"type": "sra"}}
            await self.world.kube.create("replicationpairs", {"metadata": {"name": PAIR.name}, "spec": spec})
        uid = self.world.kube.objects[PAIR]["metadata"]["uid"]
        await asyncio.wait_for(Loop(self.world.context, script).drive(PAIR, uid, script.bell), 10)
        return script.bell.rests

    @property
    def obj(self) -> Any:
        return self.world.kube.objects[PAIR]


async def test_a_good_pass_rests_as_long_as_it_says_and_settles_its_conditions() -> None:
    stage = Stage()
    assert [33.0] == await stage.play(Scripted(good))
    assert [("True", "Good"), ("False", "Working"), ("False", "Settled")] == [
        condition(stage.obj, kind) for kind in ("Ready", "Stalled", "Reconciling")
    ]
    assert 1 == stage.obj["status"]["observedGeneration"]


async def test_nothing_is_written_and_told_while_nothing_changes() -> None:
    stage = Stage()
    await stage.play(Scripted(good))
    before, events = stage.world.kube.writes, len(stage.world.kube.events)
    await stage.play(Scripted(good, passes=5))
    assert (before, events) == (stage.world.kube.writes, len(stage.world.kube.events))


async def test_a_time_of_reading_alone_is_written_once_a_minute() -> None:
    stage = Stage()

    def read(work: Pass) -> None:
        stage.world.clock.ahead += timedelta(seconds=25)
        work.status["observedTime"] = stamp(stage.world.clock.now())

    await stage.play(Scripted(read))
    before = stage.world.kube.writes
    await stage.play(Scripted(read, passes=6))  # two and a half minutes
    assert 2 == stage.world.kube.writes - before


@pytest.mark.parametrize(
    ("error", "reason"),
    [(Unreachable("no answer"), "Unreachable"), (Throttled("slowly"), "Throttled"), (Conflict("moved"), "Conflict")],
)
async def test_a_temporary_error_is_said_and_tried_again_later_and_later(error: DrError, reason: str) -> None:
    stage = Stage()
    rests = await stage.play(Scripted(error, passes=9))
    assert (("False", reason), ("True", reason), ("False", "Working")) == tuple(
        condition(stage.obj, kind) for kind in ("Ready", "Reconciling", "Stalled")
    )
    expected = [2, 4, 8, 16, 32, 60, 60, 60, 60]
    assert [True] * 9 == [0.8 * e <= r <= 1.2 * e for e, r in zip(expected, rests, strict=True)], rests


async def test_a_good_pass_ends_the_back_off() -> None:
    rests = await Stage().play(Scripted(*[Unreachable("no answer")] * 5, good, Unreachable("no answer")))
    assert (33.0, True) == (rests[5], rests[6] < 3)


@pytest.mark.parametrize("error", [NotAllowed("no right"), InvalidState("not now"), Missing("not there")])
async def test_what_only_a_person_can_mend_stalls(error: DrError) -> None:
    stage = Stage()
    assert [60.0] == await stage.play(Scripted(error))
    assert (("False", error.reason), ("True", error.reason)) == tuple(
        condition(stage.obj, kind) for kind in ("Ready", "Stalled")
    )
    assert str(error) == message(stage.obj, "Ready")
    assert [error.reason] * 2 == [e["reason"] for e in stage.world.kube.events]
    assert {"Warning"} == {e["type"] for e in stage.world.kube.events}
    assert "observedGeneration" not in stage.obj["status"]


async def test_a_refusal_comes_again_as_soon_as_its_reconciler_says() -> None:
    def refused(work: Pass) -> None:
        work.after = 10.0
        raise NotAllowed("no right")

    assert [10.0] == await Stage().play(Scripted(refused))


async def test_an_error_of_ours_is_said_to_be_one_and_does_not_end_the_loop() -> None:
    stage = Stage()
    assert [60.0, 33.0] == await stage.play(Scripted(ZeroDivisionError("secret detail"), good))
    assert ["InternalError", "Good"] == [e["reason"] for e in stage.world.kube.events if e["action"] == "Ready"]
    assert "secret detail" not in str(stage.world.kube.events)
    assert ("True", "Good") == condition(stage.obj, "Ready")


async def test_a_spec_that_does_not_fit_is_said_with_its_place() -> None:
    stage = Stage()

    def parse(work: Pass) -> None:
        ReplicationPair.model_validate(work.obj)

    assert [60.0] == await stage.play(Scripted(parse))
    assert ("False", "InvalidSpec") == condition(stage.obj, "Ready")
    assert message(stage.obj, "Ready").startswith("spec.endpoints")


async def test_what_was_observed_before_an_error_is_written_with_it() -> None:
    stage = Stage()

    def half(work: Pass) -> None:
        work.status["capabilities"] = ["SyncNow"]
        raise Unreachable("no answer")

    await stage.play(Scripted(half))
    assert ["SyncNow"] == stage.obj["status"]["capabilities"]


async def test_a_lost_lease_ends_the_process_and_writes_nothing() -> None:
    stage = Stage()
    await stage.play(Scripted(LeaseLost("another leads")))
    assert ["another leads"] == stage.world.losses
    assert "status" not in stage.obj


async def test_a_status_that_was_decided_on_an_older_object_is_not_written_and_soon_made_again() -> None:
    stage = Stage()

    def overtaken(work: Pass) -> None:
        good(work)
        stage.world.kube.objects[PAIR]["metadata"]["resourceVersion"] = "999"

    rests = await stage.play(Scripted(overtaken, good))
    assert (True, 33.0) == (rests[0] < 3, rests[1])
    assert ("True", "Good") == condition(stage.obj, "Ready")


async def test_an_object_that_cannot_be_read_is_asked_for_again() -> None:
    stage = Stage()
    real, away = stage.world.kube.get, [3]

    async def get(key: Key) -> Any:
        if away[0]:
            away[0] -= 1
            raise Unreachable("no answer")
        return await real(key)

    stage.world.kube.get = get  # type: ignore[method-assign]
    rests = await stage.play(Scripted(good))
    assert (4, 33.0) == (len(rests), rests[-1])


@pytest.mark.parametrize("how", ["gone", "replaced", "being deleted"])
async def test_an_object_that_is_gone_is_forgotten(how: str) -> None:
    stage, script = Stage(), Scripted(good)
    body = {"metadata": {"name": PAIR.name}, "spec": {}}
    if how == "being deleted":
        body["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    uid = (await stage.world.kube.create("replicationpairs", body))["metadata"]["uid"]
    if how != "being deleted":
        await stage.world.kube.delete(PAIR)
    if how == "replaced":
        await stage.world.kube.create("replicationpairs", body)
    await Loop(stage.world.context, script).drive(PAIR, uid, script.bell)
    assert ([PAIR], 0) == (script.forgotten, script.done)


async def test_a_process_that_ends_forgets_nothing() -> None:
    script = Scripted(good)
    await Stage().play(script)
    assert [] == script.forgotten
