"""Carries out the calls of a run's steps and says how each ended.

Each is an ensured end, so a call that was sent before is safe to send again.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from resurgo.domain.errors import DrError, OutcomeUnknown, Retryable
from resurgo.domain.settle import Outcome, Verdict
from resurgo.domain.steps import Call
from resurgo.engine.datastore_calls import DatastoreCalls
from resurgo.engine.places import Job, Places
from resurgo.engine.storage_calls import StorageCalls
from resurgo.engine.vm_calls import VmCalls

log = logging.getLogger(__name__)


class Effects:
    """The calls of one run."""

    def __init__(self, places: Places) -> None:
        self._run = places.snapshot.run
        storage, vms, datastores = StorageCalls(places), VmCalls(places), DatastoreCalls(places)
        self._calls: Mapping[Call, Callable[[Job], Awaitable[Outcome]]] = {
            Call.SYNC: storage.sync,
            Call.PREPARE_FAILOVER: storage.prepare,
            Call.RESTORE: storage.restore,
            Call.FAILOVER_PLANNED: storage.failover,
            Call.FAILOVER_FORCED: storage.failover,
            Call.UNMOUNT: datastores.unmount,
            Call.MOUNT: datastores.mount,
            Call.SHUT_DOWN: vms.shut_down,
            Call.UNREGISTER: vms.unregister,
            Call.REGISTER: vms.register,
            Call.CONFIGURE: vms.configure,
            Call.POWER_ON: vms.power_on,
            Call.WAIT_READY: vms.wait_ready,
        }

    async def run(self, job: Job) -> Outcome:
        """Bring about the end of one step of one item. Never raises but for cancellation."""
        try:
            return await self._calls[job.step.call](job)
        except OutcomeUnknown as error:
            return Outcome(Verdict.RETRYABLE, reason=error.reason, message=str(error))
        except Retryable as error:
            return Outcome(Verdict.RETRYABLE, reason=error.reason, message=str(error), after=error.after)
        except DrError as error:
            return Outcome(Verdict.REJECTED, reason=error.reason, message=str(error))
        except Exception:
            log.exception("step.bug", extra={"run": self._run, "step": job.step.name, "vm": job.item})
            text = f"an error of the operator itself in {job.step.name}, see its log"
            return Outcome(Verdict.REJECTED, reason="InternalError", message=text)
