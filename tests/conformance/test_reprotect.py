"""Turning replication round, and coming back."""

from __future__ import annotations

import pytest
from tests.conformance.rig import ACCESS, Driver, Rig, already

from resurgo.domain.errors import InvalidState
from resurgo.domain.replication import Op, Phase, Role


async def _turn(drive: Driver) -> tuple[Op, Op]:
    old, new = await drive.ref(drive.source), await drive.ref(drive.target)
    prepared = await drive.succeed(drive.source, drive.source.prepare_reverse(old, op_id="p"))
    return prepared, await drive.succeed(drive.target, drive.target.reverse(new, op_id="r", access=ACCESS))


@pytest.mark.parametrize("planned", [True, False], ids=["planned", "disaster"])
async def test_replication_turned_round_brings_the_new_data_back(rig: Rig, drive: Driver, planned: bool) -> None:
    await drive.write(drive.source, 1)
    await (drive.migrate() if planned else drive.sync())
    if not planned:
        await drive.failover(planned=False)
        await drive.write(drive.source, 7)  # the loser's last data must go
    await drive.write(drive.target, 2)
    await _turn(drive)
    old, new = await drive.status(drive.source), await drive.status(drive.target)
    assert (Role.TARGET, Role.SOURCE) == (old.role, new.role)
    assert old.recovery_point is None
    back = Driver(_swapped(rig))
    assert (await back.sync()).recovery_point is not None
    await back.write(back.source, 3)
    await back.migrate()
    await back.assert_generation((await back.status(back.target)).devices, 3)


async def test_turning_round_may_be_repeated(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    await drive.migrate()
    old = await drive.ref(drive.source)
    for _ in range(2):
        await drive.succeed(drive.source, drive.source.prepare_reverse(old, op_id="p"))
    await _turn(drive)
    before = await drive.status(drive.target)
    assert all(map(already, await _turn(drive)))
    assert before == await drive.status(drive.target)
    await drive.assert_generation(before.devices, 1)


async def test_replication_is_not_turned_round_before_a_failover(drive: Driver) -> None:
    await drive.write(drive.source, 1)
    await drive.sync()
    ref = await drive.ref(drive.source)
    try:
        op = await drive.ended(drive.source, await drive.source.prepare_reverse(ref, op_id="p"))
    except InvalidState:
        pass
    else:
        assert Phase.FAILED is op.phase
    with pytest.raises(InvalidState):
        await drive.target.reverse(await drive.ref(drive.target), op_id="r", access=ACCESS)
    source = await drive.status(drive.source)
    assert Role.SOURCE is source.role
    await drive.assert_generation(source.devices, 1)


class _swapped:  # noqa: N801 (reads as a function)
    """The same rig seen from the other side."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.source, self.target = rig.target, rig.source

    def __getattr__(self, name: str) -> object:
        return getattr(self._rig, name)
