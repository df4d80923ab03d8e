"""VMs: reading one, power, registration."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any, Final

from resurgo.adapters.vsphere.calls import Calls, Limits
from resurgo.adapters.vsphere.effects import Effects, Seen
from resurgo.adapters.vsphere.faults import TOOLS_NOT_RUNNING
from resurgo.adapters.vsphere.inventory import Watch
from resurgo.adapters.vsphere.login import Api
from resurgo.adapters.vsphere.model import Model
from resurgo.adapters.vsphere.plain import VM_PATHS, plain
from resurgo.adapters.vsphere.properties import moid, retrieve, spec
from resurgo.adapters.vsphere.sdk import vim
from resurgo.adapters.vsphere.tasks import RUNNING
from resurgo.domain.errors import Busy, InvalidState, Missing, Rejected
from resurgo.domain.inventory import DatastorePath, HostId, Power, Vm, VmId
from resurgo.domain.ports import Done

log = logging.getLogger(__name__)

_TASK_PATHS: Final = ("info.state", "info.descriptionId")
_READ_AGAIN: Final = 3  # readings in which the watch is always faster: then it is as good as a reading


@dataclass(frozen=True, slots=True)
class VmSeen:
    """A VM read now, and the tasks that run on it."""

    vm: Vm
    running: tuple[str, ...]


class Vms:
    """The VMs of one site, for reading and for changing their power and registration."""

    def __init__(self, calls: Calls, effects: Effects, watch: Watch, limits: Limits) -> None:
        self._calls = calls
        self._effects = effects
        self._watch = watch
        self._timeout = limits.request_timeout
        # Folders where no registration of an earlier process runs: those of this one are known, and there are many.
        self._quiet: set[str] = set()

    async def find(self, vm: VmId) -> VmSeen | None:
        """One VM, read now and put into the inventory; None if it is gone."""
        running: tuple[str, ...] = ()
        for _ in range(_READ_AGAIN):
            model = await self._watch.ready(self._timeout)
            told = model.told()
            found = await self._calls.read("ReadVm", lambda api: _read(api, vm))
            if found is None:
                model.leave(vm)
                return None
            properties, running = found
            unset = tuple(p for p in VM_PATHS if p not in properties)
            if model.take("VirtualMachine", vm, properties, unset, told=told):
                break
        if self._parent_unknown(model, properties):
            model = await self._watch.refresh(self._timeout)
            model.take("VirtualMachine", vm, properties, told={})  # only where the watch has not told of it yet
        shown = model.vm(vm)
        return None if shown is None else VmSeen(shown, running)

    async def get(self, vm: VmId) -> VmSeen:
        """As `find`; Missing if it is gone."""
        seen = await self.find(vm)
        if seen is None:
            raise Missing(f"VM {self.name(vm)} is not in the inventory of {self._calls.site} any more")
        return seen

    def name(self, vm: VmId) -> str:
        """The name of a VM for messages; its id if that is all we know."""
        known = self._watch.model.vm(vm) if self._watch.model is not None else None
        return known.name if known is not None else vm

    async def shut_down_guest(self, vm: VmId) -> Done:
        seen = await self.get(vm)
        about = f"VM {seen.vm.name}"
        what = self._calls.what("ShutdownGuest", about)
        if seen.vm.power is Power.SUSPENDED:
            raise InvalidState(f"{what}: the VM is suspended", hint="resume it or power it off")
        if seen.vm.power is Power.ON and not seen.vm.tools_running:
            raise Rejected(f"{what}: VMware Tools do not run in it", reason=TOOLS_NOT_RUNNING)

        async def observe() -> Seen:
            return Seen((await self.get(vm)).vm.power is Power.OFF)

        async def act() -> None:
            await self._calls.mutate(
                "ShutdownGuest", lambda api: api.object("VirtualMachine", vm).ShutdownGuest(), about=about
            )

        return await self._effects.ensure(what, observe, act, confirm=False)

    async def ensure_powered_off(self, vm: VmId) -> Done:
        return await self._ensure_power(vm, Power.OFF, "PowerOff")

    async def ensure_powered_on(self, vm: VmId) -> Done:
        work = asyncio.ensure_future(self._ensure_power(vm, Power.ON, "PowerOn"))
        attendant = asyncio.ensure_future(self._attend(vm))
        try:
            await asyncio.wait({work, attendant}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                attendant.result()  # ends only by raising: a question that a person has to answer
            return await work
        finally:
            for each in (work, attendant):
                each.cancel()
            await asyncio.gather(work, attendant, return_exceptions=True)

    async def _ensure_power(self, vm: VmId, power: Power, operation: str) -> Done:
        async def observe() -> Seen:
            seen = await self.get(vm)
            return Seen(seen.vm.power is power, seen.running)

        async def act() -> None:
            await self._effects.task(
                operation, lambda api: getattr(api.object("VirtualMachine", vm), operation)(), about=about
            )

        about = f"VM {self.name(vm)}"
        return await self._effects.ensure(self._calls.what(operation, about), observe, act)

    async def _attend(self, vm: VmId) -> None:
        """Answer "I moved it" when the VM asks: a copy would get other identities. InvalidState for other questions."""
        answered = ""
        while True:
            changed = self._watch.vm_changed(vm)
            model = await self._watch.ready(self._timeout)
            question = model.question(vm)
            if question is not None and question.id != answered:
                if not question.moved:
                    changed.cancel()
                    raise InvalidState(
                        f"{self._calls.what('PowerOn', f'VM {self.name(vm)}')}: the VM asks: {question.text}",
                        reason="QuestionPending",
                        hint="answer it in vCenter",
                    )
                await self._answer(vm, question.id, question.moved)
                answered = question.id
            await changed

    async def _answer(self, vm: VmId, question: str, choice: str) -> None:
        with contextlib.suppress(Rejected):  # somebody was faster
            await self._calls.mutate(
                "AnswerVM",
                lambda api: api.object("VirtualMachine", vm).AnswerVM(question, choice),
                about=f"VM {self.name(vm)}",
            )

    async def ensure_unregistered(self, vm: VmId) -> Done:
        about = f"VM {self.name(vm)}"
        what = self._calls.what("Unregister", about)

        async def observe() -> Seen:
            seen = await self.find(vm)
            return Seen(seen is None, () if seen is None else seen.running)

        async def act() -> None:
            seen = await self.find(vm)
            if seen is not None and seen.vm.power is Power.ON:
                raise Busy(f"{what}: the VM is powered on", reason="InvalidPowerState")
            await self._calls.mutate(
                "UnregisterVM", lambda api: api.object("VirtualMachine", vm).UnregisterVM(), about=about
            )

        return await self._effects.ensure(what, observe, act)

    async def ensure_registered(
        self, vmx: DatastorePath, *, name: str, folder: str, pool: str, host: HostId | None
    ) -> tuple[Done, VmId]:
        about = f"VM {name}"
        what = self._calls.what("Register", about)
        folder_id, pool_ref, datacenter = await self._place(folder, pool, what)
        found: list[VmId] = []

        async def observe() -> Seen:
            if found:  # a task has told
                return Seen(await self.find(found[0]) is not None)
            look = "" if folder_id in self._quiet else folder_id
            moref, tasks = await self._calls.read(
                "FindVm", lambda api: _find_registered(api, datacenter, look, vmx), about=about
            )
            running = self._effects.foreign(tasks)
            if moref:
                found[:] = [VmId(moref)]
            elif look and not running:
                self._quiet.add(folder_id)
            return Seen(bool(moref), running)

        async def act() -> None:
            try:
                made = await self._register(vmx, name, folder_id, pool_ref, host, about)
            except BaseException:
                self._quiet.discard(folder_id)  # it may run on
                raise
            found[:] = [VmId(made)] if made else []

        done = await self._effects.ensure(what, observe, act)
        if not found:
            raise Busy(f"{what}: vCenter reported success, but the VM is not found by {vmx}")
        if done is Done.ALREADY:
            await self.find(found[0])
        return done, found[0]

    async def _place(self, folder: str, pool: str, what: str) -> tuple[str, tuple[str, str], str | None]:
        """The ids of a folder, a resource pool (with its kind) and the datacenter; Missing if they are not there."""
        model = await self._watch.ready(self._timeout)
        if model.folder(folder) is None or model.pool(pool) is None:
            model = await self._watch.refresh(self._timeout)
        folder_id = model.folder(folder)
        pool_ref = model.pool(pool)
        if folder_id is None:
            raise Missing(f"{what}: there is no VM folder {folder}")
        if pool_ref is None:
            raise Missing(f"{what}: there is no resource pool {pool}")
        return folder_id, pool_ref, model.datacenter_of(folder_id)

    async def _register(
        self,
        vmx: DatastorePath,
        name: str,
        folder: str,
        pool: tuple[str, str],
        host: HostId | None,
        about: str,
    ) -> str:
        return await self._effects.task(
            "RegisterVM",
            lambda api: api.object("Folder", folder).RegisterVM_Task(
                path=str(vmx),
                name=name.replace("/", "%2f"),
                asTemplate=False,
                pool=api.object(*pool),
                host=api.object("HostSystem", host) if host else None,
            ),
            about=about,
        )

    @staticmethod
    def _parent_unknown(model: Model, properties: dict[str, Any]) -> bool:
        """Whether the VM lies in a folder or pool that was made after the newest reading."""
        places = (properties.get("parent"), properties.get("resourcePool"))
        return any(place is not None and model.name_of(place) is None for place in places)


def running_tasks(found: list[tuple[Any, dict[str, Any]]], *, like: str = "") -> tuple[str, ...]:
    """The tasks among what was read that still run, *like* in their kind where vCenter tells it."""
    return tuple(
        moid(obj)
        for obj, properties in found
        if isinstance(obj, vim.Task)
        and properties.get("info.state") in RUNNING
        and like in str(properties.get("info.descriptionId", like)).lower()
    )


def _read(api: Api, vm: VmId) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    paths = {"VirtualMachine": VM_PATHS, "Task": _TASK_PATHS}
    traverse = (("VirtualMachine", "recentTask"),)
    found = retrieve(api, spec([api.object("VirtualMachine", vm)], paths, traverse=traverse))
    own = next((properties for obj, properties in found if isinstance(obj, vim.VirtualMachine)), None)
    if own is None:
        return None
    return {path: plain(path, value) for path, value in own.items()}, running_tasks(found)


def _find_registered(api: Api, datacenter: str | None, folder: str, vmx: DatastorePath) -> tuple[str, tuple[str, ...]]:
    """The VM registered from *vmx*, else the registrations that still run in *folder* ("": don't look for them)."""
    search = api.bind(api.content.searchIndex)
    at = api.object("Datacenter", datacenter) if datacenter else None
    vm = search.FindByDatastorePath(at, str(vmx))
    if vm is not None or not folder:
        return ("" if vm is None else moid(vm)), ()
    paths = {"Folder": ("name",), "Task": _TASK_PATHS}
    found = retrieve(api, spec([api.object("Folder", folder)], paths, traverse=(("Folder", "recentTask"),)))
    return "", running_tasks(found, like="register")
