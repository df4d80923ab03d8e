"""Whether the vCenter answers: a probe on a connection and a thread of its own, unhurt by whatever hangs elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from resurgo.adapters.vsphere.lane import Lane
from resurgo.adapters.vsphere.stub import ConnectError
from resurgo.domain.errors import DrError, NotAllowed, Unreachable

log = logging.getLogger(__name__)

_MISSES: Final = 2


class Health:
    """Asks again and again; says down after two misses, or at once where nobody listens or trust fails.

    *probe* blocks and raises; *interrupt* makes a hanging probe end. *down* and *up* are called on the loop.
    """

    def __init__(
        self,
        site: str,
        probe: Callable[[], None],
        interrupt: Callable[[], None],
        *,
        interval: float,
        timeout: float,
        down: Callable[[], None],
        up: Callable[[], None],
    ) -> None:
        self._site = site
        self._probe = probe
        self._interrupt = interrupt
        self._interval = interval
        self._timeout = timeout
        self._down = down
        self._up = up
        self.lane = Lane(f"vc-{site}-probe", 1)
        self.reachable = False
        self.since: datetime | None = datetime.now(UTC)
        self._misses = 0
        self._failure: DrError | None = None

    async def run(self) -> None:
        """Probe for ever."""
        while True:
            missed = await self._once()
            # The second look after a miss comes at once: it decides, and the timeout has been waited for already.
            await asyncio.sleep(0.2 if missed and self._failure is None else self._interval)

    def error(self) -> DrError | None:
        """What a call has to fail with because the site is known to be away; None while it may be tried."""
        failure = self._failure
        if isinstance(failure, NotAllowed):
            return NotAllowed(failure.message, reason=failure.reason, hint=failure.hint)
        return None if failure is None else Unreachable(failure.message)

    def refused(self) -> None:
        """A call found nobody listening. On the loop."""
        self._missed(Unreachable(f"the vCenter of {self._site} refuses connections"), final=True)

    async def _once(self) -> bool:
        try:
            await self.lane.run(lambda _: self._probe(), seconds=self._timeout)
        except TimeoutError:
            self._interrupt()
            self._missed(self._away(f"no answer in {self._timeout:g} s"), final=False)
        except NotAllowed as error:
            self._missed(error, final=True)
        except ConnectError as error:
            self._missed(self._away(str(error)), final=error.refused)
        except DrError as error:
            self._missed(self._away(error.message), final=False)
        else:
            self._answered()
            return False
        return True

    def _away(self, why: str) -> Unreachable:
        return Unreachable(f"the vCenter of {self._site} does not answer: {why}")

    def _answered(self) -> None:
        self._misses = 0
        self._failure = None
        self.since = None
        if not self.reachable:
            self.reachable = True
            log.info("vsphere.reachable", extra={"site": self._site})
            self._up()

    def _missed(self, error: DrError, *, final: bool) -> None:
        self._misses += 1
        if self.since is None:
            self.since = datetime.now(UTC)
        if not final and self._misses < _MISSES:
            return
        first = self._failure is None
        self._failure = error
        self.reachable = False
        if first:
            log.warning("vsphere.unreachable", extra={"site": self._site, "error": str(error)})
            self._down()
