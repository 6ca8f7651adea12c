"""What a far side sent, as a value that later steps can read."""

import json
import math
import re

from ._exceptions import ResponseInvalid
from ._messages import Response
from ._protocol import Json

MAX_DEPTH = 100
"""Lists and objects within each other in a response; deeper ones would exhaust the stack of whoever walks them."""

_JSON_TYPE = re.compile(r"application/(?:[^;\s]+\+)?json|text/json", re.IGNORECASE)
_CHARSET = re.compile(r";\s*charset=\"?([A-Za-z0-9_.:-]+)", re.IGNORECASE)


def parse_body(response: Response) -> Json:
    """
    The body as JSON if its content type says so, else as text; null when it is empty.
    Raises `ResponseInvalid` when it is called JSON and is not, or is nested too deep.
    """
    if not response.body:
        return None
    content_type = response.headers.get("content-type", "")
    if not _JSON_TYPE.match(content_type):
        return _decode(response.body, content_type)
    try:
        value: Json = json.loads(response.body, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError as error:
        raise ResponseInvalid(f"the response is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        # Only where, never what: the parser's message would quote nothing, but its exception holds the document.
        raise ResponseInvalid(f"the response is called {content_type!r} but is not JSON: {_where(error)}") from None
    if _deeper_than(value, MAX_DEPTH):
        raise ResponseInvalid(f"the response is nested deeper than {MAX_DEPTH} levels")
    return value


def _decode(body: bytes, content_type: str) -> str:
    charset = _CHARSET.search(content_type)
    try:
        return body.decode(charset[1] if charset else "utf-8", "replace")
    except (LookupError, UnicodeError):
        return body.decode("utf-8", "replace")


def _refuse_constant(name: str) -> Json:
    raise ValueError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at line {error.lineno}, column {error.colno}"
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def _deeper_than(value: Json, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        layer = [child for item in layer for child in _children(item)]
        if not layer:
            return False
    return True


def _children(value: Json) -> list[Json]:
    if isinstance(value, list):
        return value
    return list(value.values()) if isinstance(value, dict) else []
