"""RecoveryRun: one execution of a plan. The only kind that makes anything happen; never kept in Git."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resurgo.api.base import (
    ConditionedStatus,
    Count,
    Generation,
    Model,
    ObjectName,
    RequestID,
    Resource,
    Seconds,
    ShortText,
    Text,
    Time,
    Uid,
    UserName,
    list_map,
)

StepName = Annotated[str, Field(min_length=1, max_length=255)]
"""The name of a step as the run's status shows it."""


class RunType(StrEnum):
    """What a run does."""

    TEST = "Test"
    CLEANUP = "Cleanup"
    PLANNED_MIGRATION = "PlannedMigration"
    DISASTER_RECOVERY = "DisasterRecovery"
    REPROTECT = "Reprotect"


class RunControl(StrEnum):
    """What a person wants of a run that is under way."""

    RUN = "Run"
    PAUSE = "Pause"
    CANCEL = "Cancel"


class RunPhase(StrEnum):
    """Where a run stands, for people; programs read the conditions."""

    PENDING = "Pending"
    AWAITING_APPROVAL = "AwaitingApproval"
    RUNNING = "Running"
    PAUSED = "Paused"
    ROLLING_BACK = "RollingBack"
    SUCCEEDED = "Succeeded"
    SUCCEEDED_WITH_WARNINGS = "SucceededWithWarnings"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    REFUSED = "Refused"


class StepState(StrEnum):
    """Where a step or a stage stands."""

    PENDING = "Pending"
    RUNNING = "Running"
    DONE = "Done"
    ALREADY_DONE = "AlreadyDone"
    SKIPPED = "Skipped"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class PlanReference(Model):
    """The plan a run executes."""

    name: ObjectName
    """The RecoveryPlan's name, in the run's namespace."""
    uid: Uid | None = None
    """The RecoveryPlan's UID; a run is refused if the plan was re-created since. Optional for a run made by hand."""


class Expectation(Model):
    """What the world must look like when the run starts; it is refused (PreconditionFailed) if it differs."""

    source_site: ObjectName
    """The Site where the VMs run now."""
    target_site: ObjectName
    """The Site where they are to run."""
    plan_generation: Generation | None = None
    """The metadata.generation of the plan that was looked at."""


class SkippedStep(Model):
    """A step that a person decided to leave out."""

    step: StepName
    """The step's name."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why; it stands in the report."""


class RecoveryRunSpec(Model):
    """One execution of a plan. Immutable but for control, retry and skipSteps."""

    plan_ref: PlanReference
    """The plan to execute."""
    type: RunType
    """What to do: Test, Cleanup, PlannedMigration, DisasterRecovery or Reprotect."""
    request_id: RequestID = ""
    """The request this run answers, for instance an incident number; one request is executed once."""
    requested_by: UserName | None = None
    """Who asks; a policy forces it to be the user who creates the run."""
    expect: Expectation | None = None
    """What the world must look like when the run starts."""
    acknowledge_data_loss: bool = False
    """Must be true for DisasterRecovery: writes since the last recovery point will be lost."""
    force: bool = False
    """Cleanup and Reprotect: go on past errors and list what was left behind."""
    control: RunControl = RunControl.RUN
    """Run, Pause (stops at the next step) or Cancel (rolls back; refused after the point of no return). Cancel can't
    be taken back."""
    retry: Annotated[int, Field(ge=0, le=1000)] = 0
    """Raise by one to try again what has failed; what is done is not repeated."""
    skip_steps: Annotated[tuple[SkippedStep, ...], Field(max_length=50), list_map("step")] = ()
    """Steps to leave out, each with a reason."""


class Progress(Model):
    """How far a step has come."""

    done: Count = 0
    """How many are done."""
    total: Count = 0
    """How many there are."""


class StepStatus(Model):
    """One step of the run."""

    name: StepName
    """The step's name, unique in the run."""
    state: StepState
    """Where it stands."""
    start_time: Time | None = None
    """When it started."""
    end_time: Time | None = None
    """When it ended."""
    message: Text = ""
    """What it is waiting for, or why it failed and what to do next."""
    progress: Progress | None = None
    """How far it has come."""


class StageStatus(Model):
    """One stage of the plan in this run."""

    name: Annotated[str, Field(min_length=1, max_length=63)]
    """The stage's name."""
    state: StepState
    """Where it stands."""
    ready: Count = 0
    """How many of its VMs are ready."""
    total: Count = 0
    """How many VMs it has."""
    message: Text = ""
    """What it is waiting for, or why it failed and what to do next."""


class RunCounts(Model):
    """The VMs of the run by how they fared."""

    total: Count = 0
    """All of them."""
    ready: Count = 0
    """Those that are where they should be."""
    failed: Count = 0
    """Those that failed."""
    skipped: Count = 0
    """Those that were left out."""


class Failure(Model):
    """One thing that went wrong."""

    virtual_machine: Annotated[str, Field(max_length=512)] | None = None
    """The VM, if it is about one."""
    step: StepName
    """The step."""
    reason: Annotated[str, Field(min_length=1, max_length=128)]
    """Why, in one CamelCase word."""
    message: Text
    """What was answered and what to do next."""


class Achieved(Model):
    """What the run measured."""

    recovery_point_time: Time | None = None
    """The recovery point of the data that was used."""
    data_loss_seconds: Seconds | None = None
    """RPO: from that point to the last write of the source, or to the request if that is not known."""
    recovery_time_seconds: Seconds | None = None
    """RTO: from the accepted request to the last ready VM."""


class Leftover(Model):
    """Something the run made or meant to remove, and could not remove."""

    site: ObjectName
    """Where it is."""
    kind: Annotated[str, Field(min_length=1, max_length=63)]
    """What it is: VirtualMachine, Datastore, Network, Folder, Snapshot and the like."""
    name: Annotated[str, Field(min_length=1, max_length=512)]
    """Its name or path."""
    message: ShortText = ""
    """Why it is still there."""


class RecoveryRunStatus(ConditionedStatus):
    """How the run is going and what came of it."""

    phase: RunPhase | None = None
    """Where the run stands, for people."""
    source_site: ObjectName | None = None
    """The Site the run moves away from, as found at its start."""
    target_site: ObjectName | None = None
    """The Site the run moves to, as found at its start."""
    start_time: Time | None = None
    """When the run was accepted."""
    completion_time: Time | None = None
    """When it ended, well or not."""
    point_of_no_return_time: Time | None = None
    """When it passed the point after which there is only the way forward."""
    requested_by: UserName | None = None
    """Who asked for it."""
    approved_by: UserName | None = None
    """Who approved it."""
    snapshot_hash: Annotated[str, Field(max_length=128)] | None = None
    """The hash of the frozen input: plan, groups, mappings, hooks and VMs as they were at the start."""
    handled_retry: Count | None = None
    """The value of spec.retry that was last acted upon."""
    current_step: StepName | None = None
    """The step the run is in."""
    done: Annotated[str, Field(max_length=32)] | None = None
    """Ready VMs of all, as text: 12/40."""
    steps: Annotated[tuple[StepStatus, ...], Field(max_length=128), list_map("name")] = ()
    """The steps of the run, in order."""
    stages: Annotated[tuple[StageStatus, ...], Field(max_length=64), list_map("name")] = ()
    """The stages of the plan in this run."""
    counts: RunCounts | None = None
    """The VMs of the run by how they fared."""
    failures: Annotated[tuple[Failure, ...], Field(max_length=50)] = ()
    """What went wrong, the first 50."""
    leftovers: Annotated[tuple[Leftover, ...], Field(max_length=100)] = ()
    """What a forced run could not remove, the first 100."""
    achieved: Achieved | None = None
    """Measured RPO and RTO."""


class RecoveryRun(Resource):
    """One execution of a plan: frozen input, steps, results, audit. Never kept in Git."""

    KIND: ClassVar[str] = "RecoveryRun"
    PLURAL: ClassVar[str] = "recoveryruns"
    SINGULAR: ClassVar[str] = "recoveryrun"
    SHORT_NAME: ClassVar[str] = "rrun"

    kind: Literal["RecoveryRun"] = "RecoveryRun"
    """The kind of this object."""
    spec: RecoveryRunSpec
    """What is wanted."""
    status: RecoveryRunStatus = RecoveryRunStatus()
    """What was observed; written by the operator."""
