"""RecoveryHook: a Job or an HTTPS call that a stage of a plan runs before or after its VMs."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from resurgo.api.base import (
    CaBundle,
    ConditionedStatus,
    LocalReference,
    Model,
    ObjectName,
    PositiveSeconds,
    Resource,
    Url,
    list_map,
    list_set,
)
from resurgo.api.recovery_run import RunType


class HookFailurePolicy(StrEnum):
    """What the failure of a hook means for its stage."""

    HALT = "Halt"
    CONTINUE = "Continue"


class HttpMethod(StrEnum):
    """The method of an HTTPS hook."""

    POST = "POST"
    PUT = "PUT"
    GET = "GET"


class EnvironmentVariable(Model):
    """A variable of the Job's container."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """The variable's name. RESURGO_RUN, RESURGO_PLAN, RESURGO_TYPE, RESURGO_STAGE, RESURGO_SOURCE_SITE and
    RESURGO_TARGET_SITE are always set."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """The variable's value; never a secret."""


class JobHook(Model):
    """A Job in the hook's namespace; it succeeds when the Job completes."""

    image: Annotated[str, Field(min_length=1, max_length=512)]
    """The container image."""
    command: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=64)] = ()
    """What to run; the image's entrypoint if absent."""
    args: Annotated[tuple[Annotated[str, Field(max_length=4096)], ...], Field(max_length=64)] = ()
    """Its arguments."""
    env: Annotated[tuple[EnvironmentVariable, ...], Field(max_length=64), list_map("name")] = ()
    """Variables for the container."""
    env_secret_ref: LocalReference | None = None
    """A Secret in the hook's namespace whose keys become variables too."""
    service_account_name: ObjectName | None = None
    """The ServiceAccount the Job runs as; the namespace's default one if absent."""


class HttpHeader(Model):
    """A header of the request."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9-]+$")]
    """The header's name."""
    value: Annotated[str, Field(max_length=2048)]
    """The header's value; never a secret."""


class HttpsHook(Model):
    """An HTTPS request with the run's facts as JSON and an Idempotency-Key; it succeeds when the answer is 2xx."""

    url: Url
    """Where to send it, https only."""
    method: HttpMethod = HttpMethod.POST
    """POST (default), PUT, or GET without a body."""
    headers: Annotated[tuple[HttpHeader, ...], Field(max_length=32), list_map("name")] = ()
    """Further headers."""
    headers_secret_ref: LocalReference | None = None
    """A Secret in the hook's namespace whose keys are header names, for instance Authorization."""
    ca_bundle: CaBundle | None = None
    """PEM certificates, in base64, that must have signed the server's; the system's trust store decides if absent."""


class RecoveryHookSpec(Model):
    """A Job or an HTTPS call; exactly one."""

    job: JobHook | None = None
    """Run a Job."""
    https: HttpsHook | None = None
    """Send an HTTPS request."""
    timeout_seconds: PositiveSeconds = 300
    """How long one attempt may take."""
    retries: Annotated[int, Field(ge=0, le=10)] = 0
    """How often to try again after a failure."""
    on_failure: HookFailurePolicy = HookFailurePolicy.HALT
    """Halt fails the stage, Continue records a warning and goes on."""
    run_types: Annotated[tuple[RunType, ...], Field(max_length=5), list_set()] = ()
    """The types of runs in which the hook is run; all if empty."""


class RecoveryHookStatus(ConditionedStatus):
    """Nothing but conditions: a hook is only read when a run needs it."""


class RecoveryHook(Resource):
    """A Job or HTTPS call that a stage of a plan runs before or after its VMs."""

    KIND: ClassVar[str] = "RecoveryHook"
    PLURAL: ClassVar[str] = "recoveryhooks"
    SINGULAR: ClassVar[str] = "recoveryhook"
    SHORT_NAME: ClassVar[str] = "rhook"

    kind: Literal["RecoveryHook"] = "RecoveryHook"
    """The kind of this object."""
    spec: RecoveryHookSpec
    """What is wanted."""
    status: RecoveryHookStatus = RecoveryHookStatus()
    """What was observed; written by the operator."""
