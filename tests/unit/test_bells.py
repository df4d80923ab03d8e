"""Bells: rings between rests count as one, a rest ends on ring, stop or time, the book forgets what is taken down."""

from __future__ import annotations

import asyncio
import time

import kopf
import pytest
from tests.fakes.bell import FakeBell

from resurgo.domain.ports import Key
from resurgo.edge.bells import Bells, DaemonStopping, DeletedStopping, HungBell
from resurgo.edge.handlers import KINDS, SETTLED, build_registry, needs_loop
from resurgo.engine.bell import Bell, Stop

PLAN = Key("recoveryplans", "erp", "all")
Reason = kopf.DaemonStoppingReason


class Stopper:
    """kopf's stop flag, driven by hand, with the two things a bell reads of it."""

    def __init__(self) -> None:
        from kopf._core.intents.stoppers import DaemonStopper

        self._setter = DaemonStopper()
        self.stopped = self._setter.async_waiter

    def stop(self, reason: kopf.DaemonStoppingReason) -> None:
        self._setter.set(reason=reason)


def daemon_bell() -> tuple[HungBell, Stopper]:
    stopper = Stopper()
    return HungBell(DaemonStopping(stopper.stopped)), stopper


async def rest_of(bell: Bell, seconds: float) -> float:
    started = time.monotonic()
    async with asyncio.timeout(5):
        await bell.rest(seconds)
    return time.monotonic() - started


@pytest.mark.parametrize("kind", ["daemon", "fake"])
async def test_many_rings_are_one_and_a_missed_ring_is_not_lost(kind: str) -> None:
    bell: Bell = daemon_bell()[0] if kind == "daemon" else FakeBell()
    for _ in range(3):
        bell.ring()
    assert await rest_of(bell, 60) < 1
    assert 0.1 <= await rest_of(bell, 0.1) < 1


async def test_a_ring_ends_a_rest() -> None:
    bell, _ = daemon_bell()
    asyncio.get_running_loop().call_later(0.05, bell.ring)
    assert await rest_of(bell, 60) < 1
    assert Stop.NO is bell.stop


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason.RESOURCE_DELETED, Stop.SAFE_POINT),
        (Reason.OPERATOR_EXITING, Stop.NOW),
        (Reason.FILTERS_MISMATCH, Stop.NOW),
    ],
)
async def test_a_stop_ends_a_rest_and_tells_how(reason: kopf.DaemonStoppingReason, expected: Stop) -> None:
    bell, stopper = daemon_bell()
    asyncio.get_running_loop().call_later(0.05, stopper.stop, reason)
    assert await rest_of(bell, 60) < 1
    assert expected is bell.stop


async def test_a_rest_lasts_under_a_deletion_and_ends_with_the_process() -> None:
    bell, stopper = daemon_bell()
    stopper.stop(Reason.RESOURCE_DELETED)
    assert await rest_of(bell, 0.3) >= 0.3
    asyncio.get_running_loop().call_later(0.05, stopper.stop, Reason.OPERATOR_EXITING)
    assert await rest_of(bell, 60) < 1
    assert Stop.NOW is bell.stop


async def test_the_loop_of_an_object_without_daemon_settles_until_the_process_ends() -> None:
    exiting = asyncio.Event()
    bell = HungBell(DeletedStopping(exiting))
    assert Stop.SAFE_POINT is bell.stop
    asyncio.get_running_loop().call_later(0.05, exiting.set)
    assert await rest_of(bell, 60) < 1
    assert Stop.NOW is bell.stop


async def test_rests_leave_no_tasks_behind() -> None:
    bell, _ = daemon_bell()
    before = len(asyncio.all_tasks())
    for _ in range(10):
        bell.ring()
        await bell.rest(60)
    for _ in range(5):  # cancelled tasks end within a few turns
        await asyncio.sleep(0)
    assert before == len(asyncio.all_tasks())


async def test_the_book_rings_by_uid_name_and_kind() -> None:
    bells = Bells()
    plan, site = daemon_bell()[0], daemon_bell()[0]
    with bells.hang("p", PLAN, plan), bells.hang("s", Key("sites", None, "berlin"), site):
        for ring, woken in (
            (lambda: bells.ring("p"), plan),
            (lambda: bells.ring_key(PLAN), plan),
            (lambda: bells.ring_kind("sites"), site),
            (lambda: bells.ring_kind("recoveryplans", "erp"), plan),
        ):
            ring()
            other = site if woken is plan else plan
            assert await rest_of(woken, 60) < 1
            assert await rest_of(other, 0.05) >= 0.05
        bells.ring_kind("recoveryplans", "elsewhere")
        bells.ring("unknown")
        assert await rest_of(plan, 0.05) >= 0.05
        bells.ring_all()
        assert await rest_of(plan, 60) + await rest_of(site, 60) < 1
    assert 0 == len(bells)


async def test_a_bell_that_was_hung_again_is_not_taken_down_by_the_first() -> None:
    bells = Bells()
    first, second = daemon_bell()[0], daemon_bell()[0]
    with bells.hang("p", PLAN, first):
        later = bells.hang("p", PLAN, second)
        later.__enter__()
    assert "p" in bells
    later.__exit__(None, None, None)
    assert "p" not in bells


async def test_the_loop_of_what_is_gone_ends() -> None:
    bells, (bell, stopper) = Bells(), daemon_bell()
    with bells.hang("p", PLAN, bell):
        bells.dismiss("p")
        assert await rest_of(bell, 60) < 1
        assert Stop.SAFE_POINT is bell.stop
        stopper.stop(Reason.OPERATOR_EXITING)
        assert Stop.NOW is bell.stop


def run(
    phase: str | None = None, *, retry: int = 0, handled: int = 0, finalizers: tuple[str, ...] = ()
) -> dict[str, object]:
    return {
        "kind": "RecoveryRun",
        "metadata": {"finalizers": list(finalizers)},
        "spec": {"retry": retry},
        "status": {"phase": phase, "handledRetry": handled} if phase else None,
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (run(), True),
        (run("Running"), True),
        (run("Paused"), True),
        (run("Succeeded"), False),
        (run("SucceededWithWarnings"), False),
        (run("Failed"), False),
        (run("Cancelled"), False),
        (run("Refused"), False),
        (run("Succeeded", finalizers=(SETTLED,)), True),  # the loop has to take its hold off
        (run("Failed", retry=1), True),
        (run("Failed", retry=1, handled=1), False),
        ({"kind": "RecoveryPlan", "metadata": {}, "status": {"phase": "Failed"}}, True),
    ],
)
def test_a_run_needs_a_loop_until_it_is_terminal_and_settled(body: dict[str, object], expected: bool) -> None:
    assert expected is needs_loop(body)


def test_importing_and_building_registers_nothing_globally() -> None:
    build_registry()
    assert 6 == len(KINDS)
    default = kopf.get_default_registry()
    assert not list(default._watching.get_all_handlers())
    assert not list(default._spawning.get_all_handlers())
