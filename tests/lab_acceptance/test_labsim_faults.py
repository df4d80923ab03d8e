"""Trouble on demand of the simulated vCenter: faults, delays, outages, lost replies, and the counters judging them."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pyVmomi import SoapStubAdapter, vim, vmodl
from tests.lab.design import DeviceDesign, LabDesign, VmDesign
from tests.lab.sites import PERSON_USER, LabSim
from tests.lab.toolchain import Toolchain
from tests.lab.waiting import wait_until
from tests.lab_acceptance.lone import lone_site
from tests.lab_acceptance.watching import Watch

pytestmark = pytest.mark.lab

VMS = 20
DESIGN = LabDesign(
    devices=(DeviceDesign("ds-one", "cg-one"),),
    folders=(),
    vms=tuple(VmDesign(f"vm-{n:02}", "ds-one", power_on=False, disk_mb=1) for n in range(VMS)),
    groups={"one": ("ds-one",)},
    plans=(),
)


@pytest.fixture(scope="module")
def running(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSim]:
    with lone_site(toolchain, tmp_path_factory.mktemp("faults"), DESIGN) as sim:
        yield sim


@pytest.fixture
def site(running: LabSim) -> Iterator[LabSim]:
    """The site without trouble, counting from zero; what is still on is off again afterwards."""
    running.admin.reset_counters()
    yield running
    running.admin.outage("none")
    running.admin.clear_rules()
    with running.connect() as service:
        on = [vm for vm in _all(service) if vm.runtime.powerState == "poweredOn"]
        Watch(service).tasks([vm.PowerOffVM_Task() for vm in on])


@pytest.fixture
def service(site: LabSim) -> Iterator[Any]:
    with site.connect() as service:
        yield service


def _all(service: Any) -> list[Any]:
    content = service.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    return sorted(view.view, key=lambda vm: str(vm.name))


def _rule(effect: dict[str, Any], **match: Any) -> dict[str, Any]:
    return {"match": match, "effect": effect}


def test_one_named_vm_fails_to_start_with_a_decodable_cause_and_the_others_start(site: LabSim, service: Any):
    fields = {
        "unreserved": 1,
        "requested": 2,
        "faultCause": {"fault": {"_typeName": "InsufficientMemoryResourcesFault", "unreserved": 1, "requested": 2}},
    }
    fault = {"type": "InsufficientMemoryResourcesFault", "message": "no memory left", "fields": fields}
    site.admin.rules(_rule({"fault": fault, "when": "task"}, method="PowerOnVM_Task", name="vm-03"))
    vms = _all(service)[:5]
    tasks = {vm.PowerOnVM_Task(): vm.name for vm in vms}
    ended = Watch(service).tasks(list(tasks))
    failed = {name: ended[task]["info.error"] for task, name in tasks.items() if ended[task]["info.state"] == "error"}
    assert ["vm-03"] == list(failed)
    assert isinstance(failed["vm-03"], vim.fault.InsufficientMemoryResourcesFault)
    assert ("no memory left", 2) == (failed["vm-03"].msg, failed["vm-03"].requested)
    assert isinstance(failed["vm-03"].faultCause, vim.fault.InsufficientMemoryResourcesFault)


@pytest.mark.parametrize(
    ("name", "raised"),
    [
        ("InvalidPowerState", vim.fault.InvalidPowerState),
        ("TaskInProgress", vim.fault.TaskInProgress),
        ("FileLocked", vim.fault.FileLocked),
        ("HostCommunication", vmodl.fault.HostCommunication),
        ("ResourceInUse", vim.fault.ResourceInUse),
        ("NoPermission", vim.fault.NoPermission),
        ("Timedout", vim.fault.Timedout),
        ("ConcurrentAccess", vim.fault.ConcurrentAccess),
        ("NoCompatibleHost", vim.fault.NoCompatibleHost),
    ],
)
def test_synchronous_faults_arrive_as_themselves_with_their_message(
    site: LabSim, service: Any, name: str, raised: type[Exception]
):
    site.admin.rules({**_rule({"fault": {"type": name, "message": "as asked"}}, method="PowerOnVM_Task"), "max": 1})
    vm = _all(service)[0]
    with pytest.raises(raised) as caught:
        vm.PowerOnVM_Task()
    assert "as asked" == caught.value.msg
    vm.PowerOnVM_Task()


def test_only_the_nth_matching_call_of_one_user_fails(site: LabSim, service: Any):
    fault = {"fault": {"type": "Timedout", "message": "slow"}}
    site.admin.rules(
        _rule(fault, method="CurrentTime", user=PERSON_USER, nth=2), _rule(fault, method="CurrentTime", user="other")
    )
    answers = []
    for _ in range(3):
        try:
            service.CurrentTime()
            answers.append("ok")
        except vim.fault.Timedout:
            answers.append("timed out")
    assert ["ok", "timed out", "ok"] == answers


def test_delayed_tasks_run_side_by_side_while_their_vms_can_be_read(site: LabSim, service: Any):
    site.admin.rules(_rule({"when": "task", "delayMs": 2000}, method="PowerOnVM_Task"))
    vms = _all(service)
    start = time.monotonic()
    tasks = [vm.PowerOnVM_Task() for vm in vms]
    before = time.monotonic()
    assert ["poweredOff"] * VMS == [vm.runtime.powerState for vm in vms]
    assert (time.monotonic() - before) / VMS < 0.05
    ended = Watch(service).tasks(tasks)
    took = time.monotonic() - start
    assert {"success"} == {task["info.state"] for task in ended.values()}
    assert 2 <= took < 3
    assert VMS == site.admin.counters()["peakTasks"]["PowerOnVM_Task"]


def test_a_delayed_task_shows_progress_and_can_be_cancelled(site: LabSim, service: Any):
    site.admin.rules(_rule({"when": "task", "delayMs": 30000}, method="PowerOnVM_Task"))
    vm = _all(service)[0]
    task = vm.PowerOnVM_Task()
    watch = Watch(service)
    watch.objects(vim.Task, ("info.state", "info.progress"), task)
    watch.until(lambda now: (now.get(task, {}).get("info.progress") or 0) > 0, "progress")
    task.CancelTask()
    watch.until(lambda now: now[task]["info.state"] == "error", "cancelled", 5)
    assert "poweredOff" == vm.runtime.powerState
    assert "PowerOnVM_Task vm-00" not in site.admin.counters()["effects"]


@pytest.mark.parametrize("match", [{"method": "ReconfigVM_Task"}, {"name": "vm-00"}])
def test_a_delayed_call_takes_as_long_as_asked(site: LabSim, service: Any, match: dict[str, str]):
    vm = _all(service)[0]
    site.admin.rules(_rule({"delayMs": 500}, **match))
    start = time.monotonic()
    vm.ReconfigVM_Task(vim.vm.ConfigSpec(annotation="x"))
    assert 0.5 <= time.monotonic() - start < 0.6


def _refused(call: Callable[[], Any]) -> type[BaseException]:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - which one it is, is what the caller asks
        return type(error)
    pytest.fail("the call succeeded")


@pytest.fixture
def impatient(site: LabSim, service: Any) -> Callable[[], Any]:
    """One call on a new connection that waits at most one second."""
    stub = service._stub
    host, port = stub.host.rsplit(":", 1)

    def call() -> Any:
        own = SoapStubAdapter(
            host, int(port), path="/sdk", version=stub.version, sslContext=stub.schemeArgs["context"],
            httpConnectionTimeout=1,
        )  # fmt: skip
        own.cookie = stub.cookie
        try:
            return vim.ServiceInstance("ServiceInstance", own).CurrentTime()
        finally:
            own.DropConnections()

    return call


@pytest.mark.parametrize(
    ("mode", "errors"),
    [
        ("refuse", (ConnectionRefusedError,)),
        ("drop", (http.client.RemoteDisconnected, ConnectionResetError)),
        ("hang", (TimeoutError,)),
        ("503", (http.client.HTTPException,)),
    ],
)
def test_an_outage_looks_like_one_and_leaves_everything_as_it_was(
    site: LabSim, impatient: Callable[[], Any], mode: str, errors: tuple[type[Exception], ...]
):
    before = sorted(site.admin.vms())
    site.admin.outage(mode)
    assert issubclass(_refused(impatient), errors)
    site.admin.outage("none")
    assert impatient()
    assert before == sorted(site.admin.vms())


def test_a_503_for_one_call_is_over_after_it(site: LabSim, impatient: Callable[[], Any]):
    site.admin.outage("503", match="CurrentTime", count=1)
    assert issubclass(_refused(impatient), http.client.HTTPException)
    assert impatient()


@pytest.mark.parametrize("how", ["outage", "rule"])
def test_a_lost_reply_leaves_the_effect_and_exactly_one_execution(site: LabSim, service: Any, how: str):
    vm = _all(service)[0]
    if how == "outage":
        site.admin.outage("lostReply", match="PowerOnVM*", count=1)
    else:
        site.admin.rules(_rule({"drop": "after"}, method="PowerOnVM_Task"))
    assert issubclass(_refused(vm.PowerOnVM_Task), (http.client.RemoteDisconnected, ConnectionResetError))
    key = "PowerOnVM_Task vm-00"
    wait_until(lambda: site.admin.counters()["effects"].get(key), "the effect is counted", seconds=5)
    counters = site.admin.counters()
    assert (1, 1) == (counters["mutations"][key], counters["effects"][key])
    assert "poweredOn" == vm.runtime.powerState


def test_a_lost_reply_of_register_leaves_the_vm_registered_once(site: LabSim, service: Any):
    vm = _all(service)[1]
    path, folder, pool = vm.config.files.vmPathName, vm.parent, vm.resourcePool
    vm.UnregisterVM()
    site.admin.outage("lostReply", match="RegisterVM*", count=1)
    error = _refused(lambda: folder.RegisterVM_Task(path=path, asTemplate=False, pool=pool))
    assert issubclass(error, (http.client.RemoteDisconnected, ConnectionResetError))
    wait_until(lambda: "vm-01" in site.admin.vms(), "registered", seconds=5)
    counters = site.admin.counters()
    key = f"RegisterVM_Task {path}"
    wait_until(lambda: site.admin.counters()["effects"].get(key) == 1, "effect", seconds=5)
    assert 1 == counters["mutations"][key]


def test_a_call_that_is_dropped_before_it_runs_is_no_mutation(site: LabSim, service: Any):
    vm = _all(service)[0]
    site.admin.rules(_rule({"drop": "before"}, method="PowerOnVM_Task"))
    assert issubclass(_refused(vm.PowerOnVM_Task), (http.client.RemoteDisconnected, ConnectionResetError))
    assert {} == site.admin.counters()["mutations"]
    assert "poweredOff" == vm.runtime.powerState


def test_an_expired_session_is_not_authenticated(site: LabSim):
    with site.connect() as service:
        site.admin.expire_sessions()
        with pytest.raises(vim.fault.NotAuthenticated):
            service.CurrentTime()


def test_counters_agree_with_the_client_under_sixteen_threads(site: LabSim, service: Any):
    site.admin.rules(_rule({"delayMs": 100}, method="CurrentTime"))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: service.CurrentTime(), range(64)))
    counters = site.admin.counters()
    assert 64 == counters["calls"]["CurrentTime"]
    assert 16 == counters["peak"]["CurrentTime"]
    assert {} == counters["mutations"], "a read is no mutation"


def test_a_failed_call_is_a_mutation_without_an_effect(site: LabSim, service: Any):
    vm = _all(service)[2]
    Watch(service).tasks([vm.PowerOnVM_Task()])
    Watch(service).tasks([vm.PowerOnVM_Task()])
    counters = site.admin.counters()
    assert (2, 1) == (counters["mutations"]["PowerOnVM_Task vm-02"], counters["effects"]["PowerOnVM_Task vm-02"])
    assert 1 == counters["faults"]["PowerOnVM_Task"]


def test_rules_that_make_no_sense_are_refused_and_change_nothing(site: LabSim):
    with pytest.raises(RuntimeError, match="NoSuchFault"):
        site.admin.rules(_rule({"fault": {"type": "NoSuchFault"}}))
