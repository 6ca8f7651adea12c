"""The `when` of a step."""

import operator
from collections.abc import Callable, Mapping
from typing import Any

from ._exceptions import ConditionInvalid, TemplateValueMissing
from ._protocol import Condition, Json
from ._templates import Scope, json_type, render

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "GREATER_THAN": operator.gt,
    "GREATER_OR_EQUAL": operator.ge,
    "LESS_THAN": operator.lt,
    "LESS_OR_EQUAL": operator.le,
}


def holds(condition: Condition, scope: Scope) -> bool:
    """
    Tells whether a condition holds.
    Raises `ConditionInvalid` when its sides cannot be compared, and the errors of templates, except that for
    EXISTS and NOT_EXISTS a missing value is an answer. A null does not exist.
    """
    name = condition["operator"]
    if name in {"EXISTS", "NOT_EXISTS"}:
        return _exists(condition["left"], scope) == (name == "EXISTS")
    left, right = render(condition["left"], scope), render(condition.get("right"), scope)
    if name in {"EQUALS", "NOT_EQUALS"}:
        return json_equal(left, right) == (name == "EQUALS")
    if name == "CONTAINS":
        return _contains(left, right)
    return _compare(name, left, right)


def _exists(left: Json, scope: Scope) -> bool:
    try:
        return render(left, scope) is not None
    except TemplateValueMissing:
        return False


def json_equal(left: Json, right: Json) -> bool:
    """Equality as JSON means it: true is not 1, but 1 is 1.0."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(json_equal, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(json_equal(left[key], right[key]) for key in left)
    return left == right


def _contains(left: Json, right: Json) -> bool:
    if isinstance(left, list):
        return any(json_equal(item, right) for item in left)
    if isinstance(right, str) and isinstance(left, str | dict):
        return right in left
    raise ConditionInvalid(
        f"CONTAINS needs a list, or a string or an object and a string; got {json_type(left)} and {json_type(right)}"
    )


def _compare(name: str, left: Json, right: Json) -> bool:
    if (_is_number(left) and _is_number(right)) or (isinstance(left, str) and isinstance(right, str)):
        return _ORDERS[name](left, right)
    raise ConditionInvalid(f"{name} needs two numbers or two strings; got {json_type(left)} and {json_type(right)}")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
