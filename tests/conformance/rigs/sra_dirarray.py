"""The SRA adapter on the reference SRA: real child processes, real bytes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.toolchain import ROOT

from resurgo.adapters.replication.contract import Surroundings
from resurgo.adapters.replication.sra import Array, Jobs, Program, SraEndpoint, find_command
from resurgo.domain.ports import ReplicationEndpoint
from resurgo.domain.replication import DeviceIdentity

SITES = {"berlin": ("array-ber", "nfs-ber.lab"), "leipzig": ("array-lpz", "nfs-lpz.lab")}
COMMANDS = {
    "sync": "syncOnce",
    "prepare_failover": "prepareFailover",
    "restore": "restoreReplication",
    "failover": "failover",
    "test_start": "testFailoverStart",
    "test_stop": "testFailoverStop",
    "prepare_reverse": "prepareReverseReplication",
    "reverse": "reverseReplication",
}
USER = ("resurgo", "correct horse")


class Dirarrays:
    """Two arrays on disk, and an installed copy of the adapter: usable without any endpoint under test."""

    def __init__(self, folder: Path, groups: tuple[str, ...]) -> None:
        self.folder = folder
        self.sra_dir = folder / "sra"
        self.command = self.sra_dir / "dirarray" / "command"
        self._administer(ROOT / "tests/lab/dirarray/command", "--install", self.sra_dir)
        for site, role in (("berlin", "source"), ("leipzig", "target")):
            peer = "leipzig" if site == "berlin" else "berlin"
            array_id, server = SITES[site]
            new = ("--init", self.array(site), "--array-id", array_id, "--server", server)
            pair = ("--peer", self.array(peer), "--peer-id", SITES[peer][0])
            for group in groups:
                devices = (f"ds-{group}-01", "--device", f"ds-{group}-02")
                self._administer(self.command, *new, *pair, "--group", group, "--device", *devices, "--role", role)
            (self.array(site) / "credentials.json").write_text(json.dumps({"username": USER[0], "password": USER[1]}))

    def array(self, site: str) -> Path:
        return self.folder / "arrays" / site

    def _administer(self, command: Path, *arguments: object) -> None:
        subprocess.run([sys.executable, command, *map(str, arguments)], check=True, timeout=60)

    def sync_by_schedule(self, site: str, group: str) -> None:
        """Replicate as the array does by itself."""
        self._administer(self.command, "--schedule-sync", self.array(site), "--group", group)

    def fault(self, site: str, command: str, effect: dict[str, Any], **narrowed: Any) -> None:
        """Add a fault to the array of *site*."""
        path = self.array(site) / "faults.json"
        faults = json.loads(path.read_text()) if path.exists() else []
        path.write_text(json.dumps([*faults, {"command": command, "effect": effect, **narrowed}]))

    def no_faults(self, site: str) -> None:
        (self.array(site) / "faults.json").unlink(missing_ok=True)

    def setting(self, site: str, **settings: float) -> None:
        (self.array(site) / "settings.json").write_text(json.dumps(settings))

    def counters(self, site: str) -> dict[str, dict[str, int]]:
        path = self.array(site) / "counters.json"
        counters: dict[str, dict[str, int]] = json.loads(path.read_text()) if path.exists() else {}
        return counters

    def spec(self, limit: int = 60) -> dict[str, Any]:
        """The spec of a ReplicationPair of these arrays."""
        peers = {"berlin": "leipzig", "leipzig": "berlin"}
        endpoints = [
            {
                "site": site,
                "id": SITES[site][0],
                "addresses": [SITES[site][1]],
                "parameters": {
                    "dirarray.root": str(self.array(site)),
                    "dirarray.peer": str(self.array(peers[site])),
                },
            }
            for site in SITES
        ]
        sra = {"name": "dirarray", "commandTimeoutSeconds": limit}
        return {"adapter": {"type": "sra"}, "sra": sra, "endpoints": endpoints}

    def surroundings(self) -> Surroundings:
        return Surroundings(self.sra_dir, self.folder / "state", dict.fromkeys(SITES, lambda: USER))


def endpoints(arrays: Dirarrays, *, answer_within: float, limit: float = 60) -> dict[str, SraEndpoint]:
    """The pair, built as the registry does, but with an operation handed over to polling sooner."""
    around, spec = arrays.surroundings(), arrays.spec()
    program = Program(
        find_command(around.sra_dir, "dirarray"), state_dir=around.state_dir, limit=limit, on_call=around.on_call
    )
    jobs = Jobs(around.state_dir)
    first, second = spec["endpoints"]
    pairs = ((first, second["id"]), (second, first["id"]))
    arrays_by_site = (
        Array(e["site"], e["id"], peer, e["addresses"], e["parameters"], around.credentials[e["site"]])
        for e, peer in pairs
    )
    return {a.site: SraEndpoint(a, program, jobs, answer_within=answer_within) for a in arrays_by_site}


class SraRig:
    """A `Rig` over `Dirarrays`."""

    source, target = "berlin", "leipzig"
    groups = ("cg-erp", "cg-web")

    def __init__(self, folder: Path) -> None:
        self.arrays = Dirarrays(folder, self.groups)
        self._endpoints = endpoints(self.arrays, answer_within=8)

    def endpoint(self, site: str) -> ReplicationEndpoint:
        return self._endpoints[site]

    def _mounted(self, identity: DeviceIdentity) -> Path:
        for site in SITES:
            exports = json.loads((self.arrays.array(site) / "exports.json").read_text())
            if exports["server"] == identity.server:
                export = exports["exports"].get(identity.value, {"access": "none"})
                if export["access"] != "rw":
                    raise PermissionError(f"{identity.server}:{identity.value} is {export['access']}")
                return self.arrays.array(site) / str(export["dir"])
        raise PermissionError(f"no server {identity.server}")

    async def write(self, identity: DeviceIdentity, name: str, content: bytes) -> None:
        (self._mounted(identity) / name).write_bytes(content)

    async def read(self, identity: DeviceIdentity, name: str) -> bytes | None:
        path = self._mounted(identity) / name
        return path.read_bytes() if path.exists() else None

    def cut(self, site: str) -> None:
        self.arrays.fault(site, "*", {"unreachable": True})

    def heal(self, site: str) -> None:
        self.arrays.no_faults(site)

    def slow(self, site: str, operation: str) -> None:
        self._endpoints[site]._answer_within = 0.2
        self.arrays.fault(site, COMMANDS[operation], {"delaySeconds": 2})

    async def hurry(self) -> None:
        """Two seconds are soon."""

    def refuse(self, site: str, operation: str, group: str) -> None:
        error = {"code": 50338330, "description": "the array refused", "fixHint": "ask it again"}
        self.arrays.fault(site, COMMANDS[operation], {"itemError": error}, times=1, group=group)

    def lose_answer(self, site: str, operation: str) -> None:
        self.arrays.fault(site, COMMANDS[operation], {"dieAfterEffect": True}, times=1)

    async def begin_and_die(self, site: str, group: str) -> str:
        self.arrays.fault(site, "syncOnce", {"delaySeconds": 2}, times=1)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.conformance.rigs.dying", str(self.arrays.folder), site, group,
            cwd=ROOT, stdout=asyncio.subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        try:
            said, _ = await asyncio.wait_for(process.communicate(), 60)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        return said.decode().strip()

    async def aclose(self) -> None:
        for endpoint in self._endpoints.values():
            await endpoint.aclose()


async def make(folder: Path) -> SraRig:
    return SraRig(folder)
