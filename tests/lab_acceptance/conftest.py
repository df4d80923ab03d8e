"""Two simulated sites whose arrays are plain directories with exports written here, without any replication."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.lab.toolchain import Toolchain
from tests.lab_acceptance.pair import Pair, Site


@pytest.fixture(scope="module")
def pair(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Both sites, started once per module: berlin with its two exports mounted, leipzig with nothing."""
    sites = Pair(toolchain, tmp_path_factory.mktemp("pair"))
    try:
        yield sites.start()
        assert [0, 0] == [site.sim.admin.counters()["panics"] for site in (sites.berlin, sites.leipzig)]
    finally:
        sites.stop()


@pytest.fixture
def berlin(pair: Pair) -> Iterator[Site]:
    """The protected site, with a session, no VMs and its exports as they were when the test is over."""
    with pair.berlin.session():
        yield pair.berlin
    pair.tidy(pair.berlin)


@pytest.fixture
def leipzig(pair: Pair) -> Iterator[Site]:
    """The recovery site, with a session; what a test mounts and registers there is gone after it."""
    with pair.leipzig.session():
        yield pair.leipzig
    pair.tidy(pair.leipzig)
