"""Every property that a client may watch changes in the watch when a call changes it, whoever made the call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pyVmomi import vim
from tests.lab.design import DeviceDesign, LabDesign, VmDesign
from tests.lab.sites import LabSim
from tests.lab.toolchain import Toolchain
from tests.lab_acceptance.lone import lone_site
from tests.lab_acceptance.watching import Watch

pytestmark = pytest.mark.lab

DESIGN = LabDesign(
    devices=(DeviceDesign("ds-one", "cg-one"),),
    folders=("erp", "web"),
    vms=(VmDesign("vm", "ds-one", "erp", power_on=False, disk_mb=1),),
    groups={"one": ("ds-one",)},
    plans=(),
)


@pytest.fixture(scope="module")
def site(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSim]:
    with lone_site(toolchain, tmp_path_factory.mktemp("watched"), DESIGN) as sim:
        yield sim


@pytest.fixture
def service(site: LabSim) -> Iterator[Any]:
    with site.connect() as service:
        yield service


def _find(service: Any, path: str) -> Any:
    return service.content.searchIndex.FindByInventoryPath(path)


def _vm(service: Any) -> Any:
    content = service.content
    return content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True).view[0]


def _reconfigure(**spec: Any) -> Callable[[Any, Any], Any]:
    return lambda _service, vm: vm.ReconfigVM_Task(vim.vm.ConfigSpec(**spec))


def _rewire(_service: Any, vm: Any) -> Any:
    card = next(d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard))
    to = "Backup" if card.backing.deviceName == "VM Network" else "VM Network"
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=to)
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
    return vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change]))


def _customize(_service: Any, vm: Any) -> Any:
    ip = vim.vm.customization.FixedIp(ipAddress="10.9.9.9")
    adapter = vim.vm.customization.IPSettings(ip=ip, subnetMask="255.255.255.0", gateway=["10.9.9.1"])
    name = vim.vm.customization.VirtualMachineNameGenerator()
    spec = vim.vm.customization.Specification(
        identity=vim.vm.customization.LinuxPrep(hostName=name, domain="lab"),
        globalIPSettings=vim.vm.customization.GlobalIPSettings(),
        nicSettingMap=[vim.vm.customization.AdapterMapping(adapter=adapter)],
    )
    return vm.CustomizeVM_Task(spec)


CHANGES: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "annotation": ("config.annotation", _reconfigure(annotation="new words")),
    "memory": ("config.hardware.memoryMB", _reconfigure(memoryMB=1024)),
    "instance": ("config.instanceUuid", _reconfigure(instanceUuid="5034aaaa-0000-4000-8000-00000000beef")),
    "options": ("config.extraConfig", _reconfigure(extraConfig=[vim.option.OptionValue(key="mark", value="1")])),
    "owner": ("config.managedBy", _reconfigure(managedBy=vim.ext.ManagedByInfo(extensionKey="ext", type="t"))),
    "network": ("network", _rewire),
    "device": ("config.hardware.device", _rewire),
    "name": ("name", lambda _service, vm: vm.Rename_Task("renamed")),
    "parent": ("parent", lambda service, vm: _find(service, "/berlin/vm/web").MoveIntoFolder_Task([vm])),
    "customization": ("config.tools.pendingCustomization", _customize),
    "power": ("runtime.powerState", lambda _service, vm: vm.PowerOnVM_Task()),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_changed_property_of_a_vm_is_seen(site: LabSim, service: Any, what: str):
    path, change = CHANGES[what]
    vm = _vm(service)
    watch = Watch(service)
    watch.objects(vim.VirtualMachine, (path,), vm)
    watch.wait(5)
    before = str(watch.now[vm].get(path))
    with site.connect() as other:
        theirs = vim.VirtualMachine(vm._moId, other._stub)
        [ended] = Watch(other).tasks([change(other, theirs)]).values()
        assert "success" == ended["info.state"], ended
    watch.until(lambda now: str(now[vm].get(path)) != before, f"{path} changes", 5)
    watch.close()


def test_the_lists_around_a_vm_follow_when_it_goes_and_comes(service: Any):
    vm = _vm(service)
    if vm.runtime.powerState == "poweredOn":
        Watch(service).tasks([vm.PowerOffVM_Task()])
    path, folder, pool, host = vm.config.files.vmPathName, vm.parent, vm.resourcePool, vm.runtime.host
    store = vm.datastore[0]
    watch = Watch(service)
    lists = {folder: "childEntity", pool: "vm", host: "vm", store: "vm"}
    for obj, name in lists.items():
        watch.objects(type(obj), (name,), obj)
    watch.wait(5)
    assert all(vm in watch.now[obj][name] for obj, name in lists.items())
    vm.UnregisterVM()
    watch.until(lambda now: not any(vm in now[obj].get(name, ()) for obj, name in lists.items()), "all let go", 5)
    [ended] = Watch(service).tasks([folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool, host=host)]).values()
    assert "success" == ended["info.state"], ended
    watch.until(lambda now: all(now[obj].get(name) for obj, name in lists.items()), "all list it again", 5)
    watch.close()


def test_a_host_says_when_it_is_disconnected_or_in_maintenance(service: Any):
    host = _find(service, "/berlin/host/c1").host[0]
    watch = Watch(service)
    watch.objects(vim.HostSystem, ("runtime.connectionState", "runtime.inMaintenanceMode"), host)
    watch.wait(5)
    host.EnterMaintenanceMode_Task(timeout=0)
    watch.until(lambda now: now[host]["runtime.inMaintenanceMode"] is True, "maintenance", 5)
    host.ExitMaintenanceMode_Task(timeout=0)
    watch.until(lambda now: now[host]["runtime.inMaintenanceMode"] is False, "maintenance over", 5)
    host.DisconnectHost_Task()
    watch.until(lambda now: now[host]["runtime.connectionState"] == "disconnected", "disconnected", 5)
    host.ReconnectHost_Task()
    watch.until(lambda now: now[host]["runtime.connectionState"] == "connected", "connected", 5)
    watch.close()


def test_new_folders_and_pools_enter_a_view_of_everything(service: Any):
    watch = Watch(service)
    watch.view(vim.ManagedEntity, ("name",))
    watch.wait(5)
    folder = _find(service, "/berlin/vm").CreateFolder("fresh")
    pool = _find(service, "/berlin/host/c1/Resources").CreateResourcePool("fresh", _pool_spec())
    watch.until(lambda now: folder in now and pool in now, "enter", 5)
    folder.Destroy_Task()
    watch.until(lambda now: folder not in now, "leave", 5)
    watch.close()


def _pool_spec() -> Any:
    shares = vim.SharesInfo(level="normal", shares=0)
    allocation = vim.ResourceAllocationInfo(reservation=0, expandableReservation=True, limit=-1, shares=shares)
    return vim.ResourceConfigSpec(cpuAllocation=allocation, memoryAllocation=allocation)
