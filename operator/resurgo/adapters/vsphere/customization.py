"""Leaving a guest customization: host name and addresses that the guest gets at its next power-on."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any, Final

from resurgo.adapters.vsphere.calls import Calls
from resurgo.adapters.vsphere.effects import Effects, Seen
from resurgo.adapters.vsphere.properties import read_one
from resurgo.adapters.vsphere.sdk import vim
from resurgo.adapters.vsphere.vms import Vms
from resurgo.domain.errors import InvalidPlan, Missing
from resurgo.domain.inventory import VmId
from resurgo.domain.ports import Done, IpSettings

_UTC_ZONE: Final = 85  # Microsoft's index of GMT, without daylight saving
_NO_DOMAIN: Final = "localdomain"
_card = vim.vm.device.VirtualEthernetCard
_c = vim.vm.customization


class Customization:
    """Guest customizations of the VMs of one site."""

    def __init__(self, calls: Calls, effects: Effects, vms: Vms) -> None:
        self._calls = calls
        self._effects = effects
        self._vms = vms

    async def ensure(self, vm: VmId, hostname: str, ips: Sequence[IpSettings]) -> Done:
        about = f"VM {(await self._vms.get(vm)).vm.name}"
        what = self._calls.what("Customize", about)

        async def observe() -> Seen:
            seen = await self._vms.get(vm)
            return Seen(seen.vm.customization_pending, seen.running)

        async def act() -> None:
            keys, guest = await self._guest(vm, about)
            made = specification(what, keys, guest, hostname, ips)
            await self._effects.task(
                "CustomizeVM", lambda api: api.object("VirtualMachine", vm).CustomizeVM_Task(made), about=about
            )

        return await self._effects.ensure(what, observe, act)

    async def _guest(self, vm: VmId, about: str) -> tuple[list[int], str]:
        paths = ("config.hardware.device", "config.guestId")
        found = await self._calls.read(
            "ReadHardware", lambda api: read_one(api, "VirtualMachine", vm, paths), about=about
        )
        if found is None:
            raise Missing(f"{about} is not in the inventory of {self._calls.site} any more")
        devices = found.get("config.hardware.device", ())
        return [d.key for d in devices if isinstance(d, _card)], str(found.get("config.guestId", ""))


def specification(what: str, nics: Sequence[int], guest: str, hostname: str, ips: Sequence[IpSettings]) -> Any:
    """The specification for a VM with *nics* in their order. InvalidPlan where it can't be said to vCenter."""
    wanted: dict[int, list[IpSettings]] = {}
    for settings in ips:
        wanted.setdefault(settings.nic_key, []).append(settings)
    absent = sorted(set(wanted) - set(nics))
    if absent:
        raise InvalidPlan(f"{what}: it has no network adapter with key {', '.join(map(str, absent))}")
    servers = list(dict.fromkeys(server for settings in ips for server in settings.dns))
    return _c.Specification(
        identity=_windows(hostname) if guest.startswith("win") else _linux(hostname),
        options=_c.WinOptions(changeSID=False, deleteAccounts=False) if guest.startswith("win") else _c.LinuxOptions(),
        globalIPSettings=_c.GlobalIPSettings(dnsServerList=servers),
        nicSettingMap=[_c.AdapterMapping(adapter=_adapter(what, wanted, nic)) for nic in nics],
    )


def _adapter(what: str, wanted: Mapping[int, Sequence[IpSettings]], nic: int) -> Any:
    # vCenter wants settings for every adapter and knows no "as it is": those that are not named ask DHCP.
    adapter = _c.IPSettings(ip=_c.DhcpIpGenerator())
    fixed = []
    for settings in wanted.get(nic, ()):
        interface = _interface(what, settings)
        if settings.dns:
            adapter.dnsServerList = list(settings.dns)
        if isinstance(interface, ipaddress.IPv6Interface):
            fixed.append(_c.FixedIpV6(ipAddress=str(interface.ip), subnetMask=settings.prefix))
            gateways = [settings.gateway] if settings.gateway else []
            adapter.ipV6Spec = _c.IPSettings.IpV6AddressSpec(ip=fixed, gateway=gateways)
            continue
        if isinstance(adapter.ip, _c.FixedIp):
            raise InvalidPlan(f"{what}: network adapter {nic} is to get more than one IPv4 address")
        adapter.ip = _c.FixedIp(ipAddress=str(interface.ip))
        adapter.subnetMask = str(interface.netmask)
        adapter.gateway = [settings.gateway] if settings.gateway else []
    return adapter


def _interface(what: str, settings: IpSettings) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface:
    try:
        return ipaddress.ip_interface(f"{settings.address}/{settings.prefix}")
    except ValueError as error:
        raise InvalidPlan(f"{what}: {error}") from None


def _linux(hostname: str) -> Any:
    host, _, domain = hostname.partition(".")
    return _c.LinuxPrep(hostName=_name(host), domain=domain or _NO_DOMAIN)


def _windows(hostname: str) -> Any:
    return _c.Sysprep(
        guiUnattended=_c.GuiUnattended(timeZone=_UTC_ZONE, autoLogon=False, autoLogonCount=0),
        userData=_c.UserData(
            fullName="Administrator", orgName="-", computerName=_name(hostname.partition(".")[0]), productId=""
        ),
        identification=_c.Identification(joinWorkgroup="WORKGROUP"),
    )


def _name(host: str) -> Any:
    return _c.FixedName(name=host) if host else _c.VirtualMachineNameGenerator()
