"""RecoveryPlan: groups, order, mapping and the desired state. It declares; only a RecoveryRun executes."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resurgo.api.base import (
    Cidr,
    ConditionedStatus,
    IpAddress,
    LocalReference,
    Model,
    ObjectName,
    PositiveSeconds,
    RequestID,
    Resource,
    Seconds,
    Time,
    VirtualMachineReference,
    list_map,
    list_set,
)
from resurgo.api.protection_group import ActiveRun
from resurgo.api.recovery_run import RunPhase, RunType
from resurgo.api.stage import Stage


class PlanState(StrEnum):
    """The states of a plan, in the users' own words."""

    PROTECTED = "protected"
    RECOVERED = "recovered"
    REPROTECTED = "reprotected"


class RecoveryMode(StrEnum):
    """How to reach `recovered`."""

    PLANNED_MIGRATION = "PlannedMigration"
    DISASTER_RECOVERY = "DisasterRecovery"


class Fencing(StrEnum):
    """How hard to try to keep the old site from writing, in a disaster."""

    REQUIRED = "Required"
    BEST_EFFORT = "BestEffort"
    SKIP = "Skip"


class SourceReturn(StrEnum):
    """What to do when the old site comes back after a disaster with VMs on or volumes writable."""

    REPORT = "Report"
    FENCE = "Fence"


class ApprovalMode(StrEnum):
    """Whether somebody else must approve a run."""

    NONE = "None"
    REQUIRED = "Required"


class IpPolicy(StrEnum):
    """Where a VM's addresses at the recovery site come from."""

    RULES = "Rules"
    KEEP = "Keep"
    STATIC = "Static"


class CleanupPolicy(StrEnum):
    """Who ends a test."""

    MANUAL = "Manual"
    AUTOMATIC = "Automatic"


class Recovery(Model):
    """How the VMs are recovered."""

    mode: RecoveryMode = RecoveryMode.PLANNED_MIGRATION
    """PlannedMigration needs both sites and loses nothing; DisasterRecovery goes on without the protected site."""
    acknowledge_data_loss: bool = False
    """Must be true with DisasterRecovery: writes since the last recovery point will be lost."""
    fencing: Fencing = Fencing.BEST_EFFORT
    """DisasterRecovery: Required stops without proof that the old site cannot write, BestEffort records what was not
    reached, Skip does not try."""
    source_return: SourceReturn = SourceReturn.REPORT
    """When the old site comes back after a disaster with VMs on or volumes writable: Report it, or Fence (also power
    those VMs off)."""


class Concurrency(Model):
    """How much of the plan may be under way at once."""

    virtual_machines: Annotated[int, Field(ge=0, le=1000)] = 0
    """VMs worked on at a time; 0 = the Sites' limits decide."""


class Execution(Model):
    """How a change of desiredState is executed."""

    request_id: RequestID = ""
    """Names the request, for instance by an incident number: one request is executed once, and desiredState may only
    change together with it."""
    concurrency: Concurrency = Concurrency()
    """How much may be under way at once."""


class Approval(Model):
    """Whether a run waits for the approval of somebody other than its requester."""

    mode: ApprovalMode = ApprovalMode.NONE
    """None executes at once, Required waits for an approval."""
    ttl_seconds: Annotated[int, Field(ge=60, le=604_800)] = 3600
    """How long a run waits for its approval before it is cancelled."""


class Shutdown(Model):
    """How a VM is stopped."""

    guest: bool = True
    """Shut the guest down through VMware Tools; false powers the VM off at once, which is the only way for a VM
    without Tools."""
    timeout_seconds: PositiveSeconds = 300
    """How long the guest may take before the VM is powered off."""


class StaticAddress(Model):
    """Addresses of one network adapter at one site."""

    site: ObjectName
    """The Site at which they hold; a VM that comes back needs an entry for the old site too."""
    adapter: Annotated[int, Field(ge=0, le=9)] = 0
    """The VM's network adapter, counted from 0."""
    addresses: Annotated[tuple[Cidr, ...], Field(min_length=1, max_length=8)]
    """Addresses with prefix length, IPv4 and IPv6, for instance 10.2.0.15/24."""
    gateways: Annotated[tuple[IpAddress, ...], Field(max_length=4)] = ()
    """The default gateways."""
    dns: Annotated[tuple[IpAddress, ...], Field(max_length=8)] = ()
    """The name servers."""


class IpSettings(Model):
    """Where a VM's addresses come from."""

    policy: IpPolicy = IpPolicy.RULES
    """Rules uses the mapping's ipRules, Keep changes nothing, Static uses the values below."""
    static: Annotated[tuple[StaticAddress, ...], Field(max_length=20), list_map("site", "adapter")] = ()
    """The addresses for policy Static, by site and network adapter."""


class VirtualMachineSettings(VirtualMachineReference):
    """Settings of one VM."""

    power_on: bool = True
    """Whether it is powered on after recovery."""
    shutdown: Shutdown = Shutdown()
    """How it is stopped."""
    ip: IpSettings = IpSettings()
    """Where its addresses come from."""


class TestPolicy(Model):
    """Tests of the plan. A test is a run of its own and never changes the plan's state."""

    __test__: ClassVar[bool] = False  # or pytest takes it for a test class

    schedule: Annotated[str, Field(max_length=128)] | None = None
    """When to test by itself, in cron's five fields; never if absent."""
    time_zone: Annotated[str, Field(max_length=64)] = "UTC"
    """The time zone of the schedule, for instance Europe/Berlin."""
    max_age_seconds: Seconds = 7_776_000
    """How old the last successful test may be before the plan counts as untested; 0 = any age."""
    cleanup: CleanupPolicy = CleanupPolicy.MANUAL
    """Manual leaves a test running until a Cleanup run, Automatic cleans up as soon as it has ended."""
    sync_first: bool = True
    """Replicate once more before the test."""


class RecoveryPlanSpec(Model):
    """The automated runbook."""

    protected_site: ObjectName
    """The Site where the VMs run as long as nothing has happened. Immutable."""
    recovery_site: ObjectName
    """The Site where they are recovered. Immutable."""
    desired_state: PlanState = PlanState.PROTECTED
    """Where the VMs shall run: protected, recovered, or reprotected (recovered, and replicated back to the old
    site)."""
    recovery: Recovery = Recovery()
    """How the VMs are recovered."""
    execution: Execution = Execution()
    """How a change of desiredState is executed."""
    approval: Approval = Approval()
    """Whether runs need an approval."""
    protection_groups: Annotated[tuple[LocalReference, ...], Field(min_length=1, max_length=64), list_map("name")]
    """The groups that this plan recovers."""
    inventory_mapping_ref: LocalReference
    """The InventoryMapping between the two Sites."""
    stages: Annotated[tuple[Stage, ...], Field(max_length=32), list_map("name")] = ()
    """The order of power-on, by dependsOn; VMs that no stage names come last, in one implicit stage `rest`."""
    virtual_machines: Annotated[tuple[VirtualMachineSettings, ...], Field(max_length=1000)] = ()
    """Settings of single VMs."""
    suspend_at_recovery_site: Annotated[tuple[VirtualMachineReference, ...], Field(max_length=500)] = ()
    """VMs of the recovery site that are suspended to make room."""
    test: TestPolicy = TestPolicy()
    """When and how the plan is tested."""
    run_history_limit: Annotated[int, Field(ge=1, le=200)] = 20
    """How many finished runs are kept."""


class LastRun(Model):
    """The newest finished run that was not a test."""

    name: ObjectName
    """The RecoveryRun's name."""
    type: RunType
    """What it did."""
    result: RunPhase
    """How it ended."""
    completion_time: Time
    """When it ended."""


class LastTest(Model):
    """The newest test that went well."""

    run: ObjectName
    """The RecoveryRun's name."""
    completion_time: Time
    """When it ended."""
    spec_hash: Annotated[str, Field(max_length=128)]
    """The hash of the plan that was tested."""


class HandledRequest(Model):
    """What the plan asked for when the operator last acted on it or adopted it."""

    desired_state: PlanState
    """The desired state."""
    mode: RecoveryMode = RecoveryMode.PLANNED_MIGRATION
    """The way to reach it."""
    request_id: RequestID = ""
    """The request's identity."""
    run: ObjectName | None = None
    """The run that was made for it; absent if the state was adopted."""


class Forecast(Model):
    """What a failover would cost now."""

    recovery_time_seconds: Seconds | None = None
    """Expected RTO, from the step times of earlier runs."""
    data_loss_seconds: Seconds | None = None
    """Expected data loss, from the replication lag now."""


class RecoveryPlanStatus(ConditionedStatus):
    """Where the plan stands."""

    active_site: ObjectName | None = None
    """The Site where the VMs run."""
    observed_state: PlanState | None = None
    """What the arrays and vCenters show; absent while they do not agree."""
    phase: Annotated[str, Field(max_length=63)] | None = None
    """Where the plan stands, for people; programs read the conditions."""
    valid_next_states: Annotated[tuple[PlanState, ...], Field(max_length=3), list_set()] | None = None
    """Values that spec.desiredState may change to now; the API server refuses any other. Empty while a run is
    active."""
    active_run: ActiveRun | None = None
    """The run under way."""
    last_run: LastRun | None = None
    """The newest finished run that was not a test."""
    last_successful_test: LastTest | None = None
    """The newest test that went well."""
    pending_cleanup: ObjectName | None = None
    """The Test run whose VMs, networks and snapshots are still there."""
    last_request: HandledRequest | None = None
    """The request that was last acted on or adopted; absent until spec and world were once seen in agreement."""
    handled_requests: Annotated[tuple[RequestID, ...], Field(max_length=50)] = ()
    """The last 50 request IDs that were executed, the newest last; they are never executed again."""
    forecast: Forecast | None = None
    """What a failover would cost now."""


class RecoveryPlan(Resource):
    """Groups, order, mapping and desired state: the automated runbook."""

    KIND: ClassVar[str] = "RecoveryPlan"
    PLURAL: ClassVar[str] = "recoveryplans"
    SINGULAR: ClassVar[str] = "recoveryplan"
    SHORT_NAME: ClassVar[str] = "rplan"

    kind: Literal["RecoveryPlan"] = "RecoveryPlan"
    """The kind of this object."""
    spec: RecoveryPlanSpec
    """What is wanted."""
    status: RecoveryPlanStatus = RecoveryPlanStatus()
    """What was observed; written by the operator."""
