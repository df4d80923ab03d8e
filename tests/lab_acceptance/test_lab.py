"""A whole lab without the operator: its parts fit, survive crashes, and two labs do not disturb each other."""

from __future__ import annotations

import pytest
from pyVmomi import vim
from tests.conftest import MakeLab
from tests.lab.design import DeviceDesign, LabDesign, VmDesign
from tests.lab.lab import Lab
from tests.lab.sites import LabSim
from tests.lab.standing import environment

pytestmark = pytest.mark.lab

SMALL = LabDesign(
    devices=(DeviceDesign("ds-one", "cg-one"),),
    folders=(),
    vms=(VmDesign("only", "ds-one"),),
    groups={"one": ("ds-one",)},
    plans=(),
)


@pytest.fixture
def small(make_lab: MakeLab) -> Lab:
    return make_lab(SMALL, operator=False)


def test_the_lab_of_make_lab_has_its_vms_running_at_the_protected_site_only(make_lab: MakeLab):
    lab = make_lab(operator=False)
    wanted = {vm.name for vm in lab.design.vms}
    assert wanted == set(lab.protected.admin.vms())
    assert {"poweredOn"} == {vm["powerState"] for vm in lab.protected.admin.vms().values()}
    assert {} == lab.recovery.admin.vms()


def test_every_object_of_the_design_is_accepted_by_the_api_server(make_lab: MakeLab):
    lab = make_lab(operator=False)
    plans = lab.kube.get("recoveryplans", "-n", lab.namespace)["items"]
    assert {plan.name for plan in lab.design.plans} == {plan["metadata"]["name"] for plan in plans}
    assert {"berlin", "leipzig"} == {site["metadata"]["name"] for site in lab.kube.get("sites")["items"]}


def test_the_arrays_export_the_devices_writable_at_the_source_and_not_at_the_target(small: Lab):
    source, target = small.design.sites
    assert "rw" == small.exports(source)["/cg-one/ds-one"]["access"]
    assert "none" == small.exports(target)["/cg-one/ds-one"]["access"]


def test_the_files_of_a_vm_lie_in_the_array_that_exports_its_datastore(small: Lab):
    live = small.array(small.design.sites[0]) / small.exports(small.design.sites[0])["/cg-one/ds-one"]["dir"]
    assert (live / "only" / "only.vmx").is_file()


def test_people_log_in_with_pyvmomi_over_verified_tls(small: Lab):
    with small.recovery.connect() as service:
        datacenters = [entity.name for entity in service.content.rootFolder.childEntity]
    assert ["leipzig"] == datacenters


def test_a_wrong_password_is_refused(small: Lab):
    small.protected.passwords["lab@vsphere.local"] = "wrong"
    with pytest.raises(vim.fault.InvalidLogin), small.protected.connect():
        pass


def test_a_site_that_is_killed_comes_back_at_its_address_with_its_vms(small: Lab):
    before = small.protected.admin.vms()
    small.protected.restart()
    assert before.keys() == small.protected.admin.vms().keys()


def test_two_labs_run_side_by_side(small: Lab, make_lab: MakeLab):
    other = make_lab(SMALL, operator=False)
    other.protected.kill()
    assert small.protected.admin.healthy()
    assert not other.protected.admin.healthy()


def test_nothing_runs_after_stop(small: Lab):
    ran = small.processes
    small.stop()
    assert [] == [process.name for process in ran if process.running]


def test_the_environment_for_people_names_both_sites_and_both_arrays(small: Lab):
    sims: tuple[LabSim, LabSim] = (small.protected, small.recovery)
    small.operator._process = sims[0].process  # any process: only its pid is told
    told = environment(small)
    assert [f"{sim.url}/sdk" for sim in sims] == [told["LAB_BERLIN_URL"], told["LAB_LEIPZIG_URL"]]
    assert [sim.admin.url for sim in sims] == [told["LAB_BERLIN_ADMIN"], told["LAB_LEIPZIG_ADMIN"]]
    assert str(small.kube.kubeconfig("admin")) == told["KUBECONFIG"]
