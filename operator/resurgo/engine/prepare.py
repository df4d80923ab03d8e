"""From a run that was asked for to one that may start: checks, the claim on plan and groups, the frozen snapshot.

Everything here can be repeated: a process that dies on any line leaves nothing that the next one does not find.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resurgo.api import ProtectionGroup, RecoveryPlan, RecoveryRun
from resurgo.domain.blockers import in_words, listed
from resurgo.domain.errors import Conflict, Missing, OutcomeUnknown
from resurgo.domain.ports import Key, Obj
from resurgo.domain.snapshot import Snapshot
from resurgo.domain.states import TERMINAL, ActiveState, RunPhase, RunType
from resurgo.domain.workflows import TABLES
from resurgo.engine.context import Context
from resurgo.engine.group_access import denied, namespace_labels, refusal
from resurgo.engine.group_store import pack, unpack
from resurgo.engine.recovery_plan import GENERATION, WISH, direction
from resurgo.engine.survey import groups_of, plan_state, refresh, survey

_ENTRY = "snapshot"


@dataclass(frozen=True, slots=True)
class Refused(Exception):
    """The run will not start. Nothing was touched."""

    reason: str
    message: str
    phase: RunPhase = RunPhase.REFUSED


@dataclass(frozen=True, slots=True)
class Wait(Exception):
    """The run may start later: why, in words."""

    reason: str
    message: str
    after: float = 5.0  # seconds until it is worth another look


def _key(run: RecoveryRun) -> Key:
    return Key("configmaps", run.metadata.namespace, f"{run.metadata.name}.snapshot.resurgo.dev")


async def load_snapshot(context: Context, run: RecoveryRun) -> Snapshot | None:
    """The snapshot this run was started on, None if it was not started."""
    try:
        obj = await context.kube.get(_key(run))
    except Missing:
        return None
    return Snapshot.from_json(unpack(obj["binaryData"][_ENTRY]))


def digest(snapshot: Snapshot) -> str:
    """Of the whole frozen input: what the evidence of a run refers to."""
    text = json.dumps(snapshot.to_json(), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


async def prepare(context: Context, obj: Obj) -> Snapshot:
    """Check the run against the world, claim what it moves, freeze its input. Raises Refused or Wait."""
    run = RecoveryRun.model_validate(obj)
    plan = await _plan(context, run)
    groups = await groups_of(context, plan)
    state = plan_state(context, plan, groups)
    _may_run(run, plan, state)
    source, target = direction(plan, state)
    _as_expected(run, plan, source, target)
    labels = await _may_have(context, groups)
    await _claim(context, run, plan, [Key("protectiongroups", run.metadata.namespace, n) for n in sorted(groups)])
    planned = run.spec.type is RunType.PLANNED_MIGRATION
    await refresh(context, groups, sites=(source, target) if planned else (target,))
    found = await survey(context, plan, groups, type_=run.spec.type, source=source, target=target, run=run.metadata.uid)
    if found.blocking:
        raise Refused(found.blocking[0].reason, in_words(found.blocking))
    for name, group in groups.items():
        vms = [v for v in found.snapshot.vms if v.group == name]
        stores = [d.name for d in found.snapshot.datastores if d.group == name]
        if refused := denied(context, group, labels, vms, stores):
            raise Refused("AccessDenied", f"ProtectionGroup {name}: no access to {listed(refused)}")
    return await _freeze(context, obj, run, found.snapshot)


async def _may_have(context: Context, groups: Mapping[str, ProtectionGroup]) -> dict[str, str]:
    """The labels of the groups' namespace, once access and ownership were judged anew. Raises Refused.

    Before anything is read for a group: it may be younger than its conditions.
    """
    labels: dict[str, str] = {}
    for name, group in groups.items():
        labels = await namespace_labels(context, group)
        if (found := await refusal(context, group, labels)) is not None:
            raise Refused(found[0], f"ProtectionGroup {name}: {found[1]}")
    return labels


async def _plan(context: Context, run: RecoveryRun) -> RecoveryPlan:
    name = run.spec.plan_ref.name
    try:
        plan = RecoveryPlan.model_validate(await context.kube.get(Key("recoveryplans", run.metadata.namespace, name)))
    except Missing:
        raise Refused("PlanNotFound", f"RecoveryPlan {name} does not exist in this namespace") from None
    if run.spec.plan_ref.uid and run.spec.plan_ref.uid != plan.metadata.uid:
        raise Refused(
            "PlanReplaced", f"RecoveryPlan {name} is not the one this run was made for: it was deleted and made anew"
        )
    return plan


def _may_run(run: RecoveryRun, plan: RecoveryPlan, state: ActiveState | None) -> None:
    if run.spec.type not in TABLES:
        raise Refused("NotSupported", f"runs of type {run.spec.type} are not part of this version")
    if run.spec.skip_steps:
        raise Refused("NotSupported", "skipSteps is not part of this version")
    if run.spec.type is RunType.DISASTER_RECOVERY and not run.spec.acknowledge_data_loss:
        raise Refused("NotAcknowledged", "a DisasterRecovery may lose data: set acknowledgeDataLoss to true")
    wish = run.metadata.annotations.get(WISH)
    if wish and wish != plan.spec.desired_state.value:
        text = f"the plan asks for {plan.spec.desired_state} now, this run was made for {wish}"
        raise Refused("RequestWithdrawn", text, RunPhase.CANCELLED)
    if state is None:
        raise Wait(
            "WorldUnknown", "the storage does not say where the plan's workloads live: see the groups' conditions"
        )
    if state is ActiveState.RECOVERED and run.metadata.annotations.get(GENERATION):
        raise Refused("AlreadyRecovered", f"the workloads are at {plan.spec.recovery_site} already")


def _as_expected(run: RecoveryRun, plan: RecoveryPlan, source: str, target: str) -> None:
    expect = run.spec.expect
    if expect is None:
        return
    if (expect.source_site, expect.target_site) != (source, target):
        text = f"expected {expect.source_site} -> {expect.target_site}, the world says {source} -> {target}"
        raise Refused("PreconditionFailed", text)
    if expect.plan_generation is not None and expect.plan_generation != plan.metadata.generation:
        text = f"expected generation {expect.plan_generation} of the plan, it has {plan.metadata.generation}"
        raise Refused("PreconditionFailed", text)


# -- one active run per plan and group ----------------------------------------------------------------


async def claim_again(context: Context, run: RecoveryRun, snapshot: Snapshot) -> None:
    """Claim plan and groups for a run that goes on after its end. Raises Refused or Wait."""
    plan = await _plan(context, run)
    names = sorted({g.group for g in snapshot.groups})
    await _claim(context, run, plan, [Key("protectiongroups", run.metadata.namespace, n) for n in names])


async def _claim(context: Context, run: RecoveryRun, plan: RecoveryPlan, groups: list[Key]) -> None:
    """Write the run's uid on plan and groups, all or nothing, each under its resourceVersion."""
    taken: list[Key] = []
    try:
        for key in (Key("recoveryplans", run.metadata.namespace, plan.metadata.name), *groups):
            await _claim_one(context, run, key)
            taken.append(key)
    except Refused:
        for key in taken:
            await _release_one(context, run, key)
        raise


async def _claim_one(context: Context, run: RecoveryRun, key: Key) -> None:
    claim = {"name": run.metadata.name, "uid": run.metadata.uid}
    for _ in range(10):
        obj = await context.kube.get(key)
        held = (obj.get("status") or {}).get("activeRun")
        if held == claim:
            return
        if held and await _alive(context, key.namespace, held):
            raise Refused("AnotherRunActive", f"run {held['name']} holds {key.plural.removesuffix('s')} {key.name}")
        try:
            await context.kube.patch_status(
                key, {"activeRun": claim}, resource_version=obj["metadata"]["resourceVersion"]
            )
        except (Conflict, OutcomeUnknown):
            continue
        return
    raise Wait("Contended", f"{key.name} changes too often to be claimed", after=0.2)


async def _alive(context: Context, namespace: str | None, held: dict[str, Any]) -> bool:
    try:
        other = await context.kube.get(Key("recoveryruns", namespace, held["name"]))
    except Missing:
        return False
    phase = (other.get("status") or {}).get("phase")
    return bool(other["metadata"]["uid"] == held["uid"] and phase not in TERMINAL)


async def release(context: Context, run: RecoveryRun) -> None:
    """Take the claim off plan and groups. Safe to repeat; what is gone or another's is left alone."""
    name = run.spec.plan_ref.name
    namespace = run.metadata.namespace
    await _release_one(context, run, Key("recoveryplans", namespace, name))
    for obj in await context.kube.list("protectiongroups", namespace=namespace):
        if ((obj.get("status") or {}).get("activeRun") or {}).get("uid") == run.metadata.uid:
            await _release_one(context, run, Key("protectiongroups", namespace, obj["metadata"]["name"]))


async def _release_one(context: Context, run: RecoveryRun, key: Key) -> None:
    for _ in range(10):
        try:
            obj = await context.kube.get(key)
            if ((obj.get("status") or {}).get("activeRun") or {}).get("uid") != run.metadata.uid:
                return
            await context.kube.patch_status(
                key, {"activeRun": None}, resource_version=obj["metadata"]["resourceVersion"]
            )
        except Missing:
            return
        except (Conflict, OutcomeUnknown):
            continue
        return


# -- the snapshot -----------------------------------------------------------------------------------


async def _freeze(context: Context, obj: Obj, run: RecoveryRun, snapshot: Snapshot) -> Snapshot:
    """Store the snapshot. One that is there already wins: the run was started on it."""
    key = _key(run)
    owner = {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": run.metadata.name,
        "uid": run.metadata.uid,
    }
    head = {"name": key.name, "namespace": key.namespace, "ownerReferences": [owner]}
    body = {"metadata": head, "binaryData": {_ENTRY: pack(snapshot.to_json())}, "immutable": True}
    try:
        await context.kube.create("configmaps", body)
    except (Conflict, OutcomeUnknown):
        stored = await load_snapshot(context, run)
        if stored is None:
            raise Wait("NotStored", "the snapshot could not be stored yet", after=0.5) from None
        return stored
    return snapshot
