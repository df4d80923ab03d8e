"""Sync, planned failover, its undoing, and disaster: whose data it is afterwards, byte by byte."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from tests.conformance.rig import ACCESS, Driver, Rig, already, devices_of

from resurgo.domain.errors import DrError, InvalidState, Unreachable
from resurgo.domain.replication import Phase, Role


async def test_a_sync_moves_the_recovery_point_to_the_data_of_now(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    written = datetime.now(UTC)
    first = (await drive.sync()).recovery_point
    second = (await drive.sync()).recovery_point
    assert first is not None
    assert second is not None
    assert written <= first < second <= datetime.now(UTC)


async def test_a_planned_failover_brings_the_last_write_and_leaves_the_source_read_only(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    await drive.sync()
    await drive.write(drive.source, 2)
    before = (await drive.status(drive.source)).devices
    await drive.prepare()
    prepared = await drive.status(drive.source)
    assert Role.PREPARED is prepared.role
    assert not any(d.writable or d.identity for d in prepared.devices)
    with pytest.raises(PermissionError):
        await drive.rig.write(before[0].identity, "late", b"")  # type: ignore[arg-type]
    point = (await drive.sync()).recovery_point  # from a source that is read-only already
    op = await drive.failover(planned=True)
    status = await drive.status(drive.target)
    assert (Role.FAILED_OVER, point) == (status.role, status.recovery_point)
    await drive.assert_generation(status.devices, 2)
    assert {d.identity for d in status.devices} == {d.identity for d in devices_of(op)}
    assert {point} == {r.recovery_point for r in op.results}


async def test_each_step_may_be_repeated_and_says_that_it_was_done(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    await drive.sync()
    assert not already(await drive.prepare())
    assert already(await drive.prepare())
    assert not already(await drive.failover(planned=True))
    await drive.write(drive.target, 2)  # what a repeated failover must not take back
    before = await drive.status(drive.target)
    again = await drive.failover(planned=True)
    assert already(again)
    assert before == await drive.status(drive.target)
    assert {d.identity for d in before.devices} == {d.identity for d in devices_of(again)}
    await drive.assert_generation(before.devices, 2)


async def test_a_restored_source_is_writable_again_and_replicates(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    await drive.sync()
    await drive.prepare()
    ref = await drive.ref(drive.source)
    assert not already(await drive.succeed(drive.source, drive.source.restore(ref, op_id="r")))
    assert already(await drive.succeed(drive.source, drive.source.restore(ref, op_id="r")))
    assert Role.SOURCE is (await drive.status(drive.source)).role
    await drive.write(drive.source, 2)
    await drive.sync()
    await drive.failover(planned=False)
    await drive.assert_generation((await drive.status(drive.target)).devices, 2)


async def test_a_source_whose_peer_has_taken_over_is_not_restored(drive: Driver) -> None:
    await drive.migrate()
    ref = await drive.ref(drive.source)
    try:
        op = await drive.ended(drive.source, await drive.source.restore(ref, op_id="r"))
    except InvalidState:
        pass
    else:
        assert Phase.FAILED is op.phase
    assert not any(d.writable for d in (await drive.status(drive.source)).devices)


async def test_a_disaster_brings_exactly_the_generation_of_the_recovery_point(rig: Rig, drive: Driver) -> None:
    await drive.write(drive.source, 1)
    point = (await drive.sync()).recovery_point
    await drive.write(drive.source, 2)
    rig.cut(rig.source)
    op = await drive.failover(planned=False)
    await drive.assert_generation(devices_of(op), 1)
    status = await drive.status(drive.target)
    assert (Role.FAILED_OVER, point) == (status.role, status.recovery_point)
    rig.heal(rig.source)
    # Nobody made the old source read-only: both ends are writable, and both say so.
    assert Role.SOURCE is (await drive.status(drive.source)).role


async def test_a_disaster_in_the_middle_of_a_sync_brings_the_last_complete_point(rig: Rig, drive: Driver) -> None:
    await drive.write(drive.source, 1)
    point = (await drive.sync()).recovery_point
    await drive.write(drive.source, 2)
    rig.slow(rig.source, "sync")
    late = await drive.source.sync(await drive.ref(drive.source), op_id="late")
    assert Phase.RUNNING is late.phase
    await drive.failover(planned=False)
    await rig.hurry()
    with contextlib.suppress(DrError):  # an adapter may also not know any more
        assert Phase.FAILED is (await drive.ended(drive.source, late)).phase
    status = await drive.status(drive.target)
    assert (Role.FAILED_OVER, point) == (status.role, status.recovery_point)
    await drive.assert_generation(status.devices, 1)


async def test_a_disaster_without_any_complete_point_changes_nothing(drive: Driver) -> None:
    ref = await drive.ref(drive.target)
    op = await drive.ended(drive.target, await drive.target.failover(ref, op_id="f", planned=False, access=ACCESS))
    assert Phase.FAILED is op.phase
    assert op.failure
    assert Role.TARGET is (await drive.status(drive.target)).role


async def test_without_its_peer_an_array_can_not_sync_and_later_can(rig: Rig, drive: Driver) -> None:
    await drive.write(drive.source, 1)
    ref = await drive.ref(drive.source)
    rig.cut(rig.target)
    try:
        op = await drive.ended(drive.source, await drive.source.sync(ref, op_id="s"))
    except Unreachable:
        pass
    else:
        assert Phase.FAILED is op.phase
        assert op.failure
    rig.heal(rig.target)
    assert (await drive.sync()).recovery_point is not None
