"""The watch of one vCenter: a single long poll, on a thread and a connection of its own, feeds the inventory."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Final

from resurgo.adapters.vsphere.calls import Calls
from resurgo.adapters.vsphere.faults import translate
from resurgo.adapters.vsphere.login import Api, Session
from resurgo.adapters.vsphere.model import Model
from resurgo.adapters.vsphere.plain import PLACE_PATHS, QUIET, VM_PATHS, plain
from resurgo.adapters.vsphere.properties import check_missing, kind, moid, view_spec
from resurgo.adapters.vsphere.sdk import vim, vmodl
from resurgo.domain.errors import DrError, Unreachable
from resurgo.domain.inventory import VmId

log = logging.getLogger(__name__)

_MAX_WAIT: Final = 10  # seconds: also how old a reading of a quiet site may be
_READ_TIMEOUT: Final = 30.0  # of the socket; must exceed _MAX_WAIT, or a quiet site looks like a dead one
_BACK_OFF: Final = 5.0
_CANCEL_AGAIN: Final = 0.5
_PLACES: Final = ["Datastore", "HostSystem", "Network", "Folder", "ResourcePool", "ComputeResource", "Datacenter"]


class Watch:
    """Keeps `model` current from `start` to `close`. Everything public is for the event loop's thread."""

    def __init__(self, site: str, session: Session, calls: Calls, on_change: Callable[[], None]) -> None:
        self.model: Model | None = None
        self._site = site
        self._session = session
        self._calls = calls
        self._on_change = on_change
        self._stub = session.stub(timeout=_READ_TIMEOUT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._wake = threading.Event()
        self._fresh: set[asyncio.Future[None]] = set()
        self._vm_waiters: dict[VmId, set[asyncio.Future[None]]] = {}
        self._collector: Any = None
        self._view: tuple[Any, ...] = ()
        self._failure: DrError | None = None

    def start(self) -> None:
        """Begin; the first reading arrives by itself."""
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, name=f"vc-{self._site}-watch", daemon=True).start()

    def close(self) -> None:
        """Stop. Never blocks."""
        self._closed = True
        self._wake.set()
        self._stub.close()

    def drop(self) -> None:
        """The site is away: end the poll that hangs there."""
        self._stub.abort()

    def resume(self) -> None:
        """The site is back: do not wait any longer."""
        self._wake.set()

    async def ready(self, seconds: float) -> Model:
        """The model, waiting for the first reading. Unreachable if there is none in *seconds*."""
        if self.model is None:
            await self._next_reading(seconds)
        if self.model is None:
            raise Unreachable(f"the inventory of {self._site} was not read")
        return self.model

    async def refresh(self, seconds: float) -> Model:
        """The model once it holds everything that vCenter knew when this was called."""
        model = self.model
        await self._next_reading(seconds)
        result = self.model or model
        assert result is not None  # noqa: S101  # a reading has just arrived
        return result

    def vm_changed(self, vm: VmId) -> asyncio.Future[None]:
        """Done at the next change of that VM. Cancel it if it is no longer wanted."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._vm_waiters.setdefault(vm, set())
        waiters.add(future)

        def forget(done: asyncio.Future[None]) -> None:
            waiters.discard(done)
            if not waiters and self._vm_waiters.get(vm) is waiters:
                del self._vm_waiters[vm]

        future.add_done_callback(forget)
        return future

    async def _next_reading(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fresh.add(future)
        future.add_done_callback(self._fresh.discard)
        try:
            async with asyncio.timeout(seconds):
                while not future.done():
                    await self._interrupt()
                    # Cancelling reaches only a poll that has arrived there: one on its way is cancelled next time.
                    await asyncio.wait({future}, timeout=_CANCEL_AGAIN)
        except TimeoutError:
            failure = self._failure
            raise Unreachable(str(failure) if failure else f"{self._site}: no reading in {seconds:.0f} s") from None
        finally:
            future.cancel()

    async def _interrupt(self) -> None:
        self._wake.set()
        collector = self._collector
        if collector is None:
            # Not connected. A call tells at once why: no login, no trust, nobody there.
            await self._calls.read("Connect", lambda api: api.generation)
            return
        with contextlib.suppress(DrError):  # a collector that has just been replaced
            await self._calls.read("CancelWaitForUpdates", lambda api: api.bind(collector).CancelWaitForUpdates())

    # -- In the watch's own thread

    def _run(self) -> None:
        failed = -_BACK_OFF
        while not self._closed:
            try:
                self._follow(self._session.api(self._stub))
            except Exception as error:  # noqa: BLE001  # the watch must survive everything, or nothing is seen any more
                self._report(error)
            self._collector = None
            if not self._closed and time.monotonic() - failed < _BACK_OFF:
                # At once the first time: a session ends now and then.
                self._wake.wait(_BACK_OFF)
                self._wake.clear()
            failed = time.monotonic()

    def _report(self, error: Exception) -> None:
        if self._closed:
            return
        what = f"watching the inventory of {self._site}"
        known = str(self._failure)
        try:
            self._failure = translate(error, what, mutation=False)
        except Exception as bug:  # noqa: BLE001  # as above
            self._failure = Unreachable(f"{what}: {type(bug).__name__}: {bug}")
        if str(self._failure) != known:
            expected = isinstance(error, (DrError, OSError, HTTPException, vmodl.MethodFault))
            keys = {"site": self._site, "error": str(self._failure)}
            log.warning("vsphere.watch.lost", extra=keys, exc_info=None if expected else error)

    def _follow(self, api: Api) -> None:
        """Read everything once, then the changes, until it fails."""
        try:
            collector = self._open(api)
        except vim.fault.NotAuthenticated:
            api = self._session.api(self._stub, stale=api.generation)
            collector = self._open(api)
        model = Model(self._site, moid(api.content.rootFolder))
        version = ""
        complete = False
        while not self._closed:
            wanted = tuple(self._fresh.copy())  # those who ask from now on get the reading after this one
            wait = 0 if wanted else _MAX_WAIT
            options = vmodl.query.PropertyCollector.WaitOptions(maxWaitSeconds=wait)
            try:
                update = collector.WaitForUpdatesEx(version, options)
            except vmodl.fault.RequestCanceled:
                continue
            if update is not None:
                loud, vms = self._apply(model, update)
                version = update.version
                if update.truncated:
                    continue
            else:
                loud, vms = False, set()
            model.observed()
            if not complete:  # never shown before it is whole
                complete = loud = True
                self.model = model
                self._collector = collector
            self._failure = None
            self._tell(self._announce, loud, vms, wanted)

    def _open(self, api: Api) -> Any:
        """A collector of our own: the default one is shared by the whole session."""
        views = api.bind(api.content.viewManager)
        for old in self._view:  # of an earlier round in the same session; gone with any other
            with contextlib.suppress(vmodl.MethodFault):
                type(old)(moid(old), self._stub).Destroy()
        self._view = ()
        collector = api.bind(api.content.propertyCollector).CreatePropertyCollector()
        root = api.content.rootFolder
        places = views.CreateContainerView(root, [getattr(vim, name) for name in _PLACES], True)
        vms = views.CreateContainerView(root, [vim.VirtualMachine], True)
        self._view = (collector, places, vms)
        collector.CreateFilter(view_spec(places, PLACE_PATHS), False)
        collector.CreateFilter(view_spec(vms, {"VirtualMachine": VM_PATHS}), False)
        return collector

    @staticmethod
    def _apply(model: Model, update: Any) -> tuple[bool, set[VmId]]:
        loud = False
        vms = set()
        for filtered in update.filterSet:
            for changed in filtered.objectSet or ():
                moref = moid(changed.obj)
                if isinstance(changed.obj, vim.VirtualMachine):
                    vms.add(VmId(moref))
                if changed.kind == "leave":
                    model.leave(moref)
                    loud = True
                    continue
                check_missing(changed.missingSet)
                assigned = {c.name: plain(c.name, c.val) for c in changed.changeSet if c.val is not None}
                unset = tuple(c.name for c in changed.changeSet if c.val is None)
                model.change(kind(changed.obj), moref, assigned, unset)
                loud = loud or changed.kind == "enter" or not QUIET.issuperset((*assigned, *unset))
        return loud, vms

    def _tell(self, function: Callable[..., None], *arguments: Any) -> None:
        assert self._loop is not None  # noqa: S101  # start() has set it
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(function, *arguments)

    # -- Back on the loop

    def _announce(self, loud: bool, vms: set[VmId], fresh: tuple[asyncio.Future[None], ...]) -> None:
        for future in fresh:
            if not future.done():
                future.set_result(None)
        for vm in vms:
            for waiter in tuple(self._vm_waiters.get(vm, ())):
                if not waiter.done():
                    waiter.set_result(None)
        if loud:
            self._on_change()
