"""Runs and what is seen of them: how they are asked for, how they end, and where the plan's VMs are afterwards."""

from __future__ import annotations

import json
from typing import Any

from tests.crash.design import datastore, vm_names
from tests.e2e import acting
from tests.lab.lab import Lab
from tests.lab.waiting import DeadlineError, wait_until

Obj = dict[str, Any]
PLANNED, DISASTER = "PlannedMigration", "DisasterRecovery"
_BEFORE = {
    PLANNED: ("PreSync", "ShutDown", "Unregister", "Unmount", "FinalSync", "PrepareFailover"),
    DISASTER: ("FenceShutDown", "FenceUnregister", "FenceUnmount", "LastSync", "FencePrepare"),
}
RECOVERY = {PLANNED: {"mode": PLANNED}, DISASTER: {"mode": DISASTER, "acknowledgeDataLoss": True}}
_AFTER = ("Failover", "Present", "Register", "Configure", "PowerOn", "Ready")


def steps(type_: str) -> tuple[str, ...]:
    """The steps of a workflow as the journal names them."""
    return (*_BEFORE[type_], *_AFTER)


def ask(lab: Lab, plan: str, type_: str) -> str:
    """Ask for the plan's recovery by a run of *type_*; returns the run's name."""
    return str(acting.recover(lab, plan, recovery=RECOVERY[type_])["metadata"]["name"])


def begin(lab: Lab, plan: str, type_: str) -> str:
    """As `ask`, once the plan is ready."""
    acting.ready(lab, plan)
    return ask(lab, plan, type_)


def end(lab: Lab, run: str, *, seconds: float = 120) -> Obj:
    """The run once it has ended and let go of its plan and groups."""
    return acting.over(lab, {"metadata": {"name": run, "namespace": lab.namespace}}, seconds=seconds)


def phase(run: Obj) -> tuple[str, str]:
    """Phase and what the condition Succeeded says."""
    return run["status"]["phase"], acting.message_of(run, "Succeeded")


def place(lab: Lab, plan: str) -> Obj:
    """All that a person would look at after a recovery of *plan*, the plan's name replaced by `*`."""
    berlin, leipzig = (sim.admin for sim in lab.sites.values())
    mine = {*vm_names(plan), datastore(plan)}
    store = leipzig.datastores().get(datastore(plan), {})
    found = {
        "left at berlin": sorted(mine & {*berlin.vms(), *berlin.datastores()}),
        "datastore": {k: store.get(k) for k in ("server", "path", "hosts", "accessible")},
        "exports": {s.name: {p: e["access"] for p, e in lab.exports(s).items() if plan in p} for s in lab.design.sites},
        "vms": there(lab, plan),
        "overlaps": [o for o in leipzig.writers()["overlaps"] or () if plan in json.dumps(o)],
    }
    return dict(json.loads(json.dumps(found).replace(plan, "*")))


def there(lab: Lab, plan: str) -> Obj:
    """The plan's VMs at leipzig, the plan's name replaced by `*`; None for one that is not there."""
    vms = lab.recovery.admin.vms()
    return {n.replace(plan, "*"): _shown(vms[n]) if n in vms else None for n in vm_names(plan)}


def _shown(vm: Obj) -> Obj:
    address = vm["ip"].rpartition(".")[0] if vm["ip"].startswith("10.2.0.") else bool(vm["ip"])  # else from DHCP
    return {k: vm[k] for k in ("powerState", "folder", "pool", "networks")} | {"address": address}


def wait_place(lab: Lab, plan: str, wanted: Obj) -> None:
    """The plan's VMs come to be as *wanted*; addresses may take a moment."""
    try:
        wait_until(lambda: place(lab, plan) == wanted, f"plan {plan} is as after an undisturbed run", seconds=15)
    except DeadlineError:
        assert wanted == place(lab, plan)


def uuids(lab: Lab, plan: str) -> dict[str, tuple[str, str]]:
    """uuid and instanceUuid of the plan's VMs, wherever they are registered."""
    found = [(n, vm) for sim in lab.sites.values() for n, vm in sim.admin.vms().items()]
    return {n: (vm["uuid"], vm["instanceUuid"]) for n, vm in found if n in vm_names(plan)}
