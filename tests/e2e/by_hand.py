"""VMs as a person makes them, with plain pyvmomi: nothing of the operator is used here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyVmomi import vim
from tests.lab.sites import LabSim
from tests.lab.waiting import wait_until


@dataclass(frozen=True, slots=True)
class Identity:
    """What has to be the same wherever a VM runs. Disk files are without their datastore."""

    cpus: int
    memory_mb: int
    uuid: str
    instance_uuid: str
    macs: tuple[str, ...]
    disks: tuple[tuple[str, int], ...]
    annotation: str
    guest_id: str
    extra: tuple[tuple[str, str], ...]


def finish(task: Any) -> Any:
    """The result of a task; its error is raised."""
    wait_until(lambda: str(task.info.state) in {"success", "error"}, f"{task.info.descriptionId} ends", every=0.05)
    if task.info.error is not None:
        raise task.info.error
    return task.info.result


def find(service: Any, path: str) -> Any:
    """The object at an inventory path."""
    found = service.content.searchIndex.FindByInventoryPath(path)
    assert found is not None, f"nothing at {path}"
    return found


def all_vms(service: Any) -> dict[str, Any]:
    """Every VM by its name."""
    content = service.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    return {vm.name: vm for vm in view.view}


def create_vm(
    site: LabSim,
    name: str,
    datastore: str,
    folder: str,
    *,
    networks: tuple[str, ...],
    disks_mb: tuple[int, ...] = (4,),
    cpus: int = 1,
    memory_mb: int = 512,
    annotation: str = "",
    extra: dict[str, str] | None = None,
    power_on: bool = True,
) -> str:
    """Make a VM and return the path of its .vmx. A slash in *name* is escaped, as vCenter wants it."""
    with site.connect() as service:
        spec = vim.vm.ConfigSpec(
            name=name.replace("/", "%2f"),
            guestId="debian12_64Guest",
            numCPUs=cpus,
            memoryMB=memory_mb,
            annotation=annotation,
            files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
            extraConfig=[vim.option.OptionValue(key=k, value=v) for k, v in (extra or {}).items()],
            deviceChange=[*_disks(disks_mb), *(_nic(n) for n in networks)],
        )
        pool = find(service, site.site.resource_pool)
        vm = finish(find(service, folder).CreateVM_Task(spec, pool))
        if power_on:
            finish(vm.PowerOnVM_Task())
        return str(vm.config.files.vmPathName)


def add_disk(site: LabSim, vm: str, datastore: str) -> None:
    """Give a powered-off or running VM another disk on *datastore*."""
    with site.connect() as service:
        found = all_vms(service)[vm]
        controller = next(d for d in found.config.hardware.device if isinstance(d, vim.vm.device.VirtualSCSIController))
        (change,) = [c for c in _disks((4,)) if isinstance(c.device, vim.vm.device.VirtualDisk)]
        change.device.controllerKey, change.device.unitNumber = controller.key, 5
        change.device.backing.fileName = f"[{datastore}] "
        finish(found.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))


def identity(site: LabSim, name: str) -> Identity:
    """What makes the VM the one it is, as its vCenter tells it."""
    with site.connect() as service:
        config = all_vms(service)[name.replace("/", "%2f")].config
        devices = config.hardware.device
        return Identity(
            config.hardware.numCPU,
            config.hardware.memoryMB,
            config.uuid,
            config.instanceUuid,
            tuple(d.macAddress for d in devices if isinstance(d, vim.vm.device.VirtualEthernetCard)),
            tuple(
                (d.backing.fileName.partition("] ")[2], d.capacityInKB)
                for d in devices
                if isinstance(d, vim.vm.device.VirtualDisk)
            ),
            config.annotation,
            config.guestId,
            tuple(sorted((o.key, o.value) for o in config.extraConfig if o.key.startswith("owner."))),
        )


def _disks(sizes_mb: tuple[int, ...]) -> list[Any]:
    add = vim.vm.device.VirtualDeviceSpec
    bus = vim.vm.device.VirtualLsiLogicController(key=-1, busNumber=0, sharedBus="noSharing")
    changes = [add(operation="add", device=bus)]
    for unit, size in enumerate(sizes_mb):
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName="", diskMode="persistent", thinProvisioned=True
        )
        disk = vim.vm.device.VirtualDisk(
            key=-100 - unit, controllerKey=-1, unitNumber=unit, capacityInKB=size * 1024, backing=backing
        )
        changes.append(add(operation="add", fileOperation="create", device=disk))
    return changes


def _nic(network: str) -> Any:
    card = vim.vm.device.VirtualVmxnet3(
        key=-200,
        addressType="generated",
        backing=vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network),
        connectable=vim.vm.device.VirtualDevice.ConnectInfo(
            startConnected=True, allowGuestControl=True, connected=True
        ),
    )
    return vim.vm.device.VirtualDeviceSpec(operation="add", device=card)
