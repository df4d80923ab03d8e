"""Finding and building the lab's programs, shown on a Go program of three lines."""

from __future__ import annotations

import os
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from tests.lab import toolchain as subject
from tests.lab.gobuild import BuildFailedError, GoProgram, ensure_built
from tests.lab.toolchain import SOURCES, Toolchain

pytestmark = pytest.mark.lab

HELLO = 'package main\n\nfunc main() { println("hello") }\n'


@pytest.fixture
def hello(tmp_path) -> GoProgram:
    module = tmp_path / "hello"
    module.mkdir()
    (module / "go.mod").write_text("module example.org/hello\n\ngo 1.21\n")
    (module / "main.go").write_text(HELLO)
    return GoProgram("hello", module, ".", "a second")


def run(program: Path) -> str:
    return subprocess.run([program], capture_output=True, text=True, check=True).stderr.strip()


def test_a_program_is_built_once_and_again_when_its_sources_change(hello, tmp_path):
    said: list[str] = []
    cache = tmp_path / "cache"
    built = ensure_built(hello, cache, said.append)
    assert "hello" == run(built)
    first = list(said)
    ensure_built(hello, cache, said.append)
    assert first == said, "a warm build says and builds nothing"
    (hello.module / "main.go").write_text(HELLO.replace("hello", "changed"))
    assert "changed" == run(ensure_built(hello, cache, said.append))


def test_a_build_says_what_it_builds_and_how_long_that_takes(hello, tmp_path):
    said: list[str] = []
    ensure_built(hello, tmp_path / "cache", said.append)
    assert said[0].startswith("building hello from hello/go.mod: a second")
    assert said[-1].startswith("built hello in ")


def test_go_tests_are_not_part_of_the_key(hello):
    before = hello.key()
    (hello.module / "main_test.go").write_text("package main\n")
    assert before == hello.key()


def test_a_program_that_does_not_compile_is_reported_and_not_cached(hello, tmp_path):
    (hello.module / "main.go").write_text("package main\n\nfunc main() { nonsense() }\n")
    with pytest.raises(BuildFailedError, match="undefined: nonsense"):
        ensure_built(hello, tmp_path / "cache", lambda _: None)
    assert not (tmp_path / "cache" / "hello").exists()


def test_concurrent_callers_build_once(hello, tmp_path):
    said: list[str] = []
    callers = [threading.Thread(target=ensure_built, args=(hello, tmp_path / "cache", said.append)) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert 1 == sum(line.startswith("built hello") for line in said)


def fake_program(folder: Path, name: str, version: str) -> Path:
    path = folder / name
    folder.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{version}'\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_programs_of_kubebuilder_assets_come_first(tmp_path, monkeypatch):
    mine = fake_program(tmp_path / "assets", "kube-apiserver", "Kubernetes v1.33.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert mine == Toolchain(tmp_path / "cache").find("kube-apiserver")


def test_a_program_on_path_is_taken_when_its_version_fits(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    mine = fake_program(tmp_path / "bin", "etcd", "etcd Version: 3.5.21")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert mine == Toolchain(tmp_path / "cache").find("etcd")


def test_programs_that_are_too_old_and_a_foreign_labsim_are_passed_over(tmp_path, monkeypatch):
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    fake_program(tmp_path / "bin", "kube-apiserver", "Kubernetes v1.29.9")
    fake_program(tmp_path / "bin", "etcd", "etcd Version: 3.4.23")
    fake_program(tmp_path / "bin", "labsim", "labsim v9.9.9")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    found = {name: subject._outside(SOURCES[name]) for name in ("kube-apiserver", "etcd", "labsim")}
    assert {"kube-apiserver": None, "etcd": None, "labsim": None} == found


def test_the_cache_can_be_moved_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("RESURGO_LAB_CACHE", str(tmp_path))
    assert tmp_path == Toolchain().cache
