"""A Frappe-like server inside the process, for development and tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sandbox import Request, Sandbox
    from .world import User, World

__all__ = ["Request", "Sandbox", "User", "World"]

HOMES = {"Request": "sandbox", "Sandbox": "sandbox", "User": "world", "World": "world"}


def __getattr__(name: str) -> Any:
    """Import werkzeug and oauthlib only when a sandbox is wanted."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{HOMES[name]}", __name__), name)
