"""Every reason code the operator can put into a condition, a failure or an event, found in its source.

A reason is a CamelCase literal at a place where reasons stand: the keyword `reason`, the arguments of the calls below
that take one, the class attribute of an error, a returned pair of reason and message, the keys of a fault table.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "operator" / "resurgo"

_REASON = re.compile(r"[A-Z][A-Za-z]+")
_POSITION = {
    "Blocker": 0,
    "Refused": 0,
    "Wait": 0,
    "Ending": 1,
    "_block": 0,
    "_stuck": 1,
    "_blame": 1,
    "put": 2,
    "settle": 2,
}
"""Calls that take a reason, and at which position."""
_FAULT_TABLE = "_TABLE"
"""The table of vSphere faults: most faults' own names become reasons."""


def reasons() -> dict[str, str]:
    """Return each reason with the place of one of its literals, `file:line`."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.is_relative_to(PACKAGE / "api"):
            continue  # `reason` in a CEL rule is the API server's own
        tree = ast.parse(path.read_text())
        names = _constants(tree)
        for node in ast.walk(tree):
            for value in _values(node):
                for text in _texts(value, names):
                    if _REASON.fullmatch(text):
                        found.setdefault(text, f"{path.relative_to(ROOT)}:{value.lineno}")
    return found


def condition_types() -> set[str]:
    """Every type of condition that the engine puts."""
    found = set()
    for path in (PACKAGE / "engine").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(attr="put" | "keep" | "settle"), args=[ast.Constant(value=str(kind)), *_]
                ):
                    found.add(kind)
    return found


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names that stand for one string, in the whole module."""
    found: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets, value = node.targets, node.value
        elif isinstance(node, ast.AnnAssign) and node.value is not None:
            targets, value = [node.target], node.value
        else:
            continue
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found |= {t.id: value.value for t in targets if isinstance(t, ast.Name)}
    return found


def _values(node: ast.AST) -> Iterator[ast.expr]:
    """Expressions below *node* whose value is a reason."""
    match node:
        case ast.Call():
            yield from (k.value for k in node.keywords if k.arg == "reason")
            position = _POSITION.get(_called(node.func))
            if position is not None and len(node.args) > position:
                yield node.args[position]
        case ast.Assign(targets=[ast.Name(id="reason") | ast.Attribute(attr="reason")], value=value):
            yield value
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
            for target, value in zip(targets, values, strict=True):
                if isinstance(target, ast.Attribute) and target.attr == "reason":
                    yield value
        case ast.AnnAssign(target=ast.Name(id="reason"), value=ast.expr() as value):
            yield value
        case ast.Return(value=ast.Tuple(elts=[first, _])):
            yield first
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.Dict() as table) if name == _FAULT_TABLE:
            yield from (key for key in table.keys if key is not None)


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _texts(value: ast.expr, names: dict[str, str]) -> Iterator[str]:
    """The strings an expression may stand for, as far as they are written down."""
    match value:
        case ast.Constant(value=str() as text):
            yield text
        case ast.Name(id=name) if name in names:
            yield names[name]
        case ast.IfExp(body=body, orelse=orelse):
            yield from _texts(body, names)
            yield from _texts(orelse, names)
        case ast.BoolOp(values=values):
            for one in values:
                yield from _texts(one, names)
