"""The Lease's rules, over a Lease object in memory with a real resourceVersion; processes and outages: tests/wiring."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

import pytest

from resurgo.adapters.kube.lease import Lease
from resurgo.domain.errors import Conflict, LeaseLost, Missing, Unreachable
from resurgo.domain.ports import Obj

DURATION, RENEW = 1.5, 0.25


class Server:
    """One Lease object; *down* makes every call fail."""

    def __init__(self) -> None:
        self.lease: Obj | None = None
        self.down = False
        self._version = 0

    async def request(self, method: str, path: str, *, body: Obj | None = None, **_: Any) -> Obj:
        await asyncio.sleep(0)
        if self.down:
            raise Unreachable(f"{method} {path}: down")
        if method == "GET" and self.lease is None:
            raise Missing(path)
        if method == "POST":
            if self.lease is not None:
                raise Conflict(path)
            self._store(body)
        if method == "PUT":
            assert body
            if self.lease is None or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise Conflict(path)
            self._store(body)
        assert self.lease
        return copy.deepcopy(self.lease)

    def _store(self, body: Obj | None) -> None:
        self._version += 1
        self.lease = copy.deepcopy(body or {})
        self.lease["metadata"]["resourceVersion"] = str(self._version)

    @property
    def holder(self) -> str:
        return str(((self.lease or {}).get("spec") or {}).get("holderIdentity") or "")


def contender(server: Server, name: str = "pod-a") -> Lease:
    return Lease(server, namespace="x", name="resurgo", identity=name, duration=DURATION, renew=RENEW)


class Work:
    """What a leader does: until it is told to end."""

    def __init__(self) -> None:
        self.leading = asyncio.Event()
        self.end = asyncio.Event()

    async def __call__(self) -> None:
        self.leading.set()
        await self.end.wait()


async def within(seconds: float, awaitable: Any) -> Any:
    async with asyncio.timeout(seconds):
        return await awaitable


@pytest.mark.parametrize("renew", [0.0, -1.0, 5.0, 20.0])
def test_a_renewal_must_fit_thrice_into_the_duration(renew: float) -> None:
    with pytest.raises(ValueError, match="renew"):
        Lease(Server(), namespace="x", name="resurgo", identity="a", duration=15.0, renew=renew)


def test_two_starts_of_one_pod_are_two_holders() -> None:
    first, second = contender(Server()), contender(Server())
    assert first.holder.startswith("pod-a_")
    assert first.holder != second.holder


async def test_the_first_leads_at_once_and_releases_at_its_end() -> None:
    server, work = Server(), Work()
    lease = contender(server)
    assert not lease.valid
    running = asyncio.create_task(lease.run(work))
    await within(2, work.leading.wait())
    assert lease.valid
    assert lease.holder == server.holder
    await asyncio.sleep(DURATION)  # renewed meanwhile
    assert lease.valid
    work.end.set()
    await within(2, running)
    assert "" == server.holder
    assert not lease.valid


async def test_a_standby_waits_for_the_whole_duration_of_a_silent_holder_by_its_own_clock() -> None:
    server, work = Server(), Work()
    # The holder's clock is years ahead, and it promises less than we would: neither counts.
    server._store(
        {
            "metadata": {},
            "spec": {"holderIdentity": "x", "leaseDurationSeconds": 1, "renewTime": "2099-01-01T00:00:00Z"},
        }
    )
    lease = contender(server)
    loop = asyncio.get_running_loop()
    started = loop.time()
    running = asyncio.create_task(lease.run(work))
    await within(4, work.leading.wait())
    assert DURATION <= loop.time() - started < DURATION + 1.0
    assert server.lease
    assert 1 == server.lease["spec"]["leaseTransitions"]
    work.end.set()
    await within(2, running)


async def test_another_name_in_the_lease_ends_the_leader_without_waiting_for_its_work() -> None:
    server, work = Server(), Work()
    lease = contender(server)
    running = asyncio.create_task(lease.run(work))
    await within(2, work.leading.wait())
    assert server.lease
    server.lease["spec"]["holderIdentity"] = "pod-b_1"
    with pytest.raises(LeaseLost, match="pod-b_1"):
        await within(2, running)
    assert not lease.valid
    assert "pod-b_1" == server.holder


async def test_an_outage_longer_than_the_validity_ends_the_leader_before_anybody_may_start() -> None:
    server, work = Server(), Work()
    lease = contender(server)
    running = asyncio.create_task(lease.run(work))
    await within(2, work.leading.wait())
    loop = asyncio.get_running_loop()
    server.down, started = True, loop.time()
    with pytest.raises(LeaseLost, match="renewed in time"):
        await within(3, running)
    assert loop.time() - started < DURATION
    assert not lease.valid


async def test_a_short_outage_is_survived() -> None:
    server, work = Server(), Work()
    lease = contender(server)
    running = asyncio.create_task(lease.run(work))
    await within(2, work.leading.wait())
    server.down = True
    await asyncio.sleep(2 * RENEW)
    server.down = False
    await asyncio.sleep(DURATION)
    assert lease.valid
    work.end.set()
    await within(2, running)


async def test_what_the_work_raises_comes_out_and_the_lease_is_released() -> None:
    async def fails() -> None:
        raise RuntimeError("kopf gave up")

    server = Server()
    with pytest.raises(RuntimeError, match="kopf gave up"):
        await within(2, contender(server).run(fails))
    assert "" == server.holder


async def test_a_standby_that_is_told_to_stop_leaves_without_having_led() -> None:
    server, work, stop = Server(), Work(), asyncio.Event()
    server._store({"metadata": {}, "spec": {"holderIdentity": "x", "leaseDurationSeconds": 15}})
    running = asyncio.create_task(contender(server).run(work, stop=stop))
    await asyncio.sleep(RENEW)
    stop.set()
    await within(1, running)
    assert not work.leading.is_set()
    assert "x" == server.holder


async def test_the_age_of_the_last_attempt_shows_that_the_loop_lives() -> None:
    server, work = Server(), Work()
    server.down = True
    lease = contender(server)
    running = asyncio.create_task(lease.run(work))
    await asyncio.sleep(4 * RENEW)
    assert lease.attempt_age < 3 * RENEW  # failing attempts count: the server is ill, not we
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
