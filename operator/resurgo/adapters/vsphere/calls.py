"""Blocking calls on threads of our own, bounded in number and in time, each sent once, with the domain's errors."""

from __future__ import annotations

import asyncio
import http.client
import logging
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from resurgo.adapters.vsphere.faults import translate
from resurgo.adapters.vsphere.health import Health
from resurgo.adapters.vsphere.lane import Abandoned, Lane, Wanted
from resurgo.adapters.vsphere.login import Api, Session
from resurgo.adapters.vsphere.sdk import vim, vmodl
from resurgo.adapters.vsphere.stub import ConnectError
from resurgo.domain.errors import DrError, OutcomeUnknown, Unreachable

log = logging.getLogger(__name__)
T = TypeVar("T")

# An idle connection that the server closed is noticed only by using it. A read may be sent again.
_DROPPED: Final = (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError, ssl.SSLEOFError)
_UNDECODABLE: Final = (KeyError, AttributeError, TypeError, ValueError)
OnCall = Callable[[str, str, float], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one vCenter is asked at most. Times in seconds."""

    concurrent_tasks: int = 32
    calls: int = 8
    request_timeout: float = 60.0
    probe_interval: float = 3.0
    probe_timeout: float = 5.0
    task_timeout: float = 600.0


class Calls:
    """`read` may be repeated by us, `mutate` is sent exactly once or not at all."""

    def __init__(self, site: str, session: Session, health: Health, limits: Limits, on_call: OnCall) -> None:
        self.site = site
        self._session = session
        self._health = health
        self._timeout = limits.request_timeout
        self._on_call = on_call
        self._lane = Lane(f"vc-{site}", limits.calls)
        self._stub = session.stub(timeout=limits.request_timeout, pool=limits.calls)

    async def read(self, operation: str, work: Callable[[Api], T], *, about: str = "") -> T:
        """Run blocking *work*, which changes nothing. Never OutcomeUnknown."""
        return await self._run(operation, work, about, mutation=False)

    async def mutate(self, operation: str, work: Callable[[Api], T], *, about: str = "") -> T:
        """Run blocking *work*, whose first call changes something. OutcomeUnknown if its answer was lost."""
        return await self._run(operation, work, about, mutation=True)

    def what(self, operation: str, about: str = "") -> str:
        """The opening of every message: "PowerOn of VM erp-db at berlin"."""
        return f"{operation} of {about} at {self.site}" if about else f"{operation} at {self.site}"

    def drop(self) -> None:
        """The site is away: calls that wait fail at once, calls on their way are cut off."""
        self._lane.fail_waiting(lambda: self._health.error() or Unreachable(f"{self.site} does not answer"))
        self._session.interrupt()
        self._stub.abort()
        self._lane.abandon()

    def close(self) -> None:
        """No more calls. Never blocks."""
        self._lane.close()
        self._session.interrupt()
        self._stub.close()
        self._lane.abandon()

    async def _run(self, operation: str, work: Callable[[Api], T], about: str, *, mutation: bool) -> T:
        what = self.what(operation, about)
        started = time.monotonic()
        result = "ok"
        try:
            away = self._health.error()
            if away is not None:
                raise away
            answer: T = await self._lane.run(
                lambda wanted: self._attempt(work, what, wanted, mutation=mutation), seconds=self._timeout * 2
            )
        except (TimeoutError, Abandoned) as late:
            lost = self._lost(what, late, mutation=mutation)
            result = lost.reason
            raise lost from None
        except ConnectError as error:
            result = Unreachable.reason
            if error.refused:
                self._health.refused()
            raise translate(error, what, mutation=mutation) from None
        except DrError as error:
            result = error.reason
            raise
        except asyncio.CancelledError:
            result = "Cancelled"
            raise
        else:
            return answer
        finally:
            self._on_call(operation, result, time.monotonic() - started)

    def _lost(self, what: str, late: Exception, *, mutation: bool) -> DrError:
        """What a call raises that had begun and whose end nobody waits for any more."""
        left = isinstance(late, Abandoned)
        text = f"{what}: no answer {'before the site went away' if left else f'in {self._timeout * 2:.0f} s'}"
        if mutation:
            return OutcomeUnknown(text, op=what)
        return (self._health.error() if left else None) or Unreachable(text)

    def _attempt(self, work: Callable[[Api], T], what: str, wanted: Wanted, *, mutation: bool) -> T:
        """In a thread."""
        api = self._session.api(self._stub)
        if not wanted():  # a login may take its time, and whoever asked may be gone
            raise Unreachable(f"{what}: given up before it was sent")
        try:
            return self._send(work, api, mutation=mutation)
        except vim.fault.NotAuthenticated:
            api = self._session.api(self._stub, stale=api.generation)  # the call did not run: repeating it is safe
        except ConnectError:
            raise
        except Exception as error:  # noqa: BLE001  # what is no failed call is raised again
            raise self._translated(error, what, mutation=mutation) from None
        try:
            return self._send(work, api, mutation=mutation)
        except ConnectError:
            raise
        except Exception as error:  # noqa: BLE001  # what is no failed call is raised again
            raise self._translated(error, what, mutation=mutation) from None

    def _send(self, work: Callable[[Api], T], api: Api, *, mutation: bool) -> T:
        try:
            return work(api)
        except _DROPPED:
            if mutation or self._health.error() is not None:
                raise
        return work(api)

    def _translated(self, error: BaseException, what: str, *, mutation: bool) -> DrError:
        if isinstance(error, _UNDECODABLE) and not isinstance(error, vmodl.MethodFault):
            log.warning("vsphere.undecodable", extra={"site": self.site, "op": what}, exc_info=error)
        return translate(error, what, mutation=mutation)
