"""Helm for the chart's tests: the one on PATH, the cached one, or one built from a pinned Go module."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.lab.gobuild import GoProgram, ensure_built
from tests.lab.toolchain import ROOT, Toolchain

CHART = ROOT / "charts" / "resurgo"
HELM = GoProgram(
    "helm", ROOT / "tests" / "lab" / "build" / "helm", "helm.sh/helm/v4/cmd/helm", "about 4 minutes on two cores"
)


@pytest.fixture(scope="session")
def helm(toolchain: Toolchain) -> Path:
    """A Helm. It is built where it is cached already, in CI, or when RESURGO_BUILD_HELM is set; else the tests skip."""
    if on_path := shutil.which("helm"):
        return Path(on_path)
    wanted = os.environ.get("CI") == "true" or bool(os.environ.get("RESURGO_BUILD_HELM"))
    if not wanted and not (toolchain.cache / HELM.name).exists():
        pytest.skip("no helm on PATH: install Helm, or set RESURGO_BUILD_HELM=1 to build it once (about 4 minutes)")
    return ensure_built(HELM, toolchain.cache)


@pytest.fixture(scope="session")
def chart() -> Path:
    """The chart's folder."""
    return CHART


def run_helm(helm: Path, *args: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm without a cluster and return what it said."""
    env = {key: value for key, value in os.environ.items() if key != "KUBECONFIG"}
    return subprocess.run([helm, *args], capture_output=True, text=True, timeout=120, check=False, env=env)
