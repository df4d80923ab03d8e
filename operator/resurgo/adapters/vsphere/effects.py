"""Reach an end once: look, act only if needed, wait, look again. Every change of a vCenter goes through here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from resurgo.adapters.vsphere.calls import Calls, Limits
from resurgo.adapters.vsphere.faults import translate
from resurgo.adapters.vsphere.login import Api
from resurgo.adapters.vsphere.properties import moid
from resurgo.adapters.vsphere.tasks import TaskEnd, Tasks, read_end
from resurgo.domain.errors import Busy, DrError, NotAllowed, OutcomeUnknown, Retryable, Throttled, Unreachable
from resurgo.domain.ports import Done

_LOOK_AGAIN: Final = (0.0, 0.2, 0.5, 1.0, 2.0)  # waits before each look after a lost answer
_TASK_LOOK: Final = 15.0  # seconds between two looks at a task whose end has not been told
_SHOW_UP: Final = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0)  # a finished task may precede what it changed


@dataclass(frozen=True, slots=True)
class Seen:
    """One look: whether the end is reached, and which tasks still run there."""

    reached: bool
    running: tuple[str, ...] = ()


Observe = Callable[[], Awaitable[Seen]]


@dataclass(slots=True)
class _Ticket:
    task: str = ""
    abandoned: bool = False


class Effects:
    """Tasks in flight are limited here, in order of asking."""

    def __init__(self, calls: Calls, tasks: Tasks, limits: Limits) -> None:
        self._calls = calls
        self._tasks = tasks
        self._task_timeout = limits.task_timeout
        self._slots = asyncio.Semaphore(limits.concurrent_tasks)

    async def ensure(
        self, what: str, observe: Observe, act: Callable[[], Awaitable[object]], *, confirm: bool = True
    ) -> Done:
        """Reach the end that *observe* looks for by *act*, which is called at most once.

        After an error the world is asked: reached is done, however that came. *confirm* waits until the end shows.
        """
        seen = await observe()
        if not seen.reached and seen.running:
            seen = await self._settled(observe, seen)  # an earlier call, perhaps of another process, is at work
        if seen.reached:
            return Done.ALREADY
        try:
            await act()
        except (NotAllowed, Unreachable, Throttled):
            raise  # nothing was sent, or all of it refused
        except DrError as error:
            await self._judge(what, observe, error)
        else:
            if confirm:
                await self._confirm(what, observe)
        return Done.DONE

    async def task(self, operation: str, start: Callable[[Api], Any], *, about: str = "") -> str:
        """Start a task by blocking *start* and wait for its end; returns the id of the object it made, or ""."""
        ticket = _Ticket()

        def begin(api: Api) -> str:
            task = moid(start(api))
            ticket.task = task
            if not ticket.abandoned:
                self._tasks.own.add(task)
            self._tasks.watch(api, task)
            return task

        async with self._slots:
            try:
                task = await self._calls.mutate(operation, begin, about=about)
                return await self._end(self._calls.what(operation, about), task)
            finally:
                ticket.abandoned = True
                self._tasks.own.discard(ticket.task)

    def foreign(self, running: tuple[str, ...]) -> tuple[str, ...]:
        """The tasks among *running* that no call of this process waits for."""
        return tuple(task for task in running if task not in self._tasks.own)

    async def _end(self, what: str, task: str) -> str:
        try:
            end = await self._wait(task)
        except TimeoutError:
            raise Busy(
                f"{what}: vCenter still works on it after {self._task_timeout:.0f} s", reason="TaskRunning"
            ) from None
        except DrError as away:
            raise OutcomeUnknown(f"{what}: lost sight of the task: {away}", op=what) from None
        if end.forgotten:
            raise OutcomeUnknown(f"{what}: vCenter no longer knows the task", op=what)
        if end.error is not None:
            raise translate(end.error, what, mutation=True, seen=False)
        return end.result

    async def _wait(self, task: str) -> TaskEnd:
        async with asyncio.timeout(self._task_timeout):
            return await self._task_end(task)

    async def _task_end(self, task: str) -> TaskEnd:
        """Wait for the end; a task that takes long is also looked at, for an end that got lost would hold a run."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TASK_LOOK):
                    return await self._tasks.wait(task)
            end = await self._calls.read("ReadTask", partial(read_end, task=task))
            if end is not None:
                self._tasks.forget(task)
                return end

    async def _settled(self, observe: Observe, seen: Seen) -> Seen:
        """Look until the end is reached or nothing runs any more. Busy if it runs too long."""
        async with asyncio.timeout(self._task_timeout) as limit:
            try:
                while not seen.reached and seen.running:
                    running = seen.running
                    await self._calls.read("FollowTasks", partial(self._follow, running))
                    await asyncio.gather(*(self._task_end(task) for task in running))
                    seen = await observe()
            except TimeoutError:
                if limit.expired():
                    raise Busy(
                        f"an earlier task at {self._calls.site} still runs after {self._task_timeout:.0f} s",
                        reason="TaskRunning",
                    ) from None
                raise
        return seen

    def _follow(self, tasks: tuple[str, ...], api: Api) -> None:
        for task in tasks:
            self._tasks.watch(api, task)

    async def _judge(self, what: str, observe: Observe, error: DrError) -> None:
        """Return if the end is reached all the same; else raise what the caller must know."""
        seen = await self._look_again(observe)
        if seen is not None and seen.reached:
            return
        if isinstance(error, OutcomeUnknown) and seen is not None:
            raise Unreachable(f"{error.message}; vCenter shows that it was not done: {what} can be asked again")
        raise error

    async def _look_again(self, observe: Observe) -> Seen | None:
        for wait in _LOOK_AGAIN:
            await asyncio.sleep(wait)
            try:
                return await self._settled(observe, await observe())
            except Retryable:
                continue
        return None

    async def _confirm(self, what: str, observe: Observe) -> None:
        for wait in _SHOW_UP:
            await asyncio.sleep(wait)
            try:
                if (await observe()).reached:
                    return
            except Retryable:
                return  # vCenter has said that it is done; that it can't be read just now changes nothing
        raise Busy(f"{what}: vCenter reported success, but it does not show")
