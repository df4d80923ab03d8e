"""The rigs this suite runs on: our own, or the one named by RESURGO_CONFORMANCE_RIG (``module:factory``)."""

from __future__ import annotations

import importlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import cast

import pytest
from tests.conformance.rig import Driver, Rig, RigFactory

OURS = ("tests.conformance.rigs.fake:make", "tests.conformance.rigs.sra_dirarray:make")


def _rigs() -> Sequence[str]:
    named = os.environ.get("RESURGO_CONFORMANCE_RIG")
    return (named,) if named else OURS


def _factory(name: str) -> RigFactory:
    module, _, attribute = name.partition(":")
    return cast("RigFactory", getattr(importlib.import_module(module), attribute))


@pytest.fixture(params=_rigs(), ids=lambda name: name.partition(":")[0].rpartition(".")[2])
async def rig(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Rig]:
    """A fresh pair of replicated arrays."""
    made = await _factory(request.param)(tmp_path)
    try:
        yield made
    finally:
        await made.aclose()


@pytest.fixture
def drive(rig: Rig) -> Driver:
    return Driver(rig)
