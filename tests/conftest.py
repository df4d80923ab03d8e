"""Fixtures that stand real parts up for any test: the programs, a Kubernetes API server, whole labs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.design import LabDesign
from tests.lab.kube import Kube
from tests.lab.lab import Lab
from tests.lab.toolchain import ROOT, Toolchain

MakeLab = Callable[..., Lab]


@pytest.fixture(scope="session")
def toolchain(request: pytest.FixtureRequest) -> Toolchain:
    """The lab's programs; a first build is announced on the terminal although pytest captures output."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(message: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"\n{message}", flush=True)

    return Toolchain(say=say)


@pytest.fixture(scope="session")
def apiserver(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """One API server for the whole run, with the project's CRDs. Tests use namespaces of their own."""
    kube = Kube(toolchain, tmp_path_factory.mktemp("kube"))
    try:
        kube.start()
        if (ROOT / "crds").is_dir():
            kube.install_crds(ROOT / "crds")
        yield kube
    finally:
        kube.stop()


@pytest.fixture
def make_lab(toolchain: Toolchain, tmp_path: Path) -> Iterator[MakeLab]:
    """A function that starts a lab of its own: `make_lab(design=None, operator=True, objects=True)`."""
    with ExitStack() as labs:

        def make(design: LabDesign | None = None, *, operator: bool = True, objects: bool = True) -> Lab:
            lab = Lab(toolchain, tmp_path / f"lab-{len(list(tmp_path.glob('lab-*')))}", design)
            labs.callback(lab.stop)
            return lab.start(operator=operator, objects=objects)

        yield make


@pytest.fixture
def lab(make_lab: MakeLab) -> Lab:
    """The lab of `make lab`, with the operator running, for one test."""
    return make_lab()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: what is missing there is to be installed there."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if os.environ.get("CI") == "true" and reporter and reporter.stats.get("skipped"):
        reporter.ensure_newline()
        reporter.write_line("CI: tests were skipped, which is a failure here", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
