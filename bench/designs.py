"""The labs that are measured: one big plan in stages, and many small plans."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.lab.design import BERLIN, LEIPZIG, DeviceDesign, LabDesign, PlanDesign, VmDesign

BIG_PLAN = "shop"
STAGES = 4
HOSTS = 8  # times the Site's default of 4 power-ons per host: as many power-ons as tasks may be in flight, 32
REGISTER_MS, POWER_ON_MS = 200, 1000
RULES: tuple[Mapping[str, Any], ...] = (
    {"match": {"method": "RegisterVM_Task"}, "effect": {"when": "task", "delayMs": REGISTER_MS}},
    {"match": {"method": "PowerOnVM_Task"}, "effect": {"when": "task", "delayMs": POWER_ON_MS}},
)
_READINESS = {"timeoutSeconds": 300}
_SITES = (
    replace(BERLIN, hosts=tuple(f"esx-ber-{n}" for n in range(1, HOSTS + 1))),
    replace(LEIPZIG, hosts=tuple(f"esx-lpz-{n}" for n in range(1, HOSTS + 1))),
)


def stage(number: int) -> str:
    """Name of a stage; its protection group and its VM folder have the same."""
    return f"tier-{number}"


def vm_name(stage_number: int, number: int) -> str:
    return f"shop-{stage_number}-{number:03d}"


def big(vms: int) -> LabDesign:
    """One plan of *vms* VMs in four stages that follow each other: a stage is one group on one datastore."""
    numbers = range(1, STAGES + 1)
    return LabDesign(
        sites=_SITES,
        devices=tuple(DeviceDesign(f"ds-{stage(n)}", f"cg-{stage(n)}") for n in numbers),
        folders=tuple(stage(n) for n in numbers),
        vms=tuple(
            VmDesign(vm_name(n, i), f"ds-{stage(n)}", stage(n), memory_mb=256, disk_mb=1)
            for n in numbers
            for i in range(vms // STAGES)
        ),
        groups={stage(n): (f"ds-{stage(n)}",) for n in numbers},
        plans=(PlanDesign(BIG_PLAN, tuple(stage(n) for n in numbers), tuple(_stage(n) for n in numbers)),),
        guest={"bootSeconds": 0, "shutdownSeconds": 0, "tools": True},
        poll_seconds=30,
        sync_seconds=None,
    )


def _stage(number: int) -> Mapping[str, Any]:
    before = {"dependsOn": [stage(number - 1)]} if number > 1 else {}
    return {"name": stage(number), "protectionGroups": [stage(number)], "readiness": _READINESS, **before}


def small(plans: int) -> LabDesign:
    """That many plans of one VM each. The arrays are not polled: whatever they are asked, a plan asked for."""
    names = [f"small-{n:02d}" for n in range(plans)]
    return LabDesign(
        devices=tuple(DeviceDesign(f"ds-{name}", f"cg-{name}") for name in names),
        folders=("small",),
        vms=tuple(VmDesign(f"vm-{name}", f"ds-{name}", "small", memory_mb=256, disk_mb=1) for name in names),
        groups={name: (f"ds-{name}",) for name in names},
        plans=tuple(
            PlanDesign(n, (n,), ({"name": "all", "protectionGroups": [n], "readiness": _READINESS},)) for n in names
        ),
        guest={"bootSeconds": 0, "shutdownSeconds": 0, "tools": True},
        poll_seconds=3600,
        sync_seconds=None,
    )
