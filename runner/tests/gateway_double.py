"""A gateway that speaks docs/gateway-protocol.md on a Unix socket and over TLS, and keeps what it is told."""

import json
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal

CLAIM_TOKEN = "claim-canary-51b0aa"
"""On the socket the attempt's token, over TLS the pod's."""
REPORT_TOKEN = "report-canary-c07d19"
Fault = int | Literal["drop", "lose"]
"""A status; `drop`: hang up before taking the request; `lose`: take it, and hang up instead of answering."""


class GatewayDouble:
    """Hands out one claim; takes batches by number."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.tls = tls
        """Whose certificate new TLS connections are shown."""
        self.url = ""
        self.tls_url = ""
        self.pod_tokens = {CLAIM_TOKEN}
        """Whose requests are accepted over TLS."""
        self.shown: list[str | None] = []
        """The pod's token of each request."""
        self.dropped_handshakes = 0
        """How many of the next TLS connections end before they begin."""
        self.draining = False
        """Every answer ends its connection."""
        self.payload: dict[str, Any] = {}
        self.cancel: str | None = None
        self.faults: dict[str, list[Fault]] = {}
        """By path: what happens to the next requests."""
        self.ended = False
        self.claims: list[dict[str, Any]] = []
        self.batches: list[dict[str, Any]] = []
        self.batch_times: list[float] = []
        self.results: list[dict[str, Any]] = []
        self.raw = b""
        """Every byte that reports and results consisted of."""
        self.running = threading.Event()
        """Set when a step was reported RUNNING."""

    def handle(
        self, path: str, pod_token: str | None, authorization: str | None, body: bytes, *, tls: bool
    ) -> tuple[int, dict[str, Any]]:
        content = json.loads(body)
        self.shown.append(pod_token)
        if pod_token not in (self.pod_tokens if tls else {None}):
            return 401, _error("TOKEN_REFUSED")
        if path == "/v1/claim":
            if authorization != (None if tls else f"Bearer {CLAIM_TOKEN}"):
                return 401, _error("TOKEN_REFUSED")
            self.claims.append(content)
            return (200, self.payload) if len(self.claims) == 1 else (409, _error("CLAIM_REFUSED"))
        if authorization != f"Bearer {REPORT_TOKEN}":
            return 401, _error("TOKEN_REFUSED")
        if self.ended:
            return 410, _error("ATTEMPT_ENDED")
        self.raw += body
        if path == "/v1/result":
            self.results.append(content)
            return 200, {}
        return self._take(content)

    def _take(self, batch: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if batch["sequence"] == len(self.batches) + 1:
            self.batches.append(batch)
            self.batch_times.append(time.monotonic())
        elif batch["sequence"] != len(self.batches):
            return 400, _error("PAYLOAD_INVALID")
        if any(step["status"] == "RUNNING" for step in batch["steps"]):
            self.running.set()
        return 200, {"cancel": self.cancel}

    @property
    def steps(self) -> list[dict[str, Any]]:
        """All step transitions, in order."""
        return [step for batch in self.batches for step in batch["steps"]]

    @property
    def logs(self) -> list[dict[str, Any]]:
        """All log lines, in order."""
        return [line for batch in self.batches for line in batch["logs"]]


def _error(code: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": f"refused: {code}"}}


@contextmanager
def serve_gateway(path: Path, tls: ssl.SSLContext) -> Iterator[GatewayDouble]:
    """Serves on a Unix socket, and with TLS on a loopback port."""
    double = GatewayDouble(tls)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            faults = double.faults.get(self.path)
            fault = faults.pop(0) if faults else None
            if fault == "drop":
                self.close_connection = True
                return
            status, answer = (
                (fault, _error("SCRIPTED"))
                if isinstance(fault, int)
                else double.handle(
                    self.path,
                    self.headers["wormhole-pod-token"],
                    self.headers["authorization"],
                    body,
                    tls=isinstance(self.connection, ssl.SSLSocket),
                )
            )
            if fault == "lose":
                self.close_connection = True
                return
            data = json.dumps(answer).encode()
            self.send_response(status)
            if double.draining:
                self.send_header("Connection", "close")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def address_string(self) -> str:
            return "runner"

        def log_message(self, *_arguments: object) -> None:
            """Keeps the test output clean."""

    class UnixServer(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            """A runner that hangs up is nothing to report."""

    class TlsServer(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            connection, address = super().get_request()
            if double.dropped_handshakes > 0:
                double.dropped_handshakes -= 1
                connection.close()
                raise ConnectionAbortedError
            return tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        def handle_error(self, *_arguments: object) -> None:
            """A runner that hangs up is nothing to report."""

    with UnixServer(str(path), Handler) as unix, TlsServer(("127.0.0.1", 0), Handler) as tcp:
        double.url = f"unix:{path}"
        double.tls_url = f"https://localhost:{tcp.server_address[1]}"
        threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}) for server in (unix, tcp)
        ]
        for thread in threads:
            thread.start()
        try:
            yield double
        finally:
            unix.shutdown()
            tcp.shutdown()
            for thread in threads:
                thread.join()
