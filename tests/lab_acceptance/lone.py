"""One simulated site by itself, for tests of the simulator that need no second one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.arrays import set_up_arrays
from tests.lab.design import LabDesign
from tests.lab.pki import Pki
from tests.lab.sites import LabSim
from tests.lab.toolchain import Toolchain


@contextmanager
def lone_site(toolchain: Toolchain, folder: Path, design: LabDesign) -> Iterator[LabSim]:
    """The protected site of *design*, started in *folder*; no call may have made it panic by the end."""
    set_up_arrays(folder, design)
    sim = LabSim(toolchain, folder, design, design.sites[0], Pki(folder / "pki"))
    try:
        yield sim.start()
        assert 0 == sim.admin.counters()["panics"]
    finally:
        sim.stop()
