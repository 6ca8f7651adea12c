"""
Keeps the values of secrets out of everything that leaves the process.

A secret is recognised raw, percent-encoded, JSON-escaped, in base64 (standard and URL-safe, at each of its three
offsets within a longer text), and line by line if it has several lines. Secrets of fewer than `MIN_SECRET`
characters would mask half of every text, so they are masked only where a JSON string is exactly the secret.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

from ._protocol import ClaimedConnection, Json

MASK = "[REDACTED]"
MIN_SECRET = 4
"""Characters from which on a secret is masked wherever it occurs."""
MIN_LINE = 8
"""Characters from which on a line of a multi-line secret is masked by itself."""


class Redactor:
    """Masks a fixed set of secrets in texts and JSON values."""

    def __init__(self, secrets: Iterable[str]) -> None:
        given = {secret for secret in secrets if secret}
        self._short = frozenset(secret for secret in given if len(secret) < MIN_SECRET)
        self._forms = tuple({form for secret in given - self._short for form in _forms(secret)})

    def text(self, text: str) -> str:
        """Masks every occurrence of a secret; overlapping ones become one mask."""
        if text in self._short:
            return MASK
        spans = sorted(span for form in self._forms for span in _occurrences(form, text))
        if not spans:
            return text
        pieces: list[str] = []
        end = 0
        for start, stop in spans:
            if start >= end:
                pieces += [text[end:start], MASK]
            end = max(end, stop)
        return "".join([*pieces, text[end:]])

    def value(self, value: Json) -> Json:
        """Masks secrets in all strings and keys; a number whose digits hold a secret becomes the mask."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, dict):
            return {self.text(key): self.value(item) for key, item in value.items()}
        if isinstance(value, bool) or value is None:
            return value
        digits = json.dumps(value)
        return value if self.text(digits) == digits else MASK


def secrets_of(connections: Iterable[ClaimedConnection]) -> set[str]:
    """
    Lists what is secret in connections: key values, passwords, header values, access tokens, and the Basic
    authentication pair. User names and header names are not.
    """
    secrets: set[str] = set()
    for item in connections:
        if item["kind"] == "API_KEY":
            secrets.add(item["value"])
        elif item["kind"] == "BASIC":
            secrets |= {item["password"], basic_pair(item["username"], item["password"])}
        elif item["kind"] == "CUSTOM_HEADER":
            secrets.update(item["headers"].values())
        elif item["kind"] == "OAUTH2":
            secrets.add(item["accessToken"])
    return secrets


def basic_pair(username: str, password: str) -> str:
    """Encodes the credentials of HTTP Basic authentication (RFC 7617)."""
    return base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def _forms(secret: str) -> set[str]:
    lines = [line.strip() for line in secret.splitlines()]
    parts = {secret, *(line for line in lines if len(line) >= MIN_LINE and len(lines) > 1)}
    return {form for part in parts for form in _encodings(part) if len(form) >= MIN_SECRET}


def _encodings(text: str) -> set[str]:
    percent = quote(text, safe="", errors="replace")
    plus = quote_plus(text, errors="replace")
    escaped = {json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    return {
        text,
        percent,
        plus,
        _lower_escapes(percent),
        _lower_escapes(plus),
        quote(text, errors="replace"),
        *escaped,
        *(form.replace("/", "\\/") for form in escaped),
        *_base64_forms(text.encode("utf-8", "replace")),
    }


def _lower_escapes(text: str) -> str:
    head, *rest = text.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


def _base64_forms(data: bytes) -> set[str]:
    """Encodes at the three offsets and keeps the characters that do not depend on what is around."""
    forms: set[str] = set()
    for offset in range(3):
        first = -(-offset * 8 // 6)
        last = (offset + len(data)) * 8 // 6
        padded = bytes(offset) + data
        forms.add(base64.b64encode(padded).decode("ascii")[first:last])
        forms.add(base64.urlsafe_b64encode(padded).decode("ascii")[first:last])
    return forms


def _occurrences(form: str, text: str) -> Iterator[tuple[int, int]]:
    """Yields where a form occurs; touching occurrences are one span, so that repetitions stay cheap."""
    first = text.find(form)
    while first >= 0:
        stop = first + len(form)
        while (again := text.find(form, stop - len(form) + 1, stop + len(form))) >= 0:
            stop = again + len(form)
        yield first, stop
        first = text.find(form, stop)
