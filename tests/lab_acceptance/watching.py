"""Watching a vCenter as the operator does: an own PropertyCollector, views and explicit objects, leaf paths only."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from pyVmomi import vim, vmodl
from tests.lab.waiting import DeadlineError

PC = vmodl.query.PropertyCollector
VM_PATHS = (
    "name",
    "config.instanceUuid",
    "config.annotation",
    "config.files.vmPathName",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.host",
    "guest.toolsRunningStatus",
    "guest.ipAddress",
    "guestHeartbeatStatus",
)


class Watch:
    """What WaitForUpdatesEx says about the filtered objects, kept in *now*: object -> path -> value."""

    def __init__(self, service: Any) -> None:
        self.service = service
        self.collector = service.content.propertyCollector.CreatePropertyCollector()
        self.version = ""
        self.now: dict[Any, dict[str, Any]] = {}
        self.trips = 0

    def view(self, kind: Any, paths: Sequence[str]) -> Any:
        """Filter all objects of *kind* through a ContainerView of the whole inventory; returns the filter."""
        content = self.service.content
        view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
        select = PC.TraversalSpec(name="view", type=type(view), path="view", skip=False)
        return self._filter(kind, paths, [PC.ObjectSpec(obj=view, skip=True, selectSet=[select])])

    def objects(self, kind: Any, paths: Sequence[str], *objects: Any) -> Any:
        """Filter exactly these objects; returns the filter."""
        return self._filter(kind, paths, [PC.ObjectSpec(obj=obj) for obj in objects])

    def _filter(self, kind: Any, paths: Sequence[str], objects: list[Any]) -> Any:
        spec = PC.FilterSpec(propSet=[PC.PropertySpec(type=kind, pathSet=list(paths))], objectSet=objects)
        return self.collector.CreateFilter(spec, partialUpdates=False)

    def wait(self, seconds: int) -> list[tuple[str, Any, dict[str, Any]]]:
        """Apply the next updates, all pages of them, and return them; none if nothing comes in *seconds*."""
        seen: list[tuple[str, Any, dict[str, Any]]] = []
        while True:
            update = self.collector.WaitForUpdatesEx(self.version, PC.WaitOptions(maxWaitSeconds=seconds))
            self.trips += 1
            if update is None:
                return seen
            self.version = update.version
            for change in (change for part in update.filterSet for change in part.objectSet):
                values = {p.name: p.val for p in change.changeSet}
                seen.append((change.kind, change.obj, values))
                self._apply(change.kind, change.obj, values)
            if not update.truncated:
                return seen

    def _apply(self, kind: str, obj: Any, values: dict[str, Any]) -> None:
        if kind == "leave":
            self.now.pop(obj, None)
            return
        known = self.now.setdefault(obj, {})
        known.update(values)
        for gone in [path for path, value in values.items() if value is None]:
            del known[gone]

    def until(self, check: Any, what: str, seconds: float = 20) -> float:
        """Apply updates until *check* holds for *now*; returns how long that took, DeadlineError after *seconds*."""
        start = time.monotonic()
        while not check(self.now):
            if time.monotonic() - start > seconds:
                raise DeadlineError(f"{what}: not seen within {seconds:g} s; last: {self.now}")
            self.wait(1)
        return time.monotonic() - start

    def tasks(self, tasks: Sequence[Any], seconds: float = 30) -> dict[Any, dict[str, Any]]:
        """Wait through one filter until all *tasks* have ended; returns state and error of each."""
        if not tasks:
            return {}
        made = self.objects(vim.Task, ("info.state", "info.error", "info.progress"), *tasks)
        ended = ("success", "error")
        self.until(lambda now: all(now.get(t, {}).get("info.state") in ended for t in tasks), "tasks end", seconds)
        made.Destroy()
        return {task: self.now.pop(task) for task in tasks}

    def named(self, name: str) -> Any:
        """Return the watched object that is called *name*."""
        return next(obj for obj, values in self.now.items() if values.get("name") == name)

    def close(self) -> None:
        self.collector.Destroy()
