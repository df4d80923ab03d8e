"""One vCenter driven by pyvmomi alone: a pool of threads for calls, one collector for what changes, no more."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pyVim.connect import SmartStubAdapter
from tests.lab.sites import PERSON_USER, LabSim

from resurgo.adapters.vsphere.sdk import SoapStubAdapter, vim, vmodl

T = TypeVar("T")
_PC = vmodl.query.PropertyCollector
_TASK_PATHS = ["info.state", "info.result", "info.error"]
Check = Callable[[dict[str, Any]], bool]


def moid(obj: Any) -> str:
    """The identifier of a managed object."""
    return str(obj._moId)  # noqa: SLF001 (pyvmomi has no public name for it)


class PlainVCenter:
    """At most *calls* calls on their way at once. What is watched is known by moref."""

    def __init__(self, sim: LabSim, calls: int) -> None:
        self._sim = sim
        trust = ssl.create_default_context(cafile=str(sim.ca))
        host, port = "127.0.0.1", int(sim.url.rpartition(":")[2])
        smart = SmartStubAdapter(host, port, sslContext=trust)  # type: ignore[no-untyped-call]
        self._stubs = [
            SoapStubAdapter(host=host, port=port, version=smart.version, poolSize=size, sslContext=trust)
            for size in (calls, 1)
        ]
        smart.DropConnections()
        self._lane = ThreadPoolExecutor(calls, thread_name_prefix=f"plain-{sim.site.name}")
        self._seen: dict[str, dict[str, Any]] = {}
        self._waiting: dict[str, list[tuple[Check, asyncio.Future[dict[str, Any]]]]] = {}
        self._closed = False

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[PlainVCenter]:
        """Logged in, the collector running."""
        self._loop = asyncio.get_running_loop()
        calls, watch = self._stubs
        service = vim.ServiceInstance("ServiceInstance", calls)
        self.content = await self.call(service.RetrieveContent)
        await self.call(lambda: self.content.sessionManager.Login(PERSON_USER, self._sim.passwords[PERSON_USER]))
        watch.cookie = calls.cookie
        properties = vmodl.query.PropertyCollector(moid(self.content.propertyCollector), watch)
        self._collector = await self.call(properties.CreatePropertyCollector)
        self._never = await self.call(lambda: self._filter(self.content.rootFolder, ["name"]))
        thread = threading.Thread(target=self._follow, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._closed = True
            await self.call(self._on_calls(self._collector).CancelWaitForUpdates)
            await asyncio.to_thread(thread.join, 5)
            await self.call(self.content.sessionManager.Logout)
            self._lane.shutdown()
            for stub in self._stubs:
                stub.DropConnections()

    async def call(self, work: Callable[[], T]) -> T:
        """One blocking call."""
        return await self._loop.run_in_executor(self._lane, work)

    async def task(self, start: Callable[[], Any]) -> Any:
        """Start a task, wait for its end, return its result. RuntimeError if it failed."""

        def begin() -> str:
            task = start()
            self._filter(task, _TASK_PATHS)
            return moid(task)

        moref = await self.call(begin)
        end = await self.until(moref, lambda p: p.get("info.state") in {"success", "error"})
        if end["info.state"] == "error":
            raise RuntimeError(end["info.error"].localizedMessage)
        return end.get("info.result")

    def watch(self, obj: Any, path: str) -> None:
        """Follow one property from now on. Blocking."""
        self._filter(obj, [path])

    async def until(self, moref: str, check: Check) -> dict[str, Any]:
        """Wait until what is watched of *moref* passes the check."""
        if (seen := self._seen.get(moref)) is not None and check(seen):
            return seen
        future: asyncio.Future[dict[str, Any]] = self._loop.create_future()
        self._waiting.setdefault(moref, []).append((check, future))
        return await future

    def objects(self, kind: Any) -> dict[str, Any]:
        """All objects of a kind by name. Blocking."""
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], True)
        walk = _PC.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
        spec = _PC.FilterSpec(
            objectSet=[_PC.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
            propSet=[_PC.PropertySpec(type=kind, pathSet=["name"])],
        )
        page = self.content.propertyCollector.RetrievePropertiesEx([spec], _PC.RetrieveOptions())
        found: dict[str, Any] = {}
        while page is not None:
            found |= {item.propSet[0].val: item.obj for item in page.objects}
            more = page.token
            page = self.content.propertyCollector.ContinueRetrievePropertiesEx(more) if more else None
        view.Destroy()
        return found

    def read(self, obj: Any, path: str) -> Any:
        """One property, read now. Blocking."""
        spec = _PC.FilterSpec(
            objectSet=[_PC.ObjectSpec(obj=obj)], propSet=[_PC.PropertySpec(type=type(obj), pathSet=[path])]
        )
        return (
            self.content.propertyCollector.RetrievePropertiesEx([spec], _PC.RetrieveOptions()).objects[0].propSet[0].val
        )

    def bind(self, obj: Any) -> Any:
        """The same object on the connections for calls."""
        return self._on_calls(obj)

    def _on_calls(self, obj: Any) -> Any:
        return type(obj)(moid(obj), self._stubs[0])

    def _filter(self, obj: Any, paths: list[str]) -> Any:
        spec = _PC.FilterSpec(
            objectSet=[_PC.ObjectSpec(obj=obj)], propSet=[_PC.PropertySpec(type=type(obj), pathSet=paths)]
        )
        return self._on_calls(self._collector).CreateFilter(spec, False)

    def _follow(self) -> None:
        version = ""
        while not self._closed:
            try:
                update = self._collector.WaitForUpdatesEx(version, _PC.WaitOptions(maxWaitSeconds=20))
            except vmodl.fault.RequestCanceled:
                return
            if update is not None:
                version = update.version
                changes = [
                    (moid(o.obj), {c.name: c.val for c in o.changeSet}) for f in update.filterSet for o in f.objectSet
                ]
                self._loop.call_soon_threadsafe(self._take, changes)

    def _take(self, changes: list[tuple[str, dict[str, Any]]]) -> None:
        for moref, change in changes:
            seen = self._seen.setdefault(moref, {})
            seen.update(change)
            waiting = self._waiting.pop(moref, [])
            for check, future in waiting:
                if check(seen):
                    future.set_result(seen)
                else:
                    self._waiting.setdefault(moref, []).append((check, future))
