"""A run that has to end early says so, in time."""

import signal
import subprocess
import time

import pytest

from far_side import Reply
from world import World, action, step

HTTP = "http://api.example.test"
SLOW = step("slow", action("GET", f"{HTTP}/slow"))
AFTER = step("after", action("GET", f"{HTTP}/after"))


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Waits for the end. Returns the exit code and the standard error."""
    try:
        _, errors = process.communicate(timeout=20)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.fixture(autouse=True)
def _slow(world: World) -> None:
    world.http.slow("/slow", 60)


def test_a_cancel_in_a_reports_answer_ends_a_slow_step_soon(world: World) -> None:
    world.give(SLOW, AFTER)
    process = world.start()
    assert world.gateway.running.wait(10)
    world.gateway.cancel = "CANCELED"
    start = time.monotonic()
    assert finish(process) == (0, "")
    assert time.monotonic() - start < 5
    assert world.gateway.results == [{"status": "CANCELED", "reason": "CANCELED", "message": "canceled on request"}]
    assert world.last("slow")["status"] == "CANCELED"
    assert world.last("slow")["error"]["code"] == "CANCELED"
    assert world.last("after") == {"key": "after", "status": "SKIPPED"}


def test_a_deadline_in_a_reports_answer_is_a_timeout(world: World) -> None:
    world.gateway.cancel = "DEADLINE_EXCEEDED"
    result = world.run(SLOW, AFTER)
    assert (result["status"], result["reason"]) == ("TIMEOUT", "DEADLINE_EXCEEDED")
    assert world.last("slow")["status"] == "TIMEOUT"


def test_heartbeats_go_out_when_there_is_nothing_to_say(world: World) -> None:
    world.http.slow("/slow", 5)
    world.run(SLOW)
    assert [batch for batch in world.gateway.batches if not batch["steps"] and not batch["logs"]]
    gaps = [
        later - earlier
        for earlier, later in zip(world.gateway.batch_times, world.gateway.batch_times[1:], strict=False)
    ]
    assert max(gaps) < 4


def test_sigterm_ends_the_run_as_canceled(world: World) -> None:
    world.give(SLOW, AFTER)
    process = world.start()
    assert world.gateway.running.wait(10)
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "")
    assert time.monotonic() - start < 4
    assert world.gateway.results[0]["status"] == "CANCELED"
    assert [world.last(key)["status"] for key in ("slow", "after")] == ["CANCELED", "SKIPPED"]


def test_sigterm_exits_in_time_though_the_gateway_is_gone(world: World) -> None:
    world.give(SLOW)
    process = world.start()
    assert world.gateway.running.wait(10)
    world.gateway.faults = {"/v1/report": ["drop"] * 1000, "/v1/result": ["drop"] * 1000}
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    code, errors = finish(process)
    assert time.monotonic() - start < 5
    assert code == 75
    assert "did not take the result in time" in errors


def test_sigterm_close_to_the_deadline_is_a_timeout(world: World) -> None:
    # The margin is a tenth of 3 s, so the last second before the deadline starts 700 ms before the runner's own stop.
    world.give(SLOW, deadlineMs=3000)
    process = world.start()
    assert world.gateway.running.wait(10)
    time.sleep(2.2)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (0, "")
    assert world.gateway.results[0]["status"] == "TIMEOUT"


def test_the_runner_ends_itself_shortly_before_the_deadline(world: World) -> None:
    start = time.monotonic()
    result = world.run(SLOW, AFTER, deadlineMs=5000)
    assert 4.4 < time.monotonic() - start < 5
    assert result == {
        "status": "TIMEOUT",
        "reason": "DEADLINE_EXCEEDED",
        "message": "stopped shortly before its deadline",
    }
    assert [world.last(key)["status"] for key in ("slow", "after")] == ["TIMEOUT", "SKIPPED"]


def test_a_deadline_ends_the_wait_between_tries(world: World) -> None:
    world.http.route("/busy", Reply(503, {}, {"Retry-After": "60"}))
    retry = {"strategy": "FIXED", "maxDelayMs": 60_000}
    result = world.run(step("busy", action("GET", f"{HTTP}/busy", retry=retry)), deadlineMs=1000)
    assert result["status"] == "TIMEOUT"
    assert world.last("busy")["tries"] == 1


def test_a_deadline_that_has_passed_already_is_a_timeout(world: World) -> None:
    assert world.run(SLOW, deadlineMs=0)["status"] == "TIMEOUT"


def test_sigterm_before_the_claim_ends_the_process(world: World) -> None:
    world.give(SLOW)
    world.gateway.faults = {"/v1/claim": [503] * 1000}
    process = world.start()
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert finish(process) == (143, "")
    assert world.gateway.claims == []
