"""The protocol under faults, and the exit codes."""

import socket
import time
from pathlib import Path

import pytest
import trustme

from egress_double import GRANT
from far_side import Reply
from forwarder import forward
from gateway_double import CLAIM_TOKEN, Fault
from world import World, action, step
from wormhole_runner import _gateway, _steps

HTTP = "http://api.example.test"


@pytest.fixture
def one(world: World) -> World:
    """A world in which one short step waits to be run."""
    world.http.route("/a", Reply(200, {"x": 1}))
    world.give(step("a", action("GET", f"{HTTP}/a")))
    return world


@pytest.mark.parametrize("path", ["/v1/report", "/v1/result"])
@pytest.mark.parametrize(
    "faults", [["drop"], ["lose"], ["lose", "drop", "lose"], [500, 503, 429, 502, 504], ["lose", 500]]
)
def test_reports_and_results_survive_faults_and_nothing_is_told_twice(
    one: World, path: str, faults: list[Fault]
) -> None:
    one.gateway.faults = {path: list(faults)}
    assert one.exit_code() == 0
    assert one.gateway.faults == {path: []}
    assert [report["status"] for report in one.gateway.steps] == ["RUNNING", "SUCCESS"]
    assert [line["sequence"] for line in one.gateway.logs] == list(range(1, len(one.gateway.logs) + 1))
    assert one.gateway.results[0] == {"status": "SUCCESS"}
    assert len(one.http.requests) == 1


def test_a_claim_that_was_refused_for_the_moment_is_asked_for_again(one: World) -> None:
    one.gateway.faults = {"/v1/claim": [503, 429]}
    assert one.exit_code() == 0
    assert len(one.gateway.claims) == 1


def test_a_claim_whose_answer_was_lost_is_not_repeated(one: World, capsys: pytest.CaptureFixture[str]) -> None:
    one.gateway.faults = {"/v1/claim": ["lose"]}
    assert one.exit_code() == 75
    assert len(one.gateway.claims) == 1
    assert one.http.requests == []
    assert "the answer to the claim was lost" in capsys.readouterr().err


def test_a_claim_at_which_the_gateway_failed_is_not_repeated(one: World, capsys: pytest.CaptureFixture[str]) -> None:
    one.gateway.faults = {"/v1/claim": [500]}
    assert one.exit_code() == 75
    assert one.gateway.claims == []
    assert "the gateway answers 500" in capsys.readouterr().err


def test_a_second_claim_is_refused_and_nothing_runs(one: World) -> None:
    assert one.exit_code() == 0
    process = one.start()
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 77
    assert "409 CLAIM_REFUSED" in errors
    assert len(one.http.requests) == 1


def test_an_attempt_that_has_ended_ends_the_runner_at_once(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.http.slow("/slow", 60)
    world.give(step("a", action("GET", f"{HTTP}/slow")))
    world.gateway.ended = True
    assert world.exit_code() == 77
    assert "410 ATTEMPT_ENDED" in capsys.readouterr().err


def test_a_gateway_that_is_not_there_is_exit_75(
    one: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_gateway, "CLAIM_PATIENCE_S", 0.5)
    one.environ["WORMHOLE_GATEWAY_URL"] = "unix:/nonexistent/gateway.sock"
    assert one.exit_code() == 75
    assert "/nonexistent/gateway.sock" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WORMHOLE_GATEWAY_URL", "", "WORMHOLE_GATEWAY_URL is not set"),
        ("WORMHOLE_GATEWAY_URL", "http://gateway:80", "not plain http"),
        ("WORMHOLE_GATEWAY_URL", "gateway", "must be unix:/path"),
        ("WORMHOLE_GATEWAY_URL", "https://gateway:0", "must be unix:/path"),
        ("WORMHOLE_CLAIM_TOKEN_FILE", "", "WORMHOLE_CLAIM_TOKEN_FILE is not set"),
        ("WORMHOLE_CLAIM_TOKEN_FILE", "/nonexistent", "cannot be read"),
        ("WORMHOLE_CLAIM_TOKEN_FILE", "/dev/null", "does not hold a token"),
    ],
)
def test_a_wrong_environment_is_exit_78_and_is_named(
    one: World, capsys: pytest.CaptureFixture[str], name: str, value: str, message: str
) -> None:
    one.environ[name] = value
    assert one.exit_code() == 78
    assert message in capsys.readouterr().err
    assert one.gateway.claims == []


def test_an_error_of_the_runner_itself_is_delivered_without_its_text(
    one: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_response: object) -> None:
        raise KeyError("payload-canary")

    monkeypatch.setattr(_steps, "parse_body", fail)
    assert one.exit_code() == 70
    result = one.gateway.results[0]
    assert (result["status"], result["reason"]) == ("FAILED", "RUNNER_CRASHED")
    assert "KeyError in test_gateway.py:" in result["message"]
    assert b"payload-canary" not in one.gateway.raw
    assert "payload-canary" not in capsys.readouterr().err


def test_log_messages_are_cut_and_over_the_runs_limit_dropped_and_counted(world: World) -> None:
    world.http.route("/" + "x" * 500, Reply())
    world.run(
        *(step(f"s{number}", action("GET", f"{HTTP}/{'x' * 500}")) for number in range(10)),
        limits={"logMessageBytes": 100, "logBytesPerRun": 900},
    )
    messages = [line["message"] for line in world.gateway.logs]
    assert max(len(message.encode()) for message in messages) == 100
    assert messages[1].endswith("…")
    assert 700 < sum(len(message.encode()) + 64 for message in messages) <= 900
    dropped = sum(batch["droppedLogs"] for batch in world.gateway.batches)
    assert len(messages) + dropped == 11


def test_batches_stay_below_what_the_gateway_takes(world: World) -> None:
    world.http.route("/a", Reply(200, {"text": "x" * 250_000}))
    world.run(*(step(f"s{number}", action("GET", f"{HTTP}/a")) for number in range(20)))
    assert len(world.gateway.raw) > 20 * 250_000
    assert all(len(str(batch)) < 2 * 1024 * 1024 for batch in world.gateway.batches)


def test_a_wrong_authority_is_exit_78_and_is_named(in_cluster: World, capsys: pytest.CaptureFixture[str]) -> None:
    for authority, message in [("", "WORMHOLE_GATEWAY_CA is not set"), ("x", "is not a certificate in PEM")]:
        in_cluster.environ["WORMHOLE_GATEWAY_CA"] = authority
        assert in_cluster.exit_code() == 78
        assert message in capsys.readouterr().err
    assert in_cluster.gateway.claims == []


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_in_a_cluster_the_gateway_is_tls_and_the_proxy_a_port(in_cluster: World, scheme: str) -> None:
    getattr(in_cluster, scheme).route("/a", Reply())
    in_cluster.egress.url = in_cluster.egress.tcp_url
    assert in_cluster.run(step("a", action("GET", f"{scheme}://api.example.test/a"))) == {"status": "SUCCESS"}
    assert in_cluster.egress.seen == [
        "CONNECT api.example.test:443" if scheme == "https" else "GET http://api.example.test/a"
    ]
    assert in_cluster.egress.grants == {f"Bearer {GRANT}"}


def test_a_gateway_of_another_authority_gets_no_token(
    in_cluster: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_gateway, "CLAIM_PATIENCE_S", 0.5)
    in_cluster.environ["WORMHOLE_GATEWAY_CA"] = trustme.CA().cert_pem.bytes().decode()
    assert in_cluster.exit_code() == 75
    assert "the certificate of localhost is refused" in capsys.readouterr().err
    assert in_cluster.gateway.claims == []


def test_a_gateway_whose_certificate_is_not_trusted_yet_is_tried_again(
    in_cluster: World, authority: trustme.CA
) -> None:
    in_cluster.http.route("/a", Reply())
    in_cluster.give(step("a", action("GET", f"{HTTP}/a")))
    trustme.CA().issue_cert("localhost").configure_cert(in_cluster.gateway.tls)
    runner = in_cluster.start()
    time.sleep(1)
    assert runner.poll() is None
    authority.issue_cert("localhost").configure_cert(in_cluster.gateway.tls)
    _, errors = runner.communicate(timeout=20)
    assert (runner.returncode, errors) == (0, "")


def test_a_gateway_under_another_name_gets_no_token(
    in_cluster: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_gateway, "CLAIM_PATIENCE_S", 0.5)
    in_cluster.environ["WORMHOLE_GATEWAY_URL"] = in_cluster.gateway.tls_url.replace("localhost", "127.0.0.1")
    assert in_cluster.exit_code() == 75
    assert "the certificate of 127.0.0.1 is refused" in capsys.readouterr().err
    assert in_cluster.gateway.claims == []


def test_another_pod_is_refused(in_cluster: World, capsys: pytest.CaptureFixture[str]) -> None:
    in_cluster.gateway.pod_tokens = {"another"}
    assert in_cluster.exit_code() == 77
    assert "401 TOKEN_REFUSED" in capsys.readouterr().err
    assert in_cluster.gateway.claims == []


def test_a_token_that_was_replaced_is_used_at_once_and_one_that_is_gone_is_kept(in_cluster: World) -> None:
    token_file = Path(in_cluster.environ["WORMHOLE_CLAIM_TOKEN_FILE"])

    def replace(_request: object) -> Reply:
        token_file.write_text("pod-canary-replaced\n")
        return Reply()

    def remove(_request: object) -> Reply:
        while "pod-canary-replaced" not in in_cluster.gateway.shown:
            time.sleep(0.01)
        token_file.unlink()
        return Reply()

    in_cluster.gateway.pod_tokens.add("pod-canary-replaced")
    in_cluster.http.route("/replace", replace)
    in_cluster.http.route("/remove", remove)
    steps = [step(name, action("GET", f"{HTTP}/{name}")) for name in ("replace", "remove")]
    assert in_cluster.run(*steps) == {"status": "SUCCESS"}
    assert in_cluster.gateway.shown[0] == CLAIM_TOKEN
    assert in_cluster.gateway.shown[-1] == "pod-canary-replaced"


def test_a_gateway_that_drains_is_connected_to_again(in_cluster: World) -> None:
    in_cluster.http.route("/a", Reply())
    in_cluster.gateway.draining = True
    assert in_cluster.run(step("a", action("GET", f"{HTTP}/a"))) == {"status": "SUCCESS"}


def test_a_gateway_that_cannot_be_reached_yet_is_tried_again_quickly(in_cluster: World) -> None:
    """As while a network policy is being put in place: first silence, then a closed port, then an open one."""
    in_cluster.http.route("/a", Reply())
    in_cluster.give(step("a", action("GET", f"{HTTP}/a")))
    _, port = in_cluster.gateway.tls_url.rsplit(":", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        gate: int = silent.getsockname()[1]
        # The queue of the port is full now: the kernel drops the packets of whoever wants to connect.
        with socket.create_connection(("127.0.0.1", gate)):
            in_cluster.environ["WORMHOLE_GATEWAY_URL"] = f"https://localhost:{gate}"
            runner = in_cluster.start()
            time.sleep(1)
            assert runner.poll() is None
    time.sleep(0.5)
    with forward(gate, int(port)):
        opened = time.monotonic()
        _, errors = runner.communicate(timeout=20)
        assert (runner.returncode, errors) == (0, "")
        assert time.monotonic() - opened < 3


def test_a_gateway_that_drops_the_handshake_is_tried_again(in_cluster: World) -> None:
    in_cluster.http.route("/a", Reply())
    in_cluster.gateway.dropped_handshakes = 3
    assert in_cluster.run(step("a", action("GET", f"{HTTP}/a"))) == {"status": "SUCCESS"}
    assert in_cluster.gateway.dropped_handshakes == 0
