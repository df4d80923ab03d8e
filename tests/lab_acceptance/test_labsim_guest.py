"""Guests of the simulated vCenter: what runs in a VM that is on, how it stops, and how it is customized."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pyVmomi import vim
from tests.lab_acceptance.pair import ONE, Pair, Site

pytestmark = pytest.mark.lab

UP = {
    "runtime.powerState": "poweredOn",
    "guest.toolsRunningStatus": "guestToolsRunning",
    "guestHeartbeatStatus": "green",
}


def adapter(ip: str, mask: str = "255.255.255.0", gateway: str = "") -> Any:
    settings = vim.vm.customization.IPSettings(
        ip=vim.vm.customization.FixedIp(ipAddress=ip), subnetMask=mask, gateway=[gateway] if gateway else []
    )
    return vim.vm.customization.AdapterMapping(adapter=settings)


def customization(*adapters: Any, host: str = "renamed") -> Any:
    identity = vim.vm.customization.LinuxPrep(hostName=vim.vm.customization.FixedName(name=host), domain="lab.example")
    return vim.vm.customization.Specification(
        identity=identity,
        globalIPSettings=vim.vm.customization.GlobalIPSettings(dnsServerList=["10.9.9.9"]),
        nicSettingMap=list(adapters),
    )


def test_tools_heartbeat_and_address_come_with_the_boot_and_go_with_the_power(berlin: Site):
    vm = berlin.create("booting")
    start = time.monotonic()
    berlin.task(vm.PowerOnVM_Task())
    assert "guestToolsNotRunning" == vm.guest.toolsRunningStatus
    berlin.until(vm, UP)
    assert time.monotonic() - start >= 0.3
    assert vm.guest.ipAddress
    assert [vm.guest.ipAddress] == list(vm.guest.net[0].ipAddress)
    berlin.task(vm.PowerOffVM_Task())
    berlin.until(
        vm,
        {
            "runtime.powerState": "poweredOff",
            "guest.toolsRunningStatus": "guestToolsNotRunning",
            "guestHeartbeatStatus": "gray",
        },
    )
    assert not vm.guest.ipAddress
    assert [] == [ip for nic in vm.guest.net for ip in nic.ipAddress or []]
    assert ("poweredOff", "poweredOff") == (vm.runtime.powerState, vm.summary.runtime.powerState)


def test_a_guest_without_tools_never_reports(berlin: Site):
    berlin.sim.admin.guest("silent", tools=False)
    vm = berlin.create("silent")
    berlin.task(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()
    assert ("guestToolsNotRunning", "gray") == (vm.guest.toolsRunningStatus, vm.guestHeartbeatStatus)


def up(site: Site, name: str, **behaviour: Any) -> Any:
    """Create a VM whose guest behaves like this, and return it once it is up."""
    if behaviour:
        site.sim.admin.guest(name, **behaviour)
    vm = site.create(name)
    site.task(vm.PowerOnVM_Task())
    site.until(vm, UP)
    return vm


def test_a_normal_guest_shuts_down(berlin: Site):
    vm = up(berlin, "normal")
    vm.ShutdownGuest()
    assert "poweredOn" == vm.runtime.powerState
    berlin.until(vm, {"runtime.powerState": "poweredOff"})


def test_a_slow_guest_takes_its_time(berlin: Site):
    vm = up(berlin, "slow", shutdown="slow", shutdownSeconds=0.15)
    start = time.monotonic()
    vm.ShutdownGuest()
    berlin.until(vm, {"runtime.powerState": "poweredOff"})
    assert time.monotonic() - start >= 1.5


@pytest.mark.parametrize("shutdown", ["refuse", "hang"])
def test_a_stubborn_guest_stays_on_until_its_power_is_cut(berlin: Site, shutdown: str):
    vm = up(berlin, f"stubborn-{shutdown}", shutdown=shutdown)
    vm.ShutdownGuest()
    tools = "guestToolsRunning" if shutdown == "refuse" else "guestToolsNotRunning"
    berlin.until(vm, {"guest.toolsRunningStatus": tools})
    assert "poweredOn" == vm.runtime.powerState
    berlin.task(vm.PowerOffVM_Task())
    assert "poweredOff" == vm.runtime.powerState


def test_a_guest_whose_tools_are_unavailable_says_so(berlin: Site):
    vm = up(berlin, "deaf", shutdown="toolsUnavailable")
    with pytest.raises(vim.fault.ToolsUnavailable):
        vm.ShutdownGuest()


def test_power_states_that_are_reached_already_are_faults(berlin: Site):
    vm = berlin.create("twice")
    with pytest.raises(vim.fault.InvalidPowerState):
        berlin.task(vm.PowerOffVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.ShutdownGuest()
    berlin.task(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        berlin.task(vm.PowerOnVM_Task())


def test_a_suspended_vm_resumes(berlin: Site):
    vm = up(berlin, "sleeper")
    berlin.task(vm.SuspendVM_Task())
    assert "suspended" == vm.runtime.powerState
    berlin.task(vm.PowerOnVM_Task())
    berlin.until(vm, UP)


def test_a_customization_sets_addresses_at_the_next_boot(berlin: Site):
    vm = berlin.create("custom", networks=("VM Network", "Backup"))
    spec = customization(adapter("10.1.2.3", "255.255.255.0", "10.1.2.1"), adapter("10.7.0.9", "255.255.0.0"))
    vm_checker = vm.CheckCustomizationSpec(spec)
    assert vm_checker is None
    berlin.task(vm.CustomizeVM_Task(spec))
    assert vm.config.tools.pendingCustomization
    berlin.task(vm.PowerOnVM_Task())
    berlin.until(vm, {**UP, "guest.ipAddress": "10.1.2.3", "config.tools.pendingCustomization": None})
    found = [(a.ipAddress, a.prefixLength) for nic in vm.guest.net for a in nic.ipConfig.ipAddress]
    assert [("10.1.2.3", 24), ("10.7.0.9", 16)] == found
    routes = [r.gateway.ipAddress for stack in vm.guest.ipStack for r in stack.ipRouteConfig.ipRoute or []]
    assert (["10.1.2.1"], "renamed") == (routes, vm.guest.hostName)


def test_an_address_stays_in_the_guest_when_the_vm_moves(pair: Pair, berlin: Site, leipzig: Site):
    vm = berlin.create("moved")
    berlin.task(vm.CustomizeVM_Task(customization(adapter("10.1.2.4"))))
    berlin.task(vm.PowerOnVM_Task())
    berlin.until(vm, {"guest.ipAddress": "10.1.2.4"})
    berlin.task(vm.PowerOffVM_Task())
    pair.replicate(ONE)
    leipzig.mount(ONE)
    vm = leipzig.register(f"[{ONE.name}] moved/moved.vmx")
    card = next(d for d in vm.config.hardware.device if isinstance(d, vim.vm.device.VirtualEthernetCard))
    card.backing = vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName="DR Network")
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
    leipzig.task(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    leipzig.task(vm.CustomizeVM_Task(customization(adapter("10.2.2.4"))))
    leipzig.task(vm.PowerOnVM_Task())
    leipzig.until(vm, {**UP, "guest.ipAddress": "10.2.2.4"})


def test_a_customization_that_fails_ends_and_one_that_never_happens_stays(berlin: Site):
    for name, behaviour in (("fails", "fail"), ("never", "never")):
        berlin.sim.admin.guest(name, customization=behaviour)
        vm = berlin.create(name)
        berlin.task(vm.CustomizeVM_Task(customization(adapter("10.1.2.5"))))
        berlin.task(vm.PowerOnVM_Task())
        berlin.until(vm, UP)
        assert "10.1.2.5" != vm.guest.ipAddress
        assert (behaviour == "never") == bool(vm.config.tools.pendingCustomization)


def test_customizations_that_make_no_sense_are_refused(berlin: Site):
    vm = berlin.create("refused")
    with pytest.raises(vim.fault.NicSettingMismatch):
        berlin.task(vm.CustomizeVM_Task(customization()))
    berlin.task(vm.CustomizeVM_Task(customization(adapter("10.1.2.6"))))
    with pytest.raises(vim.fault.CustomizationPending):
        berlin.task(vm.CustomizeVM_Task(customization(adapter("10.1.2.6"))))
    berlin.task(vm.PowerOnVM_Task())
    with pytest.raises(vim.fault.InvalidPowerState):
        berlin.task(vm.CustomizeVM_Task(customization(adapter("10.1.2.6"))))
