"""The only way out: every request to a far side goes through the egress proxy."""

import asyncio

from ._exceptions import (
    CertificateRefused,
    ConnectFailed,
    ConnectionFailed,
    EgressDenied,
    MessageInvalid,
    MessageTooLarge,
    ResponseInvalid,
    ResponseTooLarge,
    TlsFailed,
    TransportError,
)
from ._messages import Exchange, Headers, Response
from ._requests import Request
from ._streams import Address, Streams, close, open_address, start_tls, tls_context

_DENIED = "wormhole-egress-denied"
_PATIENCE_S = 30.0
"""How long one try waits for a proxy that does not listen, within its own time."""
_RETRY_S = 0.1


class EgressProxy:
    """Sends requests through the proxy, each over a connection of its own."""

    def __init__(self, address: Address, grant: str) -> None:
        self._address = address
        self._headers: Headers = [("Proxy-Authorization", f"Bearer {grant}")]

    async def send(self, request: Request, *, limit: int) -> Response:
        """
        Sends one request and reads its response, whose body may have `limit` bytes. Redirects are not followed.
        Raises `EgressDenied`, `ConnectionFailed`, `TlsFailed`, `ResponseTooLarge` or `ResponseInvalid`.
        """
        try:
            streams = await self._connect()
            try:
                if request.endpoint.scheme == "https":
                    return await self._through_tunnel(request, streams, limit)
                return await self._in_absolute_form(request, streams, limit)
            finally:
                close(streams[1])
        except CertificateRefused as error:
            raise TlsFailed(str(error)) from error
        except TransportError as error:
            raise ConnectionFailed(f"{request.endpoint.authority}: {error}") from error
        except MessageTooLarge as error:
            raise ResponseTooLarge(str(error)) from error
        except MessageInvalid as error:
            raise ResponseInvalid(str(error)) from error

    async def _connect(self) -> Streams:
        """
        Waits for a proxy that does not listen: nothing was sent yet, and the platform is about to have another, which
        is no business of the workflow's. Raises `ConnectFailed`.
        """
        give_up_at = asyncio.get_running_loop().time() + _PATIENCE_S
        while True:
            try:
                return await open_address(self._address)
            except ConnectFailed:
                if asyncio.get_running_loop().time() >= give_up_at:
                    raise
            await asyncio.sleep(_RETRY_S)

    async def _through_tunnel(self, request: Request, streams: Streams, limit: int) -> Response:
        authority = request.endpoint.authority
        # Loading the trusted certificates takes longer than the proxy needs to connect: do both at once.
        context, answer = await asyncio.gather(
            asyncio.to_thread(tls_context),
            Exchange(*streams).connect(authority, [("Host", authority), *self._headers]),
        )
        _check_denial(answer, authority)
        if not 200 <= answer.status < 300:
            raise ConnectionFailed(f"the egress proxy answered {answer.status} for {authority}")
        await start_tls(streams[1], context, request.endpoint.host)
        return await Exchange(*streams).request(
            request.method, request.endpoint.target, request.headers, request.body, limit=limit
        )

    async def _in_absolute_form(self, request: Request, streams: Streams, limit: int) -> Response:
        endpoint = request.endpoint
        response = await Exchange(*streams).request(
            request.method,
            f"http://{endpoint.host_header}{endpoint.target}",
            [*request.headers, *self._headers],
            request.body,
            limit=limit,
        )
        _check_denial(response, endpoint.authority)
        return response


def _check_denial(response: Response, authority: str) -> None:
    reason = response.headers.get(_DENIED)
    if reason is None:
        return
    if response.status >= 500:
        # The proxy would, but the far side did not answer: that may heal, a refusal does not.
        raise ConnectionFailed(f"the egress proxy cannot reach {authority}: {reason}")
    raise EgressDenied(f"{authority} is denied ({reason}); allow it in the tenant's egress policy")
