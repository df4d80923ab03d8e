"""Slowness and faults, at the vCenters and at the arrays."""

from __future__ import annotations

import json
from typing import Any

from tests.lab.design import SiteDesign
from tests.lab.lab import Lab

CHANGING = ("syncOnce", "prepareFailover", "failover")  # commands of an array that change something
_PLAIN = ("ShutdownGuest", "UnregisterVM", "RemoveDatastore", "CreateNasDatastore")  # no tasks: the call itself waits


def slow(lab: Lab, *, ms: int = 250, jitter_ms: int = 150) -> None:
    """Let everything that changes something take its time, so that there is a moment in which it is under way."""
    took = {"delayMs": ms, "jitterMs": jitter_ms}
    tasks = {"match": {"method": "*_Task"}, "effect": {"when": "task", **took}}
    calls = [{"match": {"method": name}, "effect": {"when": "call", **took}} for name in _PLAIN]
    for sim in lab.sites.values():
        sim.admin.rules(tasks, *calls)
    for site in lab.design.sites:
        faults(lab, site, *({"command": c, "times": None, "effect": {"delaySeconds": ms / 1000}} for c in CHANGING))


def faults(lab: Lab, site: SiteDesign, *entries: dict[str, Any]) -> None:
    """Put faults in force at the array of *site*, instead of earlier ones."""
    path = lab.array(site) / "faults.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(entries))
    partial.replace(path)


def calm(lab: Lab) -> None:
    """End all slowness, faults and outages."""
    for sim in lab.sites.values():
        sim.admin.clear_rules()
        sim.admin.outage("none")
    for site in lab.design.sites:
        faults(lab, site)
