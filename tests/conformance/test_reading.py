"""Discovery and status, before anything happens, and of what is not there."""

from __future__ import annotations

import pytest
from tests.conformance.rig import ACCESS, Driver, Rig

from resurgo.domain.errors import InvalidState, Missing, Unreachable
from resurgo.domain.replication import GroupRef, Role


async def test_both_ends_show_every_group_joined_by_its_pair_key(rig: Rig, drive: Driver) -> None:
    there = {s.ref.id: s for s in await drive.source.discover()}
    here = {s.ref.pair_key: s for s in await drive.target.discover()}
    assert set(rig.groups) == set(there)
    for status in there.values():
        peer = here[status.ref.pair_key]
        assert (Role.SOURCE, Role.TARGET) == (status.role, peer.role)
        assert {d.pair_key for d in status.devices} == {d.pair_key for d in peer.devices}


async def test_a_source_is_presentable_and_a_target_is_not(drive: Driver) -> None:
    source, target = await drive.status(drive.source), await drive.status(drive.target)
    assert all(d.writable and d.identity for d in source.devices)
    assert not any(d.writable or d.identity for d in target.devices)
    assert target.recovery_point is None


async def test_a_group_that_is_not_there_is_missing(drive: Driver) -> None:
    with pytest.raises(Missing):
        await drive.source.status(GroupRef("cg-nobody", "key-nobody"))
    with pytest.raises(Missing):
        await drive.source.poll("no handle of anybody")


async def test_an_operation_at_the_wrong_end_is_refused_and_changes_nothing(drive: Driver) -> None:
    at_target, at_source = await drive.ref(drive.target), await drive.ref(drive.source)
    with pytest.raises(InvalidState):
        await drive.target.sync(at_target, op_id="x")
    with pytest.raises(InvalidState):
        await drive.target.prepare_failover(at_target, op_id="x")
    with pytest.raises(InvalidState):
        await drive.source.failover(at_source, op_id="x", planned=True, access=ACCESS)
    assert Role.SOURCE is (await drive.status(drive.source)).role
    assert Role.TARGET is (await drive.status(drive.target)).role


async def test_an_array_that_is_cut_off_is_unreachable_and_its_peer_is_not(rig: Rig, drive: Driver) -> None:
    rig.cut(rig.source)
    with pytest.raises(Unreachable):
        await drive.source.discover()
    assert Role.TARGET is (await drive.status(drive.target)).role
    rig.heal(rig.source)
    assert Role.SOURCE is (await drive.status(drive.source)).role
