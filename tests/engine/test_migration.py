"""A plan's edit becomes a planned migration that ends with every VM at the other site, in any order of accidents."""

from __future__ import annotations

import pytest

from resurgo.domain.errors import Conflict, OutcomeUnknown, Rejected
from resurgo.domain.inventory import Power
from resurgo.domain.ports import Key, Obj
from resurgo.domain.replication import Role
from tests.engine.world import BERLIN, GROUP, LEIPZIG, NS, PLAN, Operator, World, condition, message, phase, step

STAGES = [{"name": "database", "virtualMachines": [{"name": "db"}]}, {"name": "web", "dependsOn": ["database"]}]


async def declared(**changes: object) -> World:
    world = World(**changes)  # type: ignore[arg-type]
    await world.declare(plan={"stages": STAGES})
    return world


async def test_an_edit_moves_every_vm_and_says_so() -> None:
    world = await declared()
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered")
        run = await operator.over(await operator.run_of())
        plan = await operator.until(lambda o: condition(o, "InSync") == ("True", "AsDesired"), PLAN, what="InSync")
        group = await operator.until(
            lambda o: o["status"].get("activeSite") == LEIPZIG and "activeRun" not in o["status"], GROUP, what="move"
        )
    assert ("Succeeded", ("True", "Recovered")) == (phase(run), condition(run, "Succeeded"))
    assert {"total": 2, "ready": 2, "failed": 0, "skipped": 0} == run["status"]["counts"]
    assert {"Done", "Skipped"} >= {s["state"] for s in run["status"]["steps"]}, run["status"]["steps"]
    assert 0 == run["status"]["achieved"]["dataLossSeconds"]
    assert ("recovered", LEIPZIG, None) == (
        plan["status"]["observedState"],
        plan["status"]["activeSite"],
        plan["status"].get("activeRun"),
    )
    assert ("False", "NotReprotected") == condition(group, "Ready")
    assert {} == dict(world.berlin.inventory().vms)
    for name in ("db", "app"):
        vm = world.vm(LEIPZIG, name)
        assert vm is not None
        assert (Power.ON, "/leipzig/vm/erp") == (vm.power, vm.folder)
        assert vm.ip_address.startswith("10.2.0.1")
        assert 1 == world.leipzig.effects[f"PowerOn {name}"]
    assert (Role.PREPARED, Role.FAILED_OVER) == tuple(world.pair[s].groups["cg-erp"].role for s in (BERLIN, LEIPZIG))
    assert [] == world.losses


async def test_stages_power_on_in_their_order() -> None:
    world = await declared()
    order: list[str] = []
    world.leipzig.after = lambda operation, about: order.append(about) if operation == "PowerOn" else None
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered")
        await operator.over(await operator.run_of())
    assert ["db", "app"] == order


async def test_datastores_that_hold_no_vmx_are_mounted_too() -> None:
    world = await declared(machines={"db": "ds1", "app": "ds1"}, groups={"cg-erp": ("ds1", "disks")})
    world.files["ds1"]["db/db.vmx"].disks += ("[disks] db/data.vmdk",)
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered")
        run = await operator.over(await operator.run_of())
    assert "Succeeded" == phase(run), run["status"]
    mounted = {d.name: len(d.hosts) for d in world.leipzig.inventory().datastores}
    assert {"ds1": 2, "disks": 2} == mounted


async def test_a_lost_answer_is_observed_and_not_asked_for_again() -> None:
    world = await declared()
    lost: list[str] = []

    def lose(operation: str, about: str) -> None:
        if about == "db" or operation == "Register":
            lost.append(operation)
            raise OutcomeUnknown(f"{operation} of {about}: the answer was lost", op=operation)

    async with Operator(world) as operator:
        await operator.ready()
        world.leipzig.after = lose
        await world.ask(desiredState="recovered")
        run = await operator.over(await operator.run_of())
    assert "Succeeded" == phase(run), run["status"]
    assert {"Register", "Configure", "Customize", "PowerOn"} <= set(lost)
    assert [] == [what for what, times in world.leipzig.effects.items() if times > 1]


async def test_a_lost_answer_of_the_array_is_observed_and_not_asked_for_again() -> None:
    world = await declared()
    async with Operator(world) as operator:
        await operator.ready()
        world.pair[BERLIN].lose_answer["prepare_failover"] += 1
        world.pair[LEIPZIG].lose_answer["failover"] += 1
        await world.ask(desiredState="recovered")
        run = await operator.over(await operator.run_of())
    assert "Succeeded" == phase(run), run["status"]
    assert 1 == world.pair[BERLIN].effects["prepare_failover", "cg-erp"]
    assert 1 == world.pair[LEIPZIG].effects["failover", "cg-erp"]


@pytest.mark.parametrize("moment", ["ShutdownGuest", "Unregister", "Mount", "Register", "PowerOn"])
async def test_another_process_goes_on_where_the_first_one_died(moment: str) -> None:
    world = await declared()
    first = Operator(world)
    died: list[str] = []

    def die(operation: str, about: str) -> None:
        if operation == moment and not died:
            died.append(about)
            for _, _, task in first.loops.values():
                task.cancel()

    world.berlin.after = world.leipzig.after = die
    async with first:
        await first.ready()
        await world.ask(desiredState="recovered")
        run = await first.run_of()
        await first.until(lambda _: bool(died), run, what=moment)
    async with Operator(world) as second:
        ended = await second.over(run)
    assert "Succeeded" == phase(ended), ended["status"]
    effects = world.berlin.effects + world.leipzig.effects
    assert [] == [what for what, times in effects.items() if times > 1]
    assert 1 == len(await world.runs())


async def test_a_failure_before_the_point_of_no_return_brings_everything_back() -> None:
    world = await declared()
    world.pair[BERLIN].refuse["prepare_failover", "cg-erp"] += 1
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered")
        run = await operator.over(await operator.run_of())
        plan = await operator.until(lambda o: condition(o, "InSync")[1] == "RunFailed", PLAN, what="RunFailed")
    assert "Failed" == phase(run)
    assert "Rolled back: the VMs are at berlin as before" in message(run, "Succeeded")
    assert "the array refused" in message(plan, "InSync")
    assert ["db", "app"] == [v.name for v in world.berlin.inventory().vms.values() if v.power is Power.ON]
    assert 1 == len(await world.runs())


async def test_a_failed_wish_does_not_fire_again_whatever_was_lost_and_edited_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The status write that tells of a new run often loses against the run's own claim on the plan."""
    world = await declared()
    world.pair[BERLIN].hold.add("sync")
    world.pair[BERLIN].refuse["prepare_failover", "cg-erp"] += 1
    written, edited = world.kube.patch_status, list[bool]()

    async def overtaken(key: Key, status: Obj, *, resource_version: str | None = None) -> Obj:
        if not edited and (status.get("lastRequest") or {}).get("run"):
            raise Conflict(f"{key}: the object has been modified")
        return await written(key, status, resource_version=resource_version)

    monkeypatch.setattr(world.kube, "patch_status", overtaken)
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered")
        run = await operator.first_run()
        await operator.until(lambda o: step(o) == "PreSync", run, what="PreSync")
        await world.ask(runHistoryLimit=7)
        edited.append(True)
        await operator.until(lambda o: bool(o["status"].get("lastRequest", {}).get("run")), PLAN, what="its record")
        world.pair[BERLIN].hold.clear()
        world.pair.release()
        await operator.over(run)
        await operator.until(lambda o: condition(o, "InSync")[1] == "RunFailed", PLAN, what="RunFailed")
        await world.ask(runHistoryLimit=8)
        await operator.until(
            lambda o: o["status"]["observedGeneration"] == o["metadata"]["generation"], PLAN, what="a look"
        )
    assert 1 == len(await world.runs())


async def test_a_retry_repeats_only_what_is_not_done() -> None:
    world = await declared()

    def refuse(operation: str, about: str) -> None:
        if (operation, about) == ("PowerOn", "app"):
            raise Rejected("PowerOn of VM app: not enough licences", reason="NotEnoughLicenses")

    world.leipzig.before = refuse
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered")
        key = await operator.run_of()
        first = await operator.over(key)
        assert ("Failed", "StageHalted") == (phase(first), condition(first, "Succeeded")[1]), first["status"]
        world.leipzig.before = lambda _operation, _about: None
        await world.kube.patch(key, {"spec": {"retry": 1}})
        again = await operator.until(
            lambda o: o["status"].get("handledRetry") == 1 and "completionTime" in o["status"], key, what="the retry"
        )
    assert "Succeeded" == phase(again), again["status"]
    assert (1, 1) == (world.leipzig.effects["PowerOn db"], world.leipzig.effects["PowerOn app"])
    assert 1 == world.pair[LEIPZIG].effects["failover", "cg-erp"]


async def test_a_cancel_before_the_point_of_no_return_rolls_back() -> None:
    world = await declared()
    world.pair[BERLIN].hold.add("sync")
    async with Operator(world) as operator:
        await operator.ready()
        await world.ask(desiredState="recovered")
        key = await operator.run_of()
        await operator.until(lambda o: step(o) == "PreSync", key, what="PreSync")
        await world.kube.patch(key, {"spec": {"control": "Cancel"}})
        world.pair[BERLIN].hold.clear()
        world.pair.release()
        run = await operator.over(key)
    assert ("Cancelled", "Cancelled") == (phase(run), condition(run, "Succeeded")[1])
    assert 2 == len([v for v in world.berlin.inventory().vms.values() if v.power is Power.ON])


# -- one run at a time ---------------------------------------------------------------------------------


async def test_of_two_runs_one_is_refused_and_told_who_holds_the_group() -> None:
    world = await declared()
    world.pair[BERLIN].hold.add("sync")
    async with Operator(world) as operator:
        await operator.ready()
        await world.make_run("first")
        first = Key("recoveryruns", NS, "first")
        await operator.until(lambda o: step(o) == "PreSync", first, what="PreSync")
        await world.make_run("second")
        second = await operator.over(Key("recoveryruns", NS, "second"))
        assert ("Refused", ("False", "AnotherRunActive")) == (phase(second), condition(second, "Succeeded"))
        assert "nothing was changed: run first holds " in message(second, "Succeeded")
        held = (await world.get(GROUP))["status"]["activeRun"]
        assert "first" == held["name"]
        world.pair[BERLIN].hold.clear()
        world.pair.release()
        assert "Succeeded" == phase(await operator.over(first))
        await operator.until(lambda o: "activeRun" not in o["status"], GROUP, what="the claim's end")
