"""One simulated vCenter as a process: started from a lab file, kept on the same ports over restarts."""

from __future__ import annotations

import contextlib
import json
import secrets
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyVim.connect import SmartStubAdapter
from pyVmomi import vim, vmodl
from tests.lab.arrays import array_dir
from tests.lab.design import LabDesign, SiteDesign, VmDesign
from tests.lab.pki import Pki
from tests.lab.ports import free_port
from tests.lab.processes import Process
from tests.lab.site_admin import SiteAdmin
from tests.lab.toolchain import Toolchain

OPERATOR_USER = "resurgo@vsphere.local"
PERSON_USER = "lab@vsphere.local"
"""For tests and people, apart from the operator's account, so that counters and rules can tell them apart."""


class LabSim:
    """The vCenter of one site. Its address, users and passwords stay the same over stop, kill and start."""

    def __init__(self, toolchain: Toolchain, lab: Path, design: LabDesign, site: SiteDesign, pki: Pki) -> None:
        """Write the lab file and choose the ports; nothing runs before `start`."""
        self.site = site
        self.folder = lab / "sites" / site.name
        self.ca = pki.ca
        self.passwords = {user: secrets.token_urlsafe(12) for user in (OPERATOR_USER, PERSON_USER)}
        self._port, admin_port = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self.admin = SiteAdmin(f"http://127.0.0.1:{admin_port}")
        self._toolchain = toolchain
        self._process: Process | None = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.lab_file = self.folder / "site.json"
        self.lab_file.touch(mode=0o600)
        self.lab_file.write_text(json.dumps(self._content(lab, design, pki), indent=2))

    def start(self) -> LabSim:
        """Start the simulator and return once it answers. VMs of the design are made only on the first start."""
        ready = self.folder / "ready.json"
        ready.unlink(missing_ok=True)
        argv: list[str | Path] = [
            *(self._toolchain.find("labsim"), "--lab-file", self.lab_file),
            *("--listen", f"127.0.0.1:{self._port}", "--admin", self.admin.url.removeprefix("http://")),
            *("--ready-file", ready, "--state", self.folder / "state.json"),
        ]
        log = self.folder / "labsim.log"
        self._process = Process.start(f"labsim {self.site.name}", argv, log=log)
        self._process.wait_ready(lambda: ready.exists() and self.admin.healthy())
        return self

    def stop(self) -> None:
        """End the simulator. Safe to repeat."""
        if self._process:
            self._process.stop(grace=5)

    def kill(self) -> None:
        """End the simulator as a crash would: what it had not written is lost."""
        self.process.kill()

    def restart(self) -> None:
        """Kill the simulator and start it again at the same address; its inventory is what it was."""
        self.kill()
        self.start()

    @property
    def process(self) -> Process:
        """The running process."""
        assert self._process, "LabSim.start was not called"
        return self._process

    @contextlib.contextmanager
    def connect(self, user: str = PERSON_USER) -> Iterator[vim.ServiceInstance]:
        """Log in with pyvmomi over verified TLS and hand out the ServiceInstance; logs out at the end."""
        trust = ssl.create_default_context(cafile=str(self.ca))
        stub = SmartStubAdapter("127.0.0.1", self._port, sslContext=trust)  # type: ignore[no-untyped-call]
        service = vim.ServiceInstance("ServiceInstance", stub)  # type: ignore[no-untyped-call]
        try:
            sessions: Any = service.RetrieveContent().sessionManager
            sessions.Login(user, self.passwords[user])
            try:
                yield service
            finally:
                with contextlib.suppress(OSError, vim.fault.VimFault, vmodl.MethodFault):
                    sessions.Logout()
        finally:
            stub.DropConnections()  # pyvmomi's own SmartConnect leaves its socket open after a refused login

    def _content(self, lab: Path, design: LabDesign, pki: Pki) -> dict[str, Any]:
        protected = self.site == design.sites[0]
        tls = pki.server(f"vcenter-{self.site.name}")
        mounts = [{"name": d.name, "server": self.site.nfs_server, "path": d.path} for d in design.devices]
        return {
            "site": self.site.name,
            "root": str(lab),
            "datacenter": self.site.name,
            "cluster": self.site.cluster,
            "hosts": self.site.hosts,
            "networks": self.site.networks,
            "folders": design.folders,
            "nfsServers": {self.site.nfs_server: str(array_dir(lab, self.site))},
            "mounts": mounts if protected else [],
            "users": [{"name": u, "password": p, "privileges": "all"} for u, p in self.passwords.items()],
            "guest": design.guest,
            "vms": [_vm(vm) for vm in design.vms] if protected else [],
            "tls": {"cert": str(tls.cert), "key": str(tls.key)},
        }


def _vm(vm: VmDesign) -> dict[str, Any]:
    content = {
        "name": vm.name,
        "folder": vm.folder,
        "datastore": vm.datastore,
        "numCPU": vm.cpus,
        "memoryMB": vm.memory_mb,
        "guestId": "debian12_64Guest",
        "disks": [{"mb": vm.disk_mb}],
        "nics": vm.networks,
        "annotation": vm.annotation,
        "extraConfig": dict(vm.extra_config),
        "powerOn": vm.power_on,
    }
    return content if vm.guest is None else {**content, "guest": vm.guest}
