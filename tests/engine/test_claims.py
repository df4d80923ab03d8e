"""One run at a time on a plan and on a group, whoever asks and whatever dies in between."""

from __future__ import annotations

import asyncio

import pytest

from resurgo.api import RecoveryRun
from resurgo.domain.errors import OutcomeUnknown
from resurgo.domain.ports import Key, Obj
from resurgo.engine.bell import Stop
from resurgo.engine.loop import Loop
from resurgo.engine.prepare import Refused, load_snapshot, prepare, release
from resurgo.engine.protection_group import GroupReconciler
from resurgo.engine.recovery_plan import PlanReconciler
from resurgo.engine.replication_pair import PairReconciler
from resurgo.engine.site import SiteReconciler
from tests.engine.world import BERLIN, GROUP, LEIPZIG, PAIR, PLAN, World
from tests.fakes.bell import FakeBell

SITES = (Key("sites", None, BERLIN), Key("sites", None, LEIPZIG))


async def one_pass(world: World, key: Key, kind: type) -> None:
    """Let the loop of one object come round once."""
    bell = FakeBell()

    class Once(kind):  # type: ignore[misc, valid-type]
        async def reconcile(self, work: object) -> None:
            bell.stop_with(Stop.NOW)
            await super().reconcile(work)

    uid = world.kube.objects[key]["metadata"]["uid"]
    await Loop(world.context, Once(world.context)).drive(key, uid, bell)


async def observed() -> World:
    """A world in which everything was read once and nothing runs by itself."""
    world = World()
    await world.declare()
    await everything(world)
    return world


async def everything(world: World) -> None:
    for site in SITES:
        await one_pass(world, site, SiteReconciler)
    await one_pass(world, PAIR, PairReconciler)
    await one_pass(world, GROUP, GroupReconciler)
    await one_pass(world, PLAN, PlanReconciler)


def held(world: World, key: Key) -> str:
    status = world.kube.objects[key].get("status") or {}
    return str((status.get("activeRun") or {}).get("name", ""))


def of(run: Obj) -> RecoveryRun:
    return RecoveryRun.model_validate(run)


async def test_a_run_that_may_start_holds_plan_and_group_and_has_its_snapshot() -> None:
    world = await observed()
    run = await world.make_run("first")
    snapshot = await prepare(world.context, run)
    assert ("first", "first") == (held(world, PLAN), held(world, GROUP))
    assert snapshot == await load_snapshot(world.context, of(run))
    assert snapshot == await prepare(world.context, run), "a process that died meanwhile starts on the same one"
    await release(world.context, of(run))
    await release(world.context, of(run))
    assert ("", "") == (held(world, PLAN), held(world, GROUP))


async def test_of_two_plans_that_ask_for_a_group_at_once_one_is_refused_and_keeps_nothing() -> None:
    world = await observed()
    await world.make_plan("other", {})
    runs = [await world.make_run("first"), await world.make_run("second", planRef={"name": "other"})]
    results = await asyncio.gather(*(prepare(world.context, r) for r in runs), return_exceptions=True)
    refused = [r for r in results if isinstance(r, Refused)]
    assert ["AnotherRunActive"] == [r.reason for r in refused], results
    winner = held(world, GROUP)
    assert f"run {winner} holds protectiongroup erp" == refused[0].message
    plans = (PLAN, Key("recoveryplans", PLAN.namespace, "other"))
    assert {winner, ""} == {held(world, key) for key in plans}


@pytest.mark.parametrize("holder", ["gone", "ended", "another of that name"])
async def test_a_claim_of_a_run_that_is_no_more_is_taken_over(holder: str) -> None:
    world = await observed()
    claim = {"name": "old", "uid": "uid-old"}
    if holder != "gone":
        old = await world.make_run("old")
        if holder == "ended":
            claim["uid"] = old["metadata"]["uid"]
            await world.kube.patch_status(Key("recoveryruns", PLAN.namespace, "old"), {"phase": "Failed"})
    for key in (PLAN, GROUP):
        await world.kube.patch_status(key, {"activeRun": claim})
    await prepare(world.context, await world.make_run("new"))
    assert ("new", "new") == (held(world, PLAN), held(world, GROUP))


@pytest.mark.parametrize("applied", [True, False])
async def test_a_claim_whose_answer_was_lost_is_read_again(*, applied: bool) -> None:
    world = await observed()
    lost: list[str] = []

    def lose(verb: str, key: Key) -> None:
        if verb in {"patch_status", "create"} and len(lost) < 3 and key.plural != "recoveryruns":
            lost.append(str(key))
            raise OutcomeUnknown(f"{verb} of {key}: the answer was lost", op=verb)

    run = await world.make_run("first")
    if applied:
        world.kube.after_write = lose
    else:
        world.kube.before_write = lose
    await prepare(world.context, run)
    assert 3 == len(lost)
    assert ("first", "first") == (held(world, PLAN), held(world, GROUP))
    assert None is not await load_snapshot(world.context, of(run))


async def test_what_is_blocked_is_refused_before_anything_is_frozen() -> None:
    world = await observed()
    del world.leipzig.networks["DR LAN"]
    run = await world.make_run("first")
    with pytest.raises(Refused) as refusal:
        await prepare(world.context, run)
    assert "NetworkNotFound" == refusal.value.reason
    assert None is await load_snapshot(world.context, of(run))


async def test_reading_again_what_has_not_changed_writes_nothing() -> None:
    world = await observed()
    await everything(world)  # what the first round could not know of the others
    before, events = world.kube.writes, len(world.kube.events)
    for _ in range(3):
        await everything(world)
    assert (before, events) == (world.kube.writes, len(world.kube.events))
