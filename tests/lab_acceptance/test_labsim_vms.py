"""Virtual machines of the simulated vCenter are their files: made, changed, moved to another site, and never half."""

from __future__ import annotations

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pyVmomi import vim, vmodl
from tests.lab_acceptance.pair import ONE, TWO, Pair, Site, nic_change, vim_spec

pytestmark = pytest.mark.lab

RICH: dict[str, Any] = {
    "disks": ((ONE.name, 8), (TWO.name, 16)),
    "networks": ("VM Network", "Backup"),
    "numCPUs": 4,
    "numCoresPerSocket": 2,
    "memoryMB": 2048,
    "annotation": 'two\nlines and a "quote"',
    "managedBy": vim.ext.ManagedByInfo(extensionKey="dev.resurgo", type="placeholder"),
    "extraConfig": [vim.option.OptionValue(key="resurgo.run", value="run-1")],
}


def describe(vm: Any) -> dict[str, Any]:
    """Everything about a VM that must survive unregister and register."""
    config = vm.config
    disks = [d for d in config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)]
    cards = [d for d in config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]
    return {
        "name": (vm.name, config.name, vm.summary.config.name),
        "ids": (config.uuid, config.instanceUuid),
        "hardware": (config.hardware.numCPU, config.hardware.numCoresPerSocket, config.hardware.memoryMB),
        "guest": (config.guestId, config.firmware, config.version),
        "texts": (config.annotation, config.managedBy.extensionKey, config.managedBy.type),
        "options": sorted((o.key, o.value) for o in config.extraConfig),
        "disks": [
            (d.backing.fileName, d.capacityInKB, d.backing.uuid, d.unitNumber, d.deviceInfo.label) for d in disks
        ],
        "cards": [(type(c).__name__, c.macAddress, c.addressType, c.backing.deviceName) for c in cards],
        "networks": sorted(n.name for n in vm.network),
        "datastores": sorted(d.name for d in vm.datastore),
    }


def cards(vm: Any) -> list[Any]:
    return [d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard)]


def test_the_two_sites_are_different_vcenters_of_the_wanted_version(berlin: Site, leipzig: Site):
    abouts = [site.service.content.about for site in (berlin, leipzig)]
    assert abouts[0].instanceUuid != abouts[1].instanceUuid
    assert ["8.0.3.0", "8.0.3.0"] == [about.apiVersion for about in abouts]
    assert ["berlin" in abouts[0].name, "leipzig" in abouts[1].name] == [True, True]


def test_an_unregistered_vm_comes_back_as_it_was(berlin: Site):
    vm = berlin.create("rich", **RICH)
    berlin.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(numCPUs=6, annotation="changed")))
    before = describe(vm)
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    assert before == describe(berlin.register(path))


def test_vms_of_a_copied_export_keep_their_identity_at_the_other_site(pair: Pair, berlin: Site, leipzig: Site):
    made = {name: berlin.create(name, annotation=name).config.instanceUuid for name in ("one", "two", "three")}
    pair.replicate(ONE)
    leipzig.mount(ONE)
    registered = [leipzig.register(f"[{ONE.name}] {name}/{name}.vmx") for name in made]
    assert made == {vm.name: vm.config.instanceUuid for vm in registered}
    assert list(made) == [vm.config.annotation for vm in registered]


def test_a_card_without_its_network_stays_and_can_be_mapped(pair: Pair, berlin: Site, leipzig: Site):
    mac = cards(berlin.create("mapped"))[0].macAddress
    pair.replicate(ONE)
    leipzig.mount(ONE)
    vm = leipzig.register(f"[{ONE.name}] mapped/mapped.vmx")
    assert ("VM Network", False, [], mac) == (
        cards(vm)[0].backing.deviceName,
        cards(vm)[0].connectable.connected,
        vm.network,
        cards(vm)[0].macAddress,
    )
    leipzig.task(vm.PowerOnVM_Task())
    assert not cards(vm)[0].connectable.connected
    leipzig.task(
        vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[nic_change("edit", "DR Network", key=cards(vm)[0].key)]))
    )
    assert ("DR Network", True, ["DR Network"], mac) == (
        cards(vm)[0].backing.deviceName,
        cards(vm)[0].connectable.connected,
        [n.name for n in vm.network],
        cards(vm)[0].macAddress,
    )
    assert vm in leipzig.find("network/DR Network").vm


def test_a_refused_change_of_cards_changes_nothing(berlin: Site):
    vm = berlin.create("whole")
    before = describe_cards(vm)
    changes = [nic_change("add", "Backup", key=-1), nic_change("edit", "no such network", key=cards(vm)[0].key)]
    with pytest.raises(vim.fault.InvalidDeviceSpec):
        berlin.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="half", deviceChange=changes)))
    assert before == describe_cards(vm)
    assert not vm.config.annotation


def describe_cards(vm: Any) -> Any:
    return [(c.key, c.backing.deviceName) for c in cards(vm)], [n.name for n in vm.network]


def test_a_change_is_in_the_file_when_the_task_has_ended(berlin: Site):
    vm = berlin.create("filed")
    option = vim.option.OptionValue(key="resurgo.op", value='a "b" |c|')
    berlin.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(name="renamed", memoryMB=512, extraConfig=[option])))
    text = (berlin.directory(ONE) / "filed" / "filed.vmx").read_text()
    found = dict(re.findall(r'^(\S+) = "(.*)"$', text, re.MULTILINE))
    assert ("renamed", "512", "a |22b|22 |7Cc|7C") == (found["displayName"], found["memSize"], found["resurgo.op"])
    vm.UnregisterVM()
    again = berlin.register(f"[{ONE.name}] filed/filed.vmx")
    assert 'a "b" |c|' == {o.key: o.value for o in again.config.extraConfig}["resurgo.op"]


def test_rename_changes_name_and_file_and_refuses_a_name_that_is_taken(berlin: Site):
    vm, _ = berlin.create("first"), berlin.create("second")
    with pytest.raises(vim.fault.DuplicateName):
        berlin.task(vm.Rename_Task("second"))
    berlin.task(vm.Rename_Task("third"))
    assert ("third", "third") == (vm.name, vm.config.name)
    assert 'displayName = "third"' in (berlin.directory(ONE) / "first" / "first.vmx").read_text()


def test_registering_what_is_not_there_or_there_already_is_refused(berlin: Site):
    vm = berlin.create("known")
    path = vm.config.files.vmPathName
    with pytest.raises(vim.fault.AlreadyExists) as taken:
        berlin.register(path)
    assert vm._moId == taken.value.name
    with pytest.raises(vim.fault.NotFound):
        berlin.register(f"[{ONE.name}] nowhere/nowhere.vmx")
    with pytest.raises(vim.fault.InvalidDatastore):
        berlin.register("[no such datastore] a/a.vmx")
    with pytest.raises(vim.fault.InvalidDatastorePath):
        berlin.register("a/a.vmx")


def test_a_vm_whose_disk_is_missing_registers_but_does_not_start(berlin: Site):
    vm = berlin.create("holed")
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    (berlin.directory(ONE) / "holed" / "holed_0.vmdk").unlink()
    vm = berlin.register(path)
    with pytest.raises(vim.fault.FileNotFound):
        berlin.task(vm.PowerOnVM_Task())
    assert "poweredOff" == vm.runtime.powerState


def test_a_disk_on_another_volume_is_found_again_or_repaired(pair: Pair, berlin: Site, leipzig: Site):
    berlin.create("wide", disks=((ONE.name, 4), (TWO.name, 8)))
    for device in (ONE, TWO):
        pair.replicate(device)
        leipzig.mount(device)
    vm = leipzig.register(f"[{ONE.name}] wide/wide.vmx")
    disk = [d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)][1]
    assert disk.backing.fileName.startswith("/vmfs/volumes/")
    with pytest.raises(vim.fault.FileNotFound):
        leipzig.task(vm.PowerOnVM_Task())
    disk.backing.fileName = f"[{TWO.name}] wide/wide_1.vmdk"
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
    leipzig.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    leipzig.task(vm.PowerOnVM_Task())
    assert [ONE.name, TWO.name] == sorted(d.name for d in vm.datastore)


def test_a_disk_can_be_added_grown_and_destroyed(berlin: Site):
    vm = berlin.create("growing")
    controller = next(d.key for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualSCSIController))
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName="", diskMode="persistent")
    disk = vim.vm.device.VirtualDisk(key=-1, controllerKey=controller, unitNumber=1, capacityInKB=2048, backing=backing)
    add = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
    berlin.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[add])))
    disk = [d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)][-1]
    disk.capacityInKB = 4096
    grow = vim.vm.device.VirtualDeviceSpec(operation="edit", device=disk)
    berlin.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[grow])))
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    vm = berlin.register(path)
    disk = [d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualDisk)][-1]
    assert 4096 == disk.capacityInKB
    drop = vim.vm.device.VirtualDeviceSpec(operation="remove", fileOperation="destroy", device=disk)
    berlin.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[drop])))
    assert ["growing_0-flat.vmdk", "growing_0.vmdk"] == sorted(
        f.name for f in (berlin.directory(ONE) / "growing").glob("*.vmdk")
    )


def test_unregister_keeps_the_files_and_destroy_takes_them(berlin: Site):
    kept, gone = berlin.create("kept"), berlin.create("gone")
    kept.UnregisterVM()
    berlin.task(gone.Destroy_Task())
    assert ["kept"] == sorted(p.name for p in berlin.directory(ONE).iterdir())
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = kept.name


def test_a_running_vm_is_neither_unregistered_nor_resized(berlin: Site):
    vm = berlin.create("busy")
    berlin.task(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.UnregisterVM()
    with pytest.raises(vim.fault.InvalidPowerState):
        berlin.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(memoryMB=4096)))


def test_vms_move_between_folders_and_pools(berlin: Site):
    vm = berlin.create("mover")
    berlin.task(berlin.find("vm/erp").MoveIntoFolder_Task([vm]))
    assert [vm, None] == [berlin.find("vm/erp/mover"), berlin.find("vm/mover")]
    sub = berlin.find("vm/erp").CreateFolder("deeper")
    with pytest.raises(vim.fault.DuplicateName):
        berlin.find("vm/erp").CreateFolder("deeper")
    berlin.task(sub.MoveIntoFolder_Task([vm]))
    with pytest.raises(vim.fault.ResourceInUse):
        berlin.task(sub.Destroy_Task())
    berlin.task(berlin.find("vm").MoveIntoFolder_Task([vm]))
    berlin.task(sub.Destroy_Task())
    assert berlin.find("vm/erp/deeper") is None


def test_powering_many_on_reports_what_was_not_attempted(berlin: Site):
    vms = [berlin.create(f"many-{n}") for n in range(3)]
    ghost = vim.VirtualMachine("vm-99999", berlin.service._stub)
    datacenter = berlin.service.content.rootFolder.childEntity[0]
    result = berlin.task(datacenter.PowerOnMultiVM_Task([*vms, ghost]))
    berlin.task(*[attempt.task for attempt in result.attempted])
    assert ["poweredOn"] * 3 == [vm.runtime.powerState for vm in vms]
    assert [ghost._moId] == [refused.vm._moId for refused in result.notAttempted]


BAD: dict[str, Any] = {
    "no datastore": {"files": vim.vm.FileInfo(vmPathName="[none] a/a.vmx")},
    "no brackets": {"files": vim.vm.FileInfo(vmPathName="a/a.vmx")},
    "outside": {"files": vim.vm.FileInfo(vmPathName="[ds-one] ../../a.vmx")},
    "no network": {"networks": ("nowhere",)},
    "no guest": {"guestId": "toasterGuest"},
    "set key": {"extraConfig": [vim.option.OptionValue(key="SET.runtime.powerState", value="x")]},
    "container": {"extraConfig": [vim.option.OptionValue(key="RUN.container", value="x")]},
    "no id": {"uuid": "not-a-uuid"},
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_bad_input_is_a_fault_and_leaves_nothing_behind(berlin: Site, bad: dict[str, Any]):
    for _ in range(2):
        with pytest.raises(vmodl.MethodFault):
            berlin.create("bad", **bad)
    if "files" not in bad:
        assert ([], []) == (berlin.vms(), list(berlin.directory(ONE).iterdir()))
    good = berlin.create("good")
    with pytest.raises(vmodl.MethodFault):
        berlin.task(good.ReconfigVM_Task(vim_spec("bad", **bad)))
    assert "good" == good.name
    assert berlin.sim.admin.healthy()


def test_unknown_places_are_faults(berlin: Site):
    stub, folder, spec = berlin.service._stub, berlin.find("vm"), vim_spec("lost")
    vm = berlin.create("found")
    host = vim.HostSystem("host-99999", stub)
    for call in (
        lambda: folder.CreateVM_Task(spec, vim.ResourcePool("resgroup-99999", stub), None),
        lambda: folder.CreateVM_Task(spec, berlin.pool, host),
        lambda: folder.RegisterVM_Task("[ds-one] x/x.vmx", None, False, None, None),
        lambda: folder.MoveIntoFolder_Task([vim.VirtualMachine("vm-99999", stub)]),
        lambda: vm.RelocateVM_Task(vim.vm.RelocateSpec(host=host)),
    ):
        with pytest.raises(vmodl.MethodFault):
            berlin.task(call())
    assert "found" == vm.name


def test_vms_made_while_paths_are_read_disturb_nobody(berlin: Site):
    wanted = [f"crowd-{n:02}" for n in range(30)]

    def read() -> int:
        with berlin.sim.connect() as service:
            return sum(
                service.content.searchIndex.FindByInventoryPath(f"berlin/vm/{name}") is not None
                for _ in range(5)
                for name in wanted
            )

    with ThreadPoolExecutor(4) as readers:
        reading = [readers.submit(read) for _ in range(4)]
        tasks = [berlin.find("vm").CreateVM_Task(vim_spec(name), berlin.pool, None) for name in wanted]
        berlin.task(*tasks)
        assert all(r.result() >= 0 for r in reading)
    assert wanted == sorted(vm.name for vm in berlin.vms())


def test_a_killed_site_comes_back_with_references_names_and_power(berlin: Site):
    on, off = berlin.create("stays-on", **RICH), berlin.create("stays-off")
    berlin.task(on.PowerOnVM_Task())
    told = [(vm._moId, describe_ids(vm), vm.runtime.powerState) for vm in (on, off)]
    berlin.sim.restart()
    with berlin.session():
        again = [vim.VirtualMachine(moref, berlin.service._stub) for moref, _, _ in told]
        assert told == [(vm._moId, describe_ids(vm), vm.runtime.powerState) for vm in again]


def describe_ids(vm: Any) -> Any:
    return vm.name, vm.config.instanceUuid, vm.config.files.vmPathName, sorted(d.name for d in vm.datastore)


def test_a_missing_directory_is_no_reason_to_hang(berlin: Site):
    vm = berlin.create("vanished")
    shutil.rmtree(berlin.directory(ONE) / "vanished")
    with pytest.raises(vim.fault.FileNotFound):
        berlin.task(vm.PowerOnVM_Task())
    vm.UnregisterVM()
    assert [] == berlin.vms()
