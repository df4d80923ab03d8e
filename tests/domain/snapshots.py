"""Snapshots for tests of decisions: written out where a case needs one, drawn by Hypothesis where any will do."""

from __future__ import annotations

from hypothesis import strategies as st

from resurgo.domain.inventory import NfsExport
from resurgo.domain.snapshot import FrozenDatastore, FrozenGroup, FrozenStage, FrozenVm, SiteLimits, Snapshot
from resurgo.domain.states import RunType


def vm(
    number: int,
    stage: str = "rest",
    *,
    depends_on: tuple[str, ...] = (),
    group: str = "g",
    datastore: str = "ds-0",
    **more: object,
) -> FrozenVm:
    """VM number *number*, of group g and on its only datastore where nothing else is said."""
    return FrozenVm(
        key=f"vm-{number}",
        name=f"machine-{number}",
        group=group,
        stage=stage,
        instance_uuid=f"uuid-{number}",
        datastore=datastore,
        vmx=f"machine-{number}/machine-{number}.vmx",
        folder="/a/vm",
        pool="/a/host/c/Resources",
        host="host-1",
        target_folder="/b/vm",
        target_pool="/b/host/c/Resources",
        depends_on=depends_on,
        **more,  # type: ignore[arg-type]
    )


GROUP = FrozenGroup("cg-0", "cg", "g", "pair", "key")
DATASTORE = FrozenDatastore("ds-0", "ds", "ds", "g", "cg-0", "dev", NfsExport("nfs-a", "/cg/ds"), ("host-1",))


def snapshot(
    *vms: FrozenVm,
    stages: tuple[FrozenStage, ...] = (),
    type_: RunType = RunType.PLANNED_MIGRATION,
    fencing: str = "BestEffort",
    limits: SiteLimits | None = None,
    groups: tuple[FrozenGroup, ...] = (GROUP,),
    datastores: tuple[FrozenDatastore, ...] = (DATASTORE,),
) -> Snapshot:
    """A snapshot with *vms*, of one group where nothing else is said; the implicit last stage is added."""
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
        groups=groups,
        datastores=datastores,
        vms=vms,
        stages=(*stages, FrozenStage("rest", depends_on=names)),
    )


@st.composite
def storage(draw: st.DrawFn) -> tuple[tuple[FrozenGroup, ...], tuple[FrozenDatastore, ...]]:
    """One to three consistency groups of one or two protection groups, each with one or two datastores."""
    groups: list[FrozenGroup] = []
    stores: list[FrozenDatastore] = []
    for number in range(draw(st.integers(1, 3))):
        owner = draw(st.sampled_from(["g", "h"]))
        groups.append(FrozenGroup(f"cg-{number}", f"cg{number}", owner, "pair", f"key-{number}"))
        for _ in range(draw(st.integers(1, 2))):
            name, export = f"store{len(stores)}", NfsExport("nfs-a", f"/cg{number}/store{len(stores)}")
            stores.append(
                FrozenDatastore(
                    f"ds-{len(stores)}", name, name, owner, f"cg-{number}", f"dev-{len(stores)}", export, ("host-1",)
                )
            )
    return tuple(groups), tuple(stores)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Up to eight VMs on any storage, in up to three stages that depend on earlier ones, with any quorum and policy."""
    groups, stores = draw(storage())
    stages: list[FrozenStage] = []
    for index in range(draw(st.integers(0, 3))):
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
        stage, store = draw(st.sampled_from(names)), draw(st.sampled_from(stores))
        same = [v.key for v in vms if v.stage == stage]
        vms.append(
            vm(
                number,
                stage,
                group=store.group,
                datastore=store.key,
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
        groups=groups,
        datastores=stores,
    )
