"""From the change of a plan to the first call that a vCenter or an array gets because of it."""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass

from bench.through_operator import Api
from tests.lab.arrays import array_dir
from tests.lab.lab import Lab

_QUIET_SECONDS = 1.5  # without a call before the next plan is changed
_IDLE_SECONDS = 10.0  # how long to watch what is called anyway


@dataclass(frozen=True, slots=True)
class Reaction:
    """Seconds: until the first call of any kind, and until an array had begun to replicate."""

    first_call: float
    first_change: float


class Ears:
    """Hears of calls: vCenters count them, arrays write them down. Calls that come anyway are not heard."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._admins = [sim.admin for sim in lab.sites.values()]
        self._logs = [array_dir(lab.folder, site) / "calls.jsonl" for site in lab.design.sites]
        before = self._counts()
        time.sleep(_IDLE_SECONDS)
        after = self._counts()
        self.background = {method for method in after if after[method] != before.get(method)}

    def _counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for admin in self._admins:
            for method, count in admin.counters()["calls"].items():
                found[method] = found.get(method, 0) + count
        return found

    def vcenters(self) -> int:
        """Calls so far, without those that come anyway."""
        return sum(count for method, count in self._counts().items() if method not in self.background)

    def arrays(self, since: float, command: str = "") -> float | None:
        """When the first call after *since* arrived at an array, if one did."""
        times = [
            line["time"]
            for log in self._logs
            if log.exists()
            for line in map(json.loads, log.read_text().splitlines())
            if line["time"] >= since and command in {"", line["command"]}
        ]
        return min(times, default=None)

    def wait_for_quiet(self) -> None:
        count, since = self.vcenters(), time.time()
        while time.time() - since < _QUIET_SECONDS:
            time.sleep(0.2)
            now = self.vcenters()
            if now != count or self.arrays(since) is not None:
                count, since = now, time.time()


def measure(lab: Lab) -> tuple[list[Reaction], set[str]]:
    """Change one small plan after the other. Returns also the methods that are called at all times."""
    api = Api(lab)
    plans = [plan.name for plan in lab.design.plans]
    for plan in plans:
        lab.wait_condition("recoveryplan", plan, "Ready", seconds=120)
    ears = Ears(lab)
    return [_one(api, ears, plan) for plan in plans], ears.background


def _one(api: Api, ears: Ears, plan: str) -> Reaction:
    ears.wait_for_quiet()
    time.sleep(random.random())  # noqa: S311 (not in step with anything periodic)
    count = ears.vcenters()
    asked = api.ask_for_recovery(plan)
    first = None
    while first is None:
        if ears.vcenters() != count:
            first = time.time()
        first = min((t for t in (first, ears.arrays(asked)) if t is not None), default=None)
        if time.time() - asked > 60:
            raise RuntimeError(f"no call within 60 s of the change of plan {plan}")
        time.sleep(0.002)
    api.finished(plan, 120)
    change = ears.arrays(asked, "syncOnce")
    assert change is not None, "a planned migration without a sync"
    return Reaction(first - asked, change - asked)
