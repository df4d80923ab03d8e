"""Labs that several end-to-end tests share: starting one takes about ten seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from tests.lab.design import DeviceDesign, LabDesign, VmDesign
from tests.lab.lab import Lab
from tests.lab.toolchain import Toolchain

StartLab = Callable[[LabDesign], Lab]


@pytest.fixture(scope="module")
def start_lab(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartLab]:
    """A function that starts a lab, with its operator, which lives as long as the module's tests."""
    with ExitStack() as labs:

        def start(design: LabDesign) -> Lab:
            lab = Lab(toolchain, tmp_path_factory.mktemp("lab"), design)
            labs.callback(lab.stop)
            return lab.start()

        yield start


GROUPS = {
    "array-fails": 2,
    "cancelled": 2,
    "too-late": 1,
    "two-plans": 1,
    "created": 1,
    "numbered": 1,
    "orphaned": 2,
    "one-lost": 3,
    "halted": 4,
    "carries-on": 2,
    "lagging": 1,
}
"""The protection groups of the shared lab with the number of their VMs; each is for one test, which may move it."""


def _shared_design() -> LabDesign:
    return LabDesign(
        devices=tuple(DeviceDesign(f"ds-{name}", f"cg-{name}") for name in GROUPS),
        folders=tuple(GROUPS),
        vms=tuple(
            VmDesign(f"{name}-{number}", f"ds-{name}", name, annotation=f"one of {name}", disk_mb=1)
            for name, count in GROUPS.items()
            for number in range(1, count + 1)
        ),
        groups={name: (f"ds-{name}",) for name in GROUPS},
        plans=(),
        sync_seconds=None,
        poll_seconds=5,
    )


@pytest.fixture(scope="session")
def shared_lab(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One lab with a protection group for each test that needs one of its own."""
    lab = Lab(toolchain, tmp_path_factory.mktemp("lab"), _shared_design())
    try:
        yield lab.start()
    finally:
        lab.stop()


@pytest.fixture
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """The shared lab without trouble; whatever trouble a test makes is ended with it."""
    yield shared_lab
    for sim in shared_lab.sites.values():
        sim.admin.clear_rules()
    for site in shared_lab.design.sites:
        (shared_lab.array(site) / "faults.json").unlink(missing_ok=True)
