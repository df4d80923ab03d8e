"""Tests of recovery: beside replication, and without a trace afterwards."""

from __future__ import annotations

import pytest
from tests.conformance.rig import ACCESS, Driver, already, devices_of, mountable

from resurgo.domain.errors import InvalidState
from resurgo.domain.replication import Op, Role


async def _start(drive: Driver, test_id: str = "run-1") -> Op:
    ref = await drive.ref(drive.target)
    return await drive.succeed(drive.target, drive.target.test_start(ref, op_id="t", test_id=test_id, access=ACCESS))


async def _stop(drive: Driver, test_id: str = "run-1", *, force: bool = False) -> Op:
    ref = await drive.ref(drive.target)
    return await drive.succeed(drive.target, drive.target.test_stop(ref, op_id="t", test_id=test_id, force=force))


async def test_a_test_shows_a_copy_while_replication_goes_on(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    point = (await drive.sync()).recovery_point
    devices = devices_of(await _start(drive))
    await drive.assert_generation(devices, 1)
    await drive.rig.write(mountable(devices[0]), "of-the-test", b"x")
    await drive.write(drive.source, 2)
    during = await drive.sync()
    assert during.test is not None
    assert ("run-1", point) == (during.test.test_id, during.test.recovery_point)
    assert during.recovery_point is not None
    assert point is not None
    assert during.recovery_point > point
    assert Role.TARGET is during.role
    await drive.assert_generation(during.test.devices, 1)


async def test_a_stopped_test_leaves_no_trace(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    before = await drive.sync()
    devices = devices_of(await _start(drive))
    await drive.rig.write(mountable(devices[0]), "of-the-test", b"x")
    assert not already(await _stop(drive))
    assert before == await drive.status(drive.target)
    with pytest.raises(PermissionError):
        await drive.rig.read(mountable(devices[0]), "disk")
    await drive.failover(planned=False)
    after = await drive.status(drive.target)
    await drive.assert_generation(after.devices, 1)
    assert await drive.rig.read(mountable(after.devices[0]), "of-the-test") is None


async def test_starting_and_stopping_may_be_repeated(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    await drive.sync()
    assert not already(await _start(drive))
    await drive.write(drive.source, 2)
    await drive.sync()
    again = await _start(drive)
    assert already(again)
    await drive.assert_generation(devices_of(again), 1)
    assert not already(await _stop(drive))
    assert already(await _stop(drive))


async def test_a_test_of_somebody_else_is_neither_taken_over_nor_stopped(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    await drive.sync()
    await _start(drive, "run-1")
    with pytest.raises(InvalidState, match="run-1"):
        await _start(drive, "run-2")
    with pytest.raises(InvalidState, match="run-1"):
        await _stop(drive, "run-2")
    assert (await drive.status(drive.target)).test is not None
    await _stop(drive, "run-2", force=True)
    assert (await drive.status(drive.target)).test is None
