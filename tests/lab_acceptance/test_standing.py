"""`make lab`, `make lab-down` and what lies between: the same lab is found again, exactly its processes are ended."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab import standing
from tests.lab.processes import Process
from tests.lab.toolchain import Toolchain

pytestmark = pytest.mark.lab


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    for name, path in {"HOME": "", "FOLDER": "run", "ENV": "env", "_RECORD": "processes.json"}.items():
        monkeypatch.setattr(standing, name, tmp_path / path)
    yield tmp_path
    standing.down()


def test_a_standing_lab_is_found_again_and_ended_by_down(toolchain: Toolchain, home: Path):
    assert standing.up(toolchain)
    first = standing.running()
    assert not standing.up(toolchain), "a second up starts nothing"
    assert first == standing.running()
    assert f"export KUBECONFIG={home}/run/kube/admin.kubeconfig" in (home / "env").read_text().splitlines()
    assert list(first) == standing.down()
    assert [False] * len(first) == [process.alive for process in first.values()]
    assert [] == standing.down(), "down may be repeated"


def test_a_lab_that_lost_a_process_is_replaced_as_a_whole(toolchain: Toolchain, home: Path):
    standing.up(toolchain)
    first = standing.running()
    first["labsim berlin"].stop()
    assert standing.up(toolchain)
    assert {} == {name: process for name, process in first.items() if process.alive}
    assert first.keys() == standing.running().keys()


def test_a_lab_that_fails_to_start_leaves_nothing_running(toolchain: Toolchain, home: Path, monkeypatch):
    started: list[Process] = []
    start = Process.start.__func__

    def fail_last(cls, name, argv, **options):
        if name == "operator":
            argv = ["false"]
        started.append(start(cls, name, argv, **options))
        return started[-1]

    monkeypatch.setattr(Process, "start", classmethod(fail_last))
    with pytest.raises(RuntimeError, match="operator"):
        standing.up(toolchain)
    assert {} == standing.running()
    assert [] == [process.name for process in started if process.running]
