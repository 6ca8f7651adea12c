"""When to try again, and when to stop trying."""

import random
import time

from ._protocol import RetryRule

RETRYABLE_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
JITTER = 0.25
"""Delays are up to this share longer or shorter, so that runs that failed together do not come back together."""


def tries_of(rule: RetryRule) -> int:
    """How many tries a rule allows in all."""
    return 1 if rule["strategy"] == "NONE" else rule["attempts"]


def delay_ms(rule: RetryRule, failed_tries: int, retry_after_ms: float | None) -> float:
    """
    How long to wait after `failed_tries` tries, in milliseconds: the rule's delay with jitter, or what the far side
    asked for if that is longer; never more than the rule's `maxDelayMs`.
    """
    delay = float(rule["initialDelayMs"])
    if rule["strategy"] == "EXPONENTIAL":
        delay = min(delay * 2.0 ** min(failed_tries - 1, 32), rule["maxDelayMs"])
    delay *= random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311
    return min(max(delay, retry_after_ms or 0.0), rule["maxDelayMs"])


def parse_retry_after(value: str | None) -> float | None:
    """Reads a Retry-After header, seconds or a date (RFC 9110 §10.2.3), as milliseconds from now."""
    if value is None:
        return None
    if value.isascii() and value.isdecimal():
        return float(value) * 1000
    # Imported here: only a far side that answers with a date needs it.
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, (parsedate_to_datetime(value).timestamp() - time.time()) * 1000)
    except ValueError:
        return None
