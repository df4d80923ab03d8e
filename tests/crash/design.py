"""Labs for crashes: many small plans of one kind, so that each disturbed run has an undisturbed one beside it.

The name of a plan is part of the names of all that belongs to it: what was done for it can be told from the counters.
"""

from __future__ import annotations

from typing import Any

from tests.lab.design import DeviceDesign, LabDesign, PlanDesign, VmDesign

FOLDER = "crash"
READINESS = {"timeoutSeconds": 120}
IP_RULES = ({"network": "VM Network", "from": "10.1.0.0/24", "to": "10.2.0.0/24", "gateway": "10.2.0.1", "dns": []},)


def datastore(plan: str) -> str:
    return f"ds-{plan}"


def consistency_group(plan: str) -> str:
    return f"cg-{plan}"


def vm_names(plan: str) -> tuple[str, str, str]:
    """The database, which the two others depend on; the last one is powered off and stays so."""
    return f"{plan}-db", f"{plan}-app", f"{plan}-off"


def many(plans: tuple[str, ...], **changed: Any) -> LabDesign:
    """A lab with a consistency group, a datastore, three VMs and a two-stage plan for each of *plans*."""
    vms = [vm for number, plan in enumerate(plans) for vm in _vms(plan, number)]
    settings: dict[str, Any] = {
        "devices": tuple(DeviceDesign(datastore(p), consistency_group(p)) for p in plans),
        "folders": (FOLDER,),
        "vms": tuple(vms),
        "groups": {p: (datastore(p),) for p in plans},
        "plans": tuple(PlanDesign(p, (p,), _stages(p)) for p in plans),
        "ip_rules": IP_RULES,
        "sync_seconds": None,  # only what the operator asks for is replicated, so each sync can be counted
    }
    return LabDesign(**(settings | changed))


def _vms(plan: str, number: int) -> tuple[VmDesign, ...]:
    database, application, off = vm_names(plan)
    address = {"ips": [f"10.1.0.{10 + number}/24"]}
    return (
        VmDesign(database, datastore(plan), FOLDER, networks=("VM Network", "Backup"), guest=address),
        VmDesign(application, datastore(plan), FOLDER),
        VmDesign(off, datastore(plan), FOLDER, power_on=False),
    )


def _stages(plan: str) -> tuple[dict[str, Any], ...]:
    database, *others = vm_names(plan)
    return (
        {"name": "database", "virtualMachines": [{"name": database}], "readiness": READINESS},
        {
            "name": "others",
            "dependsOn": ["database"],
            "virtualMachines": [{"name": n} for n in others],
            "readiness": READINESS,
        },
    )
