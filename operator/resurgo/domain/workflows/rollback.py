"""The way back of a failover that failed or was cancelled before the point of no return.

Only what the run has begun is undone; errors stop the rollback and the message says what is left.
"""

from __future__ import annotations

from resurgo.domain.steps import Call, OnError, Order, Scope, Side, Step

STEPS: tuple[Step, ...] = (
    Step(
        "RestoreReplication",
        Scope.GROUP,
        Side.SOURCE,
        Call.RESTORE,
        OnError.STOP,
        600,
        "Make the source volumes writable again.",
        undoes=("PrepareFailover", "FencePrepare"),
    ),
    Step(
        "Remount",
        Scope.DATASTORE,
        Side.SOURCE,
        Call.MOUNT,
        OnError.STOP,
        600,
        "Mount the datastore again where it was mounted.",
        needs=("RestoreReplication",),
        undoes=("Unmount", "FenceUnmount"),
    ),
    Step(
        "Reregister",
        Scope.VM,
        Side.SOURCE,
        Call.REGISTER,
        OnError.ITEM,
        600,
        "Register the VM again in its folder and resource pool.",
        needs=("Remount",),
        undoes=("Unregister", "FenceUnregister"),
    ),
    Step(
        "PowerBackOn",
        Scope.VM,
        Side.SOURCE,
        Call.POWER_ON,
        OnError.ITEM,
        600,
        "Power on what was on before, in the order of the stages.",
        needs=("Reregister",),
        order=Order.STAGES,
        undoes=("ShutDown", "FenceShutDown"),
    ),
)
