"""
Templates: ``{{ input.x }}`` and ``{{ steps.<key>.output.body.id }}``, and nothing else.

A path walks over dictionary keys and list indexes. No code is evaluated, no attribute is read, and what a
template yields is never itself treated as a template.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from ._exceptions import TemplateInvalid, TemplateValueMissing
from ._protocol import Json

Scope: TypeAlias = Mapping[str, Json]
"""What templates can see: the roots `input` and `steps`."""

TEMPLATE = re.compile(r"\{\{([^{}]*)\}\}")
_PATH = re.compile(r"(?:input|steps)(?:\.[A-Za-z0-9_-]+)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def render(value: Json, scope: Scope) -> Json:
    """
    Renders every string within a JSON value; keys are left alone.
    A string that is one template and nothing else becomes the value itself, with its type.
    Raises `TemplateInvalid` or `TemplateValueMissing`.
    """
    if isinstance(value, str):
        whole = TEMPLATE.fullmatch(value)
        return _look_up(whole[1], scope) if whole else render_text(value, scope, as_text)
    if isinstance(value, list):
        return [render(item, scope) for item in value]
    if isinstance(value, dict):
        return {key: render(item, scope) for key, item in value.items()}
    return value


def render_text(template: str, scope: Scope, write: Callable[[Json, str], str]) -> str:
    """
    Renders a text, in which `write(value, path)` says how a value is written.
    Raises `TemplateInvalid` or `TemplateValueMissing`, and whatever `write` raises.
    """
    return TEMPLATE.sub(lambda match: write(_look_up(match[1], scope), match[1].strip()), template)


def check_templates(text: str) -> None:
    """Raises `TemplateInvalid` unless everything in double braces is a path."""
    for match in TEMPLATE.finditer(text):
        _parse(match[1])


def as_text(value: Json, _path: str = "") -> str:
    """Writes a string as it is and anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _parse(text: str) -> str:
    path = text.strip()
    if not _PATH.fullmatch(path):
        raise TemplateInvalid(
            f'"{{{{{text}}}}}" is not a template: write {{{{ input.x }}}} or {{{{ steps.<key>.output.body.x }}}}'
        )
    return path


def _look_up(text: str, scope: Scope) -> Json:
    path = _parse(text)
    names = path.split(".")
    value: Json = dict(scope)
    for depth, name in enumerate(names):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and _INDEX.fullmatch(name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise TemplateValueMissing(_missing(path, ".".join(names[:depth]), name, value))
    return value


def _missing(path: str, parent: str, name: str, value: Json) -> str:
    if isinstance(value, dict):
        what = f'"{parent}" has no "{name}"'
    elif isinstance(value, list):
        what = f'"{parent}" is a list of {len(value)}, without an item "{name}"'
    else:
        what = f'"{parent}" is {json_type(value)}, which has nothing inside'
    return f'"{path}" has no value: {what}'


def json_type(value: Json) -> str:
    """Names the JSON type of a value, for messages."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"
