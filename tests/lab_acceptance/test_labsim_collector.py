"""The simulated vCenter's PropertyCollector through pyvmomi: complete, exact, as quick as what changed is small."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pyVmomi import vim, vmodl
from tests.lab.design import DeviceDesign, LabDesign, VmDesign
from tests.lab.sites import LabSim
from tests.lab.toolchain import Toolchain
from tests.lab_acceptance.lone import lone_site
from tests.lab_acceptance.watching import PC, VM_PATHS, Watch

pytestmark = pytest.mark.lab

VMS = 40
DESIGN = LabDesign(
    devices=(DeviceDesign("ds-one", "cg-one"),),
    folders=("erp",),
    vms=tuple(VmDesign(f"vm-{n:02}", "ds-one", "erp", power_on=False, disk_mb=1) for n in range(VMS)),
    groups={"one": ("ds-one",)},
    plans=(),
)


@pytest.fixture(scope="module")
def site(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSim]:
    with lone_site(toolchain, tmp_path_factory.mktemp("collector"), DESIGN) as sim:
        yield sim


@pytest.fixture
def service(site: LabSim) -> Iterator[Any]:
    with site.connect() as service:
        yield service


@pytest.fixture
def watch(service: Any) -> Iterator[Watch]:
    watch = Watch(service)
    watch.view(vim.VirtualMachine, VM_PATHS)
    watch.wait(5)
    with ExitStack() as stack:
        stack.callback(watch.close)
        yield watch


def test_the_first_answer_holds_every_vm_once_with_its_leaf_paths(watch: Watch):
    names = sorted(values["name"] for values in watch.now.values())
    assert [f"vm-{n:02}" for n in range(VMS)] == names
    first = watch.now[watch.named("vm-00")]
    assert ("poweredOff", "[ds-one] vm-00/vm-00.vmx") == (
        first["runtime.powerState"],
        first["config.files.vmPathName"],
    )
    assert "guest.ipAddress" not in first, "an unset property is absent"


def test_nothing_is_said_while_nothing_changes(watch: Watch):
    assert [] == watch.wait(0)
    assert [] == watch.wait(1)


def test_a_change_made_over_another_session_is_seen_with_only_its_paths(site: LabSim, watch: Watch):
    vm = watch.named("vm-01")
    with site.connect() as other:
        spec = vim.vm.ConfigSpec(annotation="changed")
        task = vim.VirtualMachine(vm._moId, other._stub).ReconfigVM_Task(spec)
        watch.until(lambda now: now[vm].get("config.annotation") == "changed", "annotation")
        assert "success" == Watch(other).tasks([task])[task]["info.state"]
    assert all(not values for kind, _, values in watch.wait(0) if kind == "enter")


def test_power_tools_heartbeat_and_address_come_and_go_with_the_guest(watch: Watch):
    vm = watch.named("vm-02")
    vm.PowerOnVM_Task()
    up = {
        "runtime.powerState": "poweredOn",
        "guest.toolsRunningStatus": "guestToolsRunning",
        "guestHeartbeatStatus": "green",
    }
    watch.until(lambda now: up.items() <= now[vm].items() and "guest.ipAddress" in now[vm], "the guest is up")
    vm.PowerOffVM_Task()
    watch.until(lambda now: now[vm]["runtime.powerState"] == "poweredOff", "off")
    watch.until(lambda now: "guest.ipAddress" not in now[vm], "the address is gone")
    assert "guestToolsNotRunning" == watch.now[vm]["guest.toolsRunningStatus"]


def test_a_vm_leaves_when_unregistered_and_enters_when_registered(site: LabSim, watch: Watch):
    vm = watch.named("vm-03")
    path, folder, pool = watch.now[vm]["config.files.vmPathName"], vm.parent, vm.resourcePool
    uuid = watch.now[vm]["config.instanceUuid"]
    vm.UnregisterVM()
    watch.until(lambda now: vm not in now, "leave")
    folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool)
    watch.until(lambda now: any(v.get("config.instanceUuid") == uuid for v in now.values()), "enter")
    again = watch.named("vm-03")
    assert vm._moId != again._moId
    assert path == watch.now[again]["config.files.vmPathName"]


def test_many_tasks_are_followed_through_one_filter_in_few_round_trips(site: LabSim, watch: Watch):
    vms = [watch.named(f"vm-{n:02}") for n in range(10, 40)]
    before = watch.trips
    ended = watch.tasks([vm.PowerOnVM_Task() for vm in vms])
    assert ["success"] * len(vms) == [task["info.state"] for task in ended.values()]
    watch.until(lambda now: all(now[vm]["runtime.powerState"] == "poweredOn" for vm in vms), "all on", 5)
    assert watch.trips - before < len(vms)
    watch.tasks([vm.PowerOffVM_Task() for vm in vms])


def test_a_filter_added_while_another_thread_waits_is_answered_by_that_wait(service: Any):
    watch = Watch(service)
    vm = service.content.searchIndex.FindByInventoryPath("/berlin/vm/erp/vm-04")
    seen: list[Any] = []
    waiter = threading.Thread(target=lambda: seen.extend(watch.wait(20)))
    waiter.start()
    watch.objects(vim.VirtualMachine, ("name",), vm)
    waiter.join(10)
    assert [("enter", vm, {"name": "vm-04"})] == seen
    watch.close()


def test_cancel_ends_a_wait_with_request_canceled(watch: Watch):
    raised: list[type] = []

    def wait() -> None:
        try:
            watch.wait(60)
        except vmodl.fault.RequestCanceled as fault:
            raised.append(type(fault))

    waiter = threading.Thread(target=wait)
    waiter.start()
    while waiter.is_alive():
        watch.collector.CancelWaitForUpdates()
        waiter.join(0.1)
    assert [vmodl.fault.RequestCanceled] == raised


def test_small_pages_are_truncated_and_complete(service: Any):
    watch = Watch(service)
    watch.view(vim.VirtualMachine, ("name",))
    names: list[str] = []
    truncated = True
    while truncated:
        options = PC.WaitOptions(maxWaitSeconds=5, maxObjectUpdates=7)
        update = watch.collector.WaitForUpdatesEx(watch.version, options)
        objects = [o for part in update.filterSet for o in part.objectSet]
        assert len(objects) <= 7
        names += [o.changeSet[0].val for o in objects]
        watch.version, truncated = update.version, bool(update.truncated)
    assert [f"vm-{n:02}" for n in range(VMS)] == sorted(names)
    watch.close()


def test_a_version_of_another_collector_is_refused_and_the_empty_one_starts_again(watch: Watch):
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        watch.collector.WaitForUpdatesEx("99.1", PC.WaitOptions(maxWaitSeconds=0))
    watch.now, watch.version = {}, ""
    watch.wait(5)
    assert VMS == len(watch.now)


def test_an_unknown_object_in_a_filter_is_refused(service: Any):
    gone = vim.Task("task-gone", service._stub)
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        Watch(service).objects(vim.Task, ("info.state",), gone)


def test_an_expired_session_ends_its_wait_and_its_collector(site: LabSim):
    with site.connect() as service:
        watch = Watch(service)
        watch.view(vim.VirtualMachine, ("name",))
        watch.wait(5)
        raised: list[type] = []

        def wait() -> None:
            try:
                watch.wait(60)
            except vim.fault.NotAuthenticated as fault:
                raised.append(type(fault))

        waiter = threading.Thread(target=wait)
        waiter.start()
        site.admin.expire_sessions()
        waiter.join(10)
        assert [vim.fault.NotAuthenticated] == raised
        with pytest.raises(vim.fault.NotAuthenticated):
            watch.wait(0)


def test_datastores_say_when_they_become_accessible_and_which_hosts_mount_them(service: Any):
    watch = Watch(service)
    watch.view(vim.Datastore, ("name", "summary.accessible", "host"))
    watch.wait(5)
    values = watch.now[watch.named("ds-one")]
    assert (True, 2) == (values["summary.accessible"], len(values["host"]))
    watch.close()
