"""What the demo shows: tables made from the objects' status and from both vCenters, nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from tests.lab.lab import Lab

_STYLES = {
    "Done": "green",
    "AlreadyDone": "green",
    "Succeeded": "bold green",
    "Running": "bold yellow",
    "Failed": "bold red",
    "Pending": "dim",
    "Skipped": "dim",
    "Cancelled": "red",
    "poweredOn": "green",
    "poweredOff": "dim",
}


def plan_table(plan: Mapping[str, Any]) -> Table:
    """Return the plan: its stages, what each waits for, and its VMs."""
    spec = plan["spec"]
    title = f"Plan {plan['metadata']['name']}: {spec['protectedSite']} to {spec['recoverySite']}"
    table = _table(title, "stage", "after", "VMs")
    for stage in spec.get("stages", []):
        table.add_row(stage["name"], ", ".join(stage.get("dependsOn", [])), ", ".join(_members(stage)))
    return table


def groups_table(groups: Sequence[Mapping[str, Any]]) -> Table:
    """Return the protection groups: role, lag against objective, number of VMs."""
    table = _table("Protection", "group", "VMs", "role", "link", "RPO", "lag now")
    for group in groups:
        status = group.get("status", {})
        replication = status.get("replication", {})
        table.add_row(
            group["metadata"]["name"],
            str(status.get("virtualMachines", "")),
            replication.get("role", ""),
            replication.get("link", ""),
            _seconds(group["spec"].get("rpoSeconds")),
            _seconds(replication.get("rpoLagSeconds")),
        )
    return table


def inventory_table(title: str, lab: Lab) -> Table:
    """Return the VMs that both vCenters know now."""
    sites = {name: sim.admin.vms() for name, sim in lab.sites.items()}
    table = _table(f"{title}: VMs by vCenter", "VM", *sites)
    for vm in sorted({vm for vms in sites.values() for vm in vms}):
        table.add_row(vm, *(_where(vms.get(vm)) for vms in sites.values()))
    return table


def progress(run: Mapping[str, Any], plan: Mapping[str, Any], lab: Lab) -> RenderableType:
    """Return the run as it stands: its steps, and under each stage its VMs at both vCenters."""
    status = run.get("status", {})
    head = f"{run['spec']['type']} {run['metadata']['name']}: {_styled(status.get('phase', 'Pending'))}"
    steps = _table(head, "step", "state", "done", "")
    for step in status.get("steps", []):
        done = step.get("progress")
        count = f"{done['done']}/{done['total']}" if done and done.get("total") else ""
        steps.add_row(step["name"], _styled(step["state"]), count, step.get("message", ""))
    return Group(steps, _stages(status, plan, lab))


def result(run: Mapping[str, Any]) -> Panel:
    """Return how the run ended: measured RPO and RTO, and what failed."""
    status = run["status"]
    achieved = status.get("achieved", {})
    counts = status.get("counts", {})
    lines = [
        f"{run['spec']['type']}: {_styled(status['phase'])}",
        f"VMs ready             {counts.get('ready', 0)} of {counts.get('total', 0)}",
        f"achieved RPO          {_seconds(achieved.get('dataLossSeconds'))} of data lost",
        f"achieved RTO          {_seconds(achieved.get('recoveryTimeSeconds'))} from request to last VM ready",
    ]
    lines += [
        f"[red]{failure.get('virtualMachine', '')} {failure['step']}: {failure['message']}"
        for failure in status.get("failures", [])
    ]
    return Panel("\n".join(lines), title="Result", expand=False)


def _stages(status: Mapping[str, Any], plan: Mapping[str, Any], lab: Lab) -> Table:
    states = {stage["name"]: stage["state"] for stage in status.get("stages", [])}
    sites = {name: sim.admin.vms() for name, sim in lab.sites.items()}
    table = _table("", "stage", "VM", *sites)
    for stage in plan["spec"].get("stages", []):
        table.add_row(stage["name"], _styled(states.get(stage["name"], "Pending")))
        for vm in _members(stage):
            table.add_row("", vm, *(_where(vms.get(vm)) for vms in sites.values()))
    return table


def _members(stage: Mapping[str, Any]) -> list[str]:
    named = [vm.get("name") or vm["path"] for vm in stage.get("virtualMachines", [])]
    return named + [f"group {group}" for group in stage.get("protectionGroups", [])]


def _where(vm: Mapping[str, Any] | None) -> str:
    if vm is None:
        return "[dim]-"
    detail = " ".join(part for part in (vm.get("host", ""), vm.get("ip", "")) if part)
    return f"{_styled(vm['powerState'])} {detail}"


def _styled(word: str) -> str:
    style = _STYLES.get(word)
    return f"[{style}]{word}[/]" if style else word


def _seconds(value: int | None) -> str:
    return "unknown" if value is None else f"{value} s"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column)
    return table
