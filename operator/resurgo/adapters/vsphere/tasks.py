"""The ends of tasks: one collector on a thread and a connection of its own, so that no big update delays them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from resurgo.adapters.vsphere.login import Api, Session
from resurgo.adapters.vsphere.properties import moid, read_one, spec
from resurgo.adapters.vsphere.sdk import ManagedObject, vim, vmodl
from resurgo.domain.errors import DrError

log = logging.getLogger(__name__)

PATHS: Final = ("info.state", "info.error", "info.result")
RUNNING: Final = frozenset({"queued", "running"})
_MAX_WAIT: Final = 20
_READ_TIMEOUT: Final = 40.0
_BACK_OFF: Final = 2.0
_SWEEP: Final = 8  # filters of ended tasks are removed in passing, few at once: other tasks end meanwhile


@dataclass(frozen=True, slots=True)
class TaskEnd:
    """How a task ended. ``error`` is vCenter's fault, for translation; ``forgotten``: vCenter knows it no longer."""

    result: str = ""  # the id of the object it made
    error: Any = None
    forgotten: bool = False


@dataclass(slots=True)
class _Watched:
    waiters: set[asyncio.Future[TaskEnd]]
    filter: Any = None  # of the current collector
    seen: dict[str, Any] | None = None


class Tasks:
    """Waits for tasks, ours and those of earlier processes. `watch` is for threads, the rest for the event loop."""

    def __init__(self, site: str, session: Session) -> None:
        self._site = site
        self._session = session
        self._stub = session.stub(timeout=_READ_TIMEOUT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._some = threading.Event()  # set while there is something to wait for, or to stop for
        self._wake = threading.Event()
        self._closed = False
        self._watched: dict[str, _Watched] = {}
        self._ended: dict[str, TaskEnd] = {}  # ended between `watch` and `wait`
        self._dead: list[Any] = []
        self._collector: Any = None
        self.own: set[str] = set()  # started by calls of this process that still wait for them

    def start(self) -> None:
        """Begin; asks nothing while there is nothing to wait for."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name=f"vc-{self._site}-tasks", daemon=True).start()

    def close(self) -> None:
        """Stop. Never blocks."""
        self._closed = True
        self._some.set()
        self._wake.set()
        self._stub.close()

    def drop(self, error: Callable[[], DrError]) -> None:
        """The site is away: whoever waits is told so at once."""
        self._stub.abort()
        with self._lock:
            waiters = [waiter for watched in self._watched.values() for waiter in watched.waiters]
            self._watched.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error())

    def resume(self) -> None:
        """The site is back: do not wait any longer."""
        self._wake.set()

    def watch(self, api: Api, task: str) -> None:
        """Have the task followed from now on. In a thread. Never raises: the loop makes up for what fails here."""
        with self._lock:
            watched = self._watched.setdefault(task, _Watched(set()))
            collector = self._collector
        self._some.set()
        if collector is None or watched.filter is not None:
            return
        try:
            made = type(collector)(moid(collector), api.stub).CreateFilter(self._spec(api, task), False)
        except vmodl.fault.ManagedObjectNotFound as fault:
            if moid(fault.obj) == task:
                self._end(task, TaskEnd(forgotten=True))
            else:  # the collector is gone, with its session
                self._rebuild(collector)
        except Exception as error:  # noqa: BLE001  # the task runs, so nothing that happens here may look like a failed call
            log.debug("vsphere.tasks.filter", extra={"site": self._site, "error": type(error).__name__})
            self._rebuild(collector)
        else:
            with self._lock:
                if self._watched.get(task) is watched:
                    watched.filter = made
                else:  # it has ended already
                    self._dead.append(made)

    def _rebuild(self, collector: Any) -> None:
        with self._lock:
            if self._collector is not collector:
                return
            self._collector = None
        self._stub.abort()

    async def wait(self, task: str) -> TaskEnd:
        """The end of a task that `watch` was called for. Raises what `drop` was given if the site goes away."""
        future: asyncio.Future[TaskEnd] = asyncio.get_running_loop().create_future()
        with self._lock:
            ended = self._ended.pop(task, None)
            if ended is None:
                self._watched.setdefault(task, _Watched(set())).waiters.add(future)
        if ended is not None:
            return ended
        self._some.set()
        try:
            return await future
        finally:
            with self._lock:
                watched = self._watched.get(task)
                if watched is not None:
                    watched.waiters.discard(future)

    def forget(self, task: str) -> None:
        """The end of the task is known from elsewhere."""
        with self._lock:
            self._ended.pop(task, None)
            watched = self._watched.pop(task, None)
            if watched is not None and watched.filter is not None:
                self._dead.append(watched.filter)

    # -- In the thread of the tasks

    def _run(self) -> None:
        failed = -_BACK_OFF
        while not self._closed:
            try:
                self._follow()
            except Exception as error:  # noqa: BLE001  # it must survive everything, or no task ever ends
                if not self._closed:
                    log.info("vsphere.tasks.lost", extra={"site": self._site, "error": type(error).__name__})
                    if time.monotonic() - failed < _BACK_OFF:  # at once the first time: a session ends now and then
                        self._wake.wait(_BACK_OFF)
                        self._wake.clear()
                    failed = time.monotonic()

    def _follow(self) -> None:
        api = self._session.api(self._stub)
        try:
            collector = api.bind(api.content.propertyCollector).CreatePropertyCollector()
        except vim.fault.NotAuthenticated:
            api = self._session.api(self._stub, stale=api.generation)
            collector = api.bind(api.content.propertyCollector).CreatePropertyCollector()
        try:
            self._adopt(api, collector)
            version = ""
            while not self._over(collector):
                self._rest()
                if self._over(collector):
                    return
                options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=_MAX_WAIT)
                update = collector.WaitForUpdatesEx(version, options)
                if update is not None:
                    version = update.version
                    self._apply(update)
        finally:
            with self._lock:
                self._collector = None
            if not self._closed:
                with contextlib.suppress(Exception):
                    collector.Destroy()

    def _over(self, collector: Any) -> bool:
        return self._closed or self._collector is not collector

    def _adopt(self, api: Api, collector: Any) -> None:
        """A new collector knows nothing: every task that is still waited for gets a filter again."""
        with self._lock:
            self._collector = collector
            self._dead.clear()
            tasks = list(self._watched)
        for task in tasks:
            try:
                made = collector.CreateFilter(self._spec(api, task), False)
            except vmodl.fault.ManagedObjectNotFound:
                self._end(task, TaskEnd(forgotten=True))
                continue
            with self._lock:
                if task in self._watched:
                    self._watched[task].filter = made

    def _rest(self) -> None:
        """Sweep, and while there is nothing to wait for, wait for that."""
        while True:
            with self._lock:
                dead, self._dead = self._dead[:_SWEEP], self._dead[_SWEEP:]
            for old in dead:
                with contextlib.suppress(vmodl.MethodFault):
                    type(old)(moid(old), self._stub).Destroy()
            if self._watched or not self._dead:
                break
        with self._lock:
            if not self._watched and not self._closed:
                self._some.clear()
        self._some.wait()

    def _apply(self, update: Any) -> None:
        for filtered in update.filterSet:
            for changed in filtered.objectSet or ():
                task = moid(changed.obj)
                if changed.kind == "leave":
                    self._end(task, TaskEnd(forgotten=True))
                    continue
                with self._lock:
                    watched = self._watched.get(task)
                if watched is None:
                    continue
                watched.seen = {**(watched.seen or {}), **{c.name: c.val for c in changed.changeSet}}
                end = _end_of(watched.seen)
                if end is not None:
                    self._end(task, end)
            if filtered.missingSet:
                for missing in filtered.missingSet:
                    self._end(moid(missing.obj), TaskEnd(forgotten=True))

    def _end(self, task: str, end: TaskEnd) -> None:
        with self._lock:
            watched = self._watched.pop(task, None)
            if watched is None:
                return
            if watched.filter is not None:
                self._dead.append(watched.filter)
            if not watched.waiters:
                self._ended[task] = end
                while len(self._ended) > 1000:  # whoever was to wait for it has given up
                    self._ended.pop(next(iter(self._ended)))
            waiters = tuple(watched.waiters)
        assert self._loop is not None  # noqa: S101  # start() has set it
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(_settle, waiters, end)

    @staticmethod
    def _spec(api: Api, task: str) -> Any:
        return spec([api.object("Task", task)], {"Task": PATHS})


def _settle(waiters: tuple[asyncio.Future[TaskEnd], ...], end: TaskEnd) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(end)


def _end_of(seen: dict[str, Any]) -> TaskEnd | None:
    state = seen.get("info.state")
    if state == "success":
        result = seen.get("info.result")
        return TaskEnd(result=moid(result) if isinstance(result, ManagedObject) else "")
    if state == "error":
        return TaskEnd(error=seen.get("info.error"))
    return None


def read_end(api: Api, task: str) -> TaskEnd | None:
    """The end of a task, read now; None while it runs. Blocking."""
    properties = read_one(api, "Task", task, PATHS)
    return TaskEnd(forgotten=True) if properties is None else _end_of(properties)
