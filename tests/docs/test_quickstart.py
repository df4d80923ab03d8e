"""The quickstart, command by command, on a lab: what a reader is told to type works, in this order."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable

import pytest
from tests.docs.pages import blocks
from tests.docs.reasons import ROOT
from tests.lab.lab import Lab
from tests.lab.standing import STANDING, environment
from tests.lab.toolchain import Toolchain

PAGE = ROOT / "docs" / "quickstart" / "README.md"


@pytest.mark.lab
def test_every_command_of_the_quickstart_works(make_lab: Callable[..., Lab], toolchain: Toolchain) -> None:
    """Blocks marked `bash` are run; `sh` marks the few that start or stop the lab, or never end."""
    lab = make_lab(STANDING)
    script = "\n".join(["set -euo pipefail", *blocks(PAGE, "bash")])
    path = f"{toolchain.find('kubectl').parent}:{os.environ['PATH']}"
    env = {**os.environ, **environment(lab), "PATH": path}
    lab.wait_condition("recoveryplan", "lab", "Ready")
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, timeout=400, check=False
    )
    assert set() == environment(lab).keys() - set(re.findall(r"LAB_[A-Z_]+|KUBECONFIG", PAGE.read_text()))
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}\noperator's log: {lab.operator.log}"
    for said in ("Succeeded", "SourceFenced\tTrue", "Ready\tFalse\tNotReprotected"):
        assert said in done.stdout
