"""The version, as the claim tells it to the gateway."""

__version__ = "0.1.0"
