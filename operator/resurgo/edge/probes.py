"""The one HTTP port: /metrics, /healthz, /readyz. Served from the start of the process, by a standby too.

It shares the event loop with everything else: no answer is an answer. Neither probe depends on holding the Lease.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import web

from resurgo.metrics import CONTENT_TYPE, Metrics

log = logging.getLogger(__name__)

Check = Callable[[], str | None]  # None, or what is wrong in one line
_TICK = 0.5


class LoopLag:
    """How late the event loop is: seconds that something held it up. A late loop renews no Lease."""

    def __init__(self, limit: float = 5.0) -> None:
        """*limit*: seconds of lag from which `check` calls the loop ill."""
        self._limit = limit
        self._due = time.monotonic()

    def check(self) -> str | None:
        """A problem if the loop was held up for longer than the limit just now."""
        lag = time.monotonic() - self._due
        return f"the event loop is {lag:.1f} s late" if lag > self._limit else None

    async def watch(self) -> None:
        """Measure for ever; cancel to end."""
        while True:
            self._due = time.monotonic() + _TICK
            await asyncio.sleep(_TICK)
            if problem := self.check():
                log.warning("loop.late", extra={"error": problem})


def attempts_fresh(age: Callable[[], float], limit: float) -> Check:
    """A check that the Lease was tried at most *limit* seconds ago, with or without success."""

    def check() -> str | None:
        seconds = age()
        return f"the Lease was last tried {seconds:.0f} s ago" if seconds > limit else None

    return check


class Probes:
    """The server. *live* and *ready* are named checks; *before_scrape* updates values that change silently."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        live: Mapping[str, Check],
        ready: Mapping[str, Check] | None = None,
        before_scrape: Callable[[], None] | None = None,
    ) -> None:
        self._metrics = metrics
        self._live = live
        self._ready = ready or {}
        self._before_scrape = before_scrape
        self._draining = False
        self._runner: web.AppRunner | None = None

    @contextlib.asynccontextmanager
    async def serving(self, host: str, port: int) -> AsyncIterator[int]:
        """Serve while the block lasts; gives the port, which the system chooses for 0. OSError if it is taken."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._scrape),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0)
        await runner.setup()
        self._runner = runner
        try:
            site = web.TCPSite(runner, host, port)
            await site.start()
            bound = int(runner.addresses[0][1])
            log.info("probes.serving", extra={"port": bound})
            yield bound
        finally:
            self._runner = None
            await runner.cleanup()

    def drain(self) -> None:
        """From here on /readyz answers 503: the process is about to end."""
        self._draining = True

    async def disconnect(self) -> None:
        """Close every open connection: each is a task that kopf would wait for. Belongs into `Services.closing`."""
        if self._runner and self._runner.server:
            await self._runner.server.shutdown(0.1)

    async def _scrape(self, _: web.Request) -> web.StreamResponse:
        if self._before_scrape:
            self._before_scrape()
        return _answer(web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE}))

    async def _healthz(self, _: web.Request) -> web.StreamResponse:
        return _verdict(self._live)

    async def _readyz(self, _: web.Request) -> web.StreamResponse:
        if self._draining:
            return _answer(web.Response(status=503, text="ending\n"))
        return _verdict(self._ready)


def _verdict(checks: Mapping[str, Check]) -> web.StreamResponse:
    answers = {name: check() for name, check in checks.items()}
    ill = any(answers.values())
    lines = [f"{name}: {problem or 'ok'}" for name, problem in answers.items()] or ["ok"]
    return _answer(web.Response(status=503 if ill else 200, text="\n".join(lines) + "\n"))


def _answer(response: web.Response) -> web.StreamResponse:
    # A connection that is kept open is a task, and kopf waits 5 s at its end for every task younger than itself.
    response.force_close()
    return response
