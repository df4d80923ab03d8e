"""Snapshots for tests of decisions: written out where a case needs one, drawn by Hypothesis where any will do."""

from __future__ import annotations

from hypothesis import strategies as st

from resurgo.domain.inventory import NfsExport
from resurgo.domain.snapshot import FrozenDatastore, FrozenGroup, FrozenStage, FrozenVm, SiteLimits, Snapshot
from resurgo.domain.states import RunType


def vm(number: int, stage: str = "rest", *, depends_on: tuple[str, ...] = (), **more: object) -> FrozenVm:
    """VM number *number* of group g, on its only datastore."""
    return FrozenVm(
        key=f"vm-{number}",
        name=f"machine-{number}",
        group="g",
        stage=stage,
        instance_uuid=f"uuid-{number}",
        datastore="ds-0",
        vmx=f"machine-{number}/machine-{number}.vmx",
        folder="/a/vm",
        pool="/a/host/c/Resources",
        host="host-1",
        target_folder="/b/vm",
        target_pool="/b/host/c/Resources",
        depends_on=depends_on,
        **more,  # type: ignore[arg-type]
    )


def snapshot(
    *vms: FrozenVm,
    stages: tuple[FrozenStage, ...] = (),
    type_: RunType = RunType.PLANNED_MIGRATION,
    fencing: str = "BestEffort",
    limits: SiteLimits | None = None,
) -> Snapshot:
    """A snapshot of one group with *vms*; the implicit last stage is added."""
    names = tuple(s.name for s in stages)
    return Snapshot(
        run="run-uid",
        plan="plan",
        type=type_,
        source="a",
        target="b",
        fencing=fencing,
        source_limits=limits or SiteLimits(),
        target_limits=limits or SiteLimits(),
        groups=(FrozenGroup("cg-0", "cg", "g", "pair", "key"),),
        datastores=(FrozenDatastore("ds-0", "ds", "ds", "g", "cg-0", "dev", NfsExport("nfs-a", "/cg/ds"), ("host-1",)),),
        vms=vms,
        stages=(*stages, FrozenStage("rest", depends_on=names)),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Up to eight VMs in up to three stages that depend on earlier ones, with any quorum and policy."""
    count = draw(st.integers(0, 3))
    stages: list[FrozenStage] = []
    for index in range(count):
        earlier = [s.name for s in stages]
        stages.append(
            FrozenStage(
                f"s{index}",
                depends_on=tuple(draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else ()),
                halt=draw(st.booleans()),
                quorum=draw(st.sampled_from([1, 50, 100])),
                retries=draw(st.integers(0, 2)),
            )
        )
    names = [*(s.name for s in stages), "rest"]
    vms: list[FrozenVm] = []
    for number in range(draw(st.integers(1, 8))):
        stage = draw(st.sampled_from(names))
        same = [v.key for v in vms if v.stage == stage]
        vms.append(
            vm(
                number,
                stage,
                depends_on=tuple(draw(st.lists(st.sampled_from(same), unique=True, max_size=2)) if same else ()),
                was_on=draw(st.booleans()),
                power_on=draw(st.booleans()),
            )
        )
    return snapshot(
        *vms,
        stages=tuple(stages),
        type_=draw(st.sampled_from([RunType.PLANNED_MIGRATION, RunType.DISASTER_RECOVERY])),
        fencing=draw(st.sampled_from(["Required", "BestEffort", "Skip"])),
        limits=SiteLimits(draw(st.integers(1, 4)), draw(st.integers(1, 2))),
    )
