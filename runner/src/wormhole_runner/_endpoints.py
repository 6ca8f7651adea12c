"""URLs of far sides: rendered from a template in such a way that a value can never change what they point at."""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

from ._exceptions import RequestInvalid
from ._protocol import Json
from ._templates import TEMPLATE, Scope, check_templates, json_type, render_text

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?(?:#.*)?",
    re.IGNORECASE | re.DOTALL,
)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:@\[\]\\%<>\"^`{|}]+)(?::(?P<port>[0-9]{1,5}))?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# RFC 3986: what may stand unescaped in a path or query that the author of a definition wrote out.
_PATH_SAFE = "/!$&'()*+,;=:@%"
_QUERY_SAFE = "/?!$&'()*+,;=:@%"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(NamedTuple):
    """Where a request goes."""

    scheme: str
    host: str
    """Lower-case ASCII; an IPv6 address without its brackets."""
    port: int
    path: str
    """Starts with a slash, percent-encoded."""
    query: str
    """Percent-encoded, without its question mark; empty when there is none."""

    @property
    def authority(self) -> str:
        """`host:port`, as CONNECT and messages name it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def host_header(self) -> str:
        """The value of the Host header: without the port where it is the scheme's own (RFC 9110 §7.2)."""
        default = f":{_DEFAULT_PORTS[self.scheme]}"
        return self.authority.removesuffix(default) if self.port == _DEFAULT_PORTS[self.scheme] else self.authority

    @property
    def target(self) -> str:
        """Path and query, the origin form of RFC 9112 §3.2.1."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def label(self) -> str:
        """The URL for logs and messages: without its query, which may hold what is nobody's business."""
        return f"{self.scheme}://{self.host_header}{self.path}"


def render_endpoint(template: str, query: dict[str, Json], scope: Scope) -> Endpoint:
    """
    Renders an `endpointTemplate` and adds the query parameters.

    Scheme, host and port have to be written out. Values are percent-encoded, and a path segment must not become
    empty, "." or ".." through one. Raises `RequestInvalid` and the errors of templates.
    """
    check_templates(template)
    url = _URL.fullmatch(template)
    if url is None or _CONTROL.search(TEMPLATE.sub("", template)):
        raise RequestInvalid(f"endpointTemplate {template!r} is not an http or https URL")
    if "{{" in url["authority"]:
        raise RequestInvalid(
            f"endpointTemplate {template!r}: host and port must be written out, only path and query may hold templates"
        )
    scheme = url["scheme"].lower()
    host, port = _split_authority(url["authority"], template)
    path = "/".join(_segment(part, scope) for part in (url["path"] or "/").split("/"))
    parts = [_encoded(url["query"], scope, _QUERY_SAFE)] if url["query"] else []
    parts += [pair for name, value in query.items() for pair in _parameters(name, value)]
    return Endpoint(scheme, host, port or _DEFAULT_PORTS[scheme], path, "&".join(parts))


def _split_authority(authority: str, template: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise RequestInvalid("endpointTemplate holds a user name; put credentials into a connection")
    match = _AUTHORITY.fullmatch(authority)
    port = int(match["port"]) if match and match["port"] else None
    if match is None or (port is not None and not 0 < port < 65536):
        raise RequestInvalid(f"endpointTemplate {template!r}: {authority!r} is not a host and port")
    host = match["host"].strip("[]").lower()
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise RequestInvalid(f"endpointTemplate {template!r}: {authority!r} is not a host name") from error
    return host, port


def _segment(template: str, scope: Scope) -> str:
    rendered = _encoded(template, scope, _PATH_SAFE)
    if TEMPLATE.search(template) and unquote(rendered) in {"", ".", ".."}:
        raise RequestInvalid(f"a value makes the path segment {template!r} {unquote(rendered)!r}, another path")
    return rendered


def _encoded(template: str, scope: Scope, safe: str) -> str:
    """Renders a piece of a URL: what was written out keeps its structure, values lose theirs."""
    # Values are encoded first; encoding the whole again leaves them alone, as "%" is safe in what was written out.
    rendered = render_text(template, scope, lambda value, path: _percent_encode(_scalar(value, path)))
    return quote(rendered, safe=safe, errors="replace")


def _parameters(name: str, value: Json) -> list[str]:
    if value is None:
        return []
    items = value if isinstance(value, list) else [value]
    return [f"{_percent_encode(name)}={_percent_encode(_scalar(item, f'query {name}'))}" for item in items]


def _percent_encode(text: str) -> str:
    return quote(text, safe="", errors="replace")


def _scalar(value: Json, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise RequestInvalid(f'"{name}" is {json_type(value)}; a URL takes strings, numbers and booleans')
