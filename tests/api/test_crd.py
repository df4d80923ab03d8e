"""The generator: what it writes, and that it refuses what a CRD cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field

from resurgo.api import KINDS, Resource
from resurgo.api.base import Model
from resurgo.api.crd import custom_resource_definition, filename, main, render
from resurgo.api.rules import RULES
from resurgo.api.schema import SchemaError, structural

ROOT = Path(__file__).parents[2]
Name = Annotated[str, Field(max_length=10)]


def nodes(schema: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield at, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{at}.{name}")
    for below in ("items", "additionalProperties"):
        if below in schema:
            yield from nodes(schema[below], f"{at}[]")


def parts(kind: type[Resource]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of spec and status."""
    root = custom_resource_definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in ("spec", "status"):
        yield from nodes(root["properties"][part], part)


def test_the_committed_crds_are_those_of_the_models(tmp_path: Path) -> None:
    """Run `python -m resurgo.api.crd --out crds/` when this fails."""
    assert main(["--out", str(tmp_path)]) == 0
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_text() for path in (ROOT / "crds").iterdir()}
    assert written == committed


def test_a_crd_of_a_kind_that_is_gone_is_removed(tmp_path: Path) -> None:
    (tmp_path / "resurgo.dev_olds.yaml").write_text("old")
    (tmp_path / "README.md").write_text("kept")
    main(["--out", str(tmp_path)])
    assert {filename(kind) for kind in KINDS} | {"README.md"} == {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_a_crd_is_what_its_yaml_says(kind: type[Resource]) -> None:
    assert custom_resource_definition(kind) == yaml.safe_load(render(kind))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_every_field_is_described_and_every_size_is_bounded(kind: type[Resource]) -> None:
    cap = {"array": "maxItems", "integer": "maximum"}
    for at, node in parts(kind):
        if not at.endswith("[]"):
            assert node.get("description"), at
        if node["type"] in cap:
            assert cap[node["type"]] in node, at
        if "additionalProperties" in node:
            assert "maxProperties" in node, at
        if node["type"] == "string":
            assert {"maxLength", "enum"} & node.keys() or node.get("format") == "date-time", at


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_a_status_has_no_defaults(kind: type[Resource]) -> None:
    assert [] == [at for at, node in parts(kind) if at.startswith("status") and "default" in node]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_lists_of_numbers_of_things_are_merged_by_key(kind: type[Resource]) -> None:
    by_at = dict(parts(kind))
    conditions = by_at["status.conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert all("x-kubernetes-list-type" in node for node in by_at.values() if node["type"] == "array")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.KIND)
def test_columns_show_fields_that_exist(kind: type[Resource]) -> None:
    version = custom_resource_definition(kind)["spec"]["versions"][0]
    known = {at for at, _ in parts(kind)} | {"metadata.creationTimestamp"}
    for column in version["additionalPrinterColumns"]:
        plain = re.sub(r"\[[^]]*\]", "[]", column["jsonPath"].removeprefix("."))
        assert plain in known, column["name"]


def test_rules_have_names_of_their_own() -> None:
    names = [(rule.kind, rule.name) for rule in RULES]
    assert sorted(set(names)) == sorted(names)


def test_a_pattern_means_the_same_in_re2() -> None:
    for kind in KINDS:
        for at, node in parts(kind):
            assert not re.search(r"\(\?[=!<]|\\[1-9]", node.get("pattern", "")), at


class Leaf(Model):
    """A leaf."""

    kind: Literal["Leaf"]
    """The only kind."""
    ratio: Annotated[int, Field(gt=0, lt=10)] = 5
    """A number between 0 and 10."""
    names: Annotated[frozenset[Name], Field(max_length=3)] = frozenset()
    """A set."""


class Tree(Model):
    """A tree."""

    leaf: Leaf | None = None
    """Optional,
    on two lines."""


class WithoutDocstring(Model):
    field: bool = False


class WithoutCap(Model):
    """One string."""

    field: str = ""
    """Endless."""


class WithoutMaxItems(Model):
    """One list."""

    field: tuple[Name, ...] = ()
    """Endless."""


class WithoutMaxProperties(Model):
    """One map."""

    field: Mapping[str, Name] = {}
    """Endless."""


class WithoutBounds(Model):
    """One number."""

    field: int = 0
    """Endless."""


class WithUnion(Model):
    """One union."""

    field: Name | bool = False
    """Either."""


class WithRecursion(Model):
    """A ring."""

    field: WithRecursion | None = None
    """Itself."""


class WithLookahead(Model):
    """A pattern that only Python knows."""

    field: Annotated[str, Field(max_length=3, json_schema_extra={"pattern": "(?=a)"})] = ""
    """Looks ahead."""


class WithFloat(Model):
    """A fraction."""

    field: float = 0.5
    """Half."""


class WithUnknownKeyword(Model):
    """A keyword nobody has thought about."""

    field: Annotated[bool, Field(json_schema_extra={"contentEncoding": "base64"})] = False
    """Unknown."""


class WithWrongKey(Model):
    """A list merged by a field that is not there."""

    field: Annotated[
        tuple[Tree, ...],
        Field(max_length=3, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}),
    ] = ()
    """Keyed."""


def test_what_the_api_server_misreads_is_translated() -> None:
    assert {
        "type": "object",
        "description": "A tree.",
        "properties": {
            "leaf": {
                "description": "Optional, on two lines.",
                "type": "object",
                "properties": {
                    "kind": {"type": "string", "enum": ["Leaf"], "description": "The only kind."},
                    "ratio": {
                        "type": "integer",
                        "minimum": 0,
                        "exclusiveMinimum": True,
                        "maximum": 10,
                        "exclusiveMaximum": True,
                        "default": 5,
                        "description": "A number between 0 and 10.",
                    },
                    "names": {
                        "type": "array",
                        "items": {"type": "string", "maxLength": 10},
                        "maxItems": 3,
                        "x-kubernetes-list-type": "set",
                        "description": "A set.",
                    },
                },
                "required": ["kind"],
            }
        },
    } == structural(Tree, at="spec", defaults=True)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (WithoutDocstring, "docstring"),
        (WithoutCap, "maxLength"),
        (WithoutMaxItems, "maxItems"),
        (WithoutMaxProperties, "maxProperties"),
        (WithoutBounds, "minimum and maximum"),
        (WithUnion, "union"),
        (WithRecursion, "contains itself"),
        (WithLookahead, "RE2"),
        (WithFloat, "number has no place"),
        (WithUnknownKeyword, "contentEncoding"),
        (WithWrongKey, "no field id"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else None,
)
def test_what_a_crd_cannot_say_is_refused_and_the_field_is_named(model: type[Model], says: str) -> None:
    with pytest.raises(SchemaError, match=f"^spec.*{says}"):
        structural(model, at="spec", defaults=True)
