"""Everything around a runner: gateway, proxy, far sides; and ways to run the runner in it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext
from typing import Any

from egress_double import GRANT, EgressDouble, serve_egress
from far_side import FarSide, serve_far_side
from gateway_double import CLAIM_TOKEN, REPORT_TOKEN, GatewayDouble, serve_gateway
from wormhole_runner._main import run
from wormhole_runner._startup import Startup

RUN_ID = "01920000-0000-7000-8000-000000000001"
SOURCE = Path(__file__).parent.parent / "src"
LIMITS = {"outputBytes": 262144, "logMessageBytes": 8192, "logBytesPerRun": 4194304, "responseBytes": 4194304}


def action(method: str, url: str, **fields: Any) -> dict[str, Any]:
    """An HTTP action with all defaults filled in, as the gateway hands it out. `retry` may be partial."""
    retry = {
        "strategy": "NONE",
        "attempts": 3,
        "initialDelayMs": 10,
        "maxDelayMs": 30_000,
        **fields.pop("retry", {}),
    }
    basics = {"type": "HTTP", "method": method, "endpointTemplate": url, "headers": {}, "query": {}}
    return {**basics, "timeoutMs": 30_000, "retry": retry, **fields}


def step(key: str, step_action: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A step with all defaults filled in."""
    return {"key": key, "action": step_action, "continueOnError": False, **fields}


def traceparent(key: str) -> str:
    """The trace context that the claim brings for a step."""
    return f"00-{RUN_ID.replace('-', '')}-{key.encode().hex():0>16}-01"


@dataclass
class World:
    """One run's surroundings."""

    gateway: GatewayDouble
    egress: EgressDouble
    http: FarSide
    https: FarSide
    environ: dict[str, str]

    def give(self, *steps: dict[str, Any], **fields: Any) -> None:
        """Lays out what the claim brings. Other fields: definition, input, connections, deadlineMs, limits."""
        definition = {"name": "test", "steps": list(steps), **fields.pop("definition", {})}
        self.gateway.payload = {
            "run": {"id": RUN_ID, "attempt": 1, "tenantId": "acme", "workflowVersionId": RUN_ID},
            "definition": definition,
            "input": fields.pop("input", {}),
            "connections": fields.pop("connections", {}),
            "traceparents": {step["key"]: traceparent(step["key"]) for step in steps},
            "deadlineMs": fields.pop("deadlineMs", 30_000),
            "reportToken": REPORT_TOKEN,
            "egress": {"proxyUrl": self.egress.url, "grant": GRANT},
            "limits": {**LIMITS, **fields.pop("limits", {})},
        }
        assert not fields

    def run(self, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:
        """Runs the steps within this process and returns the result that was delivered."""
        self.give(*steps, **fields)
        assert self.exit_code() == 0
        assert len(self.gateway.results) == 1
        return self.gateway.results[0]

    def exit_code(self) -> int:
        """Runs within this process what was given."""
        return asyncio.run(run(self.environ, Startup(time.monotonic(), None)))

    def start(self, **environ: str) -> subprocess.Popen[str]:
        """Starts the runner as the image does, in a process of its own."""
        program = (
            f"import sys; sys.path.insert(0, {str(SOURCE)!r});"
            "import runpy; runpy.run_module('wormhole_runner', run_name='__main__')"
        )
        return subprocess.Popen(
            [sys.executable, "-I", "-c", program],
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def last(self, key: str) -> dict[str, Any]:
        """The last that was reported of a step."""
        return [report for report in self.gateway.steps if report["key"] == key][-1]

    def log_text(self) -> str:
        """All log messages, a line each."""
        return "\n".join(line["message"] for line in self.gateway.logs)


@contextmanager
def build_world(folder: Path, tls: SSLContext, environ: Mapping[str, str]) -> Iterator[World]:
    """Starts all servers, and stops them."""
    with ExitStack() as stack:
        http = stack.enter_context(serve_far_side(None))
        https = stack.enter_context(serve_far_side(tls))
        egress = stack.enter_context(serve_egress(folder / "egress.sock", http_port=http.port, https_port=https.port))
        gateway = stack.enter_context(serve_gateway(folder / "gateway.sock", tls))
        token_file = folder / "claim-token"
        token_file.write_text(CLAIM_TOKEN + "\n")
        variables = {
            **environ,
            "PATH": os.environ["PATH"],
            "WORMHOLE_GATEWAY_URL": gateway.url,
            "WORMHOLE_CLAIM_TOKEN_FILE": str(token_file),
        }
        yield World(gateway, egress, http, https, variables)
