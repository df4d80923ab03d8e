"""Drives a RecoveryRun from the moment it is seen until it is terminal and has let go of its plan and groups."""

from __future__ import annotations

import logging

from pydantic import ValidationError

from resurgo.api import RecoveryRun
from resurgo.domain.errors import DrError, LeaseLost, Missing, Retryable
from resurgo.domain.ports import Key, Obj
from resurgo.domain.states import RETRYABLE, TERMINAL
from resurgo.engine.bell import Bell, Stop
from resurgo.engine.conditions import Conditions, tell
from resurgo.engine.context import Context, stamp
from resurgo.engine.execution import Execution
from resurgo.engine.prepare import Refused, Wait, claim_again, load_snapshot, prepare, release

log = logging.getLogger(__name__)

SETTLED = "resurgo.dev/settled"  # held from before the first effect until the terminal status is written
_WAIT = 5.0  # seconds between two looks at what a run waits for before it starts


class RunDriver:
    """The `Driver` of RecoveryRuns: one call of `drive` per live run."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def drive(self, key: Key, uid: str, bell: Bell) -> None:
        """Returns when the run is terminal and released, gone, or the bell says stop. Nothing escapes."""
        failures = 0
        while bell.stop is not Stop.NOW:
            try:
                obj = await self._context.kube.get(key)
                if obj["metadata"]["uid"] != uid:
                    return
                if not await self._once(key, obj, bell):
                    return
                failures = 0
            except Wait as wait:
                await self._pending(key, wait)
                await bell.rest(wait.after)
                continue
            except Missing:
                self._context.metrics.drop_run(key.namespace or "", key.name)
                return
            except LeaseLost as error:
                self._context.lost(str(error))
                return
            except ValidationError as error:
                await self._refuse(key, Refused("InvalidSpec", error.errors()[0]["msg"]))
                return
            except DrError as error:
                log.warning("run.waiting", extra={"run": str(key), "error": str(error)})
                failures += 1
            except Exception:
                log.exception("run.bug", extra={"run": str(key)})
                failures += 1
            await bell.rest(min(30.0, 0.5 * 2 ** min(failures, 6)) if failures else _WAIT)

    async def _once(self, key: Key, obj: Obj, bell: Bell) -> bool:
        """One look at the run. False: there is nothing more to do for this process."""
        run = RecoveryRun.model_validate(obj)
        if run.status.phase in TERMINAL and not await self._goes_on(key, obj, run):
            await self._close(key, run)
            return False
        snapshot = await load_snapshot(self._context, run)
        if snapshot is None:
            if obj["metadata"].get("deletionTimestamp"):
                await self._close(key, run)
                return False
            await self._hold(key, obj)
            try:
                snapshot = await prepare(self._context, obj)
            except Refused as refusal:
                await self._refuse(key, refusal)
                await self._close(key, run)
                return False
        if await Execution(self._context, key, obj, snapshot).run(bell):
            return True
        await self._close(key, run)
        return False

    async def _goes_on(self, key: Key, obj: Obj, run: RecoveryRun) -> bool:
        """Whether a run that has ended is to be tried again and may be: then it has its claims and finalizer again."""
        if run.spec.retry <= (run.status.handled_retry or 0) or obj["metadata"].get("deletionTimestamp"):
            return False
        snapshot = await load_snapshot(self._context, run)
        if run.status.phase not in RETRYABLE or snapshot is None:
            text = f"nothing of a run that is {run.status.phase} is left to do; ask for a new one at its plan"
            await self._deny_retry(key, run, reason="NothingToRetry", message=text)
            return False
        await self._hold(key, obj)
        try:
            await claim_again(self._context, run, snapshot)
        except (Refused, Wait) as refusal:
            await self._deny_retry(key, run, refusal.reason, refusal.message)
            return False
        return True

    async def _deny_retry(self, key: Key, run: RecoveryRun, reason: str, message: str) -> None:
        """A retry that can't start is used up: the run stays as it ended, and says why."""
        obj = await self._context.kube.get(key)
        conditions = Conditions(obj, self._context.clock.now())
        conditions.put("RetryAccepted", False, reason, f"retry {run.spec.retry} was not started: {message}")
        status = {"handledRetry": run.spec.retry, "conditions": conditions.listed()}
        await self._context.kube.patch_status(key, status)
        await tell(self._context.kube, obj, conditions.changed())

    async def _hold(self, key: Key, obj: Obj) -> None:
        """Put our finalizer on, unless it is there; a write that comes too late is made again on what is there now."""
        finalizers = list(obj["metadata"].get("finalizers") or [])
        if SETTLED in finalizers:
            return
        head = {"resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": [*finalizers, SETTLED]}
        try:
            await self._context.kube.patch(key, {"metadata": head})
        except Retryable:
            await self._hold(key, await self._context.kube.get(key))

    async def _close(self, key: Key, run: RecoveryRun) -> None:
        """Release the claims, then let go of the object. Safe to repeat."""
        await release(self._context, run)
        for _ in range(10):
            obj = await self._context.kube.get(key)
            finalizers = list(obj["metadata"].get("finalizers") or [])
            if SETTLED not in finalizers:
                break
            finalizers.remove(SETTLED)
            body = {"metadata": {"resourceVersion": obj["metadata"]["resourceVersion"], "finalizers": finalizers}}
            try:
                await self._context.kube.patch(key, body)
            except Retryable:
                continue
            break
        self._context.ring_kind("recoveryplans")

    async def _pending(self, key: Key, wait: Wait) -> None:
        obj = await self._context.kube.get(key)
        conditions = Conditions(obj, self._context.clock.now())
        conditions.put("Succeeded", None, wait.reason, wait.message)
        conditions.put("Reconciling", True, wait.reason, wait.message)
        conditions.put("Stalled", False, "Working")
        await self._context.kube.patch_status(key, {"phase": "Pending", "conditions": conditions.listed()})
        await tell(self._context.kube, obj, conditions.changed())

    async def _refuse(self, key: Key, refusal: Refused) -> None:
        obj = await self._context.kube.get(key)
        now = self._context.clock.now()
        conditions = Conditions(obj, now)
        conditions.put("Succeeded", False, refusal.reason, f"nothing was changed: {refusal.message}")
        conditions.put("Reconciling", False, "Ended")
        conditions.put("Stalled", True, refusal.reason, refusal.message)
        status = {
            "phase": refusal.phase.value,
            "completionTime": stamp(now),
            "observedGeneration": obj["metadata"].get("generation", 0),
            "handledRetry": obj["spec"].get("retry", 0),
            "conditions": conditions.listed(),
        }
        await self._context.kube.patch_status(key, status)
        await tell(self._context.kube, obj, conditions.changed())
        spec = obj["spec"]
        self._context.metrics.run_finished(
            key.namespace or "", key.name, spec["planRef"]["name"], spec["type"], refusal.phase.value
        )
