"""Disaster recovery: the protected site may be dead, hanging or half alive, and nothing waits for it beyond its bound.

Everything at the source is tried within a short time and tolerated; a source that does not answer is skipped at once.
"""

from __future__ import annotations

from resurgo.domain.steps import Call, OnError, Scope, Side, Step
from resurgo.domain.workflows import recover

FENCE_SECONDS = 120.0  # all that is tried at the source, one item of one step

STEPS: tuple[Step, ...] = (
    Step(
        "FenceShutDown",
        Scope.VM,
        Side.SOURCE,
        Call.SHUT_DOWN,
        OnError.TOLERATE,
        FENCE_SECONDS,
        "Shut the VM down at the source, if it answers.",
    ),
    Step(
        "FenceUnregister",
        Scope.VM,
        Side.SOURCE,
        Call.UNREGISTER,
        OnError.TOLERATE,
        60,
        "Take the VM out of the source's inventory, if it answers.",
        needs=("FenceShutDown",),
    ),
    Step(
        "FenceUnmount",
        Scope.DATASTORE,
        Side.SOURCE,
        Call.UNMOUNT,
        OnError.TOLERATE,
        60,
        "Unmount the datastore at the source, if it answers.",
        needs=("FenceUnregister",),
    ),
    Step(
        "LastSync",
        Scope.GROUP,
        Side.SOURCE,
        Call.SYNC,
        OnError.TOLERATE,
        FENCE_SECONDS,
        "Replicate what the source array still gives.",
        needs=("FenceUnmount",),
    ),
    Step(
        "FencePrepare",
        Scope.GROUP,
        Side.SOURCE,
        Call.PREPARE_FAILOVER,
        OnError.TOLERATE,
        60,
        "Make the source volumes read-only, if the array answers.",
        needs=("LastSync",),
    ),
    Step(
        "Failover",
        Scope.GROUP,
        Side.TARGET,
        Call.FAILOVER_FORCED,
        OnError.STOP,
        1800,
        "Make the target volumes writable without asking the source. The point of no return.",
        needs=("FencePrepare",),
        tries=40,  # forward only: about a quarter of an hour
        no_return=True,
    ),
    *recover.STEPS,
)
