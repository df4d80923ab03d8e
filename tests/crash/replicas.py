"""Operator processes that are killed and replaced: one leads, one waits, as with `replicas: 2`."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tests.crash.eyes import Eyes
from tests.lab.lab import Lab
from tests.lab.operator_process import OperatorProcess
from tests.lab.waiting import wait_until

LEASE_SECONDS = 5.0
_FAST = {
    "RESURGO_LEASE_DURATION": f"{LEASE_SECONDS:g}",
    "RESURGO_LEASE_RENEW": "1.5",
    "RESURGO_SITE_PROBE_INTERVAL": "2",
}


class Replica:
    """One operator process. A *pod* shares nothing with the one before it, else they have one state directory."""

    def __init__(self, lab: Lab, number: int, *, pod: bool) -> None:
        self.identity = f"operator-{number}"
        self.pod = pod
        self._operator = OperatorProcess(lab.folder, lab.kube)
        env = {**_FAST, "RESURGO_IDENTITY": self.identity}
        if pod:
            state = lab.folder / "states" / self.identity
            state.mkdir(parents=True)
            env["RESURGO_STATE_DIR"] = str(state)
        self._operator.start(env=env, wait=False)

    def wait_up(self) -> None:
        """Return once it serves its probes: a standby does that too."""
        self._operator.process.wait_ready(lambda: self._operator.metrics() is not None, seconds=60)

    def kill(self, *, children: bool) -> None:
        """Kill it; with *children* all that it has started as well, as the end of a container does."""
        self._operator.process.pause()  # or it starts more while we look
        started = list(_below(self._operator.process.pid)) if children else []
        self._operator.kill()
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def freeze(self) -> None:
        self._operator.process.pause()

    def thaw(self) -> None:
        self._operator.process.resume()

    @property
    def running(self) -> bool:
        return self._operator.process.running

    def wait_end(self, seconds: float) -> int:
        return self._operator.process.wait(seconds)

    def stop(self) -> None:
        if self._operator._process:
            self._operator.stop()


class Replicas:
    """The leader and its standby. A replica that was killed is replaced at once."""

    def __init__(self, lab: Lab, eyes: Eyes) -> None:
        self._lab, self._eyes = lab, eyes
        self._all: list[Replica] = []
        self.kills: list[float] = []  # monotonic times

    def start(self) -> Replicas:
        """Start two and return once one leads and the other is there to take over."""
        first = self.add()
        self.leader()
        first.wait_up()
        self.add().wait_up()
        return self

    def add(self, *, pod: bool = True) -> Replica:
        """Start one more, which waits for the Lease."""
        replica = Replica(self._lab, len(self._all) + 1, pod=pod)
        self._all.append(replica)
        return replica

    def tend(self) -> None:
        """Replace what has ended by itself, as Kubernetes does: on a busy machine a leader may lose its Lease."""
        while sum(r.running for r in self._all) < 2:
            self.add()

    def leader(self, *, but: str = "", seconds: float = 60) -> Replica:
        """The replica that holds the Lease and still runs, another one than *but*."""

        def look() -> Replica | None:
            self.tend()
            holder = self._eyes.holder()
            return next((r for r in self._all if r.identity == holder != but and r.running), None)

        return wait_until(look, f"a replica leads; log: {self._lab.operator.log}", seconds=seconds)

    def kill_leader(self, *, pod: bool = True) -> str:
        """SIGKILL the leader, start another standby, and return who was killed. The one that waited takes over.

        As a *pod* it goes with all that it has started; else the commands that it has started run on.
        """
        leader = self.leader()
        leader.kill(children=pod)
        self.kills.append(time.monotonic())
        self.add(pod=pod)
        return leader.identity

    def stop(self) -> None:
        for replica in self._all:
            replica.stop()


def _below(pid: int) -> Iterator[int]:
    """All living descendants of *pid*."""
    with contextlib.suppress(OSError):
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                yield child
                yield from _below(child)
