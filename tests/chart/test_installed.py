"""The chart's objects on a real API server: what the operator may do, and what the policies refuse whom."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.chart.conftest import run_helm
from tests.lab.kube import OPERATOR_NAMESPACE, Kube
from tests.lab.processes import Process
from tests.lab.waiting import wait_until

from resurgo.adapters.kube.client import load
from resurgo.domain.errors import DrError
from resurgo.domain.ports import Key

pytestmark = pytest.mark.lab

ARGO = "system:serviceaccount:argocd:argocd-application-controller"
WIRING = Path(__file__).parents[1] / "wiring"
RUN = {"planRef": {"name": "erp"}, "type": "Test"}


@pytest.fixture(scope="module")
def cluster(toolchain, helm: Path, chart: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """An API server of its own: the policies bind everybody, administrators too."""
    kube = Kube(toolchain, tmp_path_factory.mktemp("chart"))
    try:
        kube.start()
        kube.namespace(OPERATOR_NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})
        more = ("--set", f"policies.testsOnlyAccounts={{{ARGO}}}", "--set", "crds.install=false")
        done = run_helm(
            helm, "template", "resurgo", chart, "-n", OPERATOR_NAMESPACE, "--set", "image.repository=x", *more
        )
        assert 0 == done.returncode, done.stderr
        kube.install_crds(chart / "files" / "crds")
        kube.apply(*[manifest for manifest in yaml.safe_load_all(done.stdout) if manifest])
        _await_policies(kube)
        yield kube
    finally:
        kube.stop()


@pytest.fixture
def namespace(cluster: Kube) -> str:
    """A tenant's namespace where the developer requests and the approver approves."""
    name = cluster.namespace(f"tenant-{uuid.uuid4().hex[:8]}")
    for user, role in (("developer", "resurgo-requester"), ("approver", "resurgo-approver")):
        cluster.apply(
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": role, "namespace": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
            }
        )
    return name


def create(cluster: Kube, namespace: str, user: str, **spec: object) -> str:
    """Create a run as *user* and return what kubectl complained of."""
    manifest = {
        "apiVersion": "resurgo.dev/v1alpha1",
        "kind": "RecoveryRun",
        "metadata": {"name": "r1", "namespace": namespace},
        "spec": RUN | spec,
    }
    return cluster.kubectl("create", "-f", "-", user=user, input=yaml.safe_dump(manifest)).stderr


def status(cluster: Kube, namespace: str, user: str, **patch: object) -> str:
    """Patch the run's status as *user*, as the operator and the command line do, and return what was refused."""

    async def write() -> str:
        client = await load(cluster.kubeconfig(user))
        try:
            await client.patch_status(Key("recoveryruns", namespace, "r1"), dict(patch))
        except DrError as refused:
            return str(refused)
        finally:
            await client.aclose()
        return ""

    return asyncio.run(write())


def approved(by: str) -> dict[str, object]:
    condition = {
        "type": "Approved",
        "status": "True",
        "reason": "Approved",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    return {"approvedBy": by, "conditions": [condition]}


def _await_policies(kube: Kube) -> None:
    """A fresh policy needs seconds until it is enforced."""
    kube.namespace("probe")

    def enforced() -> bool:
        complaint = create(kube, "probe", "admin", requestedBy="somebody")
        kube.kubectl("delete", "recoveryrun", "r1", "-n", "probe", "--ignore-not-found")
        return "spec.requestedBy must be admin" in complaint

    wait_until(enforced, "the policies are enforced", seconds=30)


@pytest.mark.parametrize("phase", ["Running", "Paused", "RollingBack"])
def test_an_active_run_is_not_deleted_one_by_one_or_all_at_once(cluster: Kube, namespace: str, phase: str) -> None:
    assert "" == create(cluster, namespace, "admin")
    assert "" == status(cluster, namespace, "operator", phase=phase)
    for what in (("r1",), ("--all",)):
        done = cluster.kubectl("delete", "recoveryrun", *what, "-n", namespace, "--wait=false")
        assert f"run r1 is {phase} and cannot be deleted: cancel it" in done.stderr
    assert "" == status(cluster, namespace, "operator", phase="Cancelled")
    assert 0 == cluster.kubectl("delete", "recoveryrun", "r1", "-n", namespace).returncode


def test_nobody_requests_in_anothers_name_but_the_operator(cluster: Kube, namespace: str) -> None:
    assert "spec.requestedBy must be developer" in create(cluster, namespace, "developer", requestedBy="admin")
    assert "" == create(cluster, namespace, "developer", requestedBy="developer")
    cluster.kubectl("delete", "recoveryrun", "r1", "-n", namespace)
    assert "" == create(cluster, namespace, "operator", requestedBy="developer")


def test_an_approver_approves_in_their_own_name(cluster: Kube, namespace: str) -> None:
    assert "" == create(cluster, namespace, "developer", requestedBy="developer")
    assert "does not wait for an approval" in status(cluster, namespace, "approver", **approved("approver"))
    assert "" == status(cluster, namespace, "operator", phase="AwaitingApproval", requestedBy="developer")
    assert "approvedBy must be approver" in status(cluster, namespace, "approver", **approved("admin"))
    assert "nothing else" in status(cluster, namespace, "approver", **approved("approver"), phase="Succeeded")
    assert "nothing else" in status(cluster, namespace, "approver", **approved("approver"), requestedBy="eve")
    assert "" == status(cluster, namespace, "approver", **approved("approver"))


def test_who_asked_does_not_approve_and_who_may_not_does_not_either(cluster: Kube, namespace: str) -> None:
    assert "" == create(cluster, namespace, "admin", requestedBy="admin")
    assert "" == status(cluster, namespace, "operator", phase="AwaitingApproval", requestedBy="admin")
    assert "whoever asked for a run cannot approve it" in status(cluster, namespace, "admin", **approved("admin"))
    assert "forbidden" in status(cluster, namespace, "developer", **approved("developer")).lower()
    # The right to write the status is not the right to approve.
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": "writes-status", "namespace": namespace},
            "rules": [{"apiGroups": ["resurgo.dev"], "resources": ["recoveryruns/status"], "verbs": ["patch"]}],
        }
    )
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "writes-status", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writes-status"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "developer"}],
        }
    )
    refusal = "developer may not approve runs of plan erp"
    complaint = lambda: status(cluster, namespace, "developer", **approved("developer"))  # noqa: E731
    wait_until(lambda: refusal in complaint(), "the new right counts and the policy refuses", seconds=10)


def test_the_operator_may_do_what_it_does_and_not_more(cluster: Kube, namespace: str) -> None:
    allowed = [
        *[(verb, "recoveryplans.resurgo.dev", namespace) for verb in ("get", "list", "watch", "patch")],
        ("patch", "sites.resurgo.dev/status", ""),
        ("create", "recoveryruns.resurgo.dev", namespace),
        ("patch", "configmaps", namespace),
        ("create", "events.events.k8s.io", namespace),
        ("get", "namespaces", ""),
        ("get", "secrets", OPERATOR_NAMESPACE),
        ("update", "leases.coordination.k8s.io/resurgo", OPERATOR_NAMESPACE),
        ("get", "validatingadmissionpolicies.admissionregistration.k8s.io/resurgo-approvals", ""),
    ]
    refused = [
        ("get", "secrets", namespace),
        ("list", "secrets", OPERATOR_NAMESPACE),
        ("update", "leases.coordination.k8s.io/another", OPERATOR_NAMESPACE),
        ("create", "recoveryplans.resurgo.dev", namespace),
        ("delete", "recoveryplans.resurgo.dev", namespace),
        ("approve", "recoveryplans.resurgo.dev", namespace),
        ("create", "jobs.batch", namespace),
        ("create", "pods", namespace),
        ("get", "nodes", ""),
    ]
    assert dict.fromkeys(allowed, "yes") == {may: _can(cluster, *may) for may in allowed}
    assert dict.fromkeys(refused, "no") == {may: _can(cluster, *may) for may in refused}


def test_a_gitops_account_creates_tests_only(cluster: Kube, namespace: str) -> None:
    cluster.apply(
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "argocd", "namespace": namespace},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "resurgo-requester"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": ARGO}],
        }
    )
    wait_until(lambda: _can(cluster, "create", "recoveryruns.resurgo.dev", namespace, user="argocd") == "yes", "bound")
    refusal = "may create runs of type Test only"
    assert refusal in create(cluster, namespace, "argocd", type="PlannedMigration")
    assert "" == create(cluster, namespace, "argocd", type="Test")


def _can(cluster: Kube, verb: str, what: str, namespace: str, user: str = "operator") -> str:
    where = ("-n", namespace) if namespace else ()
    return cluster.kubectl("auth", "can-i", verb, what, *where, user=user).stdout.strip()


def test_a_namespace_that_enforces_the_restricted_standard_takes_the_pod(cluster: Kube) -> None:
    template = cluster.get("deployment", "resurgo", "-n", OPERATOR_NAMESPACE)["spec"]["template"]  # type: ignore[index]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "namespace": OPERATOR_NAMESPACE}}
    done = cluster.kubectl(
        "create", "--dry-run=server", "-f", "-", input=yaml.safe_dump(pod | {"spec": template["spec"]})
    )
    assert (0, "") == (done.returncode, done.stderr)
    careless = {"containers": [{"name": "c", "image": "x"}]}
    done = cluster.kubectl("create", "--dry-run=server", "-f", "-", input=yaml.safe_dump(pod | {"spec": careless}))
    assert 'violates PodSecurity "restricted' in done.stderr


def test_the_edge_and_the_lease_work_with_these_rights_alone(cluster: Kube, namespace: str, tmp_path: Path) -> None:
    kubeconfig = cluster.kubeconfig("operator")
    env = {"KUBECONFIG": str(kubeconfig)}
    edge = Process.start(
        "edge", [sys.executable, WIRING / "trivial_operator.py", tmp_path], log=tmp_path / "edge", env=env
    )
    argv = [sys.executable, WIRING / "lease_holder.py", kubeconfig, OPERATOR_NAMESPACE, "resurgo", "6", "1", "0"]
    leader = Process.start("leader", argv, log=tmp_path / "leader")
    try:
        leader.wait_ready(lambda: "leading" in leader.log.read_text() or None)
        edge.wait_ready(lambda: "watching" in edge.log.read_text() or None)
        assert "" == create(cluster, namespace, "admin")
        run = lambda: cluster.get("recoveryrun", "r1", "-n", namespace)  # noqa: E731
        wait_until(lambda: run().get("status", {}).get("phase") == "Running", "the driver writes its status")  # type: ignore[attr-defined]
        assert "" == status(cluster, namespace, "operator", phase="Failed")
        assert 0 == cluster.kubectl("delete", "recoveryrun", "r1", "-n", namespace, "--timeout=15s").returncode
        assert "forbidden" not in (edge.log.read_text() + leader.log.read_text()).lower()
    finally:
        edge.stop()
        leader.stop()
