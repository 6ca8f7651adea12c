"""
Executes one workflow run: claims it from the run gateway, runs its steps, reports, and ends.

Started as ``python -I -m wormhole_runner``; docs/gateway-protocol.md says what it needs and what it exits with.
"""

from ._version import __version__

__all__ = ["__version__"]
