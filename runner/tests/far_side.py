"""A real HTTP(S) server that stands for the services which workflows call."""

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What the server answers. A `body` that is not bytes is sent as JSON."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


class FarSide:
    """Answers by path, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Received] = []
        self.stopping = threading.Event()
        self._routes: dict[str, Callable[[Received], Reply]] = {}
        self.port = 0

    def route(self, path: str, *replies: Reply | Callable[[Received], Reply]) -> None:
        """Answers requests for a path with each reply in turn, and then with the last one for ever."""
        remaining = list(replies)

        def answer(request: Received) -> Reply:
            reply = remaining.pop(0) if len(remaining) > 1 else remaining[0]
            return reply if isinstance(reply, Reply) else reply(request)

        self._routes[path] = answer

    def slow(self, path: str, seconds: float) -> None:
        """Lets requests for a path wait; until the server is stopped at most."""

        def answer(_request: Received) -> Reply:
            self.stopping.wait(seconds)
            return Reply()

        self._routes[path] = answer

    def answer(self, request: Received) -> Reply:
        self.requests.append(request)
        route = self._routes.get(request.target.partition("?")[0])
        return route(request) if route else Reply(404, {"error": "no such path"})


@contextmanager
def serve_far_side(tls: ssl.SSLContext | None) -> Iterator[FarSide]:
    """Serves on a loopback port, encrypted if a context is given."""
    far_side = FarSide()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            length = int(self.headers.get("content-length", "0"))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = far_side.answer(Received(self.command, self.path, headers, self.rfile.read(length)))
            self.send_response(reply.status)
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815

        def log_message(self, *_arguments: object) -> None:
            """Keeps the test output clean."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self) -> tuple[Any, Any]:
            connection, address = super().get_request()
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return connection, address

        def handle_error(self, *_arguments: object) -> None:
            """A runner that hangs up is nothing to report."""

    with Server(("127.0.0.1", 0), Handler) as server:
        far_side.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield far_side
        finally:
            far_side.stopping.set()
            server.shutdown()
            thread.join()
