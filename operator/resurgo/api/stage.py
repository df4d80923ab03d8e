"""Stage: the VMs of a plan that start together, when they count as ready, and what their failure means."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from resurgo.api.base import (
    Label,
    LocalReference,
    Model,
    ObjectName,
    PositiveSeconds,
    VirtualMachineReference,
    list_map,
    list_set,
)


class StageFailurePolicy(StrEnum):
    """What a stage that misses its quorum means for the stages that depend on it."""

    HALT = "Halt"
    CONTINUE = "Continue"


class StageVirtualMachine(VirtualMachineReference):
    """A VM of a stage."""

    depends_on: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=512)], ...], Field(max_length=32), list_set()
    ] = ()
    """VMs of the same stage, by the name or path they are listed under, that must be ready first."""


class TcpProbe(Model):
    """A port that must accept connections."""

    port: Annotated[int, Field(ge=1, le=65535)]
    """The port, at the VM's first address."""


class Readiness(Model):
    """When a VM counts as ready."""

    tools_heartbeat: bool = True
    """VMware Tools must report a heartbeat."""
    tcp: Annotated[tuple[TcpProbe, ...], Field(max_length=8), list_map("port")] = ()
    """Ports that must accept connections, as seen from the operator."""
    timeout_seconds: PositiveSeconds = 900
    """How long a VM may take; after that it has failed."""
    delay_seconds: Annotated[int, Field(ge=0, le=3600)] = 0
    """How long to wait after that before what depends on the VM starts."""


class OnFailure(Model):
    """What happens when VMs of a stage fail."""

    policy: StageFailurePolicy = StageFailurePolicy.HALT
    """A stage that misses its quorum: Halt stops what depends on it, Continue goes on."""
    quorum: Annotated[int, Field(ge=1, le=100)] = 100
    """Percent of the stage's VMs that must be ready."""
    retries: Annotated[int, Field(ge=0, le=10)] = 1
    """How often a failed VM is tried again before it counts as failed."""


class StageHooks(Model):
    """RecoveryHooks of a stage, run one after the other."""

    before: Annotated[tuple[LocalReference, ...], Field(max_length=16)] = ()
    """Before the first VM of the stage is powered on."""
    after: Annotated[tuple[LocalReference, ...], Field(max_length=16)] = ()
    """After the stage's VMs are ready."""


class Stage(Model):
    """VMs that are started together."""

    name: Label
    """The stage's name; `rest` stands for the VMs that no stage names."""
    depends_on: Annotated[tuple[Label, ...], Field(max_length=32), list_set()] = ()
    """Stages that must have ended well first."""
    virtual_machines: Annotated[tuple[StageVirtualMachine, ...], Field(max_length=500)] = ()
    """The stage's VMs."""
    protection_groups: Annotated[tuple[ObjectName, ...], Field(max_length=32), list_set()] = ()
    """Groups of the plan whose VMs belong to this stage, but for those that another stage names."""
    readiness: Readiness = Readiness()
    """When a VM of this stage counts as ready."""
    on_failure: OnFailure = OnFailure()
    """What happens when VMs of this stage fail."""
    hooks: StageHooks | None = None
    """RecoveryHooks to run before and after."""
