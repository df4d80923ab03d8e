"""The operator under test, as the process a user runs: `python -m resurgo`."""

from __future__ import annotations

import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.arrays import sra_dir
from tests.lab.kube import OPERATOR_NAMESPACE, Kube
from tests.lab.ports import free_port
from tests.lab.processes import Process
from tests.lab.toolchain import ROOT


class OperatorProcess:
    """One replica of the operator. It speaks to the API server as the chart's ServiceAccount does."""

    def __init__(self, folder: Path, kube: Kube, *, name: str = "operator", keeper: Sequence[str] = ()) -> None:
        """Choose the metrics port; nothing runs before `start`. *keeper* is a command that runs the operator's."""
        self.name = name
        self._keeper = keeper
        self.log = folder / f"{name}.log"
        self._kube = kube
        self._sra = sra_dir(folder)
        self._state = folder / f"{name}-state"
        self._listen = f"127.0.0.1:{free_port()}"
        self._process: Process | None = None

    def start(self, *, env: Mapping[str, str] | None = None, wait: bool = True) -> OperatorProcess:
        """Start it, with *env* on top of the lab's settings, and return once it serves metrics (or at once)."""
        settings = {
            "KUBECONFIG": str(self._kube.kubeconfig("operator")),
            "RESURGO_NAMESPACE": OPERATOR_NAMESPACE,
            "RESURGO_SRA_DIR": str(self._sra),
            "RESURGO_STATE_DIR": str(self._state),
            "RESURGO_METRICS_LISTEN": self._listen,
            "RESURGO_IDENTITY": self.name,
            "PYTHONUNBUFFERED": "1",
        }
        self._state.mkdir(exist_ok=True)
        argv = [*self._keeper, sys.executable, "-m", "resurgo"]
        self._process = Process.start(self.name, argv, log=self.log, env={**settings, **(env or {})}, cwd=ROOT)
        if wait:
            self._process.wait_ready(lambda: self.metrics() is not None)
        return self

    def stop(self) -> None:
        """Ask it to end, as Kubernetes would, and kill it after 15 seconds. Safe to repeat."""
        if self._process:
            self._process.stop(grace=15)

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()

    @property
    def process(self) -> Process:
        """The process started last."""
        assert self._process, "OperatorProcess.start was not called"
        return self._process

    @property
    def metrics_url(self) -> str:
        """Where it serves its metrics."""
        return f"http://{self._listen}/metrics"

    def metrics(self) -> str | None:
        """Return the metrics as text, or None while it does not answer."""
        try:
            with urllib.request.urlopen(self.metrics_url, timeout=2) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return None
