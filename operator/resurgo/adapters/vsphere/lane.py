"""A bounded set of threads of our own for blocking calls.

Not an executor of the standard library: those are joined at exit, so one call that hangs would keep the process alive.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from resurgo.domain.errors import DrError, Unreachable

Wanted = Callable[[], bool]


class Abandoned(Exception):
    """The call had begun, and nobody waits for its end any more."""


class _Job:
    """One call on its way: the future lives on the loop, the rest is shared with a thread."""

    __slots__ = ("future", "loop", "started", "work")

    def __init__(self, work: Callable[[Wanted], Any]) -> None:
        self.work = work
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self.loop.create_future()
        self.started = False

    def run(self) -> None:
        """In the thread. A BaseException is passed on as well: nobody else would see it."""
        try:
            result = self.work(self.wanted)
        except BaseException as error:  # noqa: BLE001
            self.end(None, error)
        else:
            self.end(result, None)

    def wanted(self) -> bool:
        return not self.future.done()

    def end(self, result: Any, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: Any, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Lane:
    """At most *threads* calls at once, others wait in order. Threads are daemons and start when needed."""

    def __init__(self, name: str, threads: int) -> None:
        self._name = name
        self._limit = threads
        self._jobs: deque[_Job] = deque()
        self._ready = threading.Condition()
        self._threads = 0
        self._idle = 0
        self._closed = False
        self._begun: set[_Job] = set()  # on the loop; those that wait for a thread are among them

    async def run(self, work: Callable[[Wanted], Any], *, seconds: float) -> Any:
        """Run *work* in a thread and return its result. Cancelling abandons it, and drops it if it hasn't begun.

        *work* is handed a question it may ask before it sends anything: does somebody still wait for this?
        TimeoutError: no result in *seconds* though it began. Unreachable: it did not even begin. Abandoned: see there.
        """
        job = _Job(work)
        self._add(job)
        self._begun.add(job)
        job.future.add_done_callback(lambda _: self._begun.discard(job))
        try:
            async with asyncio.timeout(seconds):
                return await job.future
        except TimeoutError:
            # Not started and now never will be: the thread skips jobs whose future is done.
            if job.future.cancelled() and not job.started:
                raise Unreachable(f"no free call within {seconds:.0f} s") from None
            raise

    def _add(self, job: _Job) -> None:
        with self._ready:
            if self._closed:
                raise Unreachable("the connection is closed")
            self._jobs.append(job)
            if self._idle < len(self._jobs) and self._threads < self._limit:
                self._threads += 1
                threading.Thread(target=self._work, name=self._name, daemon=True).start()
            else:
                self._ready.notify()

    def fail_waiting(self, error: Callable[[], DrError]) -> None:
        """Let every call that has not begun fail with an error of its own."""
        with self._ready:
            waiting = list(self._jobs)
            self._jobs.clear()
        for job in waiting:
            job.end(None, error())

    def abandon(self) -> None:
        """Wait no longer for calls that have begun: they raise Abandoned. On the loop."""
        for job in tuple(self._begun):
            if job.started and not job.future.done():
                job.future.set_exception(Abandoned)

    def close(self) -> None:
        """Begin nothing more; threads end as soon as their call does. Never blocks."""
        with self._ready:
            self._closed = True
            self._ready.notify_all()
        self.fail_waiting(lambda: Unreachable("the connection is closed"))

    def _work(self) -> None:
        while True:
            job = self._next()
            if job is None:
                return
            job.run()
            del job  # an idle thread must not keep the last answer alive

    def _next(self) -> _Job | None:
        with self._ready:
            while True:
                while self._jobs:
                    job = self._jobs.popleft()
                    if not job.future.done():
                        job.started = True
                        return job
                if self._closed:
                    self._threads -= 1
                    return None
                self._idle += 1
                self._ready.wait()
                self._idle -= 1
