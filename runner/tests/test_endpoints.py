"""A value can change neither the host nor the structure of the path or query of a URL."""

from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wormhole_runner._endpoints import render_endpoint
from wormhole_runner._exceptions import RequestInvalid, TemplateInvalid

texts = st.text(st.characters(exclude_categories=["Cs"]))
hostile = texts | st.sampled_from(
    ["..", ".", "", "/", "@evil.test", "#", "?x=y", "&a=b", "\\", "%2e%2e", "a/../b", "\r\n"]
)


@given(hostile)
def test_a_value_in_the_path_stays_one_segment(value: str) -> None:
    template = "https://api.example.test/a/{{ input }}/b?x=1"
    if value in {"", ".", ".."}:
        with pytest.raises(RequestInvalid):
            render_endpoint(template, {}, {"input": value})
        return
    endpoint = render_endpoint(template, {}, {"input": value})
    assert (endpoint.host, endpoint.port, endpoint.query) == ("api.example.test", 443, "x=1")
    first, a, segment, b = endpoint.path.split("/")
    assert (first, a, b, unquote(segment)) == ("", "a", "b", value)
    assert endpoint.target.isascii()
    assert endpoint.target.isprintable()


@given(hostile, hostile)
def test_a_value_in_the_query_stays_one_value(one: str, two: str) -> None:
    template = "https://api.example.test/?q={{ input.one }}&r=2"
    endpoint = render_endpoint(template, {"s": two}, {"input": {"one": one}})
    assert endpoint.path == "/"
    assert parse_qsl(endpoint.query, keep_blank_values=True) == [("q", one), ("r", "2"), ("s", two)]


@pytest.mark.parametrize(
    "template",
    [
        "https://{{ input.host }}/",
        "https://{{ input.host }}.example.test/",
        "https://api.example.test:{{ input.port }}/",
        "{{ input.url }}",
        "{{ input.scheme }}://api.example.test/",
        "ftp://api.example.test/",
        "//api.example.test/",
        "https://",
        "https:///path",
        "https://user:pass@api.example.test/",
        "https://api.example.test:0/",
        "https://api.example.test:99999/",
        "https://api.example.test\\@evil.test/",
        "https://a b/",
        "https://api.example.test/\r\nX: y",
        "https://[::1/",
        "https://a%2eb/",
    ],
)
def test_what_is_not_a_url_with_a_written_out_host_is_refused(template: str) -> None:
    scope: Any = {"input": {"host": "evil.test", "port": 1, "url": "https://evil.test/", "scheme": "https"}}
    with pytest.raises(RequestInvalid):
        render_endpoint(template, {}, scope)


def test_a_template_that_is_none_is_refused_wherever_it_is() -> None:
    with pytest.raises(TemplateInvalid):
        render_endpoint("https://api.example.test/{{ a/b }}", {}, {})
    with pytest.raises(TemplateInvalid):
        render_endpoint("https://api.example.test/x?{{ a?b }}", {}, {})


@pytest.mark.parametrize(
    ("template", "authority", "host_header", "target"),
    [
        ("https://API.Example.test", "api.example.test:443", "api.example.test", "/"),
        ("http://api.example.test/a b?c d#frag", "api.example.test:80", "api.example.test", "/a%20b?c%20d"),
        ("http://api.example.test:8080/%7Ea", "api.example.test:8080", "api.example.test:8080", "/%7Ea"),
        ("https://[2001:DB8::1]:8443/", "[2001:db8::1]:8443", "[2001:db8::1]:8443", "/"),
        ("https://bücher.example/ä", "xn--bcher-kva.example:443", "xn--bcher-kva.example", "/%C3%A4"),
        ("https://api.example.test?x=1", "api.example.test:443", "api.example.test", "/?x=1"),
    ],
)
def test_written_out_parts(template: str, authority: str, host_header: str, target: str) -> None:
    endpoint = render_endpoint(template, {}, {})
    assert (endpoint.authority, endpoint.host_header, endpoint.target) == (authority, host_header, target)


def test_query_parameters_take_scalars_and_lists_of_them() -> None:
    query: Any = {"a": [1, "x&y"], "b": True, "c": None, "d e": 1.5}
    assert render_endpoint("https://h.test/?z=0", query, {}).query == "z=0&a=1&a=x%26y&b=true&d%20e=1.5"
    with pytest.raises(RequestInvalid, match='"query o" is an object'):
        render_endpoint("https://h.test/", {"o": {}}, {})


@pytest.mark.parametrize("value", [None, [], {}])
def test_only_scalars_go_into_a_path(value: Any) -> None:
    with pytest.raises(RequestInvalid):
        render_endpoint("https://h.test/{{ input }}", {}, {"input": value})
