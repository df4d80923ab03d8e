"""The SRA adapter on the reference SRA, where the conformance suite does not look: the registry, counters, crashes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.conformance.rig import Driver
from tests.conformance.rigs.sra_dirarray import Dirarrays, SraRig, endpoints

from resurgo.adapters.replication.contract import build_pair
from resurgo.adapters.replication.sra import SraEndpoint
from resurgo.domain.errors import InvalidPlan, NotAllowed, NotSupported, OutcomeUnknown
from resurgo.domain.replication import Access, GroupRef, Op, Phase, Role

ACCESS = Access("c2", ())
REF = GroupRef("cg-erp", "pair.cg-erp")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[SraRig]:
    made = SraRig(tmp_path)
    yield made
    await made.aclose()


@pytest.fixture
def arrays(rig: SraRig) -> Dirarrays:
    return rig.arrays


async def failover(endpoint: SraEndpoint, *, planned: bool = False) -> Op:
    return await endpoint.failover(REF, op_id="f", planned=planned, access=ACCESS)


async def test_the_registry_builds_both_ends_by_site(arrays: Dirarrays) -> None:
    pair = build_pair(arrays.spec(), arrays.surroundings())
    assert {"berlin": Role.SOURCE, "leipzig": Role.TARGET} == {
        site: (await end.status(REF)).role for site, end in pair.items()
    }


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"adapter": {"type": "zfs"}}, NotSupported, "zfs is not part of this version"),
        ({"adapter": {"type": "tape"}}, NotSupported, "'tape' is not known"),
        ({"sra": {}}, InvalidPlan, r"sra\.name"),
        ({"endpoints": []}, InvalidPlan, "two endpoints"),
    ],
)
def test_the_registry_says_what_is_wrong_with_a_spec(
    arrays: Dirarrays, change: dict[str, object], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        build_pair({**arrays.spec(), **change}, arrays.surroundings())


async def test_a_repeated_failover_has_one_effect(rig: SraRig, arrays: Dirarrays) -> None:
    drive = Driver(rig)
    await drive.write(drive.source, 1)
    await drive.sync()
    for _ in range(2):
        await drive.failover(planned=True)
    assert {"calls": 1, "effects": 1} == arrays.counters("leipzig")["failover cg-erp"]


async def test_a_forced_failover_touches_no_other_array_and_waits_for_none(rig: SraRig, arrays: Dirarrays) -> None:
    drive = Driver(rig)
    await drive.write(drive.source, 1)
    await drive.sync()
    arrays.fault("berlin", "syncOnce", {"hang": True})
    ends = endpoints(arrays, answer_within=0.5, limit=8)
    stuck = await ends["berlin"].sync(REF, op_id="s")
    deadline = time.monotonic() + 20
    while arrays.counters("berlin")["syncOnce cg-erp"]["calls"] < 2:
        assert time.monotonic() < deadline, "the second sync was not sent"
        await asyncio.sleep(0.05)
    before = arrays.counters("berlin")
    op = await drive.ended(ends["leipzig"], await failover(ends["leipzig"]))
    assert Phase.SUCCEEDED is op.phase
    assert before == arrays.counters("berlin")
    assert Phase.RUNNING is (await ends["berlin"].poll(stuck.handle)).phase
    for end in ends.values():
        await end.aclose()


async def test_a_sync_that_dies_in_the_middle_leaves_no_recovery_point(rig: SraRig, arrays: Dirarrays) -> None:
    drive = Driver(rig)
    await drive.write(drive.source, 1)
    point = (await drive.sync()).recovery_point
    await drive.write(drive.source, 2)
    arrays.fault("berlin", "syncOnce", {"dieMidEffect": True}, times=1)
    with pytest.raises(OutcomeUnknown):
        await drive.source.sync(REF, op_id="s")
    assert point == (await drive.status(drive.target)).recovery_point
    await drive.sync()
    await drive.failover(planned=False)
    await drive.assert_generation((await drive.status(drive.target)).devices, 2)
    assert [] == list((arrays.array("leipzig") / "cg-erp" / "points").glob("*.partial"))


async def test_a_sync_in_the_background_is_polled_by_its_id(rig: SraRig, arrays: Dirarrays) -> None:
    drive = Driver(rig)
    await drive.write(drive.source, 1)
    arrays.setting("berlin", syncSeconds=2)
    op = await drive.source.sync(REF, op_id="s")
    assert Phase.RUNNING is op.phase
    assert op.handle.startswith("sync:")
    assert (await drive.status(drive.target)).recovery_point is None
    assert Phase.SUCCEEDED is (await drive.ended(drive.source, op)).phase
    assert (await drive.status(drive.target)).recovery_point is not None


async def test_a_wrong_password_is_not_allowed(rig: SraRig, arrays: Dirarrays) -> None:
    (arrays.array("berlin") / "credentials.json").write_text(json.dumps({"username": "dr", "password": "other"}))
    with pytest.raises(NotAllowed, match="refused"):
        await rig.endpoint("berlin").discover()


async def test_an_adapter_without_a_command_says_so_at_once(rig: SraRig, arrays: Dirarrays) -> None:
    (arrays.command.parent / "capabilities.json").write_text('{"off": ["prepareFailover"]}')
    with pytest.raises(NotSupported, match="prepareFailover"):
        await rig.endpoint("berlin").prepare_failover(REF, op_id="p")


async def test_what_raises_when_it_is_done_is_done(rig: SraRig, arrays: Dirarrays) -> None:
    drive = Driver(rig)
    await drive.write(drive.source, 1)
    await drive.migrate()
    arrays.fault("berlin", "prepareReverseReplication", {"alreadyRaises": True})
    assert Phase.SUCCEEDED is (await drive.source.prepare_reverse(REF, op_id="p")).phase


async def test_replication_by_schedule_moves_the_recovery_point(rig: SraRig, arrays: Dirarrays) -> None:
    drive = Driver(rig)
    await drive.write(drive.source, 1)
    arrays.sync_by_schedule("berlin", "cg-erp")
    assert (await drive.status(drive.target)).recovery_point is not None


async def test_holes_stay_holes_and_points_never_share_a_file_with_live(rig: SraRig, arrays: Dirarrays) -> None:
    drive = Driver(rig)
    live = arrays.array("berlin") / "cg-erp" / "live" / "ds-cg-erp-01"
    with (live / "sparse").open("wb") as file:
        file.write(b"begin")
        file.truncate(1 << 30)
    (live / ".lck-1").write_bytes(b"lock")
    await drive.sync()
    await drive.failover(planned=False)
    copy = arrays.array("leipzig") / "cg-erp" / "live" / "ds-cg-erp-01"
    facts = (copy / "sparse").stat()
    assert (1 << 30, 1) == (facts.st_size, facts.st_nlink)
    assert facts.st_blocks * 512 < 1 << 20
    assert b"lock" == (copy / ".lck-1").read_bytes()
