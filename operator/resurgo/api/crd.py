"""The CustomResourceDefinitions, generated: `python -m resurgo.api.crd --out crds/` writes one file per kind.

The output depends on nothing but the models, rules and columns of this package, so a test can compare it with what is
committed.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from resurgo.api import KINDS, Resource
from resurgo.api.columns import COLUMNS
from resurgo.api.rules import RULES
from resurgo.api.schema import Json, SchemaError, structural

HEADER = (
    "# Generated from the models in operator/resurgo/api by `python -m resurgo.api.crd --out crds/`. Do not edit.\n"
)

SELECTABLE: Mapping[str, tuple[str, ...]] = {"RecoveryRun": (".spec.planRef.name", ".spec.type")}
"""Fields that `kubectl get --field-selector` understands."""


def custom_resource_definition(kind: type[Resource]) -> Json:
    """Return the CustomResourceDefinition of *kind*."""
    version: Json = {
        "name": kind.VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [column.dump() for column in COLUMNS[kind.KIND]],
        "schema": {"openAPIV3Schema": _schema(kind)},
    }
    if kind.KIND in SELECTABLE:
        version["selectableFields"] = [{"jsonPath": path} for path in SELECTABLE[kind.KIND]]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.PLURAL}.{kind.GROUP}", "labels": {"app.kubernetes.io/part-of": "resurgo"}},
        "spec": {
            "group": kind.GROUP,
            "scope": kind.SCOPE.value,
            "names": {
                "kind": kind.KIND,
                "listKind": f"{kind.KIND}List",
                "plural": kind.PLURAL,
                "singular": kind.SINGULAR,
                "shortNames": [kind.SHORT_NAME],
                "categories": ["dr"],
            },
            "versions": [version],
        },
    }


def _schema(kind: type[Resource]) -> Json:
    """Return the root schema of *kind*, with its rules."""
    fields = kind.model_fields
    root: Json = {
        "type": "object",
        "description": " ".join((kind.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": fields["api_version"].description},
            "kind": {"type": "string", "description": fields["kind"].description},
            "metadata": {"type": "object"},
            "spec": structural(_model_of(kind, "spec"), at="spec", defaults=True),
            "status": structural(_model_of(kind, "status"), at="status", defaults=False),
        },
    }
    for part in ("spec", "status"):
        root["properties"][part]["description"] = fields[part].description
    for rule in RULES:
        if rule.kind == kind.KIND:
            _node(root, rule.at).setdefault("x-kubernetes-validations", []).append(rule.dump())
    return root


def _model_of(kind: type[Resource], part: str) -> Any:
    return kind.model_fields[part].annotation


def _node(root: Json, path: str) -> Json:
    """Find the schema at *path*, written like `spec.stages[].readiness`; the empty path is the root."""
    node = root
    for name in path.split(".") if path else ():
        try:
            node = node["properties"][name.removesuffix("[]")]
            node = node["items"] if name.endswith("[]") else node
        except KeyError:
            raise SchemaError(f"a rule is meant for {path}, which does not exist") from None
    return node


class _Dumper(yaml.SafeDumper):
    """YAML as a person would write it: lists indented, no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def render(kind: type[Resource]) -> str:
    """Return the file of *kind* as it is committed."""
    return HEADER + yaml.dump(
        custom_resource_definition(kind), Dumper=_Dumper, sort_keys=False, width=118, allow_unicode=True
    )


def filename(kind: type[Resource]) -> str:
    """Return the name of the file of *kind*."""
    return f"{kind.GROUP}_{kind.PLURAL}.yaml"


def write(out: Path) -> None:
    """Write all CRDs to the folder *out*; files of kinds that are gone are removed. Safe to repeat."""
    out.mkdir(parents=True, exist_ok=True)
    wanted = {filename(kind): render(kind) for kind in KINDS}
    for stale in out.glob("resurgo.dev_*.yaml"):
        if stale.name not in wanted:
            stale.unlink()
    for name, text in wanted.items():
        (out / name).write_text(text, encoding="utf-8")


def main(argv: list[str] | None = None) -> int:
    """Write the CRDs to the folder named on the command line."""
    parser = argparse.ArgumentParser(prog="python -m resurgo.api.crd", description="Write the CRDs, one file per kind.")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to")
    write(parser.parse_args(argv).out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
