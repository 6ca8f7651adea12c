"""Fixtures: a certificate authority for the session, a world for each test."""

import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings

from world import World, build_world
from wormhole_runner._streams import tls_context

# A busy machine is no failure, and no run depends on an earlier one.
settings.register_profile("runner", deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("runner")


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The certificate authority that the far sides' certificates come from."""
    return trustme.CA()


@pytest.fixture
def world(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose certificate authority the runner trusts, as an operator would have it: by SSL_CERT_FILE."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("api.example.test", "localhost").configure_cert(context)
    # Not pytest's own folder: the path of a Unix socket must stay short.
    with tempfile.TemporaryDirectory(prefix="wr-") as name:
        folder = Path(name)
        bundle = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(bundle))
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        tls_context.cache_clear()
        with build_world(folder, context, {"SSL_CERT_FILE": str(bundle)}) as built:
            yield built
        tls_context.cache_clear()


@pytest.fixture
def in_cluster(world: World, authority: trustme.CA) -> World:
    """A world whose gateway is reached as in a cluster: over TLS, by the pod's token."""
    world.environ |= {
        "WORMHOLE_GATEWAY_URL": world.gateway.tls_url,
        "WORMHOLE_GATEWAY_CA": authority.cert_pem.bytes().decode(),
    }
    return world
