"""NFS of the simulated vCenter: mounts host by host, exports that come and go, and who may write."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pyVmomi import vim, vmodl
from tests.lab.design import DeviceDesign
from tests.lab.waiting import wait_until
from tests.lab_acceptance.pair import ONE, TWO, Pair, Site
from tests.lab_acceptance.watching import Watch

pytestmark = pytest.mark.lab


def lists(site: Site) -> dict[str, Any]:
    """Every list of the inventory that knows datastores."""
    datacenter = site.service.content.rootFolder.childEntity[0]
    return {
        "hosts": [sorted(d._moId for d in host.datastore) for host in site.hosts],
        "systems": [sorted(d._moId for d in host.configManager.datastoreSystem.datastore) for host in site.hosts],
        "cluster": sorted(d._moId for d in site.hosts[0].parent.datastore),
        "datacenter": sorted(d._moId for d in datacenter.datastore),
        "folder": sorted(d._moId for d in site.find("datastore").childEntity),
    }


def test_a_mount_on_every_host_is_one_datastore_that_tells_its_export(leipzig: Site):
    leipzig.grant(ONE, "rw")
    answers = leipzig.mount(ONE)
    datastore = answers[0]
    assert [datastore] * len(leipzig.hosts) == answers
    nas = datastore.info.nas
    assert (ONE.name, "nfs-lpz.lab", ONE.path) == (datastore.name, nas.remoteHost, nas.remotePath)
    assert ("NFS", True, ONE.name) == (
        datastore.summary.type,
        datastore.summary.accessible,
        datastore.summary.name,
    )
    assert sorted(h._moId for h in leipzig.hosts) == sorted(mount.key._moId for mount in datastore.host)
    assert [(True, True, "readWrite")] * 2 == [
        (m.mountInfo.mounted, m.mountInfo.accessible, m.mountInfo.accessMode) for m in datastore.host
    ]


def test_mounts_that_contradict_each_other_are_refused(leipzig: Site):
    for device in (ONE, TWO):
        leipzig.grant(device, "rw")
    leipzig.mount(ONE)
    with pytest.raises(vim.fault.AlreadyExists):
        leipzig.mount(ONE)
    with pytest.raises(vim.fault.DuplicateName):
        leipzig.mount(TWO, name=ONE.name)
    with pytest.raises(vim.fault.AlreadyExists):
        leipzig.mount(ONE, name="another name")


def test_an_export_that_is_not_offered_cannot_be_mounted(leipzig: Site):
    with pytest.raises(vim.fault.PlatformConfigFault) as denied:
        leipzig.mount(ONE)
    assert "denies access" in denied.value.msg
    with pytest.raises(vim.fault.PlatformConfigFault):
        leipzig.mount(DeviceDesign("nothing", "cg"))
    with pytest.raises(vim.fault.PlatformConfigFault):
        leipzig.mount(ONE, server="nowhere.lab")
    assert [] == leipzig.find("datastore").childEntity


def test_fifty_mounts_and_unmounts_leave_the_lists_as_they_were(leipzig: Site):
    for device in (ONE, TWO):
        leipzig.grant(device, "rw")
    leipzig.mount(TWO)
    before = lists(leipzig)
    for _ in range(50):
        leipzig.unmount(leipzig.mount(ONE)[0])
    assert before == lists(leipzig)


def test_a_datastore_is_gone_with_its_last_host(leipzig: Site):
    leipzig.grant(ONE, "rw")
    datastore = leipzig.mount(ONE)[0]
    first, second = leipzig.hosts
    first.configManager.datastoreSystem.RemoveDatastore(datastore)
    assert [second] == [mount.key for mount in datastore.host]
    with pytest.raises(vim.fault.NotFound):
        first.configManager.datastoreSystem.RemoveDatastore(datastore)
    second.configManager.datastoreSystem.RemoveDatastore(datastore)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = datastore.name


def test_a_host_with_registered_vms_keeps_its_mount(pair: Pair, berlin: Site, leipzig: Site):
    berlin.create("resident")
    pair.replicate(ONE)
    datastore = leipzig.mount(ONE)[0]
    vm = leipzig.register(f"[{ONE.name}] resident/resident.vmx")
    assert [vm] == list(datastore.vm)
    first, second = leipzig.hosts
    with pytest.raises(vim.fault.ResourceInUse):
        first.configManager.datastoreSystem.RemoveDatastore(datastore)
    second.configManager.datastoreSystem.RemoveDatastore(datastore)
    with pytest.raises(vim.fault.ResourceInUse):
        leipzig.task(datastore.Destroy_Task())
    vm.UnregisterVM()
    assert [] == list(datastore.vm)
    first.configManager.datastoreSystem.RemoveDatastore(datastore)


def test_a_withdrawn_export_shows_on_the_watch_within_a_second_and_comes_back(berlin: Site):
    vm = berlin.create("cut")
    datastore = vm.datastore[0]
    watch = Watch(berlin.service)
    watch.objects(vim.Datastore, ("summary.accessible", "host"), datastore)
    watch.objects(vim.VirtualMachine, ("runtime.connectionState",), vm)

    def shows(accessible: bool, state: str) -> Any:
        return lambda now: (
            now.get(datastore, {}).get("summary.accessible") is accessible
            and now[datastore]["host"][0].mountInfo.accessible is accessible
            and now.get(vm, {}).get("runtime.connectionState") == state
        )

    watch.until(shows(True, "connected"), "first read")
    start = time.monotonic()
    berlin.grant(ONE, "none")
    watch.until(shows(False, "inaccessible"), "withdrawn")
    assert time.monotonic() - start < 1
    with pytest.raises((vim.fault.InvalidDatastore, vim.fault.CannotAccessFile)):
        berlin.task(vm.PowerOnVM_Task())
    berlin.grant(ONE, "rw")
    watch.until(shows(True, "connected"), "restored")
    berlin.task(vm.PowerOnVM_Task())


def test_a_vm_can_be_unregistered_while_its_export_is_withdrawn(berlin: Site):
    vm = berlin.create("orphan")
    berlin.grant(ONE, "none")
    berlin.until(vm, {"runtime.connectionState": "inaccessible"})
    vm.UnregisterVM()
    assert [] == berlin.vms()


def test_a_read_only_export_serves_reading_only(berlin: Site):
    vm = berlin.create("frozen")
    berlin.grant(ONE, "ro")
    with pytest.raises(vim.fault.CannotAccessFile):
        berlin.task(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.CannotAccessFile):
        berlin.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="no")))
    with pytest.raises(vim.fault.CannotAccessFile):
        berlin.create("new")
    path = vm.config.files.vmPathName
    vm.UnregisterVM()
    assert "frozen" == berlin.register(path).name


def test_the_array_decides_which_directory_stands_behind_an_export(berlin: Site):
    berlin.create("old")
    other = berlin.array / "cg" / "tests" / "copy"
    other.parent.mkdir(parents=True, exist_ok=True)
    berlin.directory(ONE).rename(other)
    berlin.directory(ONE).mkdir()
    berlin.exports["/cg/tests/copy"] = {"dir": "cg/tests/copy", "access": "rw"}
    berlin.grant(ONE, "rw")
    copy = DeviceDesign("copy", "cg/tests")
    datastore = berlin.mount(copy)[0]
    original = next(vm for vm in berlin.vms() if vm.name == "old")
    with pytest.raises(vim.fault.FileNotFound):
        berlin.task(original.PowerOnVM_Task())
    vm = berlin.register("[copy] old/old.vmx", "old copy")
    berlin.task(vm.PowerOnVM_Task())
    berlin.task(vm.PowerOffVM_Task())
    vm.UnregisterVM()
    berlin.unmount(datastore)


def test_one_vm_runs_at_one_site_only(pair: Pair, berlin: Site, leipzig: Site):
    vm = berlin.create("single")
    berlin.task(vm.PowerOnVM_Task())
    leipzig.grant(ONE, "rw")
    leipzig.directory(ONE).rmdir()
    leipzig.directory(ONE).symlink_to(berlin.directory(ONE))
    try:
        leipzig.mount(ONE)
        other = leipzig.register(f"[{ONE.name}] single/single.vmx")
        with pytest.raises(vim.fault.FileLocked) as locked:
            leipzig.task(other.PowerOnVM_Task())
        assert "berlin" in locked.value.msg
        berlin.task(vm.PowerOffVM_Task())
        leipzig.task(other.PowerOnVM_Task())
        leipzig.task(other.PowerOffVM_Task())
        other.UnregisterVM()
    finally:
        leipzig.directory(ONE).unlink()
        leipzig.directory(ONE).mkdir()
    assert [] == pair.berlin.sim.admin.writers()["overlaps"]


def test_copied_locks_do_not_bind_but_two_writers_are_found_out(pair: Pair, berlin: Site, leipzig: Site):
    vm = berlin.create("doubled")
    berlin.task(vm.PowerOnVM_Task())
    pair.replicate(ONE)
    leipzig.mount(ONE)
    twin = leipzig.register(f"[{ONE.name}] doubled/doubled.vmx")
    leipzig.task(twin.PowerOnVM_Task())
    uuid = vm.config.instanceUuid

    def found() -> bool:
        overlaps = pair.berlin.sim.admin.writers()["overlaps"]
        return [uuid] == [overlap["a"]["instanceUuid"] for overlap in overlaps]

    wait_until(found, "the overlap is reported")
    (pair.lab / "writers.jsonl").unlink()


def test_the_state_for_tests_shows_mounts_and_vms(berlin: Site):
    vm = berlin.create("shown")
    assert {
        "server": "nfs-ber.lab",
        "path": ONE.path,
        "hosts": ["esx-ber-1", "esx-ber-2"],
        "accessible": True,
        "vms": 1,
    }.items() <= berlin.sim.admin.datastores()[ONE.name].items()
    assert {
        "moref": vm._moId,
        "path": "/berlin/vm/shown",
        "vmx": f"[{ONE.name}] shown/shown.vmx",
        "networks": ["VM Network"],
        "folder": "/berlin/vm",
        "pool": "/berlin/host/c1/Resources",
    }.items() <= berlin.sim.admin.vms()["shown"].items()


def test_mutations_of_storage_are_counted_by_export_and_host(leipzig: Site):
    leipzig.sim.admin.reset_counters()
    leipzig.grant(ONE, "rw")
    leipzig.unmount(leipzig.mount(ONE)[0])
    effects = leipzig.sim.admin.counters()["effects"]
    keys = [f"nfs-lpz.lab:{ONE.path}@{host}" for host in leipzig.design.hosts]
    assert {f"{method} {key}": 1 for method in ("CreateNasDatastore", "RemoveDatastore") for key in keys} == effects
