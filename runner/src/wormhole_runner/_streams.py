"""Opening connections: to the gateway and to the egress proxy, and through it to far sides."""

import asyncio
import ssl
from functools import cache
from typing import NamedTuple

from ._exceptions import CertificateRefused, ConnectFailed, TransportError, WrongEnvironment

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


async def open_address(address: Address) -> Streams:
    """Connects. Raises `ConnectFailed` or `CertificateRefused`."""
    try:
        if address.kind == "unix":
            return await asyncio.open_unix_connection(address.host)
        tls = tls_context() if address.kind == "https" else None
        return await asyncio.open_connection(address.host, address.port, ssl=tls)
    except ssl.SSLCertVerificationError as error:
        raise CertificateRefused(_certificate_message(address.host, error)) from error
    except OSError as error:
        raise ConnectFailed(f"cannot connect to {address.host}: {error.strerror or error}") from error


async def start_tls(writer: asyncio.StreamWriter, context: ssl.SSLContext, host: str) -> None:
    """Encrypts a connection up to `host`, whose certificate is verified."""
    try:
        await writer.start_tls(context, server_hostname=host)
    except ssl.SSLCertVerificationError as error:
        raise CertificateRefused(_certificate_message(host, error)) from error
    except OSError as error:
        raise TransportError(f"the TLS handshake with {host} failed: {error.strerror or error}") from error


@cache
def tls_context() -> ssl.SSLContext:
    """The system's trust, or that of SSL_CERT_FILE. Loading it takes tens of milliseconds, hence once and late."""
    return ssl.create_default_context()


def close(writer: asyncio.StreamWriter) -> None:
    """Drops a connection at once: nobody waits for a far side's goodbye."""
    writer.transport.abort()


def _certificate_message(host: str, error: ssl.SSLCertVerificationError) -> str:
    return f"the certificate of {host} is refused: {error.verify_message}"
