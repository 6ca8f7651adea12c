"""A whole run, from claim to result."""

import re

from far_side import Reply
from gateway_double import CLAIM_TOKEN
from world import RUN_ID, World, action, step

HTTP = "http://api.example.test"
HTTPS = "https://api.example.test"


def test_data_flows_from_input_through_steps_into_the_output(world: World) -> None:
    world.https.route("/contacts", Reply(200, {"items": [{"id": 7, "tags": ["a"]}]}))
    world.https.route("/contacts/7", Reply(200, {"name": "Ada"}))
    world.http.route("/greet", Reply(201, {"ok": True}))
    result = world.run(
        step("list", action("GET", f"{HTTPS}/contacts", query={"limit": "{{ input.limit }}", "tag": ["x", "y"]})),
        step("get", action("GET", f"{HTTPS}/contacts/{{{{ steps.list.output.body.items.0.id }}}}")),
        step(
            "greet",
            action(
                "POST",
                f"{HTTP}/greet",
                body={
                    "text": "Hello {{ steps.get.output.body.name }}!",
                    "tags": "{{ steps.list.output.body.items.0.tags }}",
                    "n": "{{ input.limit }}",
                },
                headers={"X-Count": "{{ input.limit }} items"},
            ),
        ),
        definition={
            "output": {"status": "{{ steps.greet.output.status }}", "name": "{{ steps.get.output.body.name }}"}
        },
        input={"limit": 5},
    )
    assert result == {"status": "SUCCESS", "output": {"status": 201, "name": "Ada"}}
    assert [request.target for request in world.https.requests] == ["/contacts?limit=5&tag=x&tag=y", "/contacts/7"]
    greeting = world.http.requests[0]
    assert greeting.json() == {"text": "Hello Ada!", "tags": ["a"], "n": 5}
    assert greeting.headers["x-count"] == "5 items"
    assert greeting.headers["host"] == "api.example.test"


def test_every_request_goes_through_the_proxy_with_the_grant(world: World) -> None:
    world.run(
        step("plain", action("GET", f"{HTTP}:8080/a?b=c"), continueOnError=True),
        step("tunnel", action("GET", f"{HTTPS}/a"), continueOnError=True),
    )
    assert world.egress.seen == ["GET http://api.example.test:8080/a?b=c", "CONNECT api.example.test:443"]
    assert world.egress.grants == {"Bearer grant-canary-8f31c2"}
    for request in [*world.http.requests, *world.https.requests]:
        assert not any(name.startswith("proxy-") for name in request.headers)


def test_environment_proxies_are_ignored(world: World) -> None:
    world.http.route("/a", Reply())
    world.give(step("a", action("GET", f"{HTTP}/a")))
    process = world.start(
        HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", ALL_PROXY="http://127.0.0.1:9"
    )
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")
    assert world.gateway.results == [{"status": "SUCCESS"}]


def test_steps_are_reported_in_order_with_times_tries_and_outputs(world: World) -> None:
    world.http.route("/a", Reply(200, {"x": 1}))
    world.run(step("a", action("GET", f"{HTTP}/a")), step("b", action("GET", f"{HTTP}/a")))
    assert [(report["key"], report["status"]) for report in world.gateway.steps] == [
        ("a", "RUNNING"),
        ("a", "SUCCESS"),
        ("b", "RUNNING"),
        ("b", "SUCCESS"),
    ]
    done = world.last("a")
    assert done["tries"] == 1
    assert done["startedAt"] <= done["finishedAt"]
    assert done["startedAt"].endswith("Z")
    assert done["output"]["status"] == 200
    assert done["output"]["body"] == {"x": 1}
    assert done["output"]["headers"]["content-type"] == "application/json"


def test_log_lines_are_numbered_over_the_run(world: World) -> None:
    world.http.route("/a", Reply())
    world.run(*(step(f"s{number}", action("GET", f"{HTTP}/a")) for number in range(5)))
    assert [line["sequence"] for line in world.gateway.logs] == list(range(1, len(world.gateway.logs) + 1))
    line = next(line for line in world.gateway.logs if line["level"] == "INFO")
    assert line["message"].startswith("GET http://api.example.test/a → 200 in ")
    assert line["stepKey"] == "s0"


def test_the_start_is_timed_once_in_the_log(world: World) -> None:
    world.http.route("/a", Reply())
    world.give(*(step(f"s{number}", action("GET", f"{HTTP}/a")) for number in range(2)))
    process = world.start()
    assert process.communicate(timeout=20) == ("", "")
    lines = [line for line in world.gateway.logs if line["message"].startswith("runner started in ")]
    assert len(lines) == 1
    assert lines[0]["level"] == "DEBUG"
    assert re.fullmatch(
        r"runner started in [0-9.]+ ms \(imports [0-9.]+ ms, claim [0-9.]+ ms, first request [0-9.]+ ms\), "
        r"after [0-9.]+ ms of container set-up and interpreter",
        lines[0]["message"],
    )


def test_a_failed_step_ends_the_run_and_the_rest_is_skipped(world: World) -> None:
    world.http.route("/bad", Reply(500))
    result = world.run(
        step("a", action("GET", f"{HTTP}/bad")),
        step("b", action("GET", f"{HTTP}/b")),
        step("c", action("GET", f"{HTTP}/c")),
    )
    assert result == {
        "status": "FAILED",
        "reason": "STEP_FAILED",
        "message": 'step "a": GET http://api.example.test/bad → 500',
        "error": {"code": "HTTP_STATUS", "stepKey": "a"},
    }
    assert world.last("a")["error"]["status"] == 500
    assert [world.last(key)["status"] for key in "abc"] == ["FAILED", "SKIPPED", "SKIPPED"]
    assert len(world.http.requests) == 1


def test_continue_on_error_goes_on_and_the_run_succeeds(world: World) -> None:
    world.http.route("/ok", Reply())
    result = world.run(
        step("a", action("GET", f"{HTTP}/missing"), continueOnError=True),
        step(
            "fallback",
            action("GET", f"{HTTP}/ok"),
            when={"left": "{{ steps.a.output.body }}", "operator": "NOT_EXISTS"},
        ),
    )
    assert result == {"status": "SUCCESS"}
    assert [world.last(key)["status"] for key in ("a", "fallback")] == ["FAILED", "SUCCESS"]


def test_a_step_whose_condition_does_not_hold_is_skipped(world: World) -> None:
    condition = {"left": "{{ input.amount }}", "operator": "GREATER_THAN", "right": 100}
    result = world.run(step("a", action("GET", f"{HTTP}/a"), when=condition), input={"amount": 99.5})
    assert result == {"status": "SUCCESS"}
    assert world.gateway.steps == [{"key": "a", "status": "SKIPPED"}]
    assert world.http.requests == []


def test_a_missing_value_fails_the_step_and_is_named(world: World) -> None:
    result = world.run(step("a", action("GET", f"{HTTP}/{{{{ input.user.id }}}}")), input={"user": {}})
    assert result["reason"] == "STEP_FAILED"
    assert result["error"] == {"code": "TEMPLATE_VALUE_MISSING", "stepKey": "a"}
    assert '"input.user.id" has no value: "input.user" has no "id"' in result["message"]


def test_a_missing_value_in_the_output_fails_the_run(world: World) -> None:
    world.http.route("/a", Reply())
    result = world.run(step("a", action("GET", f"{HTTP}/a")), definition={"output": "{{ steps.a.output.body.x }}"})
    assert (result["status"], result["reason"]) == ("FAILED", "STEP_FAILED")
    assert result["error"] == {"code": "TEMPLATE_VALUE_MISSING"}


def test_writing_requests_carry_an_idempotency_key_of_run_and_step(world: World) -> None:
    methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
    world.http.route("/a", Reply())
    world.run(*(step(method.lower(), action(method, f"{HTTP}/a")) for method in methods))
    keys = {request.method: request.headers.get("idempotency-key") for request in world.http.requests}
    assert keys == {"GET": None, "HEAD": None} | {
        method: f"{RUN_ID}/{method.lower()}" for method in methods if method not in {"GET", "HEAD"}
    }


def test_an_own_idempotency_key_wins(world: World) -> None:
    world.http.route("/a", Reply())
    world.run(
        step("a", action("POST", f"{HTTP}/a", headers={"idempotency-key": "{{ input.key }}"})), input={"key": "k1"}
    )
    assert world.http.requests[0].headers["idempotency-key"] == "k1"


def test_no_cookies_travel_between_steps_and_the_record_does_not_keep_them(world: World) -> None:
    world.http.route("/a", Reply(200, {}, {"Set-Cookie": "session=cookie-canary"}))
    world.http.route("/b", Reply())
    world.run(
        step("a", action("GET", f"{HTTP}/a")),
        step("b", action("GET", f"{HTTP}/b", headers={"X-Session": "{{ steps.a.output.headers.set-cookie }}"})),
    )
    assert "cookie" not in world.http.requests[1].headers
    assert world.http.requests[1].headers["x-session"] == "session=cookie-canary"
    assert b"cookie-canary" not in world.gateway.raw


def test_redirects_are_not_followed(world: World) -> None:
    world.http.route("/a", Reply(302, {}, {"Location": f"{HTTP}/b"}))
    result = world.run(step("a", action("GET", f"{HTTP}/a")))
    assert result["error"]["code"] == "HTTP_STATUS"
    assert len(world.http.requests) == 1


def test_input_that_breaks_its_schema_ends_the_run_before_any_step(world: World) -> None:
    result = world.run(
        step("a", action("GET", f"{HTTP}/a")),
        definition={"inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}}},
        input={"n": "secret-looking"},
    )
    assert (result["status"], result["reason"]) == ("FAILED", "INPUT_INVALID")
    assert '$.n breaks "type": "integer"' in result["message"]
    assert "secret-looking" not in result["message"]
    assert world.gateway.steps == [{"key": "a", "status": "SKIPPED"}]


def test_the_claim_is_made_once_with_the_version_and_the_token(world: World) -> None:
    world.http.route("/a", Reply())
    world.run(step("a", action("GET", f"{HTTP}/a")))
    assert world.gateway.claims == [{"runnerVersion": "0.1.0"}]
    assert CLAIM_TOKEN.encode() not in world.gateway.raw
