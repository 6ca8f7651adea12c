"""When a step tries again, and when it must not."""

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from far_side import Reply
from world import World, action, step
from wormhole_runner._retries import JITTER, delay_ms, parse_retry_after

HTTP = "http://api.example.test"
HTTPS = "https://api.example.test"
FIXED = {"strategy": "FIXED"}


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_a_status_that_may_heal_is_tried_again(world: World, status: int) -> None:
    world.http.route("/a", Reply(status), Reply(status), Reply(200, {"ok": 1}))
    result = world.run(step("a", action("POST", f"{HTTP}/a", retry=FIXED)))
    assert result == {"status": "SUCCESS"}
    assert world.last("a")["tries"] == 3
    assert len({request.headers["idempotency-key"] for request in world.http.requests}) == 1
    assert f"try 1 of 3 failed: POST {HTTP}/a → {status}; next in " in world.log_text()


@pytest.mark.parametrize("status", [301, 304, 400, 401, 403, 404, 409, 422, 501])
def test_any_other_status_is_not(world: World, status: int) -> None:
    world.http.route("/a", Reply(status))
    result = world.run(step("a", action("GET", f"{HTTP}/a", retry=FIXED)))
    assert result["error"]["code"] == "HTTP_STATUS"
    assert world.last("a")["error"]["status"] == status
    assert len(world.http.requests) == 1


def test_without_a_strategy_there_is_one_try(world: World) -> None:
    world.http.route("/a", Reply(503))
    world.run(step("a", action("GET", f"{HTTP}/a", retry={"strategy": "NONE", "attempts": 5})))
    assert len(world.http.requests) == 1


def test_tries_are_bounded_and_counted(world: World) -> None:
    world.http.route("/a", Reply(503))
    result = world.run(
        step("a", action("GET", f"{HTTP}/a", retry={"strategy": "EXPONENTIAL", "attempts": 4, "initialDelayMs": 1}))
    )
    assert len(world.http.requests) == 4
    assert result["message"].endswith("→ 503 after 4 tries")
    assert world.last("a")["tries"] == 4


def test_a_try_that_takes_too_long_is_tried_again(world: World) -> None:
    world.http.slow("/a", 5)
    result = world.run(step("a", action("GET", f"{HTTP}/a", timeoutMs=100, retry={"strategy": "FIXED", "attempts": 2})))
    assert result["error"]["code"] == "TIMEOUT"
    assert "did not answer within 100 ms after 2 tries" in result["message"]


def test_a_far_side_that_hangs_up_is_tried_again(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        world.egress.http_port = listener.getsockname()[1]
    result = world.run(step("a", action("GET", f"{HTTP}/a", retry={"strategy": "FIXED", "attempts": 2})))
    assert result["error"]["code"] == "CONNECTION_FAILED"
    assert world.last("a")["tries"] == 2
    assert "api.example.test:80" in result["message"]


def test_retry_after_is_obeyed_up_to_the_longest_delay(world: World) -> None:
    world.http.route("/a", Reply(429, {}, {"Retry-After": "3600"}), Reply())
    start = time.monotonic()
    world.run(
        step("a", action("GET", f"{HTTP}/a", retry={"strategy": "FIXED", "initialDelayMs": 0, "maxDelayMs": 300}))
    )
    assert time.monotonic() - start >= 0.3
    assert "next in 300 ms" in world.log_text()


@given(st.integers(1, 50), st.none() | st.floats(0, 1e7), st.integers(0, 5000), st.integers(0, 60_000))
def test_no_delay_is_longer_than_allowed(tries: int, retry_after: float | None, initial: int, longest: int) -> None:
    rule: Any = {"strategy": "EXPONENTIAL", "attempts": 50, "initialDelayMs": initial, "maxDelayMs": longest}
    delay = delay_ms(rule, tries, retry_after)
    assert min(retry_after or 0, longest) <= delay <= longest


def test_exponential_delays_double_and_fixed_ones_stay() -> None:
    for strategy, factors in (("FIXED", [1, 1, 1, 1]), ("EXPONENTIAL", [1, 2, 4, 8])):
        rule: Any = {"strategy": strategy, "attempts": 9, "initialDelayMs": 100, "maxDelayMs": 100_000}
        for tries, factor in enumerate(factors, start=1):
            delays = {delay_ms(rule, tries, None) for _ in range(50)}
            assert len(delays) > 1
            assert 100 * factor * (1 - JITTER) <= min(delays) <= max(delays) <= 100 * factor * (1 + JITTER)


def test_retry_after_takes_seconds_and_dates() -> None:
    assert parse_retry_after("2") == 2000
    assert parse_retry_after(None) is None
    assert parse_retry_after("soon") is None
    later = parse_retry_after(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert later is not None
    assert 28_000 < later <= 30_000
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize("url", [f"{HTTP}/a", f"{HTTPS}/a"])
@pytest.mark.parametrize("status", [403, 407, 400])
def test_a_denial_by_the_proxy_is_final_and_names_host_and_port(world: World, url: str, status: int) -> None:
    authority = "api.example.test:443" if url.startswith("https") else "api.example.test:80"
    world.egress.denied[authority] = (status, "HOST_NOT_ALLOWED")
    result = world.run(step("a", action("GET", url, retry=FIXED)))
    assert result["error"] == {"code": "EGRESS_DENIED", "stepKey": "a"}
    assert f"{authority} is denied (HOST_NOT_ALLOWED)" in result["message"]
    assert len(world.egress.seen) == 1


@pytest.mark.parametrize("url", [f"{HTTP}/a", f"{HTTPS}/a"])
def test_a_far_side_that_the_proxy_cannot_reach_is_tried_again(world: World, url: str) -> None:
    authority = "api.example.test:443" if url.startswith("https") else "api.example.test:80"
    world.egress.denied[authority] = (502, "CONNECT_FAILED")
    result = world.run(step("a", action("GET", url, retry=FIXED)))
    assert result["error"]["code"] == "CONNECTION_FAILED"
    assert f"cannot reach {authority}: CONNECT_FAILED" in result["message"]
    assert len(world.egress.seen) == 3


def test_a_proxy_that_is_being_started_again_is_waited_for_and_costs_no_try(world: World) -> None:
    world.http.route("/a", Reply(200, {}))
    socket_path = Path(world.egress.url.removeprefix("unix:"))
    away = socket_path.rename(socket_path.with_suffix(".away"))
    timer = threading.Timer(0.5, away.rename, [socket_path])
    timer.start()
    result = world.run(step("a", action("POST", f"{HTTP}/a")))
    timer.join()
    assert result == {"status": "SUCCESS"}
    assert world.last("a")["tries"] == 1
    assert len(world.http.requests) == 1


def test_a_proxy_that_stays_away_is_waited_for_within_the_time_of_the_try(world: World) -> None:
    Path(world.egress.url.removeprefix("unix:")).unlink()
    started = time.monotonic()
    result = world.run(step("a", action("POST", f"{HTTP}/a", timeoutMs=300)))
    assert result["error"]["code"] == "TIMEOUT"
    assert time.monotonic() - started < 5


def test_the_far_side_cannot_pose_as_the_proxy_within_a_tunnel(world: World) -> None:
    world.https.route("/a", Reply(503, {}, {"Wormhole-Egress-Denied": "HOST_NOT_ALLOWED"}), Reply())
    assert world.run(step("a", action("GET", f"{HTTPS}/a", retry=FIXED))) == {"status": "SUCCESS"}


def test_a_certificate_for_another_name_is_refused_for_good(world: World) -> None:
    result = world.run(step("a", action("GET", "https://other.example.test/a", retry=FIXED)))
    assert result["error"] == {"code": "TLS_FAILED", "stepKey": "a"}
    assert "other.example.test" in result["message"]
    assert len(world.egress.seen) == 1
    assert world.https.requests == []


def test_an_unknown_authority_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    result = world.run(step("a", action("GET", f"{HTTPS}/a")))
    assert result["error"]["code"] == "TLS_FAILED"
