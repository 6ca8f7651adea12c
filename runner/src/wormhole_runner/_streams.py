"""Opening connections: to the gateway and to the egress proxy, and through it to far sides."""

import asyncio
import ssl
from functools import cache
from typing import NamedTuple

from ._exceptions import CertificateRefused, ConnectFailed, WrongEnvironment

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Address(NamedTuple):
    """Where the platform's side listens."""

    kind: str
    """`unix`, `http` or `https`."""
    host: str
    """A path for `unix`."""
    port: int


def parse_address(url: str, name: str) -> Address:
    """Reads `unix:/path`, `http://host:port` or `https://host:port`; `name` is for the message of the error."""
    if url.startswith("unix:/"):
        return Address("unix", url.removeprefix("unix:"), 0)
    scheme, _, rest = url.partition("://")
    host, _, port = rest.rstrip("/").rpartition(":")
    if scheme in {"http", "https"} and host and port.isascii() and port.isdecimal() and 0 < int(port) < 65536:
        return Address(scheme, host.strip("[]"), int(port))
    raise WrongEnvironment(f"{name} is {url!r}; it must be unix:/path, http://host:port or https://host:port")


async def open_address(
    address: Address, tls: ssl.SSLContext | None = None, *, connect_s: float | None = None
) -> Streams:
    """
    Connects, within `connect_s` to the host itself; `tls` says whom to trust at `https`. Raises `ConnectFailed` or
    `CertificateRefused`.
    """
    try:
        async with asyncio.timeout(connect_s):
            if address.kind == "unix":
                return await asyncio.open_unix_connection(address.host)
            streams = await asyncio.open_connection(address.host, address.port)
    except OSError as error:
        raise ConnectFailed(
            f"cannot connect to {address.host}: {error.strerror or str(error) or 'no answer'}"
        ) from error
    if address.kind == "https":
        try:
            await start_tls(streams[1], tls or tls_context(), address.host)
        except BaseException:
            close(streams[1])
            raise
    return streams


async def start_tls(writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str) -> None:
    """Encrypts a connection up to a `host` that it verifies. Raises `ConnectFailed` or `CertificateRefused`."""
    try:
        await writer.start_tls(context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise CertificateRefused(f"the certificate of {host} is refused: {error.verify_message}") from error
    except OSError as error:
        raise ConnectFailed(f"the TLS handshake with {host} failed: {error.strerror or error}") from error


@cache
def tls_context() -> ssl.SSLContext:
    """The system's trust, or that of SSL_CERT_FILE. Loading it takes tens of milliseconds, hence once and late."""
    return ssl.create_default_context()


def trust_only(authority: str) -> ssl.SSLContext:
    """
    Verifies a server's certificate and name against one authority (PEM) and no other. Raises `ssl.SSLError` or
    `ValueError`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=authority)
    return context


def close(writer: asyncio.StreamWriter) -> None:
    """Drops a connection at once: nobody waits for a far side's goodbye."""
    writer.transport.abort()
