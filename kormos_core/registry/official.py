"""Plugins that kormos knows of, installed or not."""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["OFFICIAL"]

OFFICIAL = MappingProxyType(
    {
        "scipy": "kormos-scipy",
        "tfp": "kormos-tfp",
        "native": "kormos-native",
        "optax": "kormos-optax",
        "optimistix": "kormos-optimistix",
        "torch": "kormos-torch",
    }
)
"""Namespace to distribution, so that an absent plugin's error can name the cure."""
