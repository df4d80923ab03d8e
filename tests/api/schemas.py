"""Structural schemas in tests: a strict reader, Hypothesis strategies, and the object that has every field."""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]


def faults(schema: Json, value: Any, at: str = "") -> list[str]:
    """What the API server would refuse in *value*, or silently drop."""
    match schema["type"]:
        case "object":
            return _object_faults(schema, value, at)
        case "array":
            if not isinstance(value, list):
                return [f"{at}: not a list"]
            found = [f"{at}: too many or too few"] * (
                not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
            )
            return found + [f for i, v in enumerate(value) for f in faults(schema["items"], v, f"{at}[{i}]")]
        case "string":
            return [] if _string_fits(schema, value) else [f"{at}: {value!r} does not fit"]
        case "integer":
            fits = type(value) is int and schema["minimum"] <= value <= schema["maximum"]
            return [] if fits else [f"{at}: {value!r} does not fit"]
        case "boolean":
            return [] if isinstance(value, bool) else [f"{at}: {value!r} is no boolean"]
        case other:
            return [f"{at}: unknown type {other}"]


def _object_faults(schema: Json, value: Any, at: str) -> list[str]:
    if not isinstance(value, dict):
        return [f"{at}: not an object"]
    if "additionalProperties" in schema:
        return [f for k, v in value.items() for f in faults(schema["additionalProperties"], v, f"{at}.{k}")]
    properties = schema["properties"]
    found = [f"{at}.{name}: missing" for name in schema.get("required", ()) if name not in value]
    found += [f"{at}.{name}: would be pruned" for name in value if name not in properties]
    return found + [f for k, v in value.items() if k in properties for f in faults(properties[k], v, f"{at}.{k}")]


def _string_fits(schema: Json, value: Any) -> bool:
    if not isinstance(value, str) or not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    return "pattern" not in schema or re.search(schema["pattern"], value) is not None


def values(schema: Json) -> st.SearchStrategy[Any]:
    """Values that fit *schema*."""
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            return st.dictionaries(st.text("abc", min_size=1), values(schema["additionalProperties"]), max_size=2)
        case "object":
            required = set(schema.get("required", ()))
            children = {name: values(child) for name, child in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: child for name, child in children.items() if name in required},
                optional={name: child for name, child in children.items() if name not in required},
            )
        case "array":
            low = schema.get("minItems", 0)
            return st.lists(values(schema["items"]), min_size=low, max_size=max(low, 2))
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "boolean":
            return st.booleans()
        case _:
            return _strings(schema)


def _strings(schema: Json) -> st.SearchStrategy[str]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    low, high = schema.get("minLength", 0), schema.get("maxLength", 10**9)
    if schema.get("format") == "date-time":
        return st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)).map(  # noqa: DTZ001 - given a zone
            lambda t: t.isoformat().replace("+00:00", "Z")
        )
    if schema.get("format") == "byte":
        return st.binary(min_size=low, max_size=30).map(lambda b: base64.b64encode(b).decode())
    if "pattern" in schema:
        fitting = st.from_regex(schema["pattern"].replace("$", r"\Z"), alphabet=st.characters(codec="ascii"))
        return fitting.filter(lambda s: low <= len(s) <= high)
    return st.text(
        st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=low, max_size=max(low, min(high, 12))
    )


def full(schema: Json) -> Any:
    """One value with every field and one item in every list."""
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            return {"key": full(schema["additionalProperties"])}
        case "object":
            return {name: full(child) for name, child in schema["properties"].items()}
        case "array":
            return [full(schema["items"])]
        case "integer":
            return schema["maximum"]
        case "boolean":
            return True
        case _:
            return _full_string(schema)


def _full_string(schema: Json) -> str:
    if schema.get("format") == "date-time":
        return "2026-03-01T12:00:00Z"
    candidates: tuple[str, ...] = (*schema.get("enum", ()), "erp-1", "Ready", "/berlin/vm/erp", ":".join(["AB"] * 32))
    return next(candidate for candidate in candidates if _string_fits(schema, candidate))
