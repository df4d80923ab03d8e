"""Two sites and their arrays in the hands of a test: exports, mounts, VMs and tasks in few words."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pyVmomi import vim
from tests.lab.arrays import array_dir
from tests.lab.design import BERLIN, LEIPZIG, DeviceDesign, LabDesign, SiteDesign
from tests.lab.pki import Pki
from tests.lab.sites import LabSim
from tests.lab.toolchain import Toolchain
from tests.lab.waiting import wait_until
from tests.lab_acceptance.watching import Watch

ONE = DeviceDesign("ds-one", "cg")
TWO = DeviceDesign("ds-two", "cg")
DESIGN = LabDesign(devices=(ONE, TWO), folders=("erp",), vms=(), groups={}, plans=())


class Site:
    """One site: its simulator, its array and, inside `session`, a pyvmomi session."""

    def __init__(self, toolchain: Toolchain, lab: Path, design: SiteDesign, pki: Pki) -> None:
        """Make the array with both exports; nothing runs before start."""
        self.design = design
        self.array = array_dir(lab, design)
        self.array.mkdir(parents=True)
        self.exports: dict[str, dict[str, str]] = {}
        for device in (ONE, TWO):
            self.grant(device, "rw" if design is BERLIN else "none")
        self.sim = LabSim(toolchain, lab, DESIGN, design, pki)
        self.service: Any = None

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Log in for the time of a test."""
        with self.sim.connect() as self.service:
            yield

    # --- the array -------------------------------------------------------------------------------------------------

    def directory(self, device: DeviceDesign) -> Path:
        """Return the live directory of a device."""
        return self.array / "cg" / "live" / device.name

    def grant(self, device: DeviceDesign, access: str) -> None:
        """Export the device with this access from now on."""
        self.directory(device).mkdir(parents=True, exist_ok=True)
        self.exports[device.path] = {"dir": f"cg/live/{device.name}", "access": access}
        draft = self.array / "exports.draft"
        draft.write_text(json.dumps({"server": self.design.nfs_server, "exports": self.exports}))
        draft.replace(self.array / "exports.json")

    # --- the inventory ---------------------------------------------------------------------------------------------

    def find(self, path: str) -> Any:
        """Return what an inventory path below the site's datacenter leads to."""
        return self.service.content.searchIndex.FindByInventoryPath(f"{self.design.name}/{path}")

    @property
    def pool(self) -> Any:
        """The root resource pool of the cluster."""
        return self.find(f"host/{self.design.cluster}/Resources")

    @property
    def hosts(self) -> list[Any]:
        """All hosts, in the order of the design."""
        return [self.find(f"host/{self.design.cluster}/{name}") for name in self.design.hosts]

    def task(self, *tasks: Any) -> Any:
        """Wait for tasks; raise the fault of the first that failed, else return the result of the first."""
        ended = Watch(self.service).tasks(tasks)
        for task in tasks:
            if ended[task]["info.state"] == "error":
                raise ended[task]["info.error"]
        return tasks[0].info.result

    def mount(self, device: DeviceDesign, name: str = "", server: str = "") -> list[Any]:
        """Mount the export on all hosts and return what each call answered."""
        return [self.mount_on(host, device, name, server) for host in self.hosts]

    def mount_on(self, host: Any, device: DeviceDesign, name: str = "", server: str = "") -> Any:
        """Mount the export on one host."""
        spec = vim.host.NasVolume.Specification(
            remoteHost=server or self.design.nfs_server,
            remotePath=device.path,
            localPath=name or device.name,
            accessMode="readWrite",
        )
        return host.configManager.datastoreSystem.CreateNasDatastore(spec)

    def unmount(self, datastore: Any) -> None:
        """Unmount a datastore from all its hosts."""
        for mount in list(datastore.host):
            mount.key.configManager.datastoreSystem.RemoveDatastore(datastore)

    def create(self, name: str, **changes: Any) -> Any:
        """Create a VM with one disk and one card on the first network; *changes* replace fields of the ConfigSpec."""
        spec = vim_spec(name, **{"networks": self.design.networks[:1], **changes})
        return self.task(self.find("vm").CreateVM_Task(spec, self.pool, self.hosts[0]))

    def register(self, path: str, name: str | None = None, folder: str = "vm") -> Any:
        """Register the VM of a .vmx."""
        return self.task(self.find(folder).RegisterVM_Task(path, name, False, self.pool, self.hosts[0]))

    def vms(self) -> list[Any]:
        """Return all registered VMs."""
        content = self.service.content
        view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
        return list(view.view)

    def until(self, vm: Any, wanted: dict[str, Any], seconds: float = 10) -> dict[str, Any]:
        """Watch a VM by WaitForUpdatesEx alone until its properties are as *wanted*; returns the last values."""
        watch = Watch(self.service)
        watch.objects(vim.VirtualMachine, tuple(wanted), vm)

        def reached(now: dict[Any, dict[str, Any]]) -> bool:
            return all(now.get(vm, {}).get(path) == value for path, value in wanted.items())

        watch.until(reached, f"{wanted}", seconds)
        return watch.now[vm]


def vim_spec(
    name: str,
    *,
    datastore: str = ONE.name,
    disks: Sequence[tuple[str, int]] = ((ONE.name, 4),),
    networks: Sequence[str] = (),
    **fields: Any,
) -> Any:
    """Build a ConfigSpec: *disks* are (datastore, MiB), *networks* names; other fields go through as they are."""
    scsi = vim.vm.device.ParaVirtualSCSIController(key=-1, busNumber=0, sharedBus="noSharing")
    devices: list[Any] = [vim.vm.device.VirtualDeviceSpec(operation="add", device=scsi)]
    for unit, (where, mib) in enumerate(disks):
        backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"[{where}] {name}/{name}_{unit}.vmdk", diskMode="persistent", thinProvisioned=True
        )
        disk = vim.vm.device.VirtualDisk(
            key=-10 - unit, controllerKey=-1, unitNumber=unit, capacityInKB=mib * 1024, backing=backing
        )
        devices.append(vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk))
    devices += [nic_change("add", network, key=-100 - n) for n, network in enumerate(networks)]
    return vim.vm.ConfigSpec(
        **{
            "name": name,
            "guestId": "debian12_64Guest",
            "numCPUs": 1,
            "memoryMB": 256,
            "files": vim.vm.FileInfo(vmPathName=f"[{datastore}] {name}/{name}.vmx"),
            "deviceChange": devices,
            **fields,
        }
    )


def nic_change(operation: str, network: str, *, key: int, mac: str | None = None) -> Any:
    """Build the change of one network card."""
    backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network)
    connectable = vim.vm.device.VirtualDevice.ConnectInfo(startConnected=True, allowGuestControl=True, connected=True)
    card = vim.vm.device.VirtualVmxnet3(key=key, backing=backing, connectable=connectable, macAddress=mac)
    return vim.vm.device.VirtualDeviceSpec(operation=operation, device=card)


class Pair:
    """Both sites of a lab."""

    def __init__(self, toolchain: Toolchain, lab: Path) -> None:
        """Make both arrays; nothing runs before start."""
        pki = Pki(lab / "pki")
        self.lab = lab
        self.berlin = Site(toolchain, lab, BERLIN, pki)
        self.leipzig = Site(toolchain, lab, LEIPZIG, pki)

    def start(self) -> Pair:
        """Start both simulators."""
        self.berlin.sim.start()
        self.leipzig.sim.start()
        return self

    def stop(self) -> None:
        """End both simulators. Safe to repeat."""
        self.berlin.sim.stop()
        self.leipzig.sim.stop()

    def replicate(self, device: DeviceDesign) -> None:
        """Copy a device from berlin to leipzig as an array would, and export the copy writable."""
        shutil.rmtree(self.leipzig.directory(device), ignore_errors=True)
        shutil.copytree(self.berlin.directory(device), self.leipzig.directory(device))
        self.leipzig.grant(device, "rw")

    def tidy(self, site: Site) -> None:
        """Remove all VMs with their files and give the site the mounts and exports it started with."""
        site.sim.admin.clear_rules()
        site.sim.admin.outage("none")
        first = site is self.berlin
        for device in (ONE, TWO):
            site.grant(device, "rw" if first else "none")
        if first:
            wait_until(lambda: all(d["accessible"] for d in site.sim.admin.datastores().values()), "exports are back")
        with site.session():
            for vm in site.vms():
                if vm.runtime.powerState != "poweredOff":
                    site.task(vm.PowerOffVM_Task())
                vm.UnregisterVM()
            if not first:
                for entity in site.find("datastore").childEntity:
                    site.unmount(entity)
        for device in (ONE, TWO):
            shutil.rmtree(site.directory(device))
            site.directory(device).mkdir()
