"""Schemas come from tenants: a hostile one harms only its own step, and soon."""

import time
from typing import Any

import pytest

from wormhole_runner import _schemas
from wormhole_runner._exceptions import SchemaInvalid, SchemaMismatch
from wormhole_runner._schemas import validate


def doubling(levels: int) -> dict[str, Any]:
    """A schema whose evaluation takes two to the power of `levels` steps."""
    definitions: dict[str, Any] = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{levels}": True}}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "http://127.0.0.1:1/schema.json"}, "refers to 'http://127.0.0.1:1/schema.json'"),
        ({"$ref": "file:///etc/passwd"}, "refers to 'file:///etc/passwd'"),
        ({"$dynamicRef": "https://evil.test/x"}, "refers to"),
        ({"$ref": "#/nowhere"}, "refers to"),
        ({"$ref": "#"}, "without end"),
        ({"type": "nonsense"}, "is wrong"),
        ({"pattern": "("}, "is wrong"),
        ({"$ref": "#/x", "x": {"pattern": "("}}, "cannot be used"),
        ({"$ref": "#/x", "x": {"type": "nonsense"}}, "cannot be used"),
        ({"$ref": "#/x", "x": {"minLength": "1"}}, "cannot be used"),
        ({"pattern": "^(a+)+$"}, "took longer than"),
        (doubling(40), "took longer than"),
    ],
)
def test_a_hostile_schema_is_an_error_soon(
    schema: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_schemas, "VALIDATION_LIMIT_S", 0.3)
    start = time.monotonic()
    with pytest.raises(SchemaInvalid) as caught:
        validate("a" * 40 + "!", schema, "the input")
    assert message in str(caught.value)
    assert time.monotonic() - start < 10


def test_a_mismatch_names_the_place_and_the_rule_but_not_the_value() -> None:
    with pytest.raises(SchemaMismatch) as caught:
        validate(
            {"a": [{"b": "payload"}]}, {"properties": {"a": {"items": {"properties": {"b": {"type": "number"}}}}}}, "x"
        )
    assert str(caught.value) == 'x does not satisfy its schema: $.a[0].b breaks "type": "number"'


def test_booleans_are_schemas() -> None:
    validate(1, True, "x")
    with pytest.raises(SchemaMismatch):
        validate(1, False, "x")


def test_draft_2020_12_is_understood() -> None:
    schema = {"prefixItems": [{"type": "string"}], "unevaluatedItems": False}
    validate(["a"], schema, "x")
    with pytest.raises(SchemaMismatch):
        validate(["a", 1], schema, "x")
