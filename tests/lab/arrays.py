"""The lab's two arrays: directories made and changed by the reference SRA `dirarray`. Set up and read here."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab.design import LabDesign, SiteDesign
from tests.lab.processes import Process

SRA_NAME = "dirarray"
_COMMAND = Path(__file__).parent / SRA_NAME / "command"


def array_dir(lab: Path, site: SiteDesign) -> Path:
    """Return the directory of the array of *site* in the lab folder *lab*."""
    return lab / "arrays" / site.name


def sra_dir(lab: Path) -> Path:
    """Return the operator's SRA directory in the lab folder *lab*: it holds a copy of the adapter of this lab's own."""
    return lab / "sra"


def credentials(lab: Path, site: SiteDesign) -> dict[str, str]:
    """Return the account that the array of *site* asks for: username and password."""
    found = json.loads((array_dir(lab, site) / "credentials.json").read_text())
    assert isinstance(found, dict)
    return found


def exports(lab: Path, site: SiteDesign) -> dict[str, Any]:
    """Return what the array of *site* exports now, by NFS path: `{"dir": ..., "access": "rw" | "ro" | "none"}`."""
    found = json.loads((array_dir(lab, site) / "exports.json").read_text())["exports"]
    assert isinstance(found, dict)
    return found


def set_up_arrays(lab: Path, design: LabDesign) -> None:
    """Make both arrays with every group, sources at the first site, targets at the second; install the adapter."""
    source, target = design.sites
    for at, peer, role in ((source, target, "source"), (target, source, "target")):
        for group in sorted({device.group for device in design.devices}):
            devices = [word for device in design.devices if device.group == group for word in ("--device", device.name)]
            _administer(
                *("--init", array_dir(lab, at), "--array-id", at.array_id, "--server", at.nfs_server),
                *("--peer", array_dir(lab, peer), "--peer-id", peer.array_id),
                *("--group", group, *devices, "--role", role),
            )
        account = array_dir(lab, at) / "credentials.json"
        account.touch(mode=0o600)
        account.write_text(json.dumps({"username": "replication", "password": secrets.token_urlsafe(12)}))
    _administer("--install", sra_dir(lab))


def sync_once(lab: Path, site: SiteDesign) -> None:
    """Replicate every group of the array of *site* once, as the array itself does. RuntimeError unless a source."""
    _administer("--schedule-sync", array_dir(lab, site))


def start_schedule(lab: Path, site: SiteDesign, every: float) -> Process:
    """Start the array's own replication of all its groups, every *every* seconds, for as long as they are sources."""
    argv: list[str | Path] = [
        sys.executable,
        _COMMAND,
        "--schedule-sync",
        array_dir(lab, site),
        "--every",
        f"{every:g}",
    ]
    return Process.start(f"array {site.name}", argv, log=lab / "arrays" / f"{site.name}.log")


def _administer(*arguments: str | Path) -> None:
    argv: list[str | Path] = [sys.executable, _COMMAND, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError(f"dirarray {' '.join(map(str, arguments))}: {done.stderr.strip()}")
