"""What the container was started with."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ._exceptions import WrongEnvironment
from ._streams import Address, parse_address

GATEWAY_URL = "WORMHOLE_GATEWAY_URL"
CLAIM_TOKEN_FILE = "WORMHOLE_CLAIM_TOKEN_FILE"  # noqa: S105


class Environment(NamedTuple):
    """Where the gateway is and what to say to it first."""

    gateway: Address
    claim_token: str


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Reads the variables and, once, the token file. Raises `WrongEnvironment`."""
    address = parse_address(_required(environ, GATEWAY_URL), GATEWAY_URL)
    if address.kind == "http":
        raise WrongEnvironment(f"{GATEWAY_URL} must be unix:/path or https://host:port, not plain http")
    path = _required(environ, CLAIM_TOKEN_FILE)
    try:
        token = Path(path).read_text("ascii").strip()
    except (OSError, UnicodeError) as error:
        raise WrongEnvironment(f"{CLAIM_TOKEN_FILE}: {path!r} cannot be read: {error}") from error
    if not token.isprintable() or not token or " " in token:
        raise WrongEnvironment(f"{CLAIM_TOKEN_FILE}: {path!r} does not hold a token")
    return Environment(address, token)


def _required(environ: Mapping[str, str], name: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise WrongEnvironment(f"{name} is not set")
    return value
