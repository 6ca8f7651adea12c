"""Templates read the input and earlier outputs, and nothing else."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wormhole_runner._conditions import holds
from wormhole_runner._exceptions import ConditionInvalid, TemplateInvalid, TemplateValueMissing
from wormhole_runner._templates import render

SCOPE: dict[str, Any] = {
    "input": {"name": "Ada", "n": 3, "none": None, "list": [{"id": 7}], "0": "zero", "with-dash_": True},
    "steps": {"list": {"output": {"status": 200, "headers": {"x-total": "9"}, "body": {"items": [{"id": 1}]}}}},
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ input.name }}", "Ada"),
        ("{{input.n}}", 3),
        ("{{ input.none }}", None),
        ("{{ input.list }}", [{"id": 7}]),
        ("{{ input.list.0.id }}", 7),
        ("{{ input.0 }}", "zero"),
        ("{{ input.with-dash_ }}", True),
        ("{{ steps.list.output.headers.x-total }}", "9"),
        ("{{ steps.list.output.body.items.0.id }}", 1),
        ("a {{ input.name }} b {{ input.n }}", "a Ada b 3"),
        ("{{ input.with-dash_ }}!", "true!"),
        ("{{ input.list }}!", '[{"id":7}]!'),
        ("no template { } {{ }", "no template { } {{ }"),
        ({"k": ["{{ input.n }}", 1, None]}, {"k": [3, 1, None]}),
    ],
)
def test_renders(template: Any, value: Any) -> None:
    assert render(template, SCOPE) == value


@pytest.mark.parametrize(
    "template",
    [
        "{{ 1 + 1 }}",
        "{{ input['name'] }}",
        "{{ input.name | upper }}",
        "{{ input.name() }}",
        "{{ config }}",
        "{{ __import__ }}",
        "{{ input..name }}",
        "{{ .input }}",
        "{{ }}",
        "{{ inputs.name }}",
        "{{ input.naïve }}",
    ],
)
def test_anything_but_a_path_is_refused(template: str) -> None:
    with pytest.raises(TemplateInvalid):
        render(template, SCOPE)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{{ input.x }}", '"input.x" has no value: "input" has no "x"'),
        ("{{ input.name.length }}", '"input.name" is a string'),
        ("{{ input.none.x }}", '"input.none" is null'),
        ("{{ input.list.1 }}", 'a list of 1, without an item "1"'),
        ("{{ input.list.-1 }}", 'without an item "-1"'),
        ("{{ input.list.00 }}", 'without an item "00"'),
        ("{{ input.name.__class__ }}", '"input.name" is a string'),
        ("{{ input.__class__ }}", '"input" has no "__class__"'),
        ("{{ steps.later.output }}", '"steps" has no "later"'),
    ],
)
def test_a_missing_value_is_named(template: str, message: str) -> None:
    with pytest.raises(TemplateValueMissing) as caught:
        render(template, SCOPE)
    assert message in str(caught.value)


@given(json_values)
def test_a_lone_template_keeps_the_value_as_it_is(value: Any) -> None:
    assert render("{{ input }}", {"input": value}) is value


@given(st.text())
def test_what_a_value_holds_is_never_a_template(text: str) -> None:
    nested = f"{{{{ input.secret }}}}{text}"
    assert render(["{{ input.x }}", "-{{ input.x }}"], {"input": {"x": nested, "secret": "!"}}) == [
        nested,
        f"-{nested}",
    ]


@given(st.text(alphabet="{}. inputsteps0_-|()'"))
def test_any_text_renders_or_fails_as_a_step_does(text: str) -> None:
    with suppress(TemplateInvalid, TemplateValueMissing):
        render(text, SCOPE)


@given(json_values)
def test_values_without_templates_render_to_themselves(value: Any) -> None:
    if "{{" not in json.dumps(value):
        assert render(value, SCOPE) == value


@pytest.mark.parametrize(
    ("left", "operator", "right", "expected"),
    [
        ("{{ input.n }}", "EQUALS", 3, True),
        ("{{ input.n }}", "EQUALS", 3.0, True),
        ("{{ input.n }}", "EQUALS", "3", False),
        (True, "EQUALS", 1, False),
        ({"a": [1]}, "EQUALS", {"a": [True]}, False),
        ("{{ input.n }}", "NOT_EQUALS", 4, True),
        ("{{ input.n }}", "GREATER_THAN", 2, True),
        ("{{ input.n }}", "GREATER_OR_EQUAL", 3, True),
        ("{{ input.n }}", "LESS_THAN", 3, False),
        ("{{ input.n }}", "LESS_OR_EQUAL", 3, True),
        ("b", "GREATER_THAN", "a", True),
        (9007199254740993, "GREATER_THAN", 9007199254740992, True),
        ("{{ input.name }}", "CONTAINS", "d", True),
        ([1, 2], "CONTAINS", 2, True),
        ([1], "CONTAINS", True, False),
        ({"a": 1}, "CONTAINS", "a", True),
        ("{{ input.none }}", "EXISTS", None, False),
        ("{{ input.gone }}", "EXISTS", None, False),
        ("{{ input.n }}", "EXISTS", None, True),
        ("{{ input.gone.deeper }}", "NOT_EXISTS", None, True),
    ],
)
def test_conditions(left: Any, operator: str, right: Any, expected: bool) -> None:
    assert holds({"left": left, "operator": operator, "right": right}, SCOPE) is expected


@pytest.mark.parametrize(
    ("left", "operator", "right"),
    [
        (1, "LESS_THAN", "2"),
        (True, "LESS_THAN", 2),
        (None, "GREATER_THAN", 1),
        (5, "CONTAINS", 5),
        ("5", "CONTAINS", 5),
    ],
)
def test_what_cannot_be_compared_is_an_error(left: Any, operator: str, right: Any) -> None:
    with pytest.raises(ConditionInvalid):
        holds({"left": left, "operator": operator, "right": right}, SCOPE)


def test_a_missing_value_is_no_answer_to_equals() -> None:
    with pytest.raises(TemplateValueMissing):
        holds({"left": "{{ input.gone }}", "operator": "EQUALS", "right": 1}, SCOPE)
