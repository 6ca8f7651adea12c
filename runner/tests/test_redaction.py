"""Secrets never leave, in any of the forms that they take on the way."""

import base64
import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wormhole_runner._redaction import MASK, Redactor, basic_pair, secrets_of

# No letters of the mask, so that what is found in a masked text is the secret's own.
secrets = st.text(st.characters(exclude_characters=MASK, exclude_categories=["Cs"]), min_size=4, max_size=40)
around = st.text(max_size=20)


@given(secrets, around, around)
def test_raw_percent_encoded_and_json_escaped_forms_are_masked(secret: str, before: str, after: str) -> None:
    redactor = Redactor([secret])
    for form in (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]):
        assert form not in redactor.text(f"{before}{form}{after}")


@given(st.binary(max_size=7), st.text("0123456789!$%&/()=?", min_size=8, max_size=30), st.binary(max_size=7))
def test_base64_at_any_offset_is_masked(before: bytes, secret: str, after: bytes) -> None:
    encoded = base64.b64encode(before + secret.encode() + after).decode()
    offset = len(before) % 3
    inner = base64.b64encode(bytes(offset) + secret.encode()).decode()
    stable = inner[-(-offset * 8 // 6) : (offset + len(secret)) * 8 // 6]
    assert stable in encoded
    assert stable not in Redactor([secret]).text(encoded)


@given(st.sampled_from(["abcdef12", "ffffffff", "abcabcabc"]), st.text("abcdef123"))
def test_touching_and_overlapping_occurrences_leave_nothing(secret: str, noise: str) -> None:
    text = f"{secret}{noise}{secret[:-1]}{secret}{secret}"
    assert secret not in Redactor([secret]).text(text)


def test_overlapping_secrets_leave_nothing_of_either() -> None:
    assert Redactor(["12345678", "56789abc"]).text("x123456789abcx") == f"x{MASK}x"


@given(secrets, around)
def test_masking_twice_changes_nothing_more(secret: str, text: str) -> None:
    redactor = Redactor([secret])
    once = redactor.text(text + secret)
    assert redactor.text(once) == once


@given(st.text(max_size=3), st.text(min_size=4))
def test_a_secret_of_a_few_characters_does_not_mask_everything(short: str, text: str) -> None:
    redactor = Redactor([short])
    assert redactor.text(text) == text
    assert redactor.value({"a": [text]}) == {"a": [text]}


def test_a_short_secret_is_masked_where_it_is_the_whole_value() -> None:
    assert Redactor(["pw"]).value({"password": "pw", "power": "pwr"}) == {"password": MASK, "power": "pwr"}


def test_lines_of_a_multi_line_secret_are_masked_each() -> None:
    key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\r\nhkiG9w0BAQEFAASC\n}\n-----END KEY-----"
    redactor = Redactor([key])
    assert redactor.text("read MIIBVgIBADANBgkq, then }") == f"read {MASK}, then }}"
    assert "hkiG9w0BAQEFAASC" not in redactor.text(json.dumps({"key": key}))


def test_keys_and_numbers_are_masked_too() -> None:
    redactor = Redactor(["12345678"])
    assert redactor.value({"x12345678": 1, "n": 9123456780, "b": True, "z": None, "f": 1.5}) == {
        f"x{MASK}": 1,
        "n": MASK,
        "b": True,
        "z": None,
        "f": 1.5,
    }


def test_nothing_to_hide_changes_nothing() -> None:
    value: Any = {"a": ["x", 1, {"b": None}]}
    assert Redactor([]).value(value) == value
    assert Redactor([""]).text("text") == "text"


def test_what_is_secret_in_each_kind_of_connection() -> None:
    assert secrets_of(
        [
            {"kind": "API_KEY", "in": "header", "name": "X-Key", "value": "v1"},
            {"kind": "BASIC", "username": "ada", "password": "v2"},
            {"kind": "CUSTOM_HEADER", "headers": {"X-A": "v3", "X-B": "v4"}},
            {"kind": "OAUTH2", "accessToken": "v5"},
            {"kind": "UNAVAILABLE", "message": "gone"},
        ]
    ) == {"v1", "v2", basic_pair("ada", "v2"), "v3", "v4", "v5"}


@pytest.mark.parametrize("size", [100, 2_000_000])
def test_repetition_stays_cheap(size: int) -> None:
    assert Redactor(["aaaa"]).text("a" * size) == MASK
