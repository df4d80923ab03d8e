"""A whole lab in one directory: two arrays, two vCenters, an API server with objects, and the operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.lab import manifests
from tests.lab.arrays import array_dir, exports, set_up_arrays, start_schedule, sync_once
from tests.lab.design import LabDesign, SiteDesign
from tests.lab.kube import OPERATOR_NAMESPACE, Kube
from tests.lab.operator_process import OperatorProcess
from tests.lab.pki import Pki
from tests.lab.processes import Process
from tests.lab.sites import LabSim
from tests.lab.toolchain import ROOT, Toolchain
from tests.lab.waiting import wait_until

RIGHTS = ROOT / "tests" / "golden" / "chart-rbac.yaml"  # the chart's, as tests/chart/test_lab_rights.py proves


class Lab:
    """One lab. Several run side by side: every port is free, every path lies in the lab's own folder."""

    def __init__(
        self, toolchain: Toolchain, folder: Path, design: LabDesign | None = None, *, keeper: Sequence[str] = ()
    ) -> None:
        """Lay out *folder*, which must be empty or absent; nothing runs before `start`."""
        self.folder = folder.resolve()
        self.design = design or LabDesign()
        self.pki = Pki(self.folder / "pki")
        self.kube = Kube(toolchain, self.folder / "kube")
        here, there = self.design.sites
        self.protected = LabSim(toolchain, self.folder, self.design, here, self.pki)
        self.recovery = LabSim(toolchain, self.folder, self.design, there, self.pki)
        self.operator = OperatorProcess(self.folder, self.kube, keeper=keeper)
        self._schedules: list[Process] = []

    def start(self, *, operator: bool = True, objects: bool = True) -> Lab:
        """Start everything and return once it answers: with the design's Kubernetes *objects*, with the *operator*."""
        set_up_arrays(self.folder, self.design)
        for sim in self.sites.values():
            sim.start()
        self._replicate()
        self.kube.start()
        self.kube.install_crds(ROOT / "crds")
        self.kube.namespace(OPERATOR_NAMESPACE)
        self.kube.namespace(self.namespace, manifests.LABELS)
        self.kube.apply(RIGHTS)
        if objects:
            self.kube.apply(*self.manifests())
        if operator:
            self.operator.start()
        return self

    def stop(self) -> None:
        """End everything, the operator first; files stay. Safe to repeat, and after a start that failed half way."""
        self.operator.stop()
        for schedule in self._schedules:
            schedule.stop()
        for site in (self.protected, self.recovery):
            site.stop()
        self.kube.stop()

    @property
    def namespace(self) -> str:
        """Where the lab's plans are."""
        return self.design.namespace

    @property
    def sites(self) -> dict[str, LabSim]:
        """Both vCenters by site name, the protected one first."""
        return {sim.site.name: sim for sim in (self.protected, self.recovery)}

    @property
    def processes(self) -> list[Process]:
        """Every process that runs, in the order in which they are to be stopped."""
        mine = [self.operator.process] if self.operator._process else []
        return [*mine, *self._schedules, self.protected.process, self.recovery.process, *self.kube.processes]

    def manifests(self) -> list[manifests.Manifest]:
        """Return the design's objects, in an order in which they can be applied."""
        design = self.design
        return [
            *(manifests.vcenter_secret(sim) for sim in self.sites.values()),
            *(manifests.array_secret(self.folder, site) for site in design.sites),
            *(manifests.site(sim) for sim in self.sites.values()),
            manifests.pair(self.folder, design),
            manifests.mapping(design),
            *(manifests.protection_group(design, name) for name in design.groups),
            *(manifests.recovery_plan(design, plan) for plan in design.plans),
        ]

    def _replicate(self) -> None:
        """Give every group a recovery point, now that the VMs' files are there; the arrays go on by themselves."""
        sync_once(self.folder, self.design.sites[0])
        if self.design.sync_seconds is not None:
            every = self.design.sync_seconds
            self._schedules = [start_schedule(self.folder, site, every) for site in self.design.sites]

    def array(self, site: SiteDesign) -> Path:
        """Return the directory of the array at *site*."""
        return array_dir(self.folder, site)

    def exports(self, site: SiteDesign) -> dict[str, Any]:
        """Return what the array at *site* exports now, by NFS path."""
        return exports(self.folder, site)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """Return an object, from the lab's namespace if its kind has namespaces."""
        return self.kube.get(kind, name, "-n", self.namespace)

    def patch(self, kind: str, name: str, spec: dict[str, Any], user: str = "admin") -> None:
        """Merge *spec* into an object's spec as *user*. RuntimeError with the API server's words if refused."""
        self.kube.patch(kind, name, {"spec": spec}, namespace=self.namespace, user=user)

    def wait_for(
        self, kind: str, name: str, check: Callable[[dict[str, Any]], bool], what: str, *, seconds: float = 60
    ) -> dict[str, Any]:
        """Return the object *name* once *check* holds for it; DeadlineError says *what* did not happen."""

        def look() -> dict[str, Any] | None:
            found = self.get(kind, name)
            return found if check(found) else None

        return wait_until(
            look, f"{kind}/{name}: {what}; operator's log: {self.operator.log}", seconds=seconds, every=0.3
        )

    def wait_condition(
        self, kind: str, name: str, condition: str, status: str = "True", *, seconds: float = 60
    ) -> dict[str, Any]:
        """Return the object *name* once its *condition* has *status*."""
        return self.wait_for(
            kind, name, lambda o: condition_of(o, condition) == status, f"{condition} is {status}", seconds=seconds
        )


def condition_of(thing: dict[str, Any], kind: str) -> str | None:
    """Return the status of the condition *kind* of an object, None if it was never judged."""
    conditions = thing.get("status", {}).get("conditions", [])
    return next((c["status"] for c in conditions if c["type"] == kind), None)
