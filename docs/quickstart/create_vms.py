# ruff: noqa: INP001, T201 (a script for people, run by hand)
"""Create VMs with pyvmomi: `create_vms.py DATASTORE FOLDER NAME...`, at the site that LAB_BERLIN_URL names.

Each VM gets one disk, one network card on `VM Network`, and is powered on. Reads LAB_BERLIN_URL, LAB_USER,
LAB_PASSWORD and LAB_CA, as `.lab/env` sets them.
"""

from __future__ import annotations

import os
import ssl
import sys
from typing import Any
from urllib.parse import urlsplit

from pyVim.connect import Disconnect, SmartConnect
from pyVim.task import WaitForTask
from pyVmomi import vim


def main(datastore: str, folder: str, names: list[str]) -> None:
    """Create and power on every VM of *names*; an error of the vCenter ends the script with its own words."""
    address = urlsplit(os.environ["LAB_BERLIN_URL"])
    service = SmartConnect(
        host=address.hostname,
        port=address.port,
        user=os.environ["LAB_USER"],
        pwd=os.environ["LAB_PASSWORD"],
        sslContext=ssl.create_default_context(cafile=os.environ["LAB_CA"]),
    )
    try:
        search = service.content.searchIndex
        where = search.FindByInventoryPath(f"berlin/vm/{folder}")
        pool = search.FindByInventoryPath("berlin/host/c1/Resources")
        network = search.FindByInventoryPath("berlin/network/VM Network")
        for name in names:
            task = where.CreateVM_Task(vm_spec(name, datastore, network), pool)
            WaitForTask(task)
            WaitForTask(task.info.result.PowerOnVM_Task())
            print(f"created and powered on: {name}")
    finally:
        Disconnect(service)


def vm_spec(name: str, datastore: str, network: Any) -> Any:
    """A small VM on *datastore* with one card on *network*."""
    controller = vim.vm.device.ParaVirtualSCSIController(key=1000, busNumber=0, sharedBus="noSharing")
    disk = vim.vm.device.VirtualDisk(
        key=-1,
        controllerKey=1000,
        unitNumber=0,
        capacityInKB=4096,
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(diskMode="persistent", thinProvisioned=True),
    )
    card = vim.vm.device.VirtualVmxnet3(
        key=-2,
        addressType="generated",
        backing=vim.vm.device.VirtualEthernetCard.NetworkBackingInfo(deviceName=network.name, network=network),
    )
    changes = [
        vim.vm.device.VirtualDeviceSpec(operation="add", device=controller),
        vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk),
        vim.vm.device.VirtualDeviceSpec(operation="add", device=card),
    ]
    return vim.vm.ConfigSpec(
        name=name,
        numCPUs=1,
        memoryMB=512,
        guestId="debian12_64Guest",
        files=vim.vm.FileInfo(vmPathName=f"[{datastore}]"),
        deviceChange=changes,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
