"""Reconciles a RecoveryPlan: is it ready, where do its workloads live, and does its desiredState ask for a run.

A plan never executes anything: it makes a RecoveryRun, once for each request (resurgo.domain.requests).
"""

from __future__ import annotations

from collections.abc import Mapping

from resurgo.api import (
    Condition,
    ConditionStatus,
    HandledRequest,
    ProtectionGroup,
    RecoveryMode,
    RecoveryPlan,
    RecoveryRun,
)
from resurgo.domain.blockers import in_words
from resurgo.domain.errors import Conflict, Missing, Retryable
from resurgo.domain.ports import Key
from resurgo.domain.requests import Answer, Request, judge, next_states, run_name
from resurgo.domain.states import TERMINAL, ActiveState, RunPhase, RunType
from resurgo.engine.context import Context, stamp
from resurgo.engine.loop import Pass
from resurgo.engine.survey import Survey, groups_of, plan_state, survey

PLAN_LABEL = "resurgo.dev/plan"
WISH = "resurgo.dev/desired-state"  # what the plan asked for when it made the run
GENERATION = "resurgo.dev/plan-generation"
_POLICY_EVERY = 300.0  # seconds
_REAL = frozenset({RunType.PLANNED_MIGRATION, RunType.DISASTER_RECOVERY, RunType.REPROTECT})


class PlanReconciler:
    ready = "Ready"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._policy_looked = float("-inf")
        self._surveys: dict[str, Survey] = {}  # the last one of each plan, by uid

    async def reconcile(self, work: Pass) -> None:
        """Judge the request first: nothing else may delay a recovery."""
        plan = RecoveryPlan.model_validate(work.obj)
        groups = await groups_of(self._context, plan)
        state = plan_state(self._context, plan, groups)
        runs = await self._runs(plan)
        active = next((r for r in runs if r.status.phase not in TERMINAL), None)
        request = Request(Answer.NOTHING, _noted(plan, active)) if active else judge(plan, state)
        noted = request.noted
        if request.answer is Answer.EXECUTE:
            active, noted = await self._execute(plan, state, request, runs)
        self._remember(work, plan, state, noted, active)
        source, target = direction(plan, state)
        found = self._surveys.get(plan.metadata.uid) if active is not None else None
        if found is None:  # a run under way is judged by its own steps, not by what could be begun now
            found = await survey(
                self._context, plan, groups, type_=request.type or _next_type(plan), source=source, target=target
            )
            self._surveys[plan.metadata.uid] = found
        self._conditions(work, plan, groups, state, found, active, runs, request)
        self._measure(work, plan, state, runs)
        await self._prune(plan, runs)
        await self._look_at_policy()
        work.after = 30.0

    async def forget(self, key: Key) -> None:
        self._context.metrics.drop_plan(key.namespace or "", key.name)

    async def _runs(self, plan: RecoveryPlan) -> list[RecoveryRun]:
        """The plan's runs, newest first."""
        objs = await self._context.kube.list("recoveryruns", namespace=plan.metadata.namespace)
        runs = [RecoveryRun.model_validate(o) for o in objs if o["spec"]["planRef"]["name"] == plan.metadata.name]
        return sorted(runs, key=lambda r: (str(r.metadata.creation_timestamp), r.metadata.name), reverse=True)

    async def _look_at_policy(self) -> None:
        """Tell the metrics now and then whether the policy that guards approvals stands in the cluster."""
        now = self._context.clock.monotonic()
        if now - self._policy_looked < _POLICY_EVERY:
            return
        self._policy_looked = now
        try:
            await self._context.kube.get(Key("validatingadmissionpolicies", None, "resurgo-approvals"))
        except Missing:
            self._context.metrics.approval_policy(installed=False)
        else:
            self._context.metrics.approval_policy(installed=True)

    async def _prune(self, plan: RecoveryPlan, runs: list[RecoveryRun]) -> None:
        """Delete the oldest finished runs beyond the plan's limit."""
        ended = [r for r in runs if r.status.phase in TERMINAL and r.metadata.deletion_timestamp is None]
        for run in ended[plan.spec.run_history_limit :]:
            await self._context.kube.delete(Key("recoveryruns", run.metadata.namespace, run.metadata.name))

    # -- requests -----------------------------------------------------------------------------------

    async def _execute(
        self, plan: RecoveryPlan, state: ActiveState | None, request: Request, runs: list[RecoveryRun]
    ) -> tuple[RecoveryRun | None, HandledRequest | None]:
        """Make the run, or find the one that a process before us made for this very wish."""
        assert state is not None  # noqa: S101 (judge asks for nothing otherwise)
        assert request.type is not None  # noqa: S101
        assert request.noted is not None  # noqa: S101
        made = next((r for r in runs if r.metadata.annotations.get(GENERATION) == str(plan.metadata.generation)), None)
        if made is None:
            last = next((r.metadata.name for r in runs if r.status.phase in TERMINAL and r.spec.type in _REAL), "")
            made = await self._create(plan, state, request.type, run_name(plan, state, last))
        active = made if made.status.phase not in TERMINAL else None
        return active, request.noted.model_copy(update={"run": made.metadata.name})

    async def _create(self, plan: RecoveryPlan, state: ActiveState, type_: RunType, name: str) -> RecoveryRun:
        source, target = direction(plan, state)
        meta = plan.metadata
        body = {
            "metadata": {
                "name": name,
                "namespace": meta.namespace,
                "labels": {PLAN_LABEL: meta.name},
                "annotations": {WISH: plan.spec.desired_state.value, GENERATION: str(meta.generation)},
            },
            "spec": {
                "planRef": {"name": meta.name, "uid": meta.uid},
                "type": type_.value,
                "requestID": plan.spec.execution.request_id,
                "expect": {"sourceSite": source, "targetSite": target},
                "acknowledgeDataLoss": plan.spec.recovery.acknowledge_data_loss,
            },
        }
        try:
            obj = await self._context.kube.create("recoveryruns", body)
        except Conflict:
            obj = await self._context.kube.get(Key("recoveryruns", meta.namespace, name))
        run = RecoveryRun.model_validate(obj)
        if run.spec.type is not type_ or run.spec.plan_ref.name != meta.name:
            raise Retryable(f"RecoveryRun {name} exists already and is about something else", reason="RunNameTaken")
        return run

    def _remember(
        self,
        work: Pass,
        plan: RecoveryPlan,
        state: ActiveState | None,
        noted: HandledRequest | None,
        active: RecoveryRun | None,
    ) -> None:
        if noted is not None:
            work.status["lastRequest"] = {**noted.dump(), **({} if noted.run else {"run": None})}
        handled = list(plan.status.handled_requests)
        if noted is not None and noted.run and noted.request_id and noted.request_id not in handled:
            handled.append(noted.request_id)
        work.status["handledRequests"] = handled[-50:]
        if (allowed := next_states(state, plan.spec.desired_state, active=active is not None)) is not None:
            work.status["validNextStates"] = allowed
        if state is not None:
            work.status["observedState"] = state.value
            work.status["activeSite"] = direction(plan, state)[0]
        if active is not None:
            work.status["activeRun"] = {"name": active.metadata.name, "uid": active.metadata.uid}
        elif plan.status.active_run is not None:
            work.status["activeRun"] = None

    # -- conditions ---------------------------------------------------------------------------------

    def _conditions(
        self,
        work: Pass,
        plan: RecoveryPlan,
        groups: Mapping[str, ProtectionGroup],
        state: ActiveState | None,
        found: Survey,
        active: RecoveryRun | None,
        runs: list[RecoveryRun],
        request: Request,
    ) -> None:
        conditions = work.conditions
        last = next((r for r in runs if r.status.phase in TERMINAL and r.spec.type in _REAL), None)
        self._ready(work, plan, groups, state, found)
        self._in_sync(work, plan, state, active, last, request)
        conditions.put(
            "Executing",
            active is not None,
            "RunActive" if active else "NoRun",
            f"run {active.metadata.name}" if active else "",
        )
        conditions.put("Reconciling", active is not None, "RunActive" if active else "Settled")
        conditions.put("AwaitingApproval", False, "NotRequired")
        tested = plan.status.last_successful_test
        conditions.put("TestedRecently", False, "NeverTested" if tested is None else "TestOverdue")
        conditions.put("TestCleanupPending", False, "NoTest")
        split = any(b.reason == "SplitBrain" for b in found.blockers)
        conditions.put("SplitBrain", split, "WritableAtBothSites" if split else "OneWritableSite")
        self._source_cleanup(work, state, last)
        work.status["phase"] = _phase(state, active)
        if last is not None and last.status.completion_time is not None:
            work.status["lastRun"] = {
                "name": last.metadata.name,
                "type": last.spec.type.value,
                "result": str(last.status.phase),
                "completionTime": stamp(last.status.completion_time),
            }

    def _ready(
        self,
        work: Pass,
        plan: RecoveryPlan,
        groups: Mapping[str, ProtectionGroup],
        state: ActiveState | None,
        found: Survey,
    ) -> None:
        if state is ActiveState.RECOVERED:
            text = f"the VMs run at {plan.spec.recovery_site}, nothing protects them until they are reprotected"
            work.conditions.put("Ready", False, "NotReprotected", text)
        elif any(b.reason == "GroupNotObserved" for b in found.blocking) and _unjudged(groups):
            work.conditions.put("Ready", None, "NotObserved", "the groups were not read yet")
        elif found.blocking:
            work.conditions.put("Ready", False, found.blocking[0].reason, in_words(found.blocking))
        else:
            text = f"{len(found.snapshot.vms)} VMs in {len(found.snapshot.stages)} stages"
            if found.warnings:
                text += f"; look at: {in_words(found.warnings)}"
            work.conditions.put("Ready", True, "ReadyWithWarnings" if found.warnings else "ReadyToRecover", text)

    def _in_sync(
        self,
        work: Pass,
        plan: RecoveryPlan,
        state: ActiveState | None,
        active: RecoveryRun | None,
        last: RecoveryRun | None,
        request: Request,
    ) -> None:
        wanted, conditions = plan.spec.desired_state, work.conditions
        conditions.put("Stalled", False, "Working")
        if state is None:
            conditions.put("InSync", None, "WorldUnknown", "the storage does not say where the workloads live")
        elif state is wanted:
            conditions.put("InSync", True, "AsDesired", f"the workloads are {state}")
        elif active is not None:
            conditions.put("InSync", False, "RunActive", f"run {active.metadata.name} is under way")
        elif request.answer is Answer.ALREADY_HANDLED:
            text = f"requestID {plan.spec.execution.request_id} was handled before: set a new one to run again"
            self._stuck(work, "RequestAlreadyHandled", text)
        elif (handled := plan.status.last_request) is not None and handled.run is not None and last is not None:
            if last.status.phase in {RunPhase.SUCCEEDED, RunPhase.SUCCEEDED_WITH_WARNINGS}:
                conditions.put("InSync", False, "AwaitingReading", "the storage was not read since the run ended")
                return
            cause = _condition(last, "Succeeded")
            text = f"run {last.metadata.name} {str(last.status.phase).lower()}: {cause.message if cause else ''}"
            again = "to try again set a new execution.requestID, or desiredState protected and then recovered"
            self._stuck(work, f"Run{last.status.phase}", f"{text} ({again})")
        elif state is not ActiveState.PROTECTED and wanted is ActiveState.PROTECTED:
            self._stuck(work, "DriftedToRecovered", f"the workloads are {state}: commit desiredState: {state}")
        else:
            text = (
                f"the plan came with desiredState {wanted} while the workloads are {state}; nothing is run for that: "
                f"set a new execution.requestID, or desiredState {state} first"
            )
            self._stuck(work, "AwaitingConfirmation", text)

    @staticmethod
    def _stuck(work: Pass, reason: str, message: str) -> None:
        work.conditions.put("InSync", False, reason, message)
        if reason not in {"AwaitingConfirmation", "DriftedToRecovered"}:
            work.conditions.put("Stalled", True, reason, message)

    @staticmethod
    def _source_cleanup(work: Pass, state: ActiveState | None, last: RecoveryRun | None) -> None:
        fenced = _condition(last, "SourceFenced") if last else None
        pending = state is ActiveState.RECOVERED and fenced is not None and fenced.status is ConditionStatus.FALSE
        work.conditions.put(
            "SourceCleanupPending",
            pending,
            "SourceNotReleased" if pending else "Released",
            fenced.message if pending and fenced else "",
        )

    def _measure(self, work: Pass, plan: RecoveryPlan, state: ActiveState | None, runs: list[RecoveryRun]) -> None:
        namespace, name = plan.metadata.namespace or "", plan.metadata.name
        metrics = self._context.metrics
        metrics.plan(
            namespace,
            name,
            ready=work.conditions.status("Ready") == "True",
            in_sync=work.conditions.status("InSync") == "True",
            state=state.value if state else None,
        )
        seen: set[str] = set()
        for run in runs:
            if run.status.phase in TERMINAL and run.spec.type.value not in seen:
                seen.add(run.spec.type.value)
                achieved = run.status.achieved
                metrics.last_run(
                    namespace,
                    name,
                    run.spec.type.value,
                    str(run.status.phase),
                    recovery_time=achieved.recovery_time_seconds if achieved else None,
                    data_loss=achieved.data_loss_seconds if achieved else None,
                )


def direction(plan: RecoveryPlan, state: ActiveState | None) -> tuple[str, str]:
    """Source and target of a failover from *state*."""
    here, there = plan.spec.protected_site, plan.spec.recovery_site
    return (there, here) if state in {ActiveState.RECOVERED, ActiveState.REPROTECTED} else (here, there)


def _unjudged(groups: Mapping[str, ProtectionGroup]) -> bool:
    """Whether a group is so new that nobody has said anything about it yet."""
    ready = [g.status.condition("Ready") for g in groups.values()]
    return any(c is None or c.status is ConditionStatus.UNKNOWN for c in ready)


def _noted(plan: RecoveryPlan, run: RecoveryRun) -> HandledRequest | None:
    """What lastRequest says while *run* is active: of a run that answers the present wish also if that was not
    written when it was made, or the same wish would make another run once this one has failed.
    """
    last, wish = plan.status.last_request, run.metadata.annotations.get(WISH)
    if wish != plan.spec.desired_state.value or run.spec.request_id != plan.spec.execution.request_id:
        return last
    mode = plan.spec.recovery.mode
    if plan.spec.desired_state is ActiveState.RECOVERED:  # as it was when the run was made
        disaster = run.spec.type is RunType.DISASTER_RECOVERY
        mode = RecoveryMode.DISASTER_RECOVERY if disaster else RecoveryMode.PLANNED_MIGRATION
    return HandledRequest(
        desired_state=plan.spec.desired_state,
        mode=mode,
        request_id=run.spec.request_id,
        run=run.metadata.name,
    )


def _next_type(plan: RecoveryPlan) -> RunType:
    return RunType(plan.spec.recovery.mode.value)


def _condition(run: RecoveryRun, kind: str) -> Condition | None:
    return run.status.condition(kind)


def _phase(state: ActiveState | None, active: RecoveryRun | None) -> str:
    if active is not None:
        return str(active.status.phase or RunPhase.PENDING)
    return "Unknown" if state is None else state.value.capitalize()
