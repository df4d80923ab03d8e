"""The lab's API server: its users, what survives a restart, what a frozen one does."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
import yaml
from kubernetes import client
from tests.lab.kube import USERS, Kube
from tests.lab.toolchain import Toolchain

pytestmark = pytest.mark.lab


@pytest.fixture
def kube(toolchain, tmp_path) -> Iterator[Kube]:
    kube = Kube(toolchain, tmp_path / "kube")
    try:
        yield kube.start()
    finally:
        kube.stop()


def test_each_user_is_known_by_its_own_name_and_groups(apiserver: Kube):
    for key, user in USERS.items():
        review = apiserver.kubectl("auth", "whoami", "-o", "yaml", user=key)
        told = yaml.safe_load(review.stdout)["status"]["userInfo"]
        assert user.name == told["username"]
        assert set(user.groups) <= set(told["groups"])


def test_rbac_refuses_a_user_without_a_role(apiserver: Kube):
    refused = apiserver.kubectl("get", "secrets", "-A", user="developer")
    assert 1 == refused.returncode
    assert 'User "developer" cannot list resource "secrets"' in refused.stderr


def test_the_python_client_speaks_as_the_user_it_was_made_for(apiserver: Kube):
    with apiserver.client("admin") as api:
        names = {n.metadata.name for n in client.CoreV1Api(api).list_namespace().items}
    assert "default" in names


def test_a_manifest_that_is_refused_raises_with_kubectls_words(apiserver: Kube):
    with pytest.raises(RuntimeError, match="Invalid value"):
        apiserver.namespace("No_Good")


def test_crds_can_be_used_as_soon_as_install_returns(apiserver: Kube, tmp_path):
    schema = {"type": "object", "properties": {"spec": {"type": "object"}}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    spec = {"group": "lab.resurgo.dev", "scope": "Namespaced", "names": names, "versions": [version]}
    metadata = {"name": "widgets.lab.resurgo.dev"}
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": metadata,
        "spec": spec,
    }
    (tmp_path / "crd.yaml").write_text(yaml.safe_dump(crd))
    apiserver.install_crds(tmp_path)
    apiserver.apply(
        {"apiVersion": "lab.resurgo.dev/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}}
    )
    assert "w" == apiserver.get("widget", "w", "-n", "default")["metadata"]["name"]


def test_objects_survive_a_crash_of_the_api_server(kube: Kube):
    kube.namespace("kept")
    before = kube.apiserver.pid
    kube.restart()
    assert before != kube.apiserver.pid
    assert "kept" == kube.get("namespace", "kept")["metadata"]["name"]


def test_a_frozen_api_server_answers_nothing_until_it_is_resumed(kube: Kube):
    kube.pause()
    with pytest.raises(subprocess.TimeoutExpired):
        kube.kubectl("get", "namespaces", seconds=2)
    kube.resume()
    assert 0 == kube.kubectl("get", "namespaces").returncode


def test_two_api_servers_run_side_by_side(toolchain: Toolchain, apiserver: Kube, kube: Kube):
    kube.namespace("only-here")
    assert 0 == kube.kubectl("get", "namespace", "only-here").returncode
    assert 1 == apiserver.kubectl("get", "namespace", "only-here").returncode


def test_nothing_runs_after_stop_and_stop_may_be_repeated(toolchain: Toolchain, tmp_path):
    kube = Kube(toolchain, tmp_path / "kube").start()
    ran = list(kube.processes)
    kube.stop()
    kube.stop()
    assert [False, False] == [process.running for process in ran]
