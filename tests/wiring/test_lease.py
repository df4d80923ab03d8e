"""Leadership on a real API server, with processes that are killed, frozen and stopped. Times are in seconds."""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.lab.kube import Kube
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.lab

DURATION, RENEW = 4.0, 0.5
TAKE_OVER = DURATION + RENEW + 1.0
SCRIPT = Path(__file__).with_name("lease_holder.py")


class Holder:
    """One competing process."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def lines(self) -> list[str]:
        return self.process.log.read_text().splitlines()

    def said(self, line: str) -> bool:
        return line in self.lines()

    def await_line(self, line: str, seconds: float) -> float:
        """Return how long it took."""
        started = time.monotonic()
        wait_until(lambda: self.said(line), f"{self.process.name} says {line}\n{self.process.tail()}", seconds=seconds)
        return time.monotonic() - started


@pytest.fixture
def own_apiserver(toolchain, tmp_path: Path) -> Iterator[Kube]:
    """An API server that this test may freeze and kill."""
    kube = Kube(toolchain, tmp_path / "kube")
    try:
        yield kube.start()
    finally:
        kube.stop()


@pytest.fixture
def compete(tmp_path: Path) -> Iterator[Callable[..., Holder]]:
    """Start a process that wants the Lease; all are gone at the end."""
    started: list[Holder] = []

    def start(kube: Kube, lease: str, *, stop_seconds: float = 0.0) -> Holder:
        name = f"holder-{len(started)}"
        argv = [sys.executable, SCRIPT, kube.kubeconfig("admin"), "default", lease]
        process = Process.start(
            name, [*argv, str(DURATION), str(RENEW), str(stop_seconds)], log=tmp_path / f"{name}.log"
        )
        started.append(Holder(process))
        process.wait_ready(lambda: started[-1].said("waiting") or None, seconds=30)
        return started[-1]

    yield start
    for holder in started:
        holder.process.kill()


@pytest.fixture
def lease() -> str:
    return f"lease-{uuid.uuid4().hex[:8]}"


def pair(compete: Callable[..., Holder], kube: Kube, lease: str, **kwargs: float) -> tuple[Holder, Holder]:
    """A leader and a standby that has looked at the Lease."""
    leader = compete(kube, lease, **kwargs)
    leader.await_line("leading", 10)
    standby = compete(kube, lease)
    return leader, standby


def spec(kube: Kube, lease: str) -> dict[str, object]:
    found = kube.get("lease", lease, "-n", "default")["spec"]
    assert isinstance(found, dict)
    return found


def test_a_killed_leader_is_replaced_in_time(apiserver: Kube, compete, lease: str) -> None:
    leader, standby = pair(compete, apiserver, lease)
    leader.process.kill()
    took = standby.await_line("leading", TAKE_OVER + 2)
    assert took <= TAKE_OVER
    assert 2 == spec(apiserver, lease)["leaseTransitions"]


def test_a_clean_end_keeps_the_lease_until_the_work_has_stopped_and_then_gives_it_away(
    apiserver: Kube, compete, lease: str
) -> None:
    leader, standby = pair(compete, apiserver, lease, stop_seconds=DURATION + 1)
    _terminate(leader)
    leader.await_line("stopped True", DURATION + 4)
    assert not standby.said("leading")
    took = standby.await_line("leading", 5)
    assert took <= RENEW + 1
    assert 0 == leader.process.wait(5)
    assert leader.said("released")


def test_a_frozen_leader_is_not_valid_when_it_thaws(apiserver: Kube, compete, lease: str) -> None:
    leader, standby = pair(compete, apiserver, lease)
    leader.process.pause()
    standby.await_line("leading", TAKE_OVER + 2)
    before = len(leader.lines())
    leader.process.resume()
    assert 1 == leader.process.wait(5)
    after = [line for line in leader.lines()[before:] if line.startswith("turn")]
    assert set(after) <= {"turn False"}
    assert leader.said("lost")
    assert not standby.said("lost")


def test_whoever_loses_the_lease_object_ends_and_another_leads(apiserver: Kube, compete, lease: str) -> None:
    leader, standby = pair(compete, apiserver, lease)
    assert 0 == apiserver.kubectl("delete", "lease", lease, "-n", "default").returncode
    # Whoever comes first finds it empty: the old leader to learn of its loss, the standby to lead.
    wait_until(lambda: leader.said("lost"), "the old leader ends", seconds=3)
    standby.await_line("leading", 3)
    assert 1 == leader.process.wait(5)


def test_two_processes_never_lead_at_once_and_a_standby_may_be_stopped(apiserver: Kube, compete, lease: str) -> None:
    leader, standby = pair(compete, apiserver, lease)
    _terminate(standby)
    assert 0 == standby.process.wait(RENEW + 3)
    assert not standby.said("leading")
    assert not leader.said("lost")


def test_a_short_pause_of_the_api_server_is_survived_and_a_long_one_is_not(
    own_apiserver: Kube, compete, lease: str
) -> None:
    leader, standby = pair(compete, own_apiserver, lease)
    own_apiserver.pause()
    turns = len(leader.lines())
    wait_until(lambda: len(leader.lines()) > turns + 10, "the leader goes on for a second", seconds=5)
    own_apiserver.resume()
    renewed = spec(own_apiserver, lease)["renewTime"]
    wait_until(lambda: spec(own_apiserver, lease)["renewTime"] != renewed, "the Lease is renewed again", seconds=5)
    assert not leader.said("lost")

    own_apiserver.pause()
    took = leader.await_line("lost", DURATION + 2)
    assert took <= DURATION
    own_apiserver.resume()
    standby.await_line("leading", TAKE_OVER + 2)


def test_a_restart_of_the_api_server_costs_no_leader(own_apiserver: Kube, compete, lease: str) -> None:
    leader, standby = pair(compete, own_apiserver, lease)
    renewed = spec(own_apiserver, lease)["renewTime"]
    own_apiserver.restart()
    if not leader.said("lost"):  # a slow machine needs longer for the restart than the Lease allows
        wait_until(lambda: spec(own_apiserver, lease)["renewTime"] != renewed, "the Lease is renewed", seconds=5)
        assert not standby.said("leading")


def _terminate(holder: Holder) -> None:
    os.kill(holder.process.pid, signal.SIGTERM)
