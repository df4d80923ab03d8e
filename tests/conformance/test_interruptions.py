"""What dies, hangs or is refused in the middle, and how the caller finds out what became of it."""

from __future__ import annotations

import pytest
from tests.conformance.rig import ACCESS, Driver, Rig, already

from resurgo.domain.errors import OutcomeUnknown
from resurgo.domain.replication import Phase, Role


async def test_a_long_operation_is_polled_to_its_end(rig: Rig, drive: Driver) -> None:
    await drive.write(drive.source, 1)
    rig.slow(rig.source, "sync")
    op = await drive.source.sync(await drive.ref(drive.source), op_id="s")
    assert Phase.RUNNING is op.phase
    assert Phase.RUNNING is (await drive.source.poll(op.handle)).phase
    await rig.hurry()
    assert Phase.SUCCEEDED is (await drive.ended(drive.source, op)).phase
    assert (await drive.status(drive.target)).recovery_point is not None


async def test_another_process_polls_what_a_dead_one_started(rig: Rig, drive: Driver) -> None:
    await drive.write(drive.source, 1)
    handle = await rig.begin_and_die(rig.source, rig.groups[0])
    first = await drive.source.poll(handle)
    await rig.hurry()
    assert Phase.SUCCEEDED is (await drive.ended(drive.source, first)).phase
    status = await drive.status(drive.target)
    await drive.failover(planned=False)
    assert status.recovery_point is not None
    await drive.assert_generation((await drive.status(drive.target)).devices, 1)


async def test_an_item_that_is_refused_fails_with_the_arrays_words_and_can_be_asked_again(
    rig: Rig, drive: Driver
) -> None:
    await drive.write(drive.source, 1)
    await drive.sync()
    rig.refuse(rig.target, "failover", rig.groups[0])
    ref = await drive.ref(drive.target)
    op = await drive.ended(drive.target, await drive.target.failover(ref, op_id="f", planned=True, access=ACCESS))
    assert Phase.FAILED is op.phase
    assert "the array refused" in op.failure
    assert "ask it again" in op.failure
    assert Role.TARGET is (await drive.status(drive.target)).role
    await drive.failover(planned=True)
    await drive.assert_generation((await drive.status(drive.target)).devices, 1)


async def test_a_refused_group_does_not_touch_the_other(rig: Rig, drive: Driver) -> None:
    rig.refuse(rig.source, "sync", rig.groups[0])
    assert (await drive.sync(1)).recovery_point is not None
    op = await drive.ended(drive.source, await drive.source.sync(await drive.ref(drive.source), op_id="s"))
    assert Phase.FAILED is op.phase


@pytest.mark.parametrize("operation", ["prepare_failover", "failover"])
async def test_a_lost_answer_is_found_by_looking(rig: Rig, drive: Driver, operation: str) -> None:
    await drive.write(drive.source, 1)
    await drive.sync()
    site = rig.source if operation == "prepare_failover" else rig.target
    endpoint = rig.endpoint(site)
    ref = await drive.ref(endpoint)
    rig.lose_answer(site, operation)

    async def act() -> Phase:
        call = (
            endpoint.prepare_failover(ref, op_id="p")
            if operation == "prepare_failover"
            else endpoint.failover(ref, op_id="f", planned=True, access=ACCESS)
        )
        op = await drive.ended(endpoint, await call)
        seen.append(already(op))
        return op.phase

    seen: list[bool] = []
    try:
        assert Phase.SUCCEEDED is await act()
    except OutcomeUnknown:
        # Allowed: then the next attempt finds it done.
        assert Phase.SUCCEEDED is await act()
        assert seen == [True]
    wanted = Role.PREPARED if operation == "prepare_failover" else Role.FAILED_OVER
    assert wanted is (await endpoint.status(ref)).role


async def test_a_lost_answer_of_a_sync_is_unknown_and_repeating_it_is_safe(rig: Rig, drive: Driver) -> None:
    await drive.write(drive.source, 1)
    rig.lose_answer(rig.source, "sync")
    ref = await drive.ref(drive.source)
    with pytest.raises(OutcomeUnknown):
        await drive.ended(drive.source, await drive.source.sync(ref, op_id="s"))
    await drive.sync()
    await drive.failover(planned=False)
    await drive.assert_generation((await drive.status(drive.target)).devices, 1)
