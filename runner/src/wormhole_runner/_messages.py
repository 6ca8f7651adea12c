"""HTTP/1.1 over a stream: one request, one response, bounded."""

import asyncio
import zlib
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import h11

from ._exceptions import MessageInvalid, MessageTooLarge, TransportError

Headers: TypeAlias = list[tuple[str, str]]

_READ_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 64 * 1024


class Response(NamedTuple):
    """A response, its body decompressed."""

    status: int
    headers: dict[str, str]
    """Names in lower case; a repeated header's values are joined with commas."""
    body: bytes


class Exchange:
    """Requests over one connection, one after the other. Does not own the stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MAX_HEAD_BYTES)

    async def connect(self, authority: str, headers: Headers) -> Response:
        """
        Asks a proxy for a tunnel (RFC 9110 §9.3.6). After a 2xx answer the stream belongs to the tunnel and the
        response has no body; any other answer's body is ignored.
        """
        await self._send("CONNECT", authority, headers, b"")
        response = await self._head()
        if self._http.trailing_data[0] and response.status < 300:
            raise TransportError("the egress proxy sent data before the tunnel was used")
        return response

    async def request(self, method: str, target: str, headers: Headers, body: bytes, *, limit: int) -> Response:
        """
        Sends a request and reads its response. `limit` bounds the response's body in bytes, after decompression.
        Raises `TransportError` when no whole response comes, `MessageTooLarge`, and `MessageInvalid` when it cannot
        be decoded.
        """
        await self._send(method, target, headers, body)
        head = await self._head()
        return head._replace(body=await self._body(head.headers.get("content-encoding", ""), limit))

    def next_cycle(self) -> bool:
        """Makes the connection ready for another request; tells whether it can take one."""
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return not self._reader.at_eof()

    async def _send(self, method: str, target: str, headers: Headers, body: bytes) -> None:
        encoded = [(name.encode("ascii"), value.encode("utf-8", "replace")) for name, value in headers]
        try:
            self._write(h11.Request(method=method, target=target.encode("ascii"), headers=encoded))
            if body:
                self._write(h11.Data(data=body))
            self._write(h11.EndOfMessage())
            await self._writer.drain()
        except OSError as error:
            raise _lost(error) from error

    def _write(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        data = self._http.send(event)
        if data:
            self._writer.write(data)

    async def _head(self) -> Response:
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Response):
                return Response(event.status_code, _joined(event.headers), b"")
            if not isinstance(event, h11.InformationalResponse):
                raise TransportError("the connection was closed before a response came")

    async def _body(self, encoding: str, limit: int) -> bytes:
        decoder = _Decoder(encoding, limit)
        while True:
            event = await self._next_event()
            if isinstance(event, h11.Data):
                decoder.feed(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return decoder.finish()

    async def _next_event(self) -> object:
        try:
            while (event := self._http.next_event()) is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_READ_BYTES))
        except OSError as error:
            raise _lost(error) from error
        except h11.RemoteProtocolError as error:
            raise TransportError(f"the answer is not whole or not HTTP/1.1: {error}") from error
        return event


class _Decoder:
    """Collects a body and undoes its gzip encoding, never holding more than the limit."""

    def __init__(self, encoding: str, limit: int) -> None:
        name = encoding.strip().lower()
        if name not in {"", "identity", "gzip", "x-gzip"}:
            raise MessageInvalid(f"the response is encoded as {encoding!r}; only gzip is understood")
        self._gzip = name.endswith("gzip")
        self._inflate = zlib.decompressobj(wbits=31)
        self._empty = True
        self._limit = limit
        self._body = bytearray()

    def feed(self, data: bytes) -> None:
        if not self._gzip:
            self._append(data)
            return
        try:
            while data:
                self._empty = False
                if self._inflate.eof:
                    self._inflate = zlib.decompressobj(wbits=31)
                self._append(self._inflate.decompress(data, self._limit - len(self._body) + 1))
                data = self._inflate.unconsumed_tail or self._inflate.unused_data
        except zlib.error as error:
            raise MessageInvalid(f"the response is not the gzip that it says it is: {error}") from error

    def finish(self) -> bytes:
        if self._gzip and not self._empty and not self._inflate.eof:
            raise MessageInvalid("the response's gzip ends too early")
        return bytes(self._body)

    def _append(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > self._limit:
            raise MessageTooLarge(f"the response's body is larger than {self._limit} bytes")


def _joined(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("ascii"), value.decode("utf-8", "replace")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _lost(error: OSError) -> TransportError:
    return TransportError(f"the connection was lost: {error}")
