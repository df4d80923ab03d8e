"""Stages as a directed graph: what must come before what, and whether a stage has passed.

A stage passes when enough of its VMs are ready; stages that depend on a halted one never start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from resurgo.domain.snapshot import FrozenStage, FrozenVm, Snapshot


class StageState(StrEnum):
    WAITING = "Waiting"
    PASSED = "Passed"
    HALTED = "Halted"  # its quorum can't be reached any more, and its policy is Halt


@dataclass(frozen=True, slots=True)
class Graph:
    """The stages of one snapshot, with transitive dependencies."""

    stages: Mapping[str, FrozenStage]
    vms_of: Mapping[str, tuple[FrozenVm, ...]]
    before: Mapping[str, frozenset[str]]  # every stage that a stage depends on, directly or not
    after: Mapping[str, frozenset[str]]
    dependents: Mapping[str, tuple[str, ...]]  # VM key -> VMs that name it in dependsOn


def build(snapshot: Snapshot) -> Graph:
    """Raises ValueError naming the stages of a cycle."""
    stages = {s.name: s for s in snapshot.stages}
    vms_of = {name: tuple(v for v in snapshot.vms if v.stage == name) for name in stages}
    before = {name: _closure(name, stages) for name in stages}
    after = {name: frozenset(o for o in stages if name in before[o]) for name in stages}
    dependents: dict[str, list[str]] = {}
    for vm in snapshot.vms:
        for needed in vm.depends_on:
            dependents.setdefault(needed, []).append(vm.key)
    return Graph(stages, vms_of, before, after, {k: tuple(v) for k, v in dependents.items()})


def _closure(name: str, stages: Mapping[str, FrozenStage]) -> frozenset[str]:
    seen: set[str] = set()
    todo = list(stages[name].depends_on)
    while todo:
        one = todo.pop()
        if one == name:
            raise ValueError(f"stages depend on each other in a circle through {name!r}")
        if one not in seen and one in stages:
            seen.add(one)
            todo.extend(stages[one].depends_on)
    return frozenset(seen)


def vm_cycle(vms: Sequence[FrozenVm]) -> tuple[str, ...]:
    """Names of VMs whose dependsOn form a circle, empty where there is none."""
    waiting = {v.key: set(v.depends_on) for v in vms}
    while free := [key for key, needs in waiting.items() if not needs]:
        for key in free:
            del waiting[key]
        for needs in waiting.values():
            needs.difference_update(free)
    return tuple(v.name for v in vms if v.key in waiting)


def stage_state(stage: FrozenStage, *, total: int, ready: int, settled: int) -> StageState:
    """Of *total* VMs *ready* passed their checks and *settled* have ended, well or not."""
    if ready * 100 >= stage.quorum * total:
        return StageState.PASSED
    if settled < total:
        return StageState.WAITING
    return StageState.HALTED if stage.halt else StageState.PASSED
