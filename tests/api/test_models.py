"""The models: frozen words, the API's spelling, and nothing lost between an object and its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from tests.api.schemas import faults, full, values

from resurgo import api
from resurgo.api import KINDS, Resource
from resurgo.api.base import camel
from resurgo.api.crd import custom_resource_definition
from resurgo.api.rules.samples import SPECS


def schema_of(kind: type[Resource]) -> dict[str, Any]:
    version = custom_resource_definition(kind)["spec"]["versions"][0]
    properties: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]
    return properties


def minimal(kind: type[Resource]) -> dict[str, Any]:
    return {"metadata": {"name": "x"}, "spec": SPECS[kind.KIND]}


def models() -> Iterator[type[BaseModel]]:
    """Every model that is part of a kind."""
    seen: set[type[BaseModel]] = set()

    def walk(annotation: Any) -> Iterator[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in seen:
            seen.add(annotation)
            yield annotation
            for field in annotation.model_fields.values():
                yield from walk(field.annotation)
        for argument in get_args(annotation):
            yield from walk(argument)

    for kind in KINDS:
        yield from walk(kind)


@pytest.mark.parametrize(
    ("field", "spelling"),
    [
        ("request_id", "requestID"),
        ("instance_uuid", "instanceUuid"),
        ("insecure_skip_tls_verify", "insecureSkipTLSVerify"),
        ("from_", "from"),
        ("id", "id"),
        ("ip_rules", "ipRules"),
        ("rpo_seconds", "rpoSeconds"),
    ],
)
def test_fields_are_spelled_as_the_api_spells_them(field: str, spelling: str) -> None:
    assert spelling == camel(field)


def test_every_field_of_every_model_has_a_docstring_of_its_own() -> None:
    missing = [
        f"{model.__name__}.{name}"
        for model in models()
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert [] == missing


def test_there_are_seven_kinds_with_names_of_their_own() -> None:
    names = {(kind.KIND, kind.PLURAL, kind.SINGULAR, kind.SHORT_NAME) for kind in KINDS}
    assert {
        ("Site", "sites", "site", "drsite"),
        ("ReplicationPair", "replicationpairs", "replicationpair", "replpair"),
        ("InventoryMapping", "inventorymappings", "inventorymapping", "invmap"),
        ("RecoveryHook", "recoveryhooks", "recoveryhook", "rhook"),
        ("ProtectionGroup", "protectiongroups", "protectiongroup", "protgrp"),
        ("RecoveryPlan", "recoveryplans", "recoveryplan", "rplan"),
        ("RecoveryRun", "recoveryruns", "recoveryrun", "rrun"),
    } == names


def test_every_model_is_exported() -> None:
    public = {model.__name__ for model in models()}
    assert set() == public - set(api.__all__)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_an_object_is_frozen(kind: type[Resource]) -> None:
    resource = kind.model_validate(minimal(kind))
    with pytest.raises(ValidationError, match="frozen"):
        resource.metadata = api.Metadata(name="y")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_fields_of_a_newer_version_are_ignored(kind: type[Resource]) -> None:
    newer = minimal(kind)
    newer = {**newer, "spec": {**newer["spec"], "fromTheFuture": 1}, "status": {"alsoNew": True}}
    assert kind.model_validate(minimal(kind)) == kind.model_validate(newer)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_a_status_with_every_field_survives(kind: type[Resource]) -> None:
    status = full(schema_of(kind)["status"])
    assert status == kind.model_validate({**minimal(kind), "status": status}).dump()["status"]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(data=st.data())
def test_what_fits_the_schema_comes_back_from_model_and_yaml(kind: type[Resource], data: st.DataObject) -> None:
    schema = schema_of(kind)
    manifest = {"metadata": {"name": "x"}, **{part: data.draw(values(schema[part])) for part in ("spec", "status")}}
    resource = kind.model_validate(manifest)
    dumped = yaml.safe_load(yaml.safe_dump(resource.dump()))
    assert [] == [fault for part in ("spec", "status") for fault in faults(schema[part], dumped[part], part)]
    assert resource == kind.model_validate(dumped)


def test_a_manifest_for_a_create_has_no_status_and_no_empty_metadata() -> None:
    run = api.RecoveryRun(
        metadata=api.Metadata(name="erp-1", namespace="dr-demo", labels={"resurgo.dev/plan": "erp"}),
        spec=api.RecoveryRunSpec(plan_ref=api.PlanReference(name="erp"), type=api.RunType.TEST),
    )
    assert {
        "apiVersion": "resurgo.dev/v1alpha1",
        "kind": "RecoveryRun",
        "metadata": {"name": "erp-1", "namespace": "dr-demo", "labels": {"resurgo.dev/plan": "erp"}},
        "spec": {
            "planRef": {"name": "erp"},
            "type": "Test",
            "requestID": "",
            "acknowledgeDataLoss": False,
            "force": False,
            "control": "Run",
            "retry": 0,
            "skipSteps": [],
        },
    } == run.manifest()


def test_an_empty_list_of_next_states_is_written_and_an_unknown_one_is_not() -> None:
    assert [] == api.RecoveryPlanStatus(valid_next_states=()).dump()["validNextStates"]
    assert "validNextStates" not in api.RecoveryPlanStatus().dump()


def test_a_condition_is_found_by_its_type() -> None:
    at = datetime(2026, 3, 1, tzinfo=UTC)
    ready = api.Condition(type="Ready", status=api.ConditionStatus.TRUE, reason="AllGood", last_transition_time=at)
    status = api.SiteStatus(conditions=(ready,))
    assert ready == status.condition("Ready")
    assert status.is_true("Ready")
    assert status.condition("Reachable") is None
    assert not status.is_true("Reachable")


def test_a_vm_is_called_by_its_path_where_it_has_one() -> None:
    assert "erp-db-1" == api.VirtualMachineReference(name="erp-db-1").key
    assert "/berlin/vm/a" == api.VirtualMachineReference(path="/berlin/vm/a").key
