"""A small real proxy on a Unix socket and a loopback port: every host name leads to the far sides of the tests."""

import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

GRANT = "grant-canary-8f31c2"


@dataclass
class EgressDouble:
    """What the proxy lets through, and what it saw."""

    url: str
    http_port: int
    https_port: int
    tcp_url: str = ""
    denied: dict[str, tuple[int, str]] = field(default_factory=dict)
    """`host:port` to the status and reason of the refusal."""
    seen: list[str] = field(default_factory=list)
    """`CONNECT host:port` or `METHOD http://…`, in order."""
    grants: set[str] = field(default_factory=set)


@contextmanager
def serve_egress(path: Path, *, http_port: int, https_port: int) -> Iterator[EgressDouble]:
    """Serves both; tunnels lead to `https_port`, plain requests to `http_port` of the loopback."""
    double = EgressDouble(f"unix:{path}", http_port, https_port)

    class Handler(socketserver.StreamRequestHandler):
        # Unbuffered: what comes after the head belongs to the tunnel.
        rbufsize = 0

        def handle(self) -> None:
            method, target, _ = self.rfile.readline().decode().split(" ")
            head: list[bytes] = []
            while (line := self.rfile.readline()) not in {b"\r\n", b""}:
                head.append(line)
            double.seen.append(f"{method} {target}")
            double.grants |= {
                line.partition(b": ")[2].decode().strip()
                for line in head
                if line.lower().startswith(b"proxy-authorization:")
            }
            authority = target if method == "CONNECT" else _authority_of(target)
            if authority in double.denied:
                status, reason = double.denied[authority]
                self.wfile.write(
                    f"HTTP/1.1 {status} No\r\nWormhole-Egress-Denied: {reason}\r\nContent-Length: 0\r\n\r\n".encode()
                )
            elif method == "CONNECT":
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._pump(double.https_port, b"")
            else:
                path = target.removeprefix("http://").partition("/")[2]
                kept = [line for line in head if not line.lower().startswith(b"proxy-")]
                self._pump(double.http_port, b"".join([f"{method} /{path} HTTP/1.1\r\n".encode(), *kept, b"\r\n"]))

        def _pump(self, port: int, first: bytes) -> None:
            with socket.create_connection(("127.0.0.1", port)) as far:
                far.sendall(first)
                ends = {self.request: far, far: self.request}
                while True:
                    for ready in select.select(list(ends), [], [])[0]:
                        data = ready.recv(65536)
                        if not data:
                            return
                        ends[ready].sendall(data)

    class UnixServer(socketserver.ThreadingUnixStreamServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            """A runner that hangs up is nothing to report."""

    class TcpServer(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, *_arguments: object) -> None:
            """A runner that hangs up is nothing to report."""

    with UnixServer(str(path), Handler) as unix, TcpServer(("127.0.0.1", 0), Handler) as tcp:
        double.tcp_url = f"http://127.0.0.1:{tcp.server_address[1]}"
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


def _authority_of(url: str) -> str:
    authority = url.removeprefix("http://").partition("/")[0]
    return authority if ":" in authority else f"{authority}:80"
