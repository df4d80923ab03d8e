"""The VCenter port for one vCenter: puts the parts together and says which of them does what."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from resurgo.adapters.vsphere.calls import Calls, Limits, OnCall
from resurgo.adapters.vsphere.certificate import Trust
from resurgo.adapters.vsphere.customization import Customization
from resurgo.adapters.vsphere.datastores import Datastores
from resurgo.adapters.vsphere.effects import Effects
from resurgo.adapters.vsphere.hardware import read_hardware
from resurgo.adapters.vsphere.health import Health
from resurgo.adapters.vsphere.inventory import Watch
from resurgo.adapters.vsphere.login import Session
from resurgo.adapters.vsphere.networks import Networks
from resurgo.adapters.vsphere.privileges import read_facts
from resurgo.adapters.vsphere.probe import Probe
from resurgo.adapters.vsphere.tasks import Tasks
from resurgo.adapters.vsphere.vms import Vms
from resurgo.domain.errors import Unreachable
from resurgo.domain.inventory import DatastorePath, Hardware, HostId, Inventory, NfsExport, Vm, VmId
from resurgo.domain.ports import Done, IpSettings, Mark, NicChange, SiteFacts

_GOODBYE: Final = 1.0  # seconds for the logout; the vCenter ends idle sessions by itself


class VSphereGateway:
    """See the VCenter port. Between `start` and `aclose` it keeps one session, one long poll and one probe.

    *credentials* is called in a thread at each login and returns user and password. *on_change* is called on the loop
    when the inventory or the reachability changed, *on_call* with operation, result ("ok" or a reason) and seconds.
    ValueError: *trust* holds no usable certificate.
    """

    def __init__(
        self,
        site: str,
        url: str,
        *,
        trust: Trust,
        credentials: Callable[[], tuple[str, str]],
        limits: Limits,
        on_change: Callable[[], None],
        on_call: OnCall,
    ) -> None:
        self._site = site
        self._on_change = on_change
        self._limits = limits
        session = Session(site, url, trust, credentials, timeout=limits.request_timeout)
        probe = Probe(session, timeout=limits.probe_timeout)
        self._probe = probe
        self._health = Health(
            site,
            probe.ask,
            probe.interrupt,
            interval=limits.probe_interval,
            timeout=limits.probe_timeout,
            down=self._down,
            up=self._up,
        )
        self._calls = Calls(site, session, self._health, limits, on_call)
        self._watch = Watch(site, session, self._calls, on_change)
        self._tasks = Tasks(site, session)
        effects = Effects(self._calls, self._tasks, limits)
        self._vms = Vms(self._calls, effects, self._watch, limits)
        self._networks = Networks(self._calls, effects, self._watch, self._vms, limits)
        self._customization = Customization(self._calls, effects, self._vms)
        self._datastores = Datastores(self._calls, effects, self._watch, limits)
        self._probing: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch and to probe. On the loop, once."""
        self._watch.start()
        self._tasks.start()
        self._probing = asyncio.create_task(self._health.run(), name=f"probe {self._site}")

    async def aclose(self) -> None:
        """Stop within two seconds whatever the vCenter does. Calls on their way are cut off. Safe to repeat."""
        if self._probing is not None:
            self._probing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probing
            self._probing = None
            self._watch.close()
            self._tasks.close()
            self._calls.close()
            self._tasks.drop(lambda: Unreachable(f"the connection to {self._site} is closed"))
            if self._health.reachable:
                with contextlib.suppress(Exception):
                    await self._health.lane.run(lambda _: self._probe.logout(), seconds=_GOODBYE)
        self._health.lane.close()
        self._probe.close()

    @property
    def site(self) -> str:
        return self._site

    @property
    def reachable(self) -> bool:
        return self._health.reachable

    @property
    def unreachable_since(self) -> datetime | None:
        return self._health.since if not self._health.reachable else None

    async def facts(self) -> SiteFacts:
        return await self._calls.read("ReadFacts", read_facts)

    def inventory(self) -> Inventory:
        model = self._watch.model
        if model is None:
            raise Unreachable(f"the inventory of {self._site} was not read yet")
        return model.inventory()

    async def refresh(self) -> Inventory:
        return (await self._watch.refresh(self._limits.request_timeout)).inventory()

    async def hardware(self, vms: Sequence[VmId]) -> Mapping[VmId, Hardware]:
        if not vms:
            return {}
        model = await self._watch.ready(self._limits.request_timeout)
        return await self._calls.read("ReadHardware", lambda api: read_hardware(api, model, vms))

    async def read_vm(self, vm: VmId) -> Vm | None:
        seen = await self._vms.find(vm)
        return None if seen is None else seen.vm

    async def shut_down_guest(self, vm: VmId) -> Done:
        return await self._vms.shut_down_guest(vm)

    async def ensure_powered_off(self, vm: VmId) -> Done:
        return await self._vms.ensure_powered_off(vm)

    async def ensure_powered_on(self, vm: VmId) -> Done:
        return await self._vms.ensure_powered_on(vm)

    async def ensure_unregistered(self, vm: VmId) -> Done:
        return await self._vms.ensure_unregistered(vm)

    async def ensure_registered(
        self, vmx: DatastorePath, *, name: str, folder: str, pool: str, host: HostId | None
    ) -> tuple[Done, VmId]:
        return await self._vms.ensure_registered(vmx, name=name, folder=folder, pool=pool, host=host)

    async def ensure_configured(self, vm: VmId, *, nics: Sequence[NicChange], mark: Mark) -> Done:
        return await self._networks.ensure_configured(vm, nics, mark)

    async def ensure_customization(self, vm: VmId, *, hostname: str, ips: Sequence[IpSettings]) -> Done:
        return await self._customization.ensure(vm, hostname, ips)

    async def ensure_mounted(self, export: NfsExport, *, name: str, host: HostId) -> Done:
        return await self._datastores.ensure_mounted(export, name, host)

    async def ensure_unmounted(self, export: NfsExport, *, host: HostId) -> Done:
        return await self._datastores.ensure_unmounted(export, host)

    def _down(self) -> None:
        """The site is away: nobody waits for it any longer than this."""
        self._calls.drop()
        self._watch.drop()
        self._tasks.drop(lambda: self._health.error() or Unreachable(f"{self._site} does not answer"))
        self._on_change()

    def _up(self) -> None:
        self._watch.resume()
        self._tasks.resume()
        self._on_change()
