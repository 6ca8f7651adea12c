"""What the container was started with."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ._exceptions import WrongEnvironment
from ._streams import Address, parse_address, trust_only

GATEWAY_URL = "WORMHOLE_GATEWAY_URL"
GATEWAY_CA = "WORMHOLE_GATEWAY_CA"
CLAIM_TOKEN_FILE = "WORMHOLE_CLAIM_TOKEN_FILE"  # noqa: S105


class Environment(NamedTuple):
    """Where the gateway is, how to know it, and how to be known by it."""

    gateway: Address
    tls: ssl.SSLContext | None
    """Trusts the gateway's authority and no other; None on a socket."""
    token_file: str
    claim_token: str
    """What the file held at the start."""


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Reads the variables and the token file. Raises `WrongEnvironment`."""
    address = parse_address(_required(environ, GATEWAY_URL), GATEWAY_URL)
    if address.kind == "http":
        raise WrongEnvironment(f"{GATEWAY_URL} must be unix:/path or https://host:port, not plain http")
    tls = _gateway_trust(environ) if address.kind == "https" else None
    path = _required(environ, CLAIM_TOKEN_FILE)
    return Environment(address, tls, path, read_token(path))


def read_token(path: str) -> str:
    """Reads a token. Raises `WrongEnvironment`."""
    try:
        token = Path(path).read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        raise WrongEnvironment(f"{CLAIM_TOKEN_FILE}: {path!r} cannot be read: {error}") from error
    if not token.isprintable() or not token or " " in token:
        raise WrongEnvironment(f"{CLAIM_TOKEN_FILE}: {path!r} does not hold a token")
    return token


def _gateway_trust(environ: Mapping[str, str]) -> ssl.SSLContext:
    try:
        return trust_only(_required(environ, GATEWAY_CA))
    except (ssl.SSLError, ValueError) as error:
        raise WrongEnvironment(f"{GATEWAY_CA} is not a certificate in PEM: {error}") from error


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise WrongEnvironment(f"{name} is not set")
    return value
