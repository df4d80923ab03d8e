"""Planned migration: both sites are up and nothing may be lost."""

from __future__ import annotations

from resurgo.domain.steps import Call, OnError, Order, Scope, Side, Step
from resurgo.domain.workflows import recover

STEPS: tuple[Step, ...] = (
    Step(
        "PreSync",
        Scope.GROUP,
        Side.SOURCE,
        Call.SYNC,
        OnError.ROLL_BACK,
        3600,
        "Replicate while the VMs still run, so that the last sync is short.",
    ),
    Step(
        "ShutDown",
        Scope.VM,
        Side.SOURCE,
        Call.SHUT_DOWN,
        OnError.ROLL_BACK,
        7200,  # the VM's own time limit is shorter
        "Shut the guest down, last stage first; power off when its time limit has passed.",
        needs=("PreSync",),
        order=Order.REVERSED,
    ),
    Step(
        "Unregister",
        Scope.VM,
        Side.SOURCE,
        Call.UNREGISTER,
        OnError.ROLL_BACK,
        300,
        "Take the VM out of the source's inventory; its files stay.",
        needs=("ShutDown",),
    ),
    Step(
        "Unmount",
        Scope.DATASTORE,
        Side.SOURCE,
        Call.UNMOUNT,
        OnError.ROLL_BACK,
        300,
        "Unmount the datastore from every host of the source.",
        needs=("Unregister",),
    ),
    Step(
        "FinalSync",
        Scope.GROUP,
        Side.SOURCE,
        Call.SYNC,
        OnError.ROLL_BACK,
        3600,
        "Replicate the last changes.",
        needs=("Unmount",),
    ),
    Step(
        "PrepareFailover",
        Scope.GROUP,
        Side.SOURCE,
        Call.PREPARE_FAILOVER,
        OnError.ROLL_BACK,
        600,
        "Make the source volumes read-only.",
        needs=("FinalSync",),
    ),
    Step(
        "Failover",
        Scope.GROUP,
        Side.TARGET,
        Call.FAILOVER_PLANNED,
        OnError.STOP,
        1800,
        "Make the target volumes writable. The point of no return.",
        needs=("PrepareFailover",),
        tries=40,  # forward only: about a quarter of an hour
        no_return=True,
    ),
    *recover.STEPS,
)
