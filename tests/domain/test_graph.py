"""Stages as a graph: what comes before what, circles, and when a stage has passed."""

from __future__ import annotations

import pytest

from resurgo.domain.graph import StageState, build, stage_state, vm_cycle
from resurgo.domain.snapshot import FrozenStage
from tests.domain.snapshots import snapshot, vm


def test_dependencies_reach_through_other_stages_both_ways() -> None:
    stages = (FrozenStage("db"), FrozenStage("app", ("db",)), FrozenStage("web", ("app",)), FrozenStage("mail"))
    graph = build(snapshot(vm(0, "db"), vm(1, "web"), vm(2), stages=stages))
    assert {"db", "app"} == graph.before["web"]
    assert {"db", "app", "web", "mail"} == graph.before["rest"]
    assert {"app", "web", "rest"} == graph.after["db"]
    assert {"rest"} == graph.after["mail"]
    assert ("vm-1",) == tuple(v.key for v in graph.vms_of["web"])
    assert () == graph.vms_of["app"]


def test_what_depends_on_a_vm_is_known_by_its_key() -> None:
    graph = build(snapshot(vm(0), vm(1, depends_on=("vm-0",)), vm(2, depends_on=("vm-0", "vm-1"))))
    assert {"vm-0": ("vm-1", "vm-2"), "vm-1": ("vm-2",)} == graph.dependents


def test_a_dependency_on_a_stage_that_is_not_there_holds_nothing_up() -> None:
    assert frozenset() == build(snapshot(stages=(FrozenStage("app", ("gone",)),))).before["app"]


@pytest.mark.parametrize(
    "stages",
    [
        (FrozenStage("app", ("app",)),),
        (FrozenStage("app", ("web",)), FrozenStage("web", ("app",))),
        (FrozenStage("app", ("rest",)),),  # the implicit last stage depends on all others
    ],
)
def test_a_circle_of_stages_is_named(stages: tuple[FrozenStage, ...]) -> None:
    with pytest.raises(ValueError, match="in a circle through 'app'"):
        build(snapshot(stages=stages))


@pytest.mark.parametrize(
    ("vms", "circle"),
    [
        ((), ()),
        ((vm(0), vm(1, depends_on=("vm-0",))), ()),
        ((vm(0), vm(1, depends_on=("vm-2",)), vm(2, depends_on=("vm-1", "vm-0"))), ("machine-1", "machine-2")),
        ((vm(0, depends_on=("vm-0",)),), ("machine-0",)),
        # what only hangs on a circle can't start either
        ((vm(0, depends_on=("vm-0",)), vm(1, depends_on=("vm-0",))), ("machine-0", "machine-1")),
    ],
)
def test_vms_that_can_never_start_are_named(vms: tuple, circle: tuple[str, ...]) -> None:
    assert circle == vm_cycle(vms)


@pytest.mark.parametrize(
    ("quorum", "halt", "total", "ready", "settled", "state"),
    [
        (100, True, 0, 0, 0, StageState.PASSED),
        (100, True, 2, 1, 1, StageState.WAITING),
        (100, True, 2, 2, 2, StageState.PASSED),
        (100, True, 2, 1, 2, StageState.HALTED),
        (100, False, 2, 1, 2, StageState.PASSED),
        (100, False, 2, 0, 1, StageState.WAITING),
        (50, True, 3, 1, 2, StageState.WAITING),
        (50, True, 3, 2, 2, StageState.PASSED),  # enough are ready: the third is not waited for
        (34, True, 3, 1, 3, StageState.HALTED),  # a third is less than 34 %
        (33, True, 3, 1, 3, StageState.PASSED),
        (1, True, 3, 0, 3, StageState.HALTED),
    ],
)
def test_a_stage_passes_by_its_quorum(
    quorum: int,
    halt: bool,
    total: int,
    ready: int,
    settled: int,
    state: StageState,
) -> None:
    stage = FrozenStage("s", quorum=quorum, halt=halt)
    assert state is stage_state(stage, total=total, ready=ready, settled=settled)
