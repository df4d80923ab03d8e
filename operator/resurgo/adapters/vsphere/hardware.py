"""The devices and marks of VMs, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from resurgo.adapters.vsphere.login import Api
from resurgo.adapters.vsphere.model import Model
from resurgo.adapters.vsphere.properties import Properties, moid, retrieve, spec
from resurgo.adapters.vsphere.sdk import vim
from resurgo.domain.inventory import Disk, Hardware, Nic, VmId

MARK_PREFIX: Final = "resurgo."
_PATHS: Final = ("config.hardware.device", "config.extraConfig", "config.guestId", "config.annotation", "guest.net")
_card = vim.vm.device.VirtualEthernetCard
_Disk = vim.vm.device.VirtualDisk
_raw_backings: Final = (_Disk.RawDiskMappingVer1BackingInfo, _Disk.RawDiskVer2BackingInfo)


def read_hardware(api: Api, model: Model, vms: Sequence[VmId]) -> dict[VmId, Hardware]:
    """Read the devices of *vms* now; VMs that are gone are absent. Blocking."""
    found = retrieve(api, spec([api.object("VirtualMachine", vm) for vm in vms], {"VirtualMachine": _PATHS}))
    return {VmId(moid(obj)): _hardware(VmId(moid(obj)), properties, model) for obj, properties in found}


def network_of(backing: Any, model: Model) -> str:
    """The name of the network behind a NIC, as recorded in the VM where this site doesn't know it."""
    if isinstance(backing, _card.DistributedVirtualPortBackingInfo):
        key = str(backing.port.portgroupKey or "")
        return model.name_of(key) or key
    if isinstance(backing, _card.NetworkBackingInfo):
        return str(backing.deviceName or "")
    if isinstance(backing, _card.OpaqueNetworkBackingInfo):
        return str(backing.opaqueNetworkId or "")
    return ""


def marks_of(extra_config: Any) -> dict[str, str]:
    """Our own entries."""
    return {
        str(option.key): str(option.value) for option in extra_config or () if str(option.key).startswith(MARK_PREFIX)
    }


def _hardware(vm: VmId, properties: Properties, model: Model) -> Hardware:
    devices = properties.get("config.hardware.device", ())
    addresses = _addresses(properties.get("guest.net", ()))
    return Hardware(
        vm=vm,
        nics=tuple(_nic(d, model, addresses) for d in devices if isinstance(d, _card)),
        disks=tuple(_disk(d) for d in devices if isinstance(d, _Disk)),
        isos=tuple(iso for d in devices if (iso := _iso(d))),
        marks=marks_of(properties.get("config.extraConfig")),
        guest_id=properties.get("config.guestId", ""),
        annotation=properties.get("config.annotation", "") or "",
    )


def _nic(device: Any, model: Model, addresses: dict[int, tuple[str, ...]]) -> Nic:
    connectable = device.connectable
    return Nic(
        key=device.key,
        label=_label(device),
        mac=device.macAddress or "",
        network=network_of(device.backing, model),
        connected_at_power_on=bool(connectable and connectable.startConnected),
        addresses=addresses.get(device.key, ()),
    )


def _addresses(nets: Any) -> dict[int, tuple[str, ...]]:
    found = {}
    for net in nets:
        if net.ipConfig is not None and net.ipConfig.ipAddress:
            found[net.deviceConfigId] = tuple(f"{ip.ipAddress}/{ip.prefixLength}" for ip in net.ipConfig.ipAddress)
        elif net.ipAddress:
            found[net.deviceConfigId] = tuple(net.ipAddress)
    return found


def _disk(device: Any) -> Disk:
    backing = device.backing
    raw = isinstance(backing, _raw_backings)
    name = getattr(backing, "deviceName", "") if raw else getattr(backing, "fileName", "")
    return Disk(label=_label(device), file=str(name or getattr(backing, "fileName", "") or ""), raw=raw)


def _iso(device: Any) -> str:
    if not isinstance(device, vim.vm.device.VirtualCdrom):
        return ""
    if not isinstance(device.backing, vim.vm.device.VirtualCdrom.IsoBackingInfo):
        return ""
    connectable = device.connectable
    used = connectable is None or connectable.connected or connectable.startConnected
    return str(device.backing.fileName or "") if used else ""


def _label(device: Any) -> str:
    return str(device.deviceInfo.label) if device.deviceInfo is not None else f"device {device.key}"
