"""How the emulated QStash reads durations, numbers, flags, retry delays, addresses and JSON."""

from __future__ import annotations

import ast
import json
import math
import operator
import re
from collections.abc import Callable
from typing import Any

from remote_tasks_sandbox.calls import Call, Refused

__all__ = ["check_url", "duration", "flag", "json_body", "retry_delay_seconds", "whole"]

_DURATION = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

_FUNCTIONS: dict[str, Callable[..., float]] = {
    **{"pow": math.pow, "sqrt": math.sqrt, "abs": abs, "exp": math.exp},
    **{"floor": math.floor, "ceil": math.ceil, "round": round, "min": min, "max": max},
}
_OPERATORS: dict[type[ast.AST], Callable[..., float]] = {
    **{ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv},
    **{ast.UAdd: operator.pos, ast.USub: operator.neg},
}


def json_body(call: Call, *, optional: bool = False) -> Any:
    """Return the body as JSON; ``optional`` takes an empty one for an empty object."""
    if optional and not call.body.strip():
        return {}
    try:
        return json.loads(call.body)
    except ValueError:
        raise Refused(400, "invalid request body: not valid JSON") from None


def check_url(what: str, url: str) -> str:
    """Return ``url`` when QStash would call it."""
    scheme, found, rest = url.partition("://")
    if scheme.lower() not in ("http", "https") or not found:
        raise Refused(400, f"invalid {what} url: endpoint has invalid scheme")
    if not re.split(r"[/?#]", rest)[0]:
        raise Refused(400, f"invalid {what} url: endpoint has no host")
    return url


def duration(name: str, value: str) -> int:
    """Return the seconds of a duration such as ``10s`` or ``1d10h``."""
    parts = _DURATION.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise Refused(400, f"invalid {name}: {value!r} is not a duration such as 10s, 2m or 1d10h")
    return sum(int(number) * _UNITS[unit] for number, unit in parts)


def whole(name: str, value: str, *, least: int = 0, most: float = math.inf) -> int:
    """Return a whole number."""
    if not (value.isascii() and value.isdecimal() and len(value) < 20 and least <= int(value) <= most):
        bounds = f"from {least} on" if most == math.inf else f"between {least} and {most}"
        raise Refused(400, f"invalid {name}: {value!r} is not a whole number {bounds}")
    return int(value)


def flag(name: str, value: str) -> bool:
    """Return a truth value, in any case: the official client writes ``True``."""
    if value.lower() not in ("true", "false"):
        raise Refused(400, f"invalid {name}: {value!r} is neither true nor false")
    return value.lower() == "true"


def retry_delay_seconds(expression: str, retried: int) -> float:
    """Return what a retry delay expression, which counts in milliseconds, comes to.

    :param expression: arithmetic over ``retried`` with ``pow sqrt abs exp floor ceil round min max``
    """
    try:
        value = float(_compute(ast.parse(expression.strip(), mode="eval").body, retried))
    except (ArithmeticError, SyntaxError, TypeError, ValueError, RecursionError):
        raise Refused(400, f"invalid retry delay expression: {expression!r}") from None
    if not math.isfinite(value):
        raise Refused(400, f"invalid retry delay expression: {expression!r}")
    return max(value, 0.0) / 1000


def _compute(node: ast.expr, retried: int) -> float:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.Name(id="retried"):
            return retried
        case ast.BinOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_compute(node.left, retried), _compute(node.right, retried))
        case ast.UnaryOp() if type(node.op) in _OPERATORS:
            return _OPERATORS[type(node.op)](_compute(node.operand, retried))
        case ast.Call(func=ast.Name(id=name), keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](*(_compute(one, retried) for one in node.args))
    raise ValueError(f"not arithmetic: {ast.dump(node)}")
