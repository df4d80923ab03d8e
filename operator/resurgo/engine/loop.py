"""The loop of every kind but RecoveryRun: read the object, reconcile it, write its status once, rest.

A pass that fails leaves a condition that says why, and comes again: soon after a temporary error, at the next change
after one that only a person can mend.
"""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from resurgo.domain.errors import DrError, LeaseLost, Missing, Retryable
from resurgo.domain.ports import Key, Obj
from resurgo.engine.bell import Bell, Stop
from resurgo.engine.conditions import Conditions, tell
from resurgo.engine.context import Context

log = logging.getLogger(__name__)

_BACKOFF_FIRST, _BACKOFF_MOST = 1.0, 60.0
_TIMES = ("observedTime",)  # fields that alone are no reason to write
_REFRESH_SECONDS = 60


@dataclass
class Pass:
    """One reconciliation: what was read, what is to be written."""

    obj: Obj
    conditions: Conditions
    status: dict[str, Any] = field(default_factory=dict)
    after: float = 60.0  # seconds to rest if nothing rings


class Reconciler(Protocol):
    """One kind. ``ready`` is the condition that carries a failed pass."""

    ready: str

    async def reconcile(self, work: Pass) -> None:
        """Observe, and fill in the status. Everything observed is written, whatever is raised afterwards."""
        ...

    async def forget(self, key: Key) -> None:
        """The object is gone: drop what was kept of it. Never touches VMs or storage."""
        ...


class Loop:
    """Drives the objects of one kind through its reconciler."""

    def __init__(self, context: Context, reconciler: Reconciler) -> None:
        self._context, self._reconciler = context, reconciler

    async def drive(self, key: Key, uid: str, bell: Bell) -> None:
        """Reconcile *key* until it is gone or the bell says stop. Nothing escapes but the end of the process."""
        failures = 0
        while bell.stop is Stop.NO:
            try:
                obj = await self._context.kube.get(key)
            except Missing:
                break
            except DrError as error:
                log.warning("kube.unreachable", extra={"object": str(key), "error": str(error)})
                await bell.rest(_backoff(failures))
                failures += 1
                continue
            if obj["metadata"]["uid"] != uid or obj["metadata"].get("deletionTimestamp"):
                break
            rest, failed = await self._pass(key, obj)
            failures = failures + 1 if failed else 0
            await bell.rest(_backoff(failures) if failed and rest is None else rest or _BACKOFF_MOST)
        if bell.stop is not Stop.NOW:
            await self._reconciler.forget(key)

    async def _pass(self, key: Key, obj: Obj) -> tuple[float | None, bool]:
        """One pass. The rest it asks for (None: back off), and whether it failed."""
        work = Pass(obj, Conditions(obj, self._context.clock.now()))
        rest: float | None
        failed = True
        try:
            await self._reconciler.reconcile(work)
            work.status["observedGeneration"] = obj["metadata"].get("generation", 0)
            work.conditions.settle("Stalled", False, "Working")
            work.conditions.settle("Reconciling", False, "Settled")
            rest, failed = work.after, False
        except LeaseLost as error:
            self._context.lost(str(error))
            return None, True
        except Retryable as error:
            self._blame(work, error.reason, str(error), stalled=False)
            rest = None
        except DrError as error:
            self._blame(work, error.reason, str(error), stalled=True)
            rest = min(_BACKOFF_MOST, work.after)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            self._blame(work, "InvalidSpec", f"{where}: {first['msg']}", stalled=True)
            rest = _BACKOFF_MOST
        except Exception:
            log.exception("reconcile.bug", extra={"object": str(key)})
            self._blame(work, "InternalError", "an error of the operator itself, see its log", stalled=True)
            rest = _BACKOFF_MOST
        if not await self._write(key, work):
            return None, True
        return rest, failed

    def _blame(self, work: Pass, reason: str, message: str, *, stalled: bool) -> None:
        work.conditions.put(self._reconciler.ready, False, reason, message)
        work.conditions.put("Stalled", stalled, reason if stalled else "Working", message if stalled else "")
        work.conditions.put(
            "Reconciling", not stalled, reason if not stalled else "Settled", "" if stalled else message
        )

    async def _write(self, key: Key, work: Pass) -> bool:
        """Write the status if it says anything new, then the events that tell of it. False: it has to come again."""
        work.status["conditions"] = work.conditions.listed()
        old = work.obj.get("status") or {}
        if not _differs(old, work.status) and not self._stale(old):
            return True
        try:
            # Conditional on what was read: a status that was decided on an old spec must not pass for the new one's.
            version = work.obj["metadata"]["resourceVersion"]
            await self._context.kube.patch_status(key, work.status, resource_version=version)
        except Missing:
            return True
        except DrError as error:
            log.info("status.not_written", extra={"object": str(key), "error": str(error)})
            return False
        await tell(self._context.kube, work.obj, work.conditions.changed())
        return True

    def _stale(self, old: Obj) -> bool:
        if "observedTime" not in old:
            return False
        age = self._context.clock.now().timestamp() - _seconds(old["observedTime"])
        return age > _REFRESH_SECONDS


def _differs(old: Obj, new: Obj) -> bool:
    """Whether writing *new* over *old* changes anything but times of reading."""
    return any(old.get(k) != v for k, v in new.items() if k not in _TIMES and not (v is None and k not in old))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _backoff(failures: int) -> float:
    return float(min(_BACKOFF_MOST, _BACKOFF_FIRST * 2 ** min(failures, 10)) * random.uniform(0.8, 1.2))  # noqa: S311 (jitter)
