"""The structural schema of a model: what the API server accepts, made from what pydantic says.

The API server refuses, or worse drops in silence, much of JSON Schema. Each keyword is therefore translated on purpose,
and one that this module does not know is an error.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

Json = dict[str, Any]


class SchemaError(ValueError):
    """A model says something that no CRD can say; the message names the field."""


_COPIED = frozenset(
    {
        "type",
        "description",
        "enum",
        "format",
        "pattern",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
    }
)
_DROPPED = frozenset({"title"})
_TRANSLATED = frozenset(
    {
        "$ref",
        "anyOf",
        "const",
        "default",
        "properties",
        "required",
        "items",
        "additionalProperties",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "uniqueItems",
    }
)
_LOOKAROUND = ("(?=", "(?!", "(?<=", "(?<!")


def structural(model: type[BaseModel], *, at: str, defaults: bool) -> Json:
    """Return the structural schema of *model*. *at* is its path, for messages.

    With *defaults* False no default is written: a status says what was observed, not what might be.
    Raises SchemaError for anything that a CRD cannot hold: unions, recursion, unknown keywords, missing caps and
    descriptions.
    """
    raw = model.model_json_schema(by_alias=True, mode="validation")
    definitions = raw.pop("$defs", {})
    return _Translation(definitions, defaults=defaults).node(raw, at, ())


class _Translation:
    """One pass over one model's JSON Schema."""

    def __init__(self, definitions: Mapping[str, Json], *, defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def node(self, raw: Json, at: str, inside: tuple[str, ...]) -> Json:
        """Translate the schema *raw* found at path *at*, *inside* these definitions."""
        raw, inside = self._resolved(raw, at, inside)
        for keyword in raw:
            known = keyword in _COPIED | _DROPPED | _TRANSLATED or keyword.startswith("x-kubernetes-")
            if not known:
                raise SchemaError(f"{at}: the generator does not know the keyword {keyword}")
        out: Json = {key: value for key, value in raw.items() if key in _COPIED or key.startswith("x-kubernetes-")}
        if "description" in out:
            out["description"] = " ".join(out["description"].split())
        if "const" in raw:
            out["enum"] = [raw["const"]]
        self._bounds(raw, out)
        match out.get("type"):
            case "object":
                self._object(raw, out, at, inside)
            case "array":
                self._array(raw, out, at, inside)
            case "string":
                _check_string(out, at)
            case "integer":
                _check_integer(out, at)
            case "boolean":
                pass
            case other:
                raise SchemaError(f"{at}: type {other} has no place in the API")
        return out

    def _resolved(self, raw: Json, at: str, inside: tuple[str, ...]) -> tuple[Json, tuple[str, ...]]:
        """Replace references and optional wrappers by what they stand for; what is said beside them wins."""
        while "$ref" in raw or "anyOf" in raw:
            beside = {key: value for key, value in raw.items() if key not in {"$ref", "anyOf"}}
            if "$ref" in raw:
                name = raw["$ref"].removeprefix("#/$defs/")
                if name in inside:
                    raise SchemaError(f"{at}: {name} contains itself")
                inside = (*inside, name)
                raw = {**self._definitions[name], **beside}
            else:
                options = [option for option in raw["anyOf"] if option != {"type": "null"}]
                if len(options) != 1:
                    raise SchemaError(f"{at}: a union is not structural; use optional fields and a rule")
                raw = {**options[0], **beside}
        return raw, inside

    @staticmethod
    def _bounds(raw: Json, out: Json) -> None:
        """Write exclusive bounds in the form of OpenAPI 3.0: a number and a flag."""
        for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if exclusive in raw:
                out[bound], out[exclusive] = raw[exclusive], True

    def _object(self, raw: Json, out: Json, at: str, inside: tuple[str, ...]) -> None:
        if isinstance(raw.get("additionalProperties"), dict):
            if "maxProperties" not in raw:
                raise SchemaError(f"{at}: a map without maxProperties")
            out["additionalProperties"] = self.node(raw["additionalProperties"], f"{at}.*", inside)
            return
        properties: Json = {}
        for name, child in raw.get("properties", {}).items():
            path = f"{at}.{name}"
            properties[name] = self.node(child, path, inside)
            if not properties[name].get("description"):
                raise SchemaError(f"{path}: a field without a docstring")
            if self._defaults and "default" in child:
                self._default(child["default"], properties[name])
        if not properties:
            raise SchemaError(f"{at}: an object without properties")
        out["properties"] = properties
        if raw.get("required"):
            out["required"] = list(raw["required"])

    @staticmethod
    def _default(value: Any, out: Json) -> None:
        """Write a default; null and the empty list or map are said by absence.

        An object's default is written out in full: the API server tries rules on it before it fills in nested defaults.
        """
        said = _without_empty(value)
        if said is not None and (said != {} or "properties" in out):
            out["default"] = said

    def _array(self, raw: Json, out: Json, at: str, inside: tuple[str, ...]) -> None:
        if "maxItems" not in raw:
            raise SchemaError(f"{at}: a list without maxItems")
        if raw.get("uniqueItems"):
            out["x-kubernetes-list-type"] = "set"
        out.setdefault("x-kubernetes-list-type", "atomic")
        out["items"] = item = self.node(raw["items"], f"{at}[]", inside)
        for key in out.get("x-kubernetes-list-map-keys", ()):
            if key not in item["properties"]:
                raise SchemaError(f"{at}: items have no field {key} to be merged by")
            if "default" not in item["properties"][key] and key not in item.get("required", ()):
                item.setdefault("required", []).append(key)


def _without_empty(value: Any) -> Any:
    """Return *value* without what is null or empty, at any depth; None if it is a list or null and nothing is left."""
    if isinstance(value, dict):
        return {key: kept for key, child in value.items() if (kept := _without_empty(child)) is not None}
    return value or None if isinstance(value, list) else value


def _check_string(out: Json, at: str) -> None:
    if any(look in out.get("pattern", "") for look in _LOOKAROUND):
        raise SchemaError(f"{at}: patterns are RE2, which has no lookaround")
    if "maxLength" not in out and "enum" not in out and out.get("format") != "date-time":
        raise SchemaError(f"{at}: a string without maxLength")


def _check_integer(out: Json, at: str) -> None:
    if "minimum" not in out or "maximum" not in out:
        raise SchemaError(f"{at}: a number without minimum and maximum")
    if max(abs(out["minimum"]), abs(out["maximum"])) >= 2**31:
        out["format"] = "int64"
