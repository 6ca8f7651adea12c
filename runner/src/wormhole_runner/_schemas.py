"""
JSON Schema, draft 2020-12.

Schemas come from tenants, so they may be hostile: nothing is ever retrieved for a `$ref`, endless recursion is an
error, and a validation that takes too long (a regular expression that backtracks, nested references) is ended.
"""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ._exceptions import SchemaInvalid, SchemaMismatch
from ._protocol import Json, JsonSchema

VALIDATION_LIMIT_S = 2.0
"""Seconds that one validation may take. It blocks the event loop, so it bounds how late a stop can be noticed."""
_REPEAT_S = 0.05


class _TooSlow(Exception):
    """The timer of `_time_limit` went off."""


def validate(value: Json, schema: JsonSchema, what: str) -> None:
    """
    Checks a value. Must be called in the main thread: the time limit is a signal, the only thing that interrupts
    a regular expression. Raises `SchemaMismatch` with `what` and the place in the value, `SchemaInvalid` when the
    schema cannot be used.
    """
    # Imported here: it costs more start-up time than everything else together, and most steps have no schema.
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, best_match
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        with _time_limit():
            Draft202012Validator.check_schema(schema)
            registry: Registry[JsonSchema] = Registry()
            error = best_match(Draft202012Validator(schema, registry=registry).iter_errors(value))
    except SchemaError as problem:
        raise SchemaInvalid(f"the schema of {what} is wrong: {problem.message[:500]}") from problem
    except Unresolvable as problem:
        raise SchemaInvalid(
            f"the schema of {what} refers to {problem.ref!r}; only references within the schema are followed"
        ) from problem
    except RecursionError as problem:
        raise SchemaInvalid(f"the schema of {what} refers to itself without end, or is nested too deep") from problem
    except _TooSlow as problem:
        raise SchemaInvalid(
            f"checking {what} against its schema took longer than {VALIDATION_LIMIT_S:g} s; simplify its patterns"
        ) from problem
    except Exception as problem:
        # Reached through "$ref", an unknown keyword may hold a schema that `check_schema` never saw.
        raise SchemaInvalid(f"the schema of {what} cannot be used: {type(problem).__name__}") from problem
    if error is not None:
        # Not the library's message: it quotes the value.
        rule = json.dumps({str(error.validator): error.validator_value}, ensure_ascii=False, default=str)
        raise SchemaMismatch(f"{what} does not satisfy its schema: {error.json_path} breaks {rule[1:-1][:300]}")


@contextmanager
def _time_limit() -> Iterator[None]:
    def expire(_signal: int, _frame: FrameType | None) -> None:
        raise _TooSlow

    previous = signal.signal(signal.SIGALRM, expire)
    # Repeats, in case the exception lands somewhere that swallows it.
    signal.setitimer(signal.ITIMER_REAL, VALIDATION_LIMIT_S, _REPEAT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
