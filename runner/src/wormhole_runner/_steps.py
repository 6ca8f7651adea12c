"""One step: its tries, each of them one request."""

import asyncio
import time
from collections.abc import Mapping
from typing import TypeAlias

from ._bodies import parse_body
from ._egress import EgressProxy
from ._exceptions import HttpStatus, ResponseBodyInvalid, SchemaMismatch, TryFailed, TryTimeout
from ._messages import Response
from ._outbox import Outbox
from ._protocol import ClaimedConnection, Json, Step
from ._requests import Request, build_request, credentials_for
from ._retries import RETRYABLE_STATUSES, delay_ms, parse_retry_after, tries_of
from ._schemas import validate
from ._startup import Startup
from ._templates import Scope

Output: TypeAlias = dict[str, Json]
"""`{status, headers, body}`, as later steps read it."""


class StepRunner:
    """Runs the actions of steps."""

    def __init__(
        self,
        *,
        run_id: str,
        connections: Mapping[str, ClaimedConnection],
        traceparents: Mapping[str, str],
        egress: EgressProxy,
        response_bytes: int,
        outbox: Outbox,
        startup: Startup,
    ) -> None:
        self._run_id = run_id
        self._connections = connections
        self._traceparents = traceparents
        self._egress = egress
        self._response_bytes = response_bytes
        self._outbox = outbox
        self._startup = startup
        self.tries = 0
        """Tries of the step that ran last, the one in progress included."""

    async def run(self, step: Step, scope: Scope) -> Output:
        """Sends the step's request until it succeeds or must not be tried again. Raises `StepError`."""
        self.tries = 0
        action, key = step["action"], step["key"]
        credentials = credentials_for(action, self._connections)
        request = build_request(
            action,
            scope,
            credentials,
            idempotency_key=f"{self._run_id}/{key}",
            traceparent=self._traceparents.get(key),
        )
        response = await self._try_until_answered(step, request)
        body = parse_body(response)
        if "outputSchema" in action:
            try:
                validate(body, action["outputSchema"], "the response body")
            except SchemaMismatch as error:
                raise ResponseBodyInvalid(str(error)) from error
        return {"status": response.status, "headers": dict(response.headers), "body": body}

    async def _try_until_answered(self, step: Step, request: Request) -> Response:
        rule, key = step["action"]["retry"], step["key"]
        allowed = tries_of(rule)
        while True:
            self.tries += 1
            self._startup.first_request(self._outbox, key)
            try:
                return await self._try(request, step["action"]["timeoutMs"], key)
            except TryFailed as error:
                if not error.retryable or self.tries >= allowed:
                    raise
                delay = delay_ms(rule, self.tries, error.retry_after_ms)
                self._outbox.log("WARN", f"try {self.tries} of {allowed} failed: {error}; next in {delay:.0f} ms", key)
            await asyncio.sleep(delay / 1000)

    async def _try(self, request: Request, timeout_ms: int, key: str) -> Response:
        start = time.monotonic()
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                response = await self._egress.send(request, limit=self._response_bytes)
        except TimeoutError as error:
            raise TryTimeout(f"{request.endpoint.label} did not answer within {timeout_ms} ms") from error
        elapsed = (time.monotonic() - start) * 1000
        exchange = f"{request.method} {request.endpoint.label} → {response.status}"
        self._outbox.log("INFO", f"{exchange} in {elapsed:.0f} ms", key)
        if not 200 <= response.status < 300:
            raise HttpStatus(
                exchange,
                status=response.status,
                retryable=response.status in RETRYABLE_STATUSES,
                retry_after_ms=parse_retry_after(response.headers.get("retry-after")),
            )
        return response
