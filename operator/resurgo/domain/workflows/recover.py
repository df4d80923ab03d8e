"""The second half of every failover: from writable storage at the target to VMs that are ready."""

from __future__ import annotations

from resurgo.domain.steps import Call, OnError, Order, Scope, Side, Step

STEPS: tuple[Step, ...] = (
    Step(
        "Present",
        Scope.DATASTORE,
        Side.TARGET,
        Call.MOUNT,
        OnError.STOP,
        900,
        "Mount the recovered datastore on every host of the mapped clusters.",
        tries=40,  # forward only: about a quarter of an hour
        needs=("Failover",),
    ),
    Step(
        "Register",
        Scope.VM,
        Side.TARGET,
        Call.REGISTER,
        OnError.ITEM,
        600,
        "Register the VM from its files into the mapped folder and resource pool.",
        needs=("Present",),
    ),
    Step(
        "Configure",
        Scope.VM,
        Side.TARGET,
        Call.CONFIGURE,
        OnError.ITEM,
        600,
        "Attach the mapped networks and leave the guest customization for the next power-on.",
        after="Register",
    ),
    Step(
        "PowerOn",
        Scope.VM,
        Side.TARGET,
        Call.POWER_ON,
        OnError.ITEM,
        600,
        "Power the VM on, once all that it depends on is ready.",
        after="Configure",
        order=Order.STAGES,
    ),
    Step(
        "Ready",
        Scope.VM,
        Side.TARGET,
        Call.WAIT_READY,
        OnError.ITEM,
        86400,  # the stage's own time limit ends it
        "Wait until the VM passes its stage's readiness checks.",
        after="PowerOn",
    ),
)
