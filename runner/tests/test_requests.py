"""What a step sends: credentials, headers, bodies; and what it accepts."""

import base64
import gzip
import json
from typing import Any

import pytest

from far_side import Reply
from world import World, action, step, traceparent

HTTP = "http://api.example.test"
HTTPS = "https://api.example.test"


@pytest.mark.parametrize(
    ("connection", "header", "value"),
    [
        ({"kind": "API_KEY", "in": "header", "name": "X-API-Key", "value": "key-canary"}, "x-api-key", "key-canary"),
        (
            {"kind": "BASIC", "username": "ada", "password": "pass-canary"},
            "authorization",
            "Basic " + base64.b64encode(b"ada:pass-canary").decode(),
        ),
        ({"kind": "CUSTOM_HEADER", "headers": {"X-Token": "token-canary"}}, "x-token", "token-canary"),
        ({"kind": "OAUTH2", "accessToken": "access-canary"}, "authorization", "Bearer access-canary"),
    ],
)
def test_credentials_go_into_a_header_and_nowhere_else(
    world: World, connection: dict[str, Any], header: str, value: str
) -> None:
    def echo(request: Any) -> Reply:
        return Reply(400, {"you sent": request.headers})

    world.https.route("/a", Reply(), echo)
    own = {header.upper(): "the definition's own"}
    auth = {"connection": "crm"}
    world.run(
        step("a", action("GET", f"{HTTPS}/a", auth=auth, headers=own)),
        step("b", action("GET", f"{HTTPS}/a", auth=auth), continueOnError=True),
        connections={"crm": connection},
    )
    assert [request.headers[header] for request in world.https.requests] == [value, value]
    assert b"canary" not in world.gateway.raw
    assert value.encode() not in world.gateway.raw


def test_an_api_key_may_travel_in_the_query(world: World) -> None:
    world.https.route("/a", Reply())
    world.run(
        step("a", action("GET", f"{HTTPS}/a?x=1", auth={"connection": "crm"})),
        connections={"crm": {"kind": "API_KEY", "in": "query", "name": "key", "value": "key&canary"}},
    )
    assert world.https.requests[0].target == "/a?x=1&key=key%26canary"
    assert b"canary" not in world.gateway.raw


def test_secrets_that_a_far_side_echoes_are_masked_in_outputs_errors_and_logs(world: World) -> None:
    secret = 'pa"ss/w?rd\ncanary'
    encodings = [
        secret,
        json.dumps(secret),
        base64.b64encode(f"x{secret}y".encode()).decode(),
        "pa%22ss%2Fw%3Frd%0Acanary",
    ]
    world.https.route("/a", Reply(200, {"echo": encodings, secret: 1}, {"X-Echo": "grant-canary-8f31c2"}))
    world.run(
        step("a", action("GET", f"{HTTPS}/a", auth={"connection": "erp"})),
        step("b", action("GET", f"{HTTPS}/{{{{ steps.a.output.body.echo.0 }}}}"), continueOnError=True),
        definition={"output": "{{ steps.a.output.body }}"},
        connections={"erp": {"kind": "BASIC", "username": "u", "password": secret}},
    )
    text = world.gateway.raw.decode()
    for trace in ("canary", "pa%22", 'pa\\"ss', base64.b64encode(b'pa"ss/w?rd').decode()[4:12]):
        assert trace not in text
    assert "[REDACTED]" in text


def test_credentials_that_cannot_be_had_fail_only_the_steps_that_use_them(world: World) -> None:
    world.https.route("/a", Reply())
    why = 'connection "drive" of tenant "acme": its token endpoint answered 400'
    result = world.run(
        step("a", action("GET", f"{HTTPS}/a")),
        step("b", action("GET", f"{HTTPS}/a", auth={"connection": "drive"})),
        connections={"drive": {"kind": "UNAVAILABLE", "message": why}},
    )
    assert result["error"] == {"code": "CREDENTIALS_UNAVAILABLE", "stepKey": "b"}
    assert why in result["message"]
    assert result["message"].count("connection") == 1
    assert world.last("a")["status"] == "SUCCESS"


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\rb", "a\0b"])
def test_line_breaks_in_header_values_are_refused(world: World, value: str) -> None:
    result = world.run(step("a", action("GET", f"{HTTP}/a", headers={"X-A": "{{ input }}"})), input=value)
    assert result["error"]["code"] == "REQUEST_INVALID"
    assert 'header "X-A"' in result["message"]
    assert world.http.requests == []


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Proxy-Authorization", "Connection"])
def test_headers_that_frame_the_message_cannot_be_set(world: World, name: str) -> None:
    result = world.run(step("a", action("POST", f"{HTTP}/a", headers={name: "1"})))
    assert result["error"]["code"] == "REQUEST_INVALID"
    assert world.http.requests == []


def test_a_missing_body_is_none_and_null_is_a_body(world: World) -> None:
    world.http.route("/a", Reply())
    world.run(
        step("none", action("POST", f"{HTTP}/a")),
        step("null", action("POST", f"{HTTP}/a", body=None)),
        step("text", action("POST", f"{HTTP}/a", body="ä", headers={"Content-Type": "application/vnd.x+json"})),
    )
    bodies = [(request.body, request.headers.get("content-type")) for request in world.http.requests]
    assert bodies == [
        (b"", None),
        (b"null", "application/json"),
        ('"ä"'.encode(), "application/vnd.x+json"),
    ]


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", "application/json", None),
        (b'{"a":1}', "application/problem+json; charset=utf-8", {"a": 1}),
        (b"plain", "text/plain", "plain"),
        ("ä".encode("latin-1"), "text/plain; charset=iso-8859-1", "ä"),
        (b"\xff\xfe", "application/octet-stream", "\ufffd\ufffd"),
        (b"x", "text/plain; charset=no-such", "x"),
    ],
)
def test_bodies_are_what_their_content_type_says(world: World, body: bytes, content_type: str, expected: Any) -> None:
    world.http.route("/a", Reply(200, body, {"Content-Type": content_type}))
    world.run(step("a", action("GET", f"{HTTP}/a")))
    assert world.last("a")["output"]["body"] == expected


@pytest.mark.parametrize(
    "body", [b"{", b"NaN", b"[1e999]", b'"\xff"', b"9" * 5000, b"[" * 100_000, b"[" * 102 + b"]" * 102]
)
def test_what_is_called_json_and_is_not_fails_the_step(world: World, body: bytes) -> None:
    world.http.route("/a", Reply(200, body))
    result = world.run(step("a", action("GET", f"{HTTP}/a")))
    assert result["error"] == {"code": "RESPONSE_INVALID", "stepKey": "a"}


def test_compressed_bodies_are_read_and_the_limit_counts_what_comes_out(world: World) -> None:
    gzipped = {"Content-Encoding": "gzip"}
    world.http.route("/ok", Reply(200, gzip.compress(b'{"a":1}') + gzip.compress(b" "), gzipped))
    world.http.route("/bomb", Reply(200, gzip.compress(b"0" * 50_000_000), gzipped))
    world.http.route("/torn", Reply(200, gzip.compress(b'{"a":1}')[:-9], gzipped))
    world.http.route("/other", Reply(200, b"x", {"Content-Encoding": "br"}))
    world.run(
        *(step(name, action("GET", f"{HTTP}/{name}"), continueOnError=True) for name in ("ok", "bomb", "torn", "other"))
    )
    assert world.last("ok")["output"]["body"] == {"a": 1}
    codes = [world.last(name)["error"]["code"] for name in ("bomb", "torn", "other")]
    assert codes == ["RESPONSE_TOO_LARGE", "RESPONSE_INVALID", "RESPONSE_INVALID"]


def test_a_response_over_the_limit_fails_the_step_with_the_limit(world: World) -> None:
    world.http.route("/a", Reply(200, b"x" * 2001, {"Content-Type": "text/plain"}))
    result = world.run(
        step("a", action("GET", f"{HTTP}/a", retry={"strategy": "FIXED"})), limits={"responseBytes": 2000}
    )
    assert result["error"]["code"] == "RESPONSE_TOO_LARGE"
    assert "larger than 2000 bytes" in result["message"]
    assert len(world.http.requests) == 1


def test_a_large_output_is_cut_in_the_record_and_whole_for_later_steps(world: World) -> None:
    body = {"items": ["ä" * 1000] * 300, "last": "end"}
    world.http.route("/a", Reply(200, body))
    world.http.route("/b", Reply())
    result = world.run(
        step("a", action("GET", f"{HTTP}/a")),
        step("b", action("POST", f"{HTTP}/b", body="{{ steps.a.output.body }}")),
        definition={"output": "{{ steps.a.output.body }}"},
    )
    assert world.http.requests[1].json() == body
    record = world.last("a")["output"]
    assert record["truncated"] is True
    assert record["bytes"] > 600_000
    assert record["preview"].startswith('{"status":200')
    assert len(record["preview"]) == 1024
    assert (result["status"], result["output"]["truncated"]) == ("SUCCESS", True)


def test_the_rendered_body_and_the_response_satisfy_their_schemas(world: World) -> None:
    schema = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}}
    world.http.route("/a", Reply(200, {"id": 1}), Reply(200, {"id": "payload-canary"}))
    world.run(
        step("ok", action("POST", f"{HTTP}/a", body={"id": "{{ input }}"}, inputSchema=schema, outputSchema=schema)),
        step("out", action("POST", f"{HTTP}/a", body={"id": 1}, outputSchema=schema), continueOnError=True),
        step("in", action("POST", f"{HTTP}/a", body={}, inputSchema=schema), continueOnError=True),
        input=5,
    )
    assert world.last("ok")["status"] == "SUCCESS"
    assert world.last("out")["error"]["code"] == "RESPONSE_BODY_INVALID"
    assert "payload-canary" not in world.last("out")["error"]["message"]
    assert world.last("in")["error"]["code"] == "REQUEST_BODY_INVALID"
    assert len(world.http.requests) == 2


def test_every_request_of_a_step_carries_its_trace_context(world: World) -> None:
    world.https.route("/a", Reply(503), Reply())
    world.http.route("/b", Reply())
    world.run(
        step("a", action("GET", f"{HTTPS}/a", retry={"strategy": "FIXED"})),
        step("b", action("POST", f"{HTTP}/b", body={})),
    )
    assert [request.headers["traceparent"] for request in world.https.requests] == [traceparent("a")] * 2
    assert [request.headers["traceparent"] for request in world.http.requests] == [traceparent("b")]


def test_a_step_that_declares_a_trace_context_sends_its_own(world: World) -> None:
    own = f"00-{'1' * 32}-{'2' * 16}-00"
    world.https.route("/a", Reply())
    world.run(step("a", action("GET", f"{HTTPS}/a", headers={"TraceParent": own})))
    assert world.https.requests[0].headers["traceparent"] == own


def test_a_gateway_that_hands_out_no_trace_contexts_is_no_reason_to_fail(world: World) -> None:
    world.https.route("/a", Reply())
    world.give(step("a", action("GET", f"{HTTPS}/a")))
    del world.gateway.payload["traceparents"]
    assert world.exit_code() == 0
    assert "traceparent" not in world.https.requests[0].headers
