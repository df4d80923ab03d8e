"""What the end-to-end tests do and look at: plans and runs, events, and whether anything was changed anywhere."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from tests.lab.lab import Lab, condition_of
from tests.lab.waiting import wait_until

OVER = ("Succeeded", "SucceededWithWarnings", "Failed", "Cancelled", "Refused")
Obj = dict[str, Any]


def reason_of(thing: Obj, kind: str) -> tuple[str, str, str] | None:
    """Status, reason and message of a condition, None if it was never judged."""
    found = next((c for c in thing.get("status", {}).get("conditions", []) if c["type"] == kind), None)
    return None if found is None else (found["status"], found["reason"], found["message"])


def message_of(thing: Obj, kind: str) -> str:
    """The message of a condition that is there."""
    found = reason_of(thing, kind)
    assert found is not None, f"no condition {kind} in {thing.get('status')}"
    return found[2]


def wait_for(
    lab: Lab, kind: str, name: str, check: Any, what: str, *, namespace: str | None = None, seconds: float = 60
) -> Obj:
    """The object once *check* holds for it; a failure shows its whole status."""
    where = ["-n", namespace or lab.namespace]
    last: list[Obj] = []

    def look() -> Obj | None:
        last[:] = [{"status": {}, **lab.kube.get(kind, name, *where)}]
        return last[0] if check(last[0]) else None

    try:
        return wait_until(look, what, seconds=seconds, every=0.2)
    except TimeoutError as late:
        raise AssertionError(
            f"{kind}/{name}: {what}: not in {seconds} s\n{_told(last[0]['status'])}\n{_tail(lab)}"
        ) from late


def _told(status: Obj) -> str:
    """A status in a few lines."""
    conditions = [f"{c['type']}={c['status']} {c['reason']} {c['message'][:300]}" for c in status.get("conditions", [])]
    rest = {k: v for k, v in status.items() if k not in {"conditions", "stages"}}
    return "\n".join([*conditions, json.dumps(rest, ensure_ascii=False)[:3000]])


def _tail(lab: Lab) -> str:
    log = lab.operator.log
    return "\n".join([f"the end of {log}:", *(line[:400] for line in log.read_text().splitlines()[-15:])])


def settled(lab: Lab, plan: str, *, namespace: str | None = None) -> Obj:
    """The plan once the operator has taken note of it: an edit from now on is a request."""
    return wait_for(
        lab,
        "recoveryplan",
        plan,
        lambda p: "lastRequest" in p.get("status", {}) and condition_of(p, "Ready") is not None,
        "the plan is taken note of",
        namespace=namespace,
    )


def ready(lab: Lab, plan: str) -> Obj:
    """The plan once it can be run."""
    return wait_for(
        lab,
        "recoveryplan",
        plan,
        lambda p: "lastRequest" in p.get("status", {}) and condition_of(p, "Ready") == "True",
        "the plan is ready",
    )


def runs(lab: Lab, plan: str | None = None, *, namespace: str | None = None) -> list[Obj]:
    """The runs of *plan*, or all, the oldest first."""
    items = lab.kube.get("recoveryruns", "-n", namespace or lab.namespace)["items"]
    mine = [r for r in items if plan is None or r["spec"]["planRef"]["name"] == plan]
    return sorted(mine, key=lambda r: (r["metadata"]["creationTimestamp"], r["metadata"]["name"]))


def recover(lab: Lab, plan: str, *, namespace: str | None = None, **spec: Any) -> Obj:
    """Ask for `recovered` and return the run that the plan makes."""
    before = {r["metadata"]["uid"] for r in runs(lab, plan, namespace=namespace)}
    body = {"spec": {"desiredState": "recovered", **spec}}
    lab.kube.patch("recoveryplan", plan, body, namespace=namespace or lab.namespace)

    def made() -> Obj | None:
        fresh = [r for r in runs(lab, plan, namespace=namespace) if r["metadata"]["uid"] not in before]
        return fresh[0] if fresh else None

    return wait_until(made, f"plan {plan} makes a run; operator's log {lab.operator.log}", seconds=30, every=0.1)


def let_go(run: Obj) -> bool:
    """Whether the operator has settled everything about a run."""
    return "resurgo.dev/settled" not in run["metadata"].get("finalizers", [])


def over(lab: Lab, run: Obj, *, seconds: float = 60) -> Obj:
    """The run once it has ended and let go of its plan and groups."""
    meta = run["metadata"]
    return wait_for(
        lab,
        "recoveryrun",
        meta["name"],
        lambda r: r["status"].get("phase") in OVER and let_go(r),
        "the run ends",
        namespace=meta["namespace"],
        seconds=seconds,
    )


def step_states(run: Obj) -> dict[str, str]:
    """The state of each step by name."""
    return {s["name"]: s["state"] for s in run["status"]["steps"]}


def at_step(lab: Lab, run: Obj, step: str, state: str = "Running") -> Obj:
    """The run once *step* is in *state*."""
    return wait_for(
        lab,
        "recoveryrun",
        run["metadata"]["name"],
        lambda r: any(s["name"] == step and s["state"] == state for s in r.get("status", {}).get("steps", [])),
        f"step {step} is {state}",
    )


def events(lab: Lab, name: str, namespace: str | None = None) -> list[tuple[str, str, str]]:
    """Type, reason and text of the events about the object *name*; those of cluster-scoped objects are in `default`."""
    items = lab.kube.get("events", "-n", namespace or lab.namespace)["items"]
    return [(e["type"], e["reason"], e["message"]) for e in items if e["involvedObject"]["name"] == name]


def wait_event(lab: Lab, name: str, reason: str, namespace: str | None = None) -> str:
    """The text of the first warning *reason* about *name*."""

    def look() -> str | None:
        found = [text for type_, why, text in events(lab, name, namespace) if (type_, why) == ("Warning", reason)]
        return found[0] if found else None

    return wait_until(look, f"an event {reason} about {name}; operator's log {lab.operator.log}", every=0.2)


def array_effects(lab: Lab) -> dict[str, int]:
    """What has changed at either array, by site, command and group."""
    found = {}
    for site in lab.design.sites:
        path = lab.array(site) / "counters.json"
        counters: Mapping[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        found |= {f"{site.name} {what}": n["effects"] for what, n in counters.items() if n.get("effects")}
    return found


def site_changes(lab: Lab) -> dict[str, int]:
    """Every change that either vCenter was asked for since its counters were reset."""
    return {f"{n} {what}": c for n, s in lab.sites.items() for what, c in s.admin.counters()["mutations"].items()}


class Untouched:
    """`with Untouched(lab): ...` fails if anything was changed meanwhile at a vCenter or an array."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def __enter__(self) -> None:
        for sim in self._lab.sites.values():
            sim.admin.reset_counters()
        self._arrays = array_effects(self._lab)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            assert {} == site_changes(self._lab)
            assert self._arrays == array_effects(self._lab)
            assert [0, 0] == [sim.admin.counters()["panics"] for sim in self._lab.sites.values()]


def array_faults(lab: Lab, site: int, *faults: Mapping[str, Any]) -> None:
    """Let commands of the array at the protected (0) or the recovery site (1) fail until the test ends."""
    path = lab.array(lab.design.sites[site]) / "faults.json"
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps([{"times": None, **fault} for fault in faults]))
    fresh.replace(path)


def refuse(method: str, vm: str, message: str, fault: str = "NoPermission", **effect: Any) -> Obj:
    """A rule of a simulated vCenter: *method* of one VM is answered with a fault."""
    fields = {"privilegeId": "VirtualMachine.Interact.PowerOn"} if fault == "NoPermission" else {}
    what = {"type": fault, "message": message, "fields": fields}
    return {"match": {"method": method, "name": vm}, "effect": {"fault": what, **effect}}


def control(lab: Lab, run: Obj, word: str) -> None:
    """Pause, resume or cancel a run."""
    lab.patch("recoveryrun", run["metadata"]["name"], {"control": word})


def ring(lab: Lab, kind: str, name: str) -> None:
    """Have the operator look at a cluster-scoped object now instead of some seconds later."""
    lab.kube.patch(kind, name, {"metadata": {"annotations": {"test/look": secrets.token_hex(4)}}})
