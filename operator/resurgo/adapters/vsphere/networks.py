"""Attaching NICs to networks, with our mark in the same change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from resurgo.adapters.vsphere.calls import Calls, Limits
from resurgo.adapters.vsphere.effects import Effects, Seen
from resurgo.adapters.vsphere.hardware import MARK_PREFIX, marks_of
from resurgo.adapters.vsphere.inventory import Watch
from resurgo.adapters.vsphere.login import Api
from resurgo.adapters.vsphere.properties import moid, read_one, read_path
from resurgo.adapters.vsphere.sdk import vim
from resurgo.adapters.vsphere.vms import Vms
from resurgo.domain.errors import InvalidPlan, Missing
from resurgo.domain.inventory import Power, VmId
from resurgo.domain.ports import Done, Mark, NicChange

_PATHS: Final = ("config.hardware.device", "config.extraConfig")
_card = vim.vm.device.VirtualEthernetCard


@dataclass(frozen=True, slots=True)
class _Network:
    kind: str
    id: str
    name: str


@dataclass(slots=True)
class _Config:
    cards: dict[int, Any]
    marks: dict[str, str]


class Networks:
    """What a VM of one site is attached to."""

    def __init__(self, calls: Calls, effects: Effects, watch: Watch, vms: Vms, limits: Limits) -> None:
        self._calls = calls
        self._effects = effects
        self._watch = watch
        self._vms = vms
        self._timeout = limits.request_timeout

    async def ensure_configured(self, vm: VmId, nics: Sequence[NicChange], mark: Mark) -> Done:
        about = f"VM {self._vms.name(vm)}"
        what = self._calls.what("Configure", about)
        wanted = {nic.key: await self._network(nic.network, what) for nic in nics}
        marks = {f"{MARK_PREFIX}run": mark.run, f"{MARK_PREFIX}vm": mark.vm}
        config, seen = _Config({}, {}), None  # as last looked at

        async def observe() -> Seen:
            nonlocal config, seen
            config = await self._read(vm, about)
            _check_keys(config, wanted, what)
            if not _differing(config, wanted) and _holds(config.marks, marks):
                return Seen(reached=True)
            seen = await self._vms.get(vm)
            return Seen(reached=False, running=seen.running)

        async def act() -> None:
            powered_on = seen is not None and seen.vm.power is Power.ON
            backings = await self._backings(config, wanted, about)
            change = _spec(config, backings, marks, powered_on=powered_on)
            await self._effects.task(
                "ReconfigVM", lambda api: api.object("VirtualMachine", vm).ReconfigVM_Task(change), about=about
            )

        return await self._effects.ensure(what, observe, act)

    async def _network(self, name: str, what: str) -> _Network:
        model = await self._watch.ready(self._timeout)
        found = model.network(name)
        if found is None:  # it may be new
            model = await self._watch.refresh(self._timeout)
            found = model.network(name)
        if found is None:
            raise Missing(f"{what}: there is no network {name}")
        return _Network(*found, name)

    async def _read(self, vm: VmId, about: str) -> _Config:
        properties = await self._calls.read(
            "ReadHardware", lambda api: read_one(api, "VirtualMachine", vm, _PATHS), about=about
        )
        if properties is None:
            raise Missing(f"{about} is not in the inventory of {self._calls.site} any more")
        devices = properties.get("config.hardware.device", ())
        cards = {device.key: device for device in devices if isinstance(device, _card)}
        return _Config(cards, marks_of(properties.get("config.extraConfig")))

    async def _backings(self, config: _Config, wanted: Mapping[int, _Network], about: str) -> dict[int, Any]:
        keys = _differing(config, wanted)
        networks = {wanted[key] for key in keys}
        made = await self._calls.read(
            "ReadNetworks", lambda api: {network: _backing(api, network) for network in networks}, about=about
        )
        return {key: made[wanted[key]] for key in keys}


def _check_keys(config: _Config, wanted: Mapping[int, _Network], what: str) -> None:
    absent = sorted(set(wanted) - set(config.cards))
    if absent:
        raise InvalidPlan(f"{what}: it has no network adapter with key {', '.join(map(str, absent))}")


def _holds(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return all(found.get(key) == value for key, value in wanted.items())


def _differing(config: _Config, wanted: Mapping[int, _Network]) -> list[int]:
    return [key for key, network in wanted.items() if not _attached(config.cards[key], network)]


def _attached(card: Any, network: _Network) -> bool:
    backing = card.backing
    if card.connectable is None or not card.connectable.startConnected:
        return False
    if isinstance(backing, _card.DistributedVirtualPortBackingInfo):
        return str(backing.port.portgroupKey) == network.id
    if isinstance(backing, _card.NetworkBackingInfo):
        # Without the reference it is a name from elsewhere that only happens to be the same.
        return (
            backing.deviceName == network.name and backing.network is not None and moid(backing.network) == network.id
        )
    return False


def _backing(api: Api, network: _Network) -> Any:
    if network.kind == "Network":
        return _card.NetworkBackingInfo(deviceName=network.name, network=api.object("Network", network.id))
    if network.kind == "OpaqueNetwork":
        summary = read_path(api, api.object(network.kind, network.id), "summary")
        return _card.OpaqueNetworkBackingInfo(
            opaqueNetworkId=summary.opaqueNetworkId, opaqueNetworkType=summary.opaqueNetworkType
        )
    portgroup = vim.dvs.DistributedVirtualPortgroup(network.id, api.stub)
    switch = read_path(api, portgroup, "config.distributedVirtualSwitch")
    return _card.DistributedVirtualPortBackingInfo(
        port=vim.dvs.PortConnection(portgroupKey=network.id, switchUuid=read_path(api, switch, "uuid"))
    )


def _spec(config: _Config, backings: Mapping[int, Any], marks: Mapping[str, str], *, powered_on: bool) -> Any:
    changes = []
    for key, backing in backings.items():
        card = config.cards[key]  # with its MAC and address type as they are
        card.backing = backing
        if card.connectable is None:
            card.connectable = vim.vm.device.VirtualDevice.ConnectInfo(allowGuestControl=True)
        card.connectable.startConnected = True
        card.connectable.connected = powered_on
        changes.append(vim.vm.device.VirtualDeviceSpec(operation="edit", device=card))
    return vim.vm.ConfigSpec(
        deviceChange=changes,
        extraConfig=[vim.option.OptionValue(key=key, value=value) for key, value in marks.items()],
    )
