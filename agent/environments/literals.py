"""What a setup.py or a noxfile says in plain literals: keyword arguments of calls, read from the syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

UNKNOWN = object()


def call_keywords(tree: ast.Module | None, name: str) -> dict[str, Any]:
    """The keyword arguments of the first call of `name` or `module.name` that are literals, or names of literals."""
    for call in calls(tree, name):
        names = _assigned(tree)
        found = {keyword.arg: _value(keyword.value, names) for keyword in call.keywords if keyword.arg}
        return {key: value for key, value in found.items() if value is not UNKNOWN}
    return {}


def calls(tree: ast.AST | None, name: str) -> Iterator[ast.Call]:
    """All calls of a function or method of this name."""
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name:
            yield node


def _assigned(tree: ast.Module | None) -> Mapping[str, ast.expr]:
    """Names that the module binds at its top level."""
    return {
        target.id: node.value
        for node in (tree.body if tree else ())
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _value(node: ast.expr | None, names: Mapping[str, ast.expr], depth: int = 0) -> Any:
    """The literal; parts that are none are left out of a list and of a dictionary."""
    if depth > 8:  # noqa: PLR2004  deeper than any list of requirements; a name may mean itself
        return UNKNOWN

    def below(part: ast.expr | None) -> Any:
        return _value(part, names, depth + 1)

    found: Any = UNKNOWN
    match node:
        case ast.Constant(value=value):
            found = value
        case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            found = [value for value in map(below, parts) if value is not UNKNOWN]
        case ast.Dict(keys=keys, values=values):
            pairs = [(below(key), below(value)) for key, value in zip(keys, values, strict=True)]
            found = {key: value for key, value in pairs if isinstance(key, str) and value is not UNKNOWN}
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            first, second = below(left), below(right)
            if type(first) is type(second) and isinstance(first, list | str):
                found = first + second
        case ast.Name(id=name):
            found = below(names[name]) if name in names else UNKNOWN
        case _:
            pass
    return found
