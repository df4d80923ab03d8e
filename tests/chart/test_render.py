"""The chart as Helm renders it: what is copied, what values.yaml promises, what a restricted namespace accepts."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.chart.conftest import ROOT, run_helm

from resurgo.config import Config, variable_of

Manifests = list[dict[str, Any]]
Render = Callable[..., Manifests]
IMAGE = ("--set", "image.repository=images.example/resurgo")


@pytest.fixture(scope="session")
def render(helm: Path, chart: Path) -> Render:
    def render(*args: str, namespace: str = "resurgo-system") -> Manifests:
        done = run_helm(helm, "template", "resurgo", chart, "-n", namespace, *IMAGE, *args)
        assert 0 == done.returncode, done.stderr
        return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]

    return render


def of(manifests: Manifests, kind: str, name: str | None = None) -> dict[str, Any]:
    (found,) = [m for m in manifests if m["kind"] == kind and name in {None, m["metadata"]["name"]}]
    return found


def test_the_charts_crds_are_copies_of_the_projects(chart: Path) -> None:
    copies = {path.name: path.read_bytes() for path in (chart / "files" / "crds").iterdir()}
    originals = {path.name: path.read_bytes() for path in (ROOT / "crds").glob("*.yaml")}
    assert originals == copies, "copy crds/*.yaml to charts/resurgo/files/crds/"


def test_helm_lints_it(helm: Path, chart: Path) -> None:
    done = run_helm(helm, "lint", "--strict", chart, *IMAGE)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_crds_are_rendered_whole_and_kept_on_uninstall(render: Render) -> None:
    rendered = {m["metadata"]["name"]: m for m in render() if m["kind"] == "CustomResourceDefinition"}
    originals = {crd["metadata"]["name"]: crd for crd in map(_load, (ROOT / "crds").glob("*.yaml"))}
    assert set(originals) == set(rendered)
    for name, crd in rendered.items():
        assert originals[name]["spec"] == crd["spec"]
        assert "keep" == crd["metadata"]["annotations"]["helm.sh/resource-policy"]
    assert not [m for m in render("--set", "crds.install=false") if m["kind"] == "CustomResourceDefinition"]


def test_an_image_must_be_named_and_may_be_pinned(helm: Path, chart: Path, render: Render) -> None:
    done = run_helm(helm, "template", "resurgo", chart)
    assert 0 != done.returncode
    assert "image.repository must be set" in done.stderr
    digest = "sha256:" + "a" * 64
    container = _container(render("--set", f"image.digest={digest}"))
    assert f"images.example/resurgo@{digest}" == container["image"]


@pytest.mark.parametrize(
    "wrong",
    ["replica=2", "replicas=3", "log.level=loud", "metrics.port=80", "image.digest=latest", "crds.keep=true"],
)
def test_wrong_and_unknown_values_are_refused(helm: Path, chart: Path, wrong: str) -> None:
    assert 0 != run_helm(helm, "template", "resurgo", chart, *IMAGE, "--set", wrong).returncode


def test_the_pod_satisfies_the_restricted_standard(render: Render) -> None:
    pod = of(render(), "Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert {"type": "RuntimeDefault"} == pod["securityContext"]["seccompProfile"]
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == container["securityContext"]
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


def test_the_operator_understands_the_environment_it_gets(render: Render) -> None:
    more = ("--set", "lease.durationSeconds=30", "--set", "log.level=debug")
    environment = {entry["name"]: entry.get("value", "from-a-field") for entry in _container(render(*more))["env"]}
    known = {variable_of(name) for name in Config.__dataclass_fields__}
    assert set(environment) <= known
    config = Config.load([], environment)
    assert (30.0, "debug", ("0.0.0.0", 9090)) == (config.lease_duration, config.log_level, config.metrics_address)  # noqa: S104


def test_probes_and_service_meet_the_port(render: Render) -> None:
    manifests = render("--set", "metrics.port=9191", "--set", "metrics.serviceMonitor.enabled=true")
    container = _container(manifests)
    assert [{"name": "metrics", "containerPort": 9191}] == container["ports"]
    assert {"metrics"} == {container[probe]["httpGet"]["port"] for probe in ("readinessProbe", "livenessProbe")}
    service = of(manifests, "Service")
    selector = service["spec"]["selector"].items()
    assert selector <= of(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"].items()
    assert of(manifests, "ServiceMonitor")["spec"]["endpoints"][0]["honorLabels"]


def test_secrets_are_readable_only_where_values_say(render: Render) -> None:
    own = [m for m in render(namespace="dr") if m["kind"] == "Role" and m["metadata"]["name"] == "resurgo-credentials"]
    assert ["dr"] == [role["metadata"]["namespace"] for role in own]
    manifests = render("--set", "credentials.namespaces={vcenters,arrays}")
    roles = [m for m in manifests if m["kind"] == "Role" and m["metadata"]["name"] == "resurgo-credentials"]
    assert {"vcenters", "arrays"} == {role["metadata"]["namespace"] for role in roles}
    cluster = [rule for m in manifests if m["kind"] == "ClusterRole" for rule in m["rules"]]
    assert not [rule for rule in cluster if "secrets" in rule["resources"]]


def test_nothing_is_granted_wholesale(render: Render) -> None:
    role = of(render("--set", "hooks.jobs=true"), "ClusterRole", "resurgo-operator")
    for rule in role["rules"]:
        assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
        assert not {"escalate", "bind", "impersonate", "approve", "deletecollection"} & set(rule["verbs"])


def test_every_value_is_described(chart: Path) -> None:
    """A comment stands right above every value; a key that only holds others needs none."""
    lines = (chart / "values.yaml").read_text().splitlines()
    pairs = zip(["", *lines], lines, strict=False)
    values = [(above, line) for above, line in pairs if ":" in line and not line.lstrip().startswith("#")]
    undescribed = [line for above, line in values if not line.endswith(":") and not above.lstrip().startswith("#")]
    assert [] == undescribed


def _load(path: Path) -> dict[str, Any]:
    loaded = yaml.safe_load(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def _container(manifests: Manifests) -> dict[str, Any]:
    (container,) = of(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def test_every_combination_of_switches_renders(helm: Path, chart: Path) -> None:
    switches = [
        "crds.install",
        "policies.install",
        "roles.install",
        "hooks.jobs",
        "metrics.serviceMonitor.enabled",
        "metrics.alerts.enabled",
    ]
    for number in range(2 ** len(switches)):
        on = [str(bool(number >> bit & 1)).lower() for bit in range(len(switches))]
        args = [part for switch, value in zip(switches, on, strict=True) for part in ("--set", f"{switch}={value}")]
        done: subprocess.CompletedProcess[str] = run_helm(helm, "template", "resurgo", chart, *IMAGE, *args)
        assert 0 == done.returncode, (args, done.stderr)
        assert all(yaml.safe_load_all(done.stdout))
