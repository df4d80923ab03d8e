"""The HTTP port: metrics and probes as a scraper and a kubelet see them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from resurgo.edge.probes import Check, LoopLag, Probes, attempts_fresh
from resurgo.metrics import Metrics

Get = Callable[[str], Awaitable[tuple[int, str]]]


class Bench:
    """What the probes look at, to be made ill by hand."""

    def __init__(self) -> None:
        self.problem: str | None = None
        self.held = False
        self.metrics = Metrics()
        check: Check = lambda: self.problem  # noqa: E731
        self.probes = Probes(
            self.metrics, live={"loop": check}, before_scrape=lambda: self.metrics.lease(held=self.held)
        )


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def get(bench: Bench) -> AsyncIterator[Get]:
    async with bench.probes.serving("127.0.0.1", 0) as port, aiohttp.ClientSession() as session:

        async def get(path: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                return answer.status, await answer.text()

        yield get


async def test_a_standby_serves_metrics_and_is_ready(get: Get) -> None:
    status, text = await get("/metrics")
    assert 200 == status
    assert "\nresurgo_lease_held 0.0\n" in text
    assert (200, "ok\n") == await get("/readyz")
    assert (200, "loop: ok\n") == await get("/healthz")


async def test_values_are_brought_up_to_date_before_a_scrape(get: Get, bench: Bench) -> None:
    bench.held = True
    assert "\nresurgo_lease_held 1.0\n" in (await get("/metrics"))[1]


async def test_an_ill_process_says_what_is_wrong(get: Get, bench: Bench) -> None:
    bench.problem = "the event loop is 7.0 s late"
    assert (503, "loop: the event loop is 7.0 s late\n") == await get("/healthz")


async def test_a_process_that_ends_is_not_ready_but_alive(get: Get, bench: Bench) -> None:
    bench.probes.drain()
    assert (503, "ending\n") == await get("/readyz")
    assert 200 == (await get("/healthz"))[0]


async def test_other_paths_are_not_there(get: Get) -> None:
    assert 404 == (await get("/"))[0]


async def test_a_held_up_loop_is_noticed() -> None:
    lag = LoopLag(limit=0.2)
    watching = asyncio.create_task(lag.watch())
    await asyncio.sleep(0.05)
    assert lag.check() is None
    threading.Event().wait(0.9)  # what a blocking call in the loop's thread does
    assert "late" in (lag.check() or "")
    watching.cancel()


def test_old_attempts_for_the_lease_are_a_problem() -> None:
    assert attempts_fresh(lambda: 3.0, 45.0)() is None
    assert "the Lease was last tried 60 s ago" == attempts_fresh(lambda: 60.0, 45.0)()
