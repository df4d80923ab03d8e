"""`python -m bench.failover`: what Resurgo adds to the time that the vCenters need anyway. See README.md."""

from __future__ import annotations

import argparse
import contextlib
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import designs, minimum, reaction, through_operator
from tests.lab.design import LabDesign
from tests.lab.lab import Lab
from tests.lab.toolchain import Toolchain

_MIB = 1024 * 1024
_PARTS = ("failover", "reaction")


@contextlib.contextmanager
def running(toolchain: Toolchain, folder: Path, design: LabDesign, *, operator: bool) -> Iterator[Lab]:
    """A lab that ends with the block; its operator starts last. The big plan's vCenters take their time over tasks."""
    lab = Lab(toolchain, folder, design)
    try:
        lab.start(operator=operator, objects=operator)
        yield lab
    finally:
        lab.stop()


def bench_failover(toolchain: Toolchain, folder: Path, vms: int) -> float:
    """Both ways, each on a lab of its own; returns the ratio."""
    design = designs.big(vms)
    print(f"{vms} VMs in {designs.STAGES} stages on {designs.HOSTS} hosts: through the operator ...", flush=True)
    with running(toolchain, folder / "operator", design, operator=True) as lab:
        set_rules(lab)
        measured = through_operator.measure(lab)
        _print_calls(lab)
    for name, (began, ended) in measured.steps.items():
        print(f"  {name:<16} {began:7.2f} .. {ended:7.2f} s")
    print("The same calls alone ...", flush=True)
    with running(toolchain, folder / "alone", design, operator=False) as lab:
        set_rules(lab)
        least = minimum.measure(lab)
        _print_calls(lab)
    print(f"Register to last power-on: operator {measured.recovery:6.2f} s, calls alone {least.recovery:6.2f} s")
    print(f"Whole run:                 operator {measured.whole:6.2f} s, calls alone {least.whole:6.2f} s")
    print(f"Operator: {measured.cpu:.1f} s of CPU", end=", ")
    print(f"RSS {measured.resident / _MIB:.0f} MiB at the end, {measured.resident_most / _MIB:.0f} MiB at most")
    print(f"whole-run ratio {measured.whole / least.whole:.2f}", flush=True)
    return measured.recovery / least.recovery


def set_rules(lab: Lab) -> None:
    for sim in lab.sites.values():
        sim.admin.rules(*designs.RULES)
        sim.admin.reset_counters()


def _print_calls(lab: Lab) -> None:
    for name, sim in lab.sites.items():
        counters = sim.admin.counters()
        calls = ", ".join(f"{m} {n}" for m, n in sorted(counters["calls"].items(), key=lambda item: -item[1]))
        print(f"  calls at {name}: {calls}")
        print(f"  tasks at once at {name}: {counters['peakTasks']}")


def bench_reaction(toolchain: Toolchain, folder: Path, plans: int) -> None:
    print(f"{plans} small plans, one after the other ...", flush=True)
    with running(toolchain, folder / "reaction", designs.small(plans), operator=True) as lab:
        found, background = reaction.measure(lab)
    print(f"  called at all times, not counted: {', '.join(sorted(background))}")
    for what, times in (
        ("first call to a vCenter or array", [r.first_call for r in found]),
        ("first change (sync at the array)", [r.first_change for r in found]),
    ):
        half, most = _percentile(times, 50), _percentile(times, 99)
        print(f"From the plan's change to the {what}: median {half:.3f} s, p99 {most:.3f} s, n={len(times)}")
        print(f"  all: {' '.join(f'{t:.2f}' for t in times)}")


def _percentile(values: list[float], percent: float) -> float:
    """Nearest rank: with few values p99 is the largest."""
    return sorted(values)[math.ceil(percent / 100 * len(values)) - 1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.failover", description=__doc__)
    parser.add_argument("--vms", type=int, default=200, help="VMs of the big plan, a multiple of 4")
    parser.add_argument("--plans", type=int, default=24, help="small plans, at least 20 for a p99 worth its name")
    parser.add_argument("--only", choices=_PARTS, help="one part only; the ratio comes from failover")
    parser.add_argument("--keep", action="store_true", help="leave the labs' files and logs behind")
    options = parser.parse_args()
    toolchain = Toolchain()
    toolchain.prepare()
    folder = Path(tempfile.mkdtemp(prefix="resurgo-bench-"))
    try:
        if options.only != "failover":
            bench_reaction(toolchain, folder, options.plans)
        if options.only != "reaction":
            ratio = bench_failover(toolchain, folder, options.vms)
            print(f"ratio {ratio:.2f}")
    except BaseException:
        print(f"Files and logs: {folder}", file=sys.stderr)
        raise
    if options.keep:
        print(f"Files and logs: {folder}", file=sys.stderr)
    else:
        shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
