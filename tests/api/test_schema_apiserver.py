"""The schemas on a real API server: defaults, unique names, caps, merging, columns, explanations, examples."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.api.schemas import full
from tests.api.server import BY_KIND, RefusedError, Server
from tests.lab.kube import Kube

from resurgo.api import KINDS, Resource
from resurgo.api.base import API_VERSION
from resurgo.api.crd import custom_resource_definition

pytestmark = pytest.mark.lab

ROOT = Path(__file__).parents[2]
by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)


@by_kind
def test_the_api_server_fills_in_what_the_model_does(server: Server, kind: type[Resource]) -> None:
    manifest = server.manifest(kind.KIND)
    answer = server.create(manifest, dry_run=True)
    assert kind.model_validate(manifest).dump()["spec"] == kind.model_validate(answer).dump()["spec"]
    said = {key: value for key, value in kind.model_validate(manifest).dump()["spec"].items() if value not in ([], {})}
    assert said.keys() == answer["spec"].keys()


@by_kind
def test_a_status_with_every_field_is_kept_as_it_is(server: Server, kind: type[Resource]) -> None:
    version = custom_resource_definition(kind)["spec"]["versions"][0]
    status = full(version["schema"]["openAPIV3Schema"]["properties"]["status"])
    name = server.create(server.manifest(kind.KIND))["metadata"]["name"]
    server.write_status(
        kind.KIND, name, kind.model_validate({**server.manifest(kind.KIND), "status": status}).dump()["status"]
    )
    assert status == server.get(kind.KIND, name)["status"]


@by_kind
def test_an_object_made_by_the_model_is_accepted(server: Server, kind: type[Resource]) -> None:
    manifest = kind.model_validate(server.manifest(kind.KIND)).manifest()
    assert manifest["spec"].items() <= server.create(manifest, dry_run=True)["spec"].items()


@by_kind
def test_a_misspelt_field_is_refused(server: Server, kind: type[Resource]) -> None:
    with pytest.raises(RefusedError, match=r'unknown field "spec\.misspelt"'):
        server.create(server.manifest(kind.KIND, {"misspelt": 1}), dry_run=True)


@by_kind
def test_an_object_without_a_spec_is_refused(server: Server, kind: type[Resource]) -> None:
    manifest = server.manifest(kind.KIND)
    del manifest["spec"]
    with pytest.raises(RefusedError, match="spec: Required value"):
        server.create(manifest, dry_run=True)


def _twice(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [item, item]


NETWORK = {"from": "VM Network", "to": "DR Network"}
TOO_MUCH: dict[str, tuple[str, dict[str, Any], str]] = {
    "two endpoints of one site": (
        "ReplicationPair",
        {"endpoints": [{"site": "berlin", "id": "a"}, {"site": "berlin", "id": "b"}]},
        "Duplicate value",
    ),
    "three endpoints": (
        "ReplicationPair",
        {"endpoints": [{"site": site, "id": "a"} for site in ("berlin", "leipzig", "jena")]},
        "must have at most 2 items",
    ),
    "one endpoint": ("ReplicationPair", {"endpoints": [{"site": "berlin", "id": "a"}]}, "should have at least 2 items"),
    "an SRA by path": ("ReplicationPair", {"sra": {"name": "../../bin/sh"}}, "spec.sra.name"),
    "an unknown adapter": ("ReplicationPair", {"adapter": {"type": "tape"}}, "Unsupported value"),
    "a network mapped twice": ("InventoryMapping", {"networks": _twice(NETWORK)}, "Duplicate value"),
    "a relative folder": ("InventoryMapping", {"folders": [{"from": "vm/erp", "to": "/x/vm"}]}, "spec.folders"),
    "a third site": ("InventoryMapping", {"sites": ["a", "b", "c"]}, "must have at most 2 items"),
    "no consistency group": ("ProtectionGroup", {"replication": {"consistencyGroups": []}}, "at least 1 items"),
    "65 consistency groups": (
        "ProtectionGroup",
        {"replication": {"consistencyGroups": [f"cg-{n}" for n in range(65)]}},
        "must have at most 64 items",
    ),
    "a negative RPO": ("ProtectionGroup", {"rpoSeconds": -1}, "greater than or equal to 0"),
    "a state in capitals": ("RecoveryPlan", {"desiredState": "Recovered"}, "Unsupported value"),
    "a test as a state": ("RecoveryPlan", {"desiredState": "test"}, "Unsupported value"),
    "two stages of one name": ("RecoveryPlan", {"stages": _twice({"name": "database"})}, "Duplicate value"),
    "a group twice": ("RecoveryPlan", {"protectionGroups": _twice({"name": "erp"})}, "Duplicate value"),
    "no group": ("RecoveryPlan", {"protectionGroups": []}, "at least 1 items"),
    "a quorum of nothing": (
        "RecoveryPlan",
        {"stages": [{"name": "a", "onFailure": {"quorum": 0}}]},
        "greater than or equal to 1",
    ),
    "a requestID with spaces": ("RecoveryRun", {"requestID": "inc 1"}, "spec.requestID"),
    "an unknown run type": ("RecoveryRun", {"type": "Failover"}, "Unsupported value"),
    "a step skipped without reason": ("RecoveryRun", {"skipSteps": [{"step": "PreSync"}]}, "reason: Required value"),
    "a CA bundle that is no base64": ("Site", {"vcenter": {"caBundle": "-----BEGIN"}}, "spec.vcenter.caBundle"),
    "a short thumbprint": ("Site", {"vcenter": {"thumbprint": "AB:CD"}}, "spec.vcenter.thumbprint"),
    "a Site without credentials": ("Site", {"vcenter": {"credentialsSecretRef": None}}, "Required value"),
    "access to everything by omission": (
        "Site",
        {"access": [{"namespaceSelector": {}, "folders": ["/berlin/vm"]}]},
        "datastores: Required value",
    ),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_what_is_out_of_bounds_is_refused(server: Server, what: str) -> None:
    kind, spec, says = TOO_MUCH[what]
    with pytest.raises(RefusedError) as refused:
        server.create(server.manifest(kind, spec), dry_run=True)
    assert says in str(refused.value)


def test_the_largest_plan_is_accepted_within_the_cost_limit(server: Server) -> None:
    """1,000 VMs in 32 stages that each depend on all earlier ones, over 64 groups: rules cost most here."""
    stages = [
        {
            "name": f"stage-{n}",
            "dependsOn": [f"stage-{m}" for m in range(n)],
            "protectionGroups": [f"group-{n}", f"group-{n + 32}"],
            "virtualMachines": [{"name": f"vm-{n}-{m}"} for m in range(31)],
        }
        for n in range(32)
    ]
    spec = {
        "protectionGroups": [{"name": f"group-{n}"} for n in range(64)],
        "stages": stages,
        "virtualMachines": [{"name": vm["name"]} for stage in stages for vm in stage["virtualMachines"]],  # type: ignore[index]
    }
    answer = server.create(server.manifest("RecoveryPlan", spec))
    changed = server.change("RecoveryPlan", answer["metadata"]["name"], {"spec": {"runHistoryLimit": 5}})
    assert len(changed["spec"]["stages"]) == 32


def test_conditions_of_two_writers_are_merged_by_type(server: Server) -> None:
    name = server.create(server.manifest("RecoveryRun"))["metadata"]["name"]
    for manager, condition in (("operator", "Succeeded"), ("approver", "Approved"), ("operator", "Succeeded")):
        answer = server.apply_status("RecoveryRun", name, {"conditions": [_condition(condition)]}, manager)
    assert {"Succeeded", "Approved"} == {condition["type"] for condition in answer["status"]["conditions"]}


def _condition(kind: str, status: str = "True") -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": "Test",
        "message": "m",
        "lastTransitionTime": "2026-03-01T12:00:00Z",
    }


def test_a_plan_is_shown_with_its_conditions_by_type(apiserver: Kube, server: Server) -> None:
    name = server.create(server.manifest("RecoveryPlan"))["metadata"]["name"]
    status = {
        "activeSite": "berlin",
        "activeRun": {"name": "erp-1", "uid": "u"},
        "conditions": [_condition("InSync", "False"), _condition("Ready")],
    }
    server.write_status("RecoveryPlan", name, status)
    head, row = apiserver.kubectl("get", "rplan", name, "-n", server.namespace).stdout.splitlines()
    assert head.split() == ["NAME", "DESIRED", "ACTIVE", "READY", "IN", "SYNC", "RUN", "LAST", "TEST", "AGE"]
    assert row.split()[:6] == [name, "protected", "berlin", "True", "False", "erp-1"]


def test_a_group_is_shown_with_its_lag(apiserver: Kube, server: Server) -> None:
    name = server.create(server.manifest("ProtectionGroup"))["metadata"]["name"]
    replication = {"role": "Source", "link": "Idle", "healthy": True, "rpoLagSeconds": 42}
    status = {
        "replication": replication,
        "virtualMachines": 12,
        "conditions": [_condition("RPOMet"), _condition("Ready")],
    }
    server.write_status("ProtectionGroup", name, status)
    head, row = apiserver.kubectl("get", "protgrp", name, "-n", server.namespace).stdout.splitlines()
    assert head.split() == ["NAME", "ROLE", "RPO", "LAG", "VMS", "READY", "AGE"]
    assert row.split()[:6] == [name, "Source", "900", "42", "12", "True"]


def test_a_run_is_shown_with_its_progress(apiserver: Kube, server: Server) -> None:
    name = server.create(server.manifest("RecoveryRun"))["metadata"]["name"]
    status = {
        "phase": "Running",
        "currentStep": "PowerOn",
        "done": "12/40",
        "startTime": "2026-03-01T12:00:00Z",
        "achieved": {"recoveryTimeSeconds": 61},
    }
    server.write_status("RecoveryRun", name, status)
    head, row = apiserver.kubectl("get", "rrun", name, "-n", server.namespace).stdout.splitlines()
    assert head.split() == ["NAME", "PLAN", "TYPE", "PHASE", "STEP", "DONE", "STARTED", "RTO"]
    cells = row.split()
    assert cells[:6] == [name, "erp", "PlannedMigration", "Running", "PowerOn", "12/40"]
    assert cells[-1] == "61"


def test_kubectl_waits_for_a_run_to_succeed(apiserver: Kube, server: Server) -> None:
    name = server.create(server.manifest("RecoveryRun"))["metadata"]["name"]
    server.write_status("RecoveryRun", name, {"conditions": [_condition("Succeeded")]})
    waited = apiserver.kubectl(
        *("wait", f"rrun/{name}", "-n", server.namespace, "--for=condition=Succeeded", "--timeout=10s")
    )
    assert waited.returncode == 0, waited.stderr


@by_kind
def test_every_kind_has_a_short_name_and_is_in_the_category_dr(
    apiserver: Kube, server: Server, kind: type[Resource]
) -> None:
    name = server.create(server.manifest(kind.KIND))["metadata"]["name"]
    for word in (kind.SHORT_NAME, "dr"):
        listed = apiserver.kubectl("get", word, "-n", server.namespace, "-o", "name")
        assert f"{kind.SINGULAR}.resurgo.dev/{name}" in listed.stdout.split(), listed.stderr


def test_the_runs_of_a_plan_are_found_by_a_field_selector(apiserver: Kube, server: Server) -> None:
    ours = server.create(server.manifest("RecoveryRun", {"planRef": {"name": "selected"}}))["metadata"]["name"]
    server.create(server.manifest("RecoveryRun", {"planRef": {"name": "other"}}))
    found = apiserver.get("rrun", "-n", server.namespace, "--field-selector=spec.planRef.name=selected")
    assert [ours] == [item["metadata"]["name"] for item in found["items"]]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("recoveryplan.spec.desiredState", "protected, recovered, or reprotected"),
        ("recoveryplan.status.validNextStates", "the API server refuses any other"),
        ("recoveryrun.spec.control", "Cancel can't be taken back"),
        ("protectiongroup.spec.rpoSeconds", "0 = synchronous"),
        ("site.spec.access", "nobody by default"),
        ("invmap.spec.networks.test", "without an uplink"),
        ("rhook.spec.onFailure", "Halt fails the stage"),
        ("replpair.spec.sra.name", "cannot name a path to run"),
    ],
)
def test_kubectl_explains_a_field_in_the_words_of_the_model(apiserver: Kube, path: str, says: str) -> None:
    explained = apiserver.kubectl("explain", path)
    assert says in " ".join(explained.stdout.split()), explained.stderr


EXAMPLES = sorted((ROOT / "examples").rglob("*.yaml"))


@pytest.fixture(scope="session")
def example_namespaces(apiserver: Kube) -> None:
    for name in ("dr-demo", "resurgo-system"):
        apiserver.namespace(name)


@pytest.mark.usefixtures("example_namespaces")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_example_is_accepted_by_the_api_server_and_the_models(apiserver: Kube, path: Path) -> None:
    generated = "generateName" in path.read_text()
    how = ["create"] if generated else ["apply", "--server-side"]
    tried = apiserver.kubectl(*how, "--dry-run=server", "-o", "json", "-f", path)
    assert tried.returncode == 0, tried.stderr
    for document in yaml.safe_load_all(path.read_text()):
        if document["apiVersion"] == API_VERSION:
            named = {**document, "metadata": {"name": "generated", **document["metadata"]}}
            BY_KIND[document["kind"]].model_validate(named)


def test_the_examples_name_each_other() -> None:
    """A reference that leads nowhere would be the first thing a newcomer trips over."""
    documents = [d for p in EXAMPLES for d in yaml.safe_load_all(p.read_text())]
    known = {(d["kind"], d["metadata"].get("name")) for d in documents}

    def named(kind: str, pick: Callable[[dict[str, Any]], list[str]]) -> set[str]:
        return {name for d in documents if d["kind"] == kind for name in pick(d["spec"])}

    wanted = {("InventoryMapping", n) for n in named("RecoveryPlan", lambda s: [s["inventoryMappingRef"]["name"]])}
    wanted |= {
        ("ProtectionGroup", g) for g in named("RecoveryPlan", lambda s: [r["name"] for r in s["protectionGroups"]])
    }
    wanted |= {
        ("ReplicationPair", n) for n in named("ProtectionGroup", lambda s: [s["replication"]["pairRef"]["name"]])
    }
    wanted |= {("Site", n) for n in named("InventoryMapping", lambda s: s["sites"])}
    wanted |= {("Site", n) for n in named("ReplicationPair", lambda s: [e["site"] for e in s["endpoints"]])}
    wanted |= {("Secret", n) for n in named("Site", lambda s: [s["vcenter"]["credentialsSecretRef"]["name"]])}
    wanted |= {("RecoveryPlan", n) for n in named("RecoveryRun", lambda s: [s["planRef"]["name"]])}
    assert set() == wanted - known
