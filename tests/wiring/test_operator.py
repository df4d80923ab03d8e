"""The edge on a real API server, as a process: who is woken when, what holds a deletion, how it ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.lab.kube import Kube
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

from resurgo.edge.handlers import SETTLED
from resurgo.edge.settings import FINALIZER

pytestmark = pytest.mark.lab

SCRIPT = Path(__file__).with_name("trivial_operator.py")


class Edge:
    """The process under test; `story` is what it has told."""

    def __init__(self, kube: Kube, folder: Path) -> None:
        self._kube, self._folder = kube, folder
        self._number = 0
        self.process: Process | None = None

    def start(self) -> None:
        self._number += 1
        log = self._folder / f"edge-{self._number}.log"
        env = {"KUBECONFIG": str(self._kube.kubeconfig("admin"))}
        self.process = Process.start("edge", [sys.executable, SCRIPT, self._folder], log=log, env=env)
        self.process.wait_ready(lambda: self.told("watching") or None, seconds=30)

    def story(self) -> list[list[object]]:
        assert self.process
        lines = self.process.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("[")]

    def told(self, *words: object) -> list[list[object]]:
        return [line for line in self.story() if line[1 : 1 + len(words)] == list(words)]

    def await_told(self, *words: object, seconds: float = 5.0) -> list[object]:
        assert self.process
        wait_until(lambda: self.told(*words), f"the edge tells {words}\n{self.process.tail()}", seconds=seconds)
        return self.told(*words)[-1]

    def hold(self) -> None:
        (self._folder / "hold").touch()

    def release(self) -> None:
        (self._folder / "hold").unlink()


@pytest.fixture
def edge(apiserver: Kube, tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(apiserver, tmp_path)
    yield edge
    if edge.process:
        edge.process.kill()


@pytest.fixture
def namespace(apiserver: Kube) -> str:
    return apiserver.namespace(f"edge-{uuid.uuid4().hex[:8]}")


@pytest.fixture
def run(apiserver: Kube, namespace: str) -> Iterator[Callable[..., str]]:
    """Make a RecoveryRun; what is left of them is let go at the end."""
    made: list[str] = []

    def create(name: str = "r1") -> str:
        manifest = {
            "apiVersion": "resurgo.dev/v1alpha1",
            "kind": "RecoveryRun",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"planRef": {"name": "erp"}, "type": "Test"},
        }
        apiserver.apply(manifest)
        made.append(name)
        return name

    yield create
    for name in made:
        apiserver.kubectl("patch", "recoveryrun", name, "-n", namespace, "--type=merge", "-p", _FREE)
        apiserver.kubectl("delete", "recoveryrun", name, "-n", namespace, "--wait=false", "--ignore-not-found")


_FREE = '{"metadata":{"finalizers":null}}'


def change(kube: Kube, namespace: str, name: str, patch: dict[str, object], *more: str) -> float:
    """Patch the run and return the time at which the API server had it."""
    done = kube.kubectl("patch", "recoveryrun", name, "-n", namespace, "--type=merge", "-p", json.dumps(patch), *more)
    assert 0 == done.returncode, done.stderr
    return time.time()


def finalizers(kube: Kube, namespace: str, name: str) -> set[str]:
    metadata = kube.get("recoveryrun", name, "-n", namespace)["metadata"]
    assert isinstance(metadata, dict)
    return set(metadata.get("finalizers") or ())


def delete(kube: Kube, namespace: str, name: str) -> None:
    kube.kubectl("delete", "recoveryrun", name, "-n", namespace, "--wait=false")


def gone(kube: Kube, namespace: str, name: str) -> bool:
    return "NotFound" in kube.kubectl("get", "recoveryrun", name, "-n", namespace).stderr


def await_held(kube: Kube, namespace: str, name: str) -> None:
    both = {FINALIZER, SETTLED}
    wait_until(lambda: finalizers(kube, namespace, name) == both, f"{name} is held by both finalizers", seconds=10)


def test_a_change_of_spec_wakes_the_loop_at_once(apiserver: Kube, namespace: str, edge: Edge, run) -> None:
    edge.start()
    name = run()
    edge.await_told("look", "recoveryruns", name, 1)
    await_held(apiserver, namespace, name)
    changed = change(apiserver, namespace, name, {"spec": {"control": "Pause"}})
    seen = edge.await_told("look", "recoveryruns", name, 2, "NO")
    assert seen[0] - changed < 0.5


def test_an_own_status_write_wakes_nobody(apiserver: Kube, namespace: str, edge: Edge, run) -> None:
    edge.start()
    name = run()
    await_held(apiserver, namespace, name)
    change(apiserver, namespace, name, {"spec": {"control": "Pause"}})
    edge.await_told("look", "recoveryruns", name, 2)
    # The status of generation 2 is written after that look; the change of a label then shows that events still come.
    written = lambda: apiserver.get("recoveryrun", name, "-n", namespace)["status"].get("observedGeneration") == 2  # noqa: E731
    wait_until(written, "the status follows", seconds=5)
    looks = len(edge.told("look", "recoveryruns", name, 2))
    change(apiserver, namespace, name, {"metadata": {"labels": {"touched": "yes"}}})
    wait_until(lambda: len(edge.told("look", "recoveryruns", name, 2)) > looks, "the label wakes the loop", seconds=5)
    # An echo may overtake the answer to its write; that costs one look, never a chain of them.
    assert len(edge.told("look", "recoveryruns", name, 2)) <= looks + 2


def test_a_deletion_waits_for_the_safe_point(apiserver: Kube, namespace: str, edge: Edge, run) -> None:
    edge.start()
    edge.hold()
    name = run()
    await_held(apiserver, namespace, name)
    delete(apiserver, namespace, name)
    edge.await_told("look", "recoveryruns", name, 2, "SAFE_POINT")
    assert not gone(apiserver, namespace, name)
    edge.release()
    wait_until(lambda: gone(apiserver, namespace, name), "the run is gone", seconds=15)


def test_a_deletion_under_way_survives_a_crash(apiserver: Kube, namespace: str, edge: Edge, run) -> None:
    edge.start()
    edge.hold()
    name = run()
    await_held(apiserver, namespace, name)
    delete(apiserver, namespace, name)
    edge.await_told("look", "recoveryruns", name, 2, "SAFE_POINT")
    assert edge.process
    edge.process.kill()

    edge.start()
    edge.await_told("look", "recoveryruns", name, 2, "SAFE_POINT")
    # kopf takes its own finalizer off such an object whatever goes on; ours is what holds it.
    wait_until(lambda: finalizers(apiserver, namespace, name) == {SETTLED}, "kopf lets go", seconds=10)
    edge.release()
    wait_until(lambda: gone(apiserver, namespace, name), "the run is gone", seconds=10)
    edge.await_told("left", "recoveryruns", name)


def test_a_terminal_run_is_let_go_and_a_retry_revives_it(apiserver: Kube, namespace: str, edge: Edge, run) -> None:
    edge.start()
    name = run()
    await_held(apiserver, namespace, name)
    change(apiserver, namespace, name, {"status": {"phase": "Failed", "handledRetry": 0}}, "--subresource=status")
    wait_until(lambda: finalizers(apiserver, namespace, name) == set(), "nothing holds the run", seconds=10)
    edge.await_told("left", "recoveryruns", name)
    change(apiserver, namespace, name, {"spec": {"retry": 1}})
    edge.await_told("look", "recoveryruns", name, 2, "NO")
    await_held(apiserver, namespace, name)


def test_the_loop_of_an_object_that_was_torn_away_ends(apiserver: Kube, namespace: str, edge: Edge, run) -> None:
    edge.start()
    name = run()
    await_held(apiserver, namespace, name)
    edge.hold()
    delete(apiserver, namespace, name)
    edge.await_told("look", "recoveryruns", name, 2, "SAFE_POINT")
    apiserver.kubectl("patch", "recoveryrun", name, "-n", namespace, "--type=merge", "-p", _FREE)
    edge.await_told("left", "recoveryruns", name)
    _end(edge)
    assert 0 == edge.told("ended")[-1][2]


def test_sigterm_ends_the_process_at_once_whoever_listens(apiserver: Kube, namespace: str, edge: Edge, run) -> None:
    edge.start()
    names = [run(f"r{number}") for number in range(5)]
    for name in names:
        await_held(apiserver, namespace, name)
    port = int(str(edge.told("serving")[0][2]))
    address = ("127.0.0.1", port)
    with socket.create_connection(address, timeout=5), socket.create_connection(address, timeout=5) as scraper:
        scraper.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n")
        assert scraper.recv(1000).startswith(b"HTTP/1.1 200")
        assert _end(edge) < 2.0
    assert set(names) == {line[3] for line in edge.told("left", "recoveryruns")}
    # A run that was not finished is as it was: the next process goes on with it.
    await_held(apiserver, namespace, names[0])


def _end(edge: Edge) -> float:
    """SIGTERM; return how long the end took."""
    assert edge.process
    started = time.monotonic()
    os.kill(edge.process.pid, signal.SIGTERM)
    assert 0 == edge.process.wait(15), edge.process.tail()
    return time.monotonic() - started
