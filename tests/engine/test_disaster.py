"""Disaster recovery goes on without the protected site, and tells what it did not see."""

from __future__ import annotations

from datetime import timedelta

from resurgo.domain.inventory import Power
from resurgo.domain.ports import Key
from resurgo.domain.replication import Role
from tests.engine.world import BERLIN, LEIPZIG, NS, PAIR, PLAN, Operator, World, condition, message, phase, step

DISASTER = {"mode": "DisasterRecovery", "acknowledgeDataLoss": True}


async def lose(world: World, operator: Operator, *, array: bool = True) -> None:
    """The protected site is gone, long enough to count, and everybody has noticed."""
    world.berlin.go(up=False)
    if array:
        world.pair[BERLIN].reachable = False
    world.clock.ahead += timedelta(seconds=30)
    for kind in ("sites", "replicationpairs"):
        operator.context.ring_kind(kind)
    if array:
        await operator.until(lambda o: condition(o, "Ready")[0] == "False", PAIR, what="the loss")
    await operator.until(lambda o: condition(o, "Reachable")[0] == "False", Key("sites", None, BERLIN), what="the loss")


def states(run: dict, *names: str) -> dict[str, str]:
    return {s["name"]: s["state"] for s in run["status"]["steps"] if s["name"] in names}


async def test_with_the_protected_site_gone_the_vms_are_recovered_from_the_last_copy() -> None:
    world = World()
    await world.declare()
    async with Operator(world) as operator:
        await operator.ready()
        await lose(world, operator)
        await world.ask(desiredState="recovered", recovery=DISASTER)
        run = await operator.over(await operator.run_of())
        plan = await operator.until(
            lambda o: condition(o, "SourceCleanupPending")[0] == "True", PLAN, what="SourceCleanupPending"
        )
    assert ("SucceededWithWarnings", ("True", "SourceNotReleased")) == (phase(run), condition(run, "Succeeded"))
    assert {"total": 2, "ready": 2, "failed": 0, "skipped": 0} == run["status"]["counts"]
    fence = ("FenceShutDown", "FenceUnregister", "FenceUnmount", "LastSync", "FencePrepare")
    assert dict.fromkeys(fence, "Skipped") == states(run, *fence)
    assert ("False", "SourceNotReleased") == condition(run, "SourceFenced")
    assert run["status"]["achieved"]["dataLossSeconds"] >= 30
    assert "keep its VMs off when it comes back" in message(plan, "SourceCleanupPending")
    for name in ("db", "app"):
        vm = world.vm(LEIPZIG, name)
        assert vm is not None
        assert Power.ON is vm.power
    assert Role.FAILED_OVER is world.pair[LEIPZIG].groups["cg-erp"].role


async def test_an_array_that_still_answers_gives_its_last_writes_and_is_fenced() -> None:
    world = World()
    await world.declare()
    async with Operator(world) as operator:
        await operator.ready()
        await lose(world, operator, array=False)
        await world.ask(desiredState="recovered", recovery=DISASTER)
        run = await operator.over(await operator.run_of())
    assert "SucceededWithWarnings" == phase(run), run["status"]
    assert {"FenceShutDown": "Skipped", "LastSync": "Done", "FencePrepare": "Done"} == states(
        run, "FenceShutDown", "LastSync", "FencePrepare"
    )
    assert Role.PREPARED is world.pair[BERLIN].groups["cg-erp"].role


async def test_with_both_sites_up_the_source_is_released_and_nothing_is_pending() -> None:
    world = World()
    await world.declare()
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered", recovery=DISASTER)
        run = await operator.over(await operator.run_of())
    assert ("Succeeded", "Recovered") == (phase(run), condition(run, "Succeeded")[1]), run["status"]
    assert 0 == run["status"]["achieved"]["dataLossSeconds"]
    assert {} == dict(world.berlin.inventory().vms)


async def test_required_fencing_stops_without_proof_before_anything_is_writable() -> None:
    world = World()
    await world.declare()
    async with Operator(world) as operator:
        await operator.ready()
        await lose(world, operator)
        await world.ask(desiredState="recovered", recovery={**DISASTER, "fencing": "Required"})
        key = await operator.run_of()
        run = await operator.over(key)
    assert ("Failed", "SourceUnreachable") == (phase(run), condition(run, "Succeeded")[1]), run["status"]
    assert Role.TARGET is world.pair[LEIPZIG].groups["cg-erp"].role
    assert {} == dict(world.leipzig.inventory().vms)


async def test_a_planned_migration_is_refused_and_one_edit_makes_it_a_disaster_recovery() -> None:
    world = World()
    await world.declare()
    async with Operator(world) as operator:
        await operator.ready()
        await lose(world, operator)
        await world.ask(desiredState="recovered")
        first = await operator.run_of()
        refused = await operator.over(first)
        assert ("Refused", ("False", "ProtectedSiteUnavailable")) == (phase(refused), condition(refused, "Succeeded"))
        assert "set recovery.mode to DisasterRecovery" in message(refused, "Succeeded")
        await operator.until(lambda o: condition(o, "InSync")[1] == "RunRefused", PLAN, what="RunRefused")
        await world.ask(recovery=DISASTER)
        plan = await operator.until(
            lambda o: o["status"]["lastRequest"].get("run") not in {None, first.name}, PLAN, what="another run"
        )
        second = await operator.over(Key("recoveryruns", NS, plan["status"]["lastRequest"]["run"]))
    assert "SucceededWithWarnings" == phase(second), second["status"]
    assert 2 == len(await world.runs())


async def test_a_source_that_dies_while_it_is_asked_does_not_hold_the_run() -> None:
    world = World()
    await world.declare()
    world.berlin.shutdown_seconds = 600.0
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered", recovery=DISASTER)
        key = await operator.run_of()
        await operator.until(lambda o: step(o) == "FenceShutDown", key, what="FenceShutDown")
        await lose(world, operator)
        run = await operator.over(key)
    assert "SucceededWithWarnings" == phase(run), run["status"]


async def test_data_loss_must_be_acknowledged() -> None:
    world = World()
    await world.declare()
    async with Operator(world) as operator:
        await operator.ready()
        await world.make_run("by-hand", type="DisasterRecovery")
        run = await operator.over(Key("recoveryruns", NS, "by-hand"))
    assert ("Refused", "NotAcknowledged") == (phase(run), condition(run, "Succeeded")[1])
