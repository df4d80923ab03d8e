"""Parts of the vSphere adapter that need no vCenter: what is made of its words, and what is said to it."""

from __future__ import annotations

import hashlib
import http.client
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim, vmodl
from tests.lab.pki import Pki

from resurgo.adapters.vsphere.certificate import Trust, describe
from resurgo.adapters.vsphere.customization import specification
from resurgo.adapters.vsphere.faults import translate
from resurgo.adapters.vsphere.model import Model
from resurgo.adapters.vsphere.plain import question_of
from resurgo.adapters.vsphere.stub import ConnectError
from resurgo.domain.errors import (
    Busy,
    DrError,
    InvalidPlan,
    InvalidState,
    Missing,
    NotAllowed,
    NotSupported,
    OutcomeUnknown,
    Rejected,
    Throttled,
    Unreachable,
)
from resurgo.domain.inventory import VmId
from resurgo.domain.ports import IpSettings

WHAT = "PowerOn of VM db at berlin"


@pytest.mark.parametrize(
    ("error", "read", "mutation"),
    [
        (TimeoutError("timed out"), Unreachable, OutcomeUnknown),
        (http.client.RemoteDisconnected("gone"), Unreachable, OutcomeUnknown),
        (http.client.HTTPException("503 Service Unavailable"), Throttled, OutcomeUnknown),
        (KeyError("''"), Unreachable, OutcomeUnknown),
        (ConnectError("refused"), Unreachable, Unreachable),
        (vim.fault.NotAuthenticated(), NotAllowed, NotAllowed),
        (vim.fault.NoPermission(), NotAllowed, NotAllowed),
        (vmodl.fault.ManagedObjectNotFound(), Missing, Missing),
        (vim.fault.InvalidDatastorePath(), Missing, Missing),
        (vim.fault.DuplicateName(), Rejected, Rejected),
        (vim.fault.InvalidPowerState(), Busy, Busy),
        (vim.fault.ResourceInUse(), Busy, Busy),
        (vim.fault.InsufficientMemoryResourcesFault(), Busy, Busy),
        (vim.fault.InvalidVmConfig(), InvalidPlan, InvalidPlan),
        (vim.fault.NicSettingMismatch(), InvalidPlan, InvalidPlan),
        (vmodl.fault.NotSupported(), NotSupported, NotSupported),
        (vim.fault.InvalidState(), InvalidState, InvalidState),
        (vmodl.fault.SystemError(), Busy, Busy),
    ],
)
def test_each_failure_has_one_meaning_for_reads_and_one_for_mutations(
    error: Exception, read: type[DrError], mutation: type[DrError]
) -> None:
    assert read is type(translate(error, WHAT, mutation=False))
    assert mutation is type(translate(error, WHAT, mutation=True))
    assert WHAT in str(translate(error, WHAT, mutation=True))


def test_a_task_that_ends_in_an_unknown_fault_has_an_unknown_outcome() -> None:
    assert OutcomeUnknown is type(translate(vmodl.fault.SystemError(), WHAT, mutation=True, seen=False))
    assert OutcomeUnknown is type(translate(vmodl.fault.RequestCanceled(), WHAT, mutation=True, seen=False))


def test_a_shortage_is_asked_again_later_than_a_lock() -> None:
    short = translate(vim.fault.InsufficientMemoryResourcesFault(), WHAT, mutation=True)
    locked = translate(vim.fault.FileLocked(), WHAT, mutation=True)
    assert isinstance(short, Busy)
    assert isinstance(locked, Busy)
    assert short.after > locked.after
    assert "InsufficientMemoryResourcesFault" == short.reason


def test_a_bug_is_no_failed_call() -> None:
    with pytest.raises(ZeroDivisionError):
        translate(ZeroDivisionError(), WHAT, mutation=False)


def test_a_certificate_is_described_by_subject_and_fingerprint(tmp_path: Path) -> None:
    import ssl

    der = ssl.PEM_cert_to_DER_cert(Pki(tmp_path).server("vcenter-x").cert.read_text())
    digest = hashlib.sha256(der).hexdigest()
    assert "subject CN=vcenter-x" in describe(der)
    assert digest[:2].upper() + ":" + digest[2:4].upper() in describe(der)
    assert "subject unreadable" in describe(b"nonsense")
    assert Trust(thumbprint=digest).accepts(der)
    assert Trust(thumbprint=hashlib.sha1(der).hexdigest()).accepts(der)  # noqa: S324  # as people paste it
    assert not Trust(thumbprint="00" * 32).accepts(der)
    assert not Trust(thumbprint="00").accepts(der)


def choice(key: str, label: str) -> Any:
    return vim.ElementDescription(key=key, label=label, summary=label)


def question(text: str, identifier: str, *labels: str) -> Any:
    return vim.vm.QuestionInfo(
        id="1",
        text=text,
        choice=vim.option.ChoiceOption(choiceInfo=[choice(str(i), label) for i, label in enumerate(labels)]),
        message=[vim.vm.Message(id=identifier)],
    )


def test_only_the_question_of_moved_or_copied_is_answered() -> None:
    uuid = question(
        "This VM might have been moved or copied.", "msg.uuid.altered", "Cancel", "I Moved It", "I Copied It"
    )
    disk = question("The disk is full.", "msg.hbacommon.outofspace", "Abort", "Retry")
    assert "1" == question_of(uuid).moved  # type: ignore[union-attr]
    assert "" == question_of(disk).moved  # type: ignore[union-attr]
    assert question_of(None) is None


def test_a_linux_guest_gets_fixed_addresses_on_named_nics_and_dhcp_on_others() -> None:
    ips = [IpSettings(4001, "10.1.0.5", 22, "10.1.0.1", ("10.1.0.2",)), IpSettings(4001, "fd00::5", 64, "fd00::1")]
    made = specification(WHAT, [4000, 4001], "debian12_64Guest", "db.example.com", ips)
    first, second = (mapping.adapter for mapping in made.nicSettingMap)
    assert isinstance(first.ip, vim.vm.customization.DhcpIpGenerator)
    assert ("10.1.0.5", "255.255.252.0", ["10.1.0.1"]) == (second.ip.ipAddress, second.subnetMask, second.gateway)
    assert [("fd00::5", 64)] == [(ip.ipAddress, ip.subnetMask) for ip in second.ipV6Spec.ip]
    assert ("db", "example.com") == (made.identity.hostName.name, made.identity.domain)
    assert ["10.1.0.2"] == made.globalIPSettings.dnsServerList


def test_a_windows_guest_keeps_its_sid() -> None:
    made = specification(WHAT, [4000], "windows2022srvNext_64Guest", "DB", [IpSettings(4000, "10.1.0.5", 24)])
    assert isinstance(made.identity, vim.vm.customization.Sysprep)
    assert "DB" == made.identity.userData.computerName.name
    assert made.options.changeSID is False


@pytest.mark.parametrize(
    "ips",
    [
        [IpSettings(9, "10.1.0.5", 24)],
        [IpSettings(4000, "10.1.0.5", 99)],
        [IpSettings(4000, "10.1.0.5", 24), IpSettings(4000, "10.1.0.6", 24)],
    ],
)
def test_addresses_that_cannot_be_given_are_refused(ips: list[IpSettings]) -> None:
    with pytest.raises(InvalidPlan, match="VM db"):
        specification(WHAT, [4000], "debian12_64Guest", "db", ips)


def test_paths_are_escaped_and_follow_a_renamed_folder() -> None:
    model = Model("berlin", "group-d1")
    model.change("Datacenter", "dc-1", {"name": "berlin", "parent": "group-d1"})
    model.change("Folder", "group-v1", {"name": "vm", "parent": "dc-1", "childType": ("VirtualMachine",)})
    model.change("Folder", "group-v2", {"name": "a%2fb", "parent": "group-v1", "childType": ("VirtualMachine",)})
    model.change("VirtualMachine", "vm-1", {"name": "x%2fy", "parent": "group-v2", "runtime.powerState": "poweredOn"})
    vm = model.inventory().vms[VmId("vm-1")]
    assert ("x/y", "/berlin/vm/a%2fb/x%2fy") == (vm.name, vm.path)
    assert "dc-1" == model.datacenter_of("group-v2")
    assert model.inventory() is model.inventory()
    model.change("Folder", "group-v2", {"name": "c"})
    assert "/berlin/vm/c/x%2fy" == model.inventory().vms[VmId("vm-1")].path
    model.leave("vm-1")
    assert {} == model.inventory().vms
