"""A lab that is left running: what `up` writes down, so that `down` ends exactly those processes."""

from __future__ import annotations

import fcntl
import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.design import DeviceDesign, LabDesign, PlanDesign, VmDesign
from tests.lab.keep import note
from tests.lab.lab import Lab
from tests.lab.processes import Identity
from tests.lab.sites import PERSON_USER
from tests.lab.toolchain import ROOT, Toolchain

HOME = ROOT / ".lab"
FOLDER = HOME / "run"
ENV = HOME / "env"
_RECORD = HOME / "processes.json"

# For people to try things on: two replicated datastores that belong to nobody yet, and a group and a plan of the lab's
# own on a third. A consistency group has one owner, so theirs must not be one that somebody wants to use.
_QUICK = {"timeoutSeconds": 120}
STANDING = LabDesign(
    devices=(
        DeviceDesign("ds-erp-01", "cg-erp"),
        DeviceDesign("ds-web-01", "cg-web"),
        DeviceDesign("ds-lab-01", "cg-lab"),
    ),
    folders=("erp", "web", "lab"),
    vms=(
        VmDesign("lab-db-1", "ds-lab-01", "lab", annotation="database"),
        VmDesign("lab-app-1", "ds-lab-01", "lab", annotation="application server"),
        VmDesign("lab-web-1", "ds-lab-01", "lab", annotation="web front end"),
    ),
    groups={"lab": ("ds-lab-01",)},
    plans=(
        PlanDesign(
            "lab",
            ("lab",),
            (
                {"name": "database", "virtualMachines": [{"name": "lab-db-1"}], "readiness": _QUICK},
                {"name": "rest", "dependsOn": ["database"], "protectionGroups": ["lab"], "readiness": _QUICK},
            ),
        ),
    ),
)


def _child(pid: int) -> int:
    """Return the process that the keeper *pid* keeps."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0])


def running() -> dict[str, Identity]:
    """Return the recorded processes that still live, by name, in the order in which they are to be stopped."""
    try:
        record = json.loads(_RECORD.read_text())
    except FileNotFoundError:
        return {}
    found = {entry["name"]: Identity(entry["pid"], entry["started"]) for entry in record}
    return {name: process for name, process in found.items() if process.alive}


def recorded() -> int:
    """Return how many processes the lab consists of, 0 if none was started."""
    return len(json.loads(_RECORD.read_text())) if _RECORD.exists() else 0


def up(toolchain: Toolchain) -> bool:
    """Start the lab and leave it running; False if it runs already. A lab that half runs is replaced."""
    with _alone():
        alive = running()
        if alive and len(alive) == recorded():
            return False
        _end(alive)
        shutil.rmtree(FOLDER, ignore_errors=True)
        keeper = (sys.executable, "-m", "tests.lab.keep", str(ENV), "--")
        lab = Lab(toolchain, FOLDER, STANDING, keeper=keeper)
        try:
            lab.start()
        except BaseException:
            lab.stop()
            raise
        entries = [{"name": p.name, "pid": p.identity.pid, "started": p.identity.started} for p in lab.processes]
        _RECORD.write_text(json.dumps(entries, indent=2))
        _write_env(lab)
        note(ENV, _child(lab.operator.process.pid))
        for process in lab.processes:
            process.release()
    return True


def down() -> list[str]:
    """Stop the lab's processes and return the names of those that were running. The lab's files stay for reading."""
    with _alone():
        alive = running()
        _end(alive)
        _RECORD.unlink(missing_ok=True)
        ENV.unlink(missing_ok=True)
    return list(alive)


def environment(lab: Lab) -> dict[str, str]:
    """Return what a person or a script needs to use *lab*, as environment variables."""
    here, there = lab.protected, lab.recovery
    return {
        "KUBECONFIG": str(lab.kube.kubeconfig("admin")),
        "LAB_NAMESPACE": lab.namespace,
        "LAB_METRICS_URL": lab.operator.metrics_url,
        "LAB_OPERATOR_PID": str(lab.operator.process.pid),
        "LAB_USER": PERSON_USER,
        "LAB_PASSWORD": here.passwords[PERSON_USER],
        "LAB_CA": str(lab.pki.ca),
        "LAB_BERLIN_URL": f"{here.url}/sdk",
        "LAB_LEIPZIG_URL": f"{there.url}/sdk",
        "LAB_BERLIN_ADMIN": here.admin.url,
        "LAB_LEIPZIG_ADMIN": there.admin.url,
        "LAB_ARRAY_BERLIN": str(lab.array(here.site)),
        "LAB_ARRAY_LEIPZIG": str(lab.array(there.site)),
    }


def _write_env(lab: Lab) -> None:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment(lab).items()]
    ENV.touch(mode=0o600)  # it holds a password, if only of a lab
    ENV.write_text("\n".join(lines) + "\n")


def _end(processes: dict[str, Identity]) -> None:
    for process in processes.values():
        process.stop(grace=15)


@contextmanager
def _alone() -> Iterator[None]:
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
