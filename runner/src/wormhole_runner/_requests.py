"""From an action to a request that can be sent."""

import json
import re
from collections.abc import Mapping
from typing import NamedTuple

from ._auth import auth_headers, auth_query
from ._endpoints import Endpoint, render_endpoint
from ._exceptions import CredentialsUnavailable, RequestBodyInvalid, RequestInvalid, SchemaMismatch
from ._messages import Headers
from ._protocol import ClaimedConnection, Credentials, HttpAction, Json
from ._schemas import validate
from ._templates import Scope, json_type, render, render_text

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# They frame the message or speak to the proxy; a definition that could set them could say two things at once.
_RESERVED = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_SAFE_METHODS = frozenset({"GET", "HEAD"})


class Request(NamedTuple):
    """A request, complete but for what the proxy needs."""

    method: str
    endpoint: Endpoint
    headers: Headers
    body: bytes


def build_request(
    action: HttpAction,
    scope: Scope,
    credentials: Credentials | None,
    *,
    idempotency_key: str,
    traceparent: str | None,
) -> Request:
    """
    Renders an action. Raises the step errors that concern templates, URLs, headers and the body.
    `idempotency_key` goes out on every request but GET and HEAD, `traceparent` (W3C Trace Context) on every one, unless
    the definition has that header itself.
    """
    query = {name: render(value, scope) for name, value in action["query"].items()}
    if credentials is not None:
        query.update(auth_query(credentials))
    endpoint = render_endpoint(action["endpointTemplate"], query, scope)
    body = _body(action, scope)
    given = {name: _header(name, template, scope) for name, template in action["headers"].items()}
    defaults = {"Accept": "application/json, */*;q=0.5", "User-Agent": "wormhole-runner"}
    if body is not None:
        defaults["Content-Type"] = "application/json"
    if action["method"] not in _SAFE_METHODS:
        defaults["Idempotency-Key"] = idempotency_key
    if traceparent is not None:
        defaults["traceparent"] = traceparent
    own = {"Host": endpoint.host_header, "Accept-Encoding": "gzip", "Connection": "close"}
    if body is not None or action["method"] not in _SAFE_METHODS:
        own["Content-Length"] = str(len(body or b""))
    auth = {} if credentials is None else auth_headers(credentials)
    for name, value in auth.items():
        _check_header(name, value, "credentials")
    return Request(action["method"], endpoint, _overlay(defaults, given, auth, own), body or b"")


def credentials_for(action: HttpAction, connections: Mapping[str, ClaimedConnection]) -> Credentials | None:
    """Finds the credentials that an action uses, if any. Raises `CredentialsUnavailable`."""
    if "auth" not in action:
        return None
    name = action["auth"]["connection"]
    connection = connections.get(name)
    if connection is None:
        raise CredentialsUnavailable(f'the claim holds no connection "{name}"')
    if connection["kind"] == "UNAVAILABLE":
        raise CredentialsUnavailable(connection["message"])
    return connection


def _body(action: HttpAction, scope: Scope) -> bytes | None:
    body: Json = render(action["body"], scope) if "body" in action else None
    if "inputSchema" in action:
        try:
            validate(body, action["inputSchema"], "the request body")
        except SchemaMismatch as error:
            raise RequestBodyInvalid(str(error)) from error
    if "body" not in action:
        return None
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _header(name: str, template: str, scope: Scope) -> str:
    def write(value: Json, path: str) -> str:
        if value is None or isinstance(value, list | dict):
            raise RequestInvalid(
                f'header "{name}": "{path}" is {json_type(value)}; headers take strings, numbers and booleans'
            )
        return value if isinstance(value, str) else json.dumps(value)

    if name.lower() in _RESERVED:
        raise RequestInvalid(f'header "{name}" is set by the runner; remove it from the definition')
    value = render_text(template, scope, write)
    _check_header(name, value, "definition")
    return value


def _check_header(name: str, value: str, source: str) -> None:
    if not _NAME.fullmatch(name):
        raise RequestInvalid(f"{name!r} in the {source} is not a header name")
    if _CONTROL.search(value):
        raise RequestInvalid(f'the value of header "{name}" holds a line break or another control character')


def _overlay(*layers: Mapping[str, str]) -> Headers:
    """Later layers replace headers of earlier ones, whatever the case of their names."""
    merged: dict[str, tuple[str, str]] = {}
    for layer in layers:
        for name, value in layer.items():
            merged[name.lower()] = (name, value.strip(" \t"))
    return list(merged.values())
