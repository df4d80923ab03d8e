"""The same migration as a user asks for it: through a plan, carried out by the operator's own process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.designs import BIG_PLAN
from kubernetes import client
from tests.lab.lab import Lab
from tests.lab.processes import Identity

from resurgo.domain.journal import Journal

_GOOD = {"Succeeded", "SucceededWithWarnings"}
_OVER = {*_GOOD, "Failed", "Cancelled", "Refused"}
_VERSION: dict[str, Any] = {"group": "resurgo.dev", "version": "v1alpha1"}


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, and bytes of memory. ``steps``: when each step began and ended, counted from the change of the plan."""

    whole: float
    recovery: float
    steps: dict[str, tuple[float, float]]
    cpu: float
    resident: int
    resident_most: int


class Api:
    """The API server as the bench's user: plain requests, no kubectl to start."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._client = lab.kube.client()
        self._custom, self._core = client.CustomObjectsApi(self._client), client.CoreV1Api(self._client)

    def ask_for_recovery(self, plan: str) -> float:
        """Change the plan; returns when the request left, in epoch seconds."""
        began = time.time()
        self._custom.patch_namespaced_custom_object(
            **_VERSION,
            namespace=self._lab.namespace,
            plural="recoveryplans",
            name=plan,
            body={"spec": {"desiredState": "recovered"}},
        )
        return began

    def run_of(self, plan: str) -> dict[str, Any] | None:
        """The run of a plan, if it was made."""
        answer: Any = self._custom.list_namespaced_custom_object(
            **_VERSION, namespace=self._lab.namespace, plural="recoveryruns", label_selector=f"resurgo.dev/plan={plan}"
        )
        runs: list[dict[str, Any]] = answer["items"]
        return runs[0] if runs else None

    def finished(self, plan: str, seconds: float) -> dict[str, Any]:
        """The plan's run once it has ended well. RuntimeError otherwise."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            run = self.run_of(plan)
            phase = (run or {}).get("status", {}).get("phase")
            if run is not None and phase in _OVER:
                if phase in _GOOD:
                    return run
                raise RuntimeError(f"run {run['metadata']['name']}: {run['status']}")
            if Identity.of(self._lab.operator.process.pid) is None:
                raise RuntimeError(f"the operator ended (is the machine too busy?); its log: {self._lab.operator.log}")
            time.sleep(0.2)
        raise RuntimeError(
            f"the run of {plan} did not end in {seconds:.0f} s; operator's log: {self._lab.operator.log}"
        )

    def journal(self, run: dict[str, Any]) -> Journal:
        maps: Any = self._core.list_namespaced_config_map(self._lab.namespace).items
        prefix = f"{run['metadata']['name']}.journal-"
        stored: dict[str, str] = {}
        for each in maps:
            if each.metadata.name.startswith(prefix):
                stored |= each.data or {}
        return Journal.load(stored)


def measure(lab: Lab) -> Measured:
    """Recover the big plan of a lab whose operator runs."""
    api = Api(lab)
    lab.wait_condition("recoveryplan", BIG_PLAN, "Ready", seconds=120)
    pid = lab.operator.process.pid
    cpu = _cpu_seconds(pid)
    asked = api.ask_for_recovery(BIG_PLAN)
    run = api.finished(BIG_PLAN, 900)
    cpu = _cpu_seconds(pid) - cpu
    times: dict[str, list[tuple[float, float]]] = {}
    for key, record in api.journal(run).all():
        times.setdefault(key.step, []).append((record.started - asked, record.ended - asked))
    steps = {name: (min(s for s, _ in both), max(e for _, e in both)) for name, both in times.items()}
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Measured(
        whole=steps["Ready"][1],
        recovery=steps["PowerOn"][1] - steps["Register"][0],
        steps=dict(sorted(steps.items(), key=lambda item: item[1])),
        cpu=cpu,
        resident=_bytes(status["VmRSS"]),
        resident_most=_bytes(status["VmHWM"]),
    )


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def _bytes(kibibytes: str) -> int:
    return int(kibibytes.split(maxsplit=1)[0]) * 1024
