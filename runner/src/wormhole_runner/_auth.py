"""How credentials get onto a request."""

from ._protocol import Credentials
from ._redaction import basic_pair


def auth_headers(credentials: Credentials) -> dict[str, str]:
    """The headers that authenticate; they replace a definition's own of the same name."""
    if credentials["kind"] == "API_KEY":
        return {credentials["name"]: credentials["value"]} if credentials["in"] == "header" else {}
    if credentials["kind"] == "BASIC":
        return {"Authorization": f"Basic {basic_pair(credentials['username'], credentials['password'])}"}
    if credentials["kind"] == "CUSTOM_HEADER":
        return credentials["headers"]
    return {"Authorization": f"Bearer {credentials['accessToken']}"}


def auth_query(credentials: Credentials) -> dict[str, str]:
    """The query parameter that authenticates, for an API key that travels in the URL."""
    if credentials["kind"] == "API_KEY" and credentials["in"] == "query":
        return {credentials["name"]: credentials["value"]}
    return {}
