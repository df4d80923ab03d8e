"""Leadership: one process acts, held by a Lease of coordination.k8s.io.

A standby may take the Lease when nobody stands in it, or when *by its own clock* the same resourceVersion has stood for
the whole duration; times written by others are never compared. A holder counts its validity from before its renewal
left, for two thirds of the duration, so it stops before anybody may start. A lost Lease is never taken back by the same
process: it ends. The Lease is advice; what fences a stale leader is the resourceVersion of its next write.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from resurgo.adapters.kube.calls import Calls
from resurgo.domain.errors import DrError, LeaseLost, Missing
from resurgo.domain.ports import Obj

log = logging.getLogger(__name__)

_VALID_SHARE = 2 / 3


class Lease:
    """One process's view of one Lease. Duration and renewal in seconds, 0 < renew < duration / 3."""

    def __init__(
        self, calls: Calls, *, namespace: str, name: str, identity: str, duration: float = 15.0, renew: float = 2.0
    ) -> None:
        """*identity* is for people; a random part is added, so that a restarted pod is another holder."""
        if not 0 < renew < duration / 3:
            raise ValueError(
                f"lease: renew ({renew:g} s) must be above 0 and below a third of duration ({duration:g} s)"
            )
        self.holder = f"{identity}_{secrets.token_hex(4)}"
        self._calls = calls
        self._name = f"{namespace}/{name}"
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{quote(namespace, safe='')}/leases"
        self._path = f"{self._collection}/{quote(name, safe='')}"
        self._blank: Obj = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {},
        }
        self._duration = duration
        self._renew = renew
        self._valid_until = 0.0
        self._attempted = time.monotonic()
        self._seen = ("", 0.0)  # the last resourceVersion and when we first saw it

    @property
    def valid(self) -> bool:
        """May this process act? Asked before every effect, from any thread; costs one clock read."""
        return time.monotonic() < self._valid_until

    @property
    def attempt_age(self) -> float:
        """Seconds since the last attempt to take or renew ended, well or not: old means that our loop hangs."""
        return time.monotonic() - self._attempted

    async def run(self, lead: Callable[[], Coroutine[Any, Any, None]], *, stop: asyncio.Event | None = None) -> None:
        """Wait for the Lease, run lead(), release. Raises LeaseLost without waiting for lead() to end.

        *stop* ends the wait for the Lease; ending lead() is the caller's business. Renewal goes on until lead() has
        ended, so a slow end is still a lawful one.
        """
        log.info("lease.waiting", extra={"holder": self.holder})
        while not await self._attempt(self._take):
            if await _set_within(stop, self._renew):
                return
        log.info("lease.taken", extra={"holder": self.holder})
        renewing = asyncio.create_task(self._keep(), name="lease renewal")  # before lead(): kopf cancels younger tasks
        leading = asyncio.create_task(lead(), name="leading")
        try:
            await asyncio.wait({renewing, leading}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leading.cancel()  # nothing if it has ended; otherwise renewal goes on until it has
            await asyncio.wait({renewing, leading}, return_when=asyncio.FIRST_COMPLETED)
            if renewing.done():
                renewing.result()
            renewing.cancel()
            await asyncio.wait({renewing})
            await self._attempt(self._release)
            log.info("lease.released", extra={"holder": self.holder})
        leading.result()

    async def _keep(self) -> None:
        while self.valid:
            await asyncio.sleep(max(0.0, min(self._renew, self._valid_until - time.monotonic())))
            await self._attempt(self._extend)
        raise LeaseLost(f"the Lease {self._name} could not be renewed in time", hint="another process may lead now")

    async def _attempt(self, change: Callable[[Obj], bool]) -> bool:
        """Read, change, replace. False if the change declines or the API fails; of two writers the slower gets 409."""
        started = time.monotonic()  # validity counts from before the request left
        try:
            async with asyncio.timeout(self._renew):
                lease = await self._read_or_create()
                version = str(lease["metadata"]["resourceVersion"])
                if version != self._seen[0]:
                    self._seen = (version, time.monotonic())  # judged by our clock, never by theirs
                spec = lease.setdefault("spec", {})
                if not change(spec):
                    return False
                await self._calls.request("PUT", self._path, body=lease, seconds=self._renew)
        except LeaseLost:
            self._valid_until = 0.0
            raise
        except (DrError, TimeoutError) as exc:
            log.warning("lease.attempt_failed", extra={"error": str(exc) or repr(exc)})
            return False
        finally:
            self._attempted = time.monotonic()
        self._valid_until = started + self._duration * _VALID_SHARE if spec.get("holderIdentity") else 0.0
        return True

    async def _read_or_create(self) -> Obj:
        """A Lease that was deleted comes back empty, so its old holder learns that it lost it."""
        try:
            return await self._calls.request("GET", self._path, seconds=self._renew)
        except Missing:
            return await self._calls.request("POST", self._collection, body=self._blank, seconds=self._renew)

    def _take(self, spec: Obj) -> bool:
        if spec.get("holderIdentity") and time.monotonic() - self._seen[1] < self._stood_for(spec):
            return False
        now = _micro_time()
        spec.update(
            holderIdentity=self.holder,
            leaseDurationSeconds=max(1, round(self._duration)),
            acquireTime=now,
            renewTime=now,
            leaseTransitions=int(spec.get("leaseTransitions") or 0) + 1,
        )
        return True

    def _stood_for(self, spec: Obj) -> float:
        """How long a foreign holder must be silent: what it promised, and never less than we would promise."""
        return max(float(spec.get("leaseDurationSeconds") or 0), self._duration)

    def _extend(self, spec: Obj) -> bool:
        if spec.get("holderIdentity") != self.holder:
            raise LeaseLost(f"the Lease {self._name} is held by {spec.get('holderIdentity') or 'nobody'} now")
        spec["renewTime"] = _micro_time()
        return True

    def _release(self, spec: Obj) -> bool:
        if spec.get("holderIdentity") != self.holder:
            return False
        spec["holderIdentity"] = ""
        spec["renewTime"] = _micro_time()
        return True


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def _set_within(event: asyncio.Event | None, seconds: float) -> bool:
    if event is None:
        await asyncio.sleep(seconds)
        return False
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
