"""The client side of docs/gateway-protocol.md."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from typing import cast

from ._environment import Environment, read_token
from ._exceptions import (
    AttemptOver,
    CertificateRefused,
    ConnectFailed,
    GatewayRefused,
    GatewayUnreachable,
    MessageInvalid,
    MessageTooLarge,
    TransportError,
    WrongEnvironment,
)
from ._messages import Exchange, Headers, Response
from ._outbox import encode
from ._protocol import Batch, Claim, Result, StopCause
from ._retries import parse_retry_after
from ._streams import Streams, close, open_address
from ._version import __version__

CLAIM_PATIENCE_S = 30.0
"""How long a claim may take, waiting for a gateway that is not up yet included."""
REQUEST_TIMEOUT_S = 10.0
"""How long one report or result may take before it is sent again."""

_ANSWER_BYTES = 8 * 1024 * 1024
_FIRST_DELAY_S = 0.05
_MAX_DELAY_S = 2.0
_FIRST_CONNECT_S = 0.25
"""How long the first connection may take; each next one twice as long. A packet that a network policy dropped while it
was being put in place is repeated by the kernel only after a second."""
_MAX_CONNECT_S = 8.0
_TRY_AGAIN = frozenset({429, 502, 503, 504})
_TRY_AGAIN_IF_IDEMPOTENT = _TRY_AGAIN | {500}
"""A gateway that failed may or may not have done its work: what it was told can be told again, a claim cannot."""
_OVER = frozenset({401, 403, 409, 410})


class Gateway:
    """Talks to the gateway over one connection that is kept, and made again when it breaks."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._pod_token = environment.claim_token
        self._connect_s = _FIRST_CONNECT_S
        self._streams: Streams | None = None
        self._exchange: Exchange | None = None

    async def claim(self) -> Claim:
        """
        Claims the payload: on a socket with the claim token, over TLS as the pod that this is. It is asked for again
        only if the request was never sent, or refused for the moment; also when the certificate is not trusted, which
        may be about to be replaced.
        Raises `AttemptOver` or `GatewayUnreachable`.
        """
        token = self._environment.claim_token if self._environment.tls is None else None
        problem = "no answer"
        delays = _delays()
        try:
            async with asyncio.timeout(CLAIM_PATIENCE_S):
                while True:
                    delay = next(delays)
                    try:
                        response = await self._post("/v1/claim", token, {"runnerVersion": __version__})
                        if response.status not in _TRY_AGAIN:
                            return cast(Claim, _accepted(response))
                        problem = f"it answers {_refusal(response)}"
                        delay = max(delay, _retry_after_s(response))
                    except (ConnectFailed, CertificateRefused) as error:
                        problem = str(error)
                    await asyncio.sleep(delay)
        except TimeoutError as error:
            raise GatewayUnreachable(f"the gateway gave no claim within {CLAIM_PATIENCE_S:g} s: {problem}") from error
        except (TransportError, MessageInvalid, MessageTooLarge) as error:
            raise GatewayUnreachable(f"the answer to the claim was lost: {error}") from error

    async def report(self, token: str, batch: Batch) -> StopCause | None:
        """Reports a batch, again and again until it is taken. Returns why the run should stop, if it should."""
        answer = await self._post_until_taken("/v1/report", token, batch)
        return cast("StopCause | None", answer.get("cancel"))

    async def result(self, token: str, result: Result) -> None:
        """Delivers the result, again and again until it is taken."""
        await self._post_until_taken("/v1/result", token, result)

    def close(self) -> None:
        """Drops the connection."""
        if self._streams is not None:
            close(self._streams[1])
        self._streams = self._exchange = None

    async def _post_until_taken(self, path: str, token: str, body: Batch | Result) -> dict[str, object]:
        delays = _delays()
        while True:
            delay = next(delays)
            # A lost, late or broken answer: the gateway knows what it has by the number.
            with suppress(TransportError, MessageInvalid, MessageTooLarge, TimeoutError):
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    response = await self._post(path, token, body)
                if response.status not in _TRY_AGAIN_IF_IDEMPOTENT:
                    return _accepted(response)
                delay = max(delay, _retry_after_s(response))
            await asyncio.sleep(delay)

    async def _post(self, path: str, token: str | None, body: object) -> Response:
        data = encode(body)
        headers = [
            *self._identity(),
            *([] if token is None else [("Authorization", f"Bearer {token}")]),
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(data))),
        ]
        try:
            exchange = await self._connected()
            response = await exchange.request("POST", path, headers, data, limit=_ANSWER_BYTES)
            if not exchange.next_cycle():
                self.close()
        except BaseException:
            # Whatever interrupted it, half a response on a connection makes it useless.
            self.close()
            raise
        return response

    async def _connected(self) -> Exchange:
        if self._exchange is None:
            address, tls = self._environment.gateway, self._environment.tls
            try:
                self._streams = await open_address(address, tls, connect_s=self._connect_s)
            except ConnectFailed:
                self._connect_s = min(2 * self._connect_s, _MAX_CONNECT_S)
                raise
            self._exchange = Exchange(*self._streams)
        return self._exchange

    def _identity(self) -> Headers:
        """Who asks: on a socket that is clear; over TLS the token says it, which the kubelet replaces now and then."""
        if self._environment.tls is None:
            return [("Host", "gateway")]
        with suppress(WrongEnvironment):
            self._pod_token = read_token(self._environment.token_file)
        return [("Host", self._environment.gateway.host), ("Wormhole-Pod-Token", self._pod_token)]


def _accepted(response: Response) -> dict[str, object]:
    if response.status in _OVER:
        raise AttemptOver(f"the gateway answers {_refusal(response)}")
    if response.status >= 500:
        raise GatewayUnreachable(f"the gateway answers {_refusal(response)}")
    if response.status != 200:
        raise GatewayRefused(f"the gateway answers {_refusal(response)}")
    answer = _json_object(response)
    if answer is None:
        raise GatewayRefused("the gateway's answer is not a JSON object")
    return answer


def _refusal(response: Response) -> str:
    error = (_json_object(response) or {}).get("error")
    details = f" {error.get('code')}: {error.get('message')}" if isinstance(error, dict) else ""
    return f"{response.status}{details}"


def _json_object(response: Response) -> dict[str, object] | None:
    try:
        answer = json.loads(response.body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _retry_after_s(response: Response) -> float:
    return min((parse_retry_after(response.headers.get("retry-after")) or 0.0) / 1000, _MAX_DELAY_S)


def _delays() -> Iterator[float]:
    """Seconds to wait between tries, without end."""
    for failures in count():
        yield min(_FIRST_DELAY_S * 2.0 ** min(failures, 10), _MAX_DELAY_S) * random.uniform(0.5, 1)  # noqa: S311
