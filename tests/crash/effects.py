"""What was done at both vCenters and both arrays for one plan, counted where it was done, not where it was asked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.lab.lab import Lab

Counts = dict[str, int]


def effects(lab: Lab, plan: str, *, site: str = "") -> Counts:
    """Changes that took effect for *plan*, its name replaced by `*`: "site method object" -> how often.

    Those of both sites, or of *site* alone where the other can't be asked.
    """
    return _counted(lab, plan, site, "effects", "effects")


def asked(lab: Lab, plan: str, *, site: str = "") -> Counts:
    """As `effects`, for what was asked, whether or not it did anything."""
    return _counted(lab, plan, site, "mutations", "calls")


def _counted(lab: Lab, plan: str, site: str, of_vcenter: str, of_array: str) -> Counts:
    arrays = {k.removesuffix(f" {of_array}"): n for k, n in _array_counts(lab, plan).items() if k.endswith(of_array)}
    found = _site_counts(lab, plan, site, of_vcenter) | arrays
    return {k: n for k, n in found.items() if n and k.startswith(site)}


def _site_counts(lab: Lab, plan: str, site: str, which: str) -> Counts:
    found = {}
    for name, sim in lab.sites.items():
        if site not in {"", name}:
            continue
        for what, number in sim.admin.counters()[which].items():
            if plan in what:
                found[f"{name} {what.replace(plan, '*')}"] = number
    return found


def _array_counts(lab: Lab, plan: str) -> Counts:
    found = {}
    for site in lab.design.sites:
        path = lab.array(site) / "counters.json"
        counters: Mapping[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        for what, numbers in counters.items():
            command, _, group = what.partition(" ")
            if group.endswith(plan) and not command.startswith(("discover", "query")):
                found |= {f"{site.name} {command} {group.replace(plan, '*')} {kind}": n for kind, n in numbers.items()}
    return found


def repeats(wanted: Counts, found: Counts) -> Counts:
    """What was done more often than wanted, or without being wanted: how often too often."""
    return {k: n - wanted.get(k, 0) for k, n in found.items() if n > wanted.get(k, 0)}


def missing(wanted: Counts, found: Counts) -> Counts:
    return {k: n - found.get(k, 0) for k, n in wanted.items() if n > found.get(k, 0)}
