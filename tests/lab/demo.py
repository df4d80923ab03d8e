"""`make demo`: a planned migration from Berlin to Leipzig, watched live, on a lab of its own that ends with it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from tests.lab import demo_view as view
from tests.lab.lab import Lab, condition_of
from tests.lab.toolchain import Toolchain
from tests.lab.waiting import wait_until

PLAN = "erp"
_DONE_WELL = ("Succeeded", "SucceededWithWarnings")
_OVER = (*_DONE_WELL, "Failed", "Cancelled", "Refused")
_READY_SECONDS = 120
_RUN_SECONDS = 600


def run(toolchain: Toolchain, console: Console | None = None) -> int:
    """Show the whole story; 0 if the migration succeeded. Everything started is stopped, also on Ctrl-C."""
    console = console or Console()
    folder = Path(tempfile.mkdtemp(prefix="resurgo-demo-"))
    lab = Lab(toolchain, folder)
    console.print("[bold]Starting[/bold] two vCenters, two arrays, a Kubernetes API server and Resurgo ...")
    try:
        lab.start()
        phase = _story(lab, console)
    finally:
        lab.stop()
    console.print(f"Everything is stopped. Logs of this run: {folder}")
    return 0 if phase in _DONE_WELL else 1


def _story(lab: Lab, console: Console) -> str:
    plan = lab.wait_condition("recoveryplan", PLAN, "Ready", seconds=_READY_SECONDS)
    console.print(view.plan_table(plan))
    console.print(view.groups_table([lab.get("protectiongroup", g["name"]) for g in plan["spec"]["protectionGroups"]]))
    console.print(view.inventory_table("Before", lab))
    console.print(f'[bold]$ kubectl patch rplan {PLAN} --type=merge -p \'{{"spec":{{"desiredState":"recovered"}}}}\'')
    lab.patch("recoveryplan", PLAN, {"desiredState": "recovered"})
    name = wait_until(lambda: _active_run(lab), f"{PLAN} starts a run; log: {lab.operator.log}", seconds=60, every=0.2)
    done = _watch(lab, name, plan, console)
    console.line()
    console.print(view.inventory_table("After", lab))
    console.print(view.result(done))
    return str(done["status"]["phase"])


def _active_run(lab: Lab) -> str | None:
    status = lab.get("recoveryplan", PLAN).get("status", {})
    blocked = condition_of({"status": status}, "Stalled") == "True"
    if blocked:
        raise RuntimeError(f"the plan is stalled: {status['conditions']}")
    found = status.get("activeRun") or status.get("lastRun")
    return found["name"] if found else None


def _watch(lab: Lab, name: str, plan: dict[str, Any], console: Console) -> dict[str, Any]:
    with Live(console=console, refresh_per_second=8) as live:

        def look() -> dict[str, Any] | None:
            run = lab.get("recoveryrun", name)
            live.update(view.progress(run, plan, lab))
            return run if run.get("status", {}).get("phase") in _OVER else None

        return wait_until(look, f"run {name} ends; log: {lab.operator.log}", seconds=_RUN_SECONDS, every=0.25)
