"""The methods that `/api/method/<dotted path>` can call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Context

DEFAULT_VERBS = ("GET", "POST", "PUT", "DELETE")


@dataclass(frozen=True)
class Method:
    path: str
    call: Callable[..., Any]
    guest: bool = False
    verbs: tuple[str, ...] = DEFAULT_VERBS


METHODS: dict[str, Method] = {}


def whitelist(
    path: str, *, guest: bool = False, verbs: tuple[str, ...] = DEFAULT_VERBS
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Serve a function `f(ctx, **params)` under Frappe's dotted path."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        METHODS[path] = Method(path, function, guest, verbs)
        return function

    return register


def call(ctx: Context, path: str, params: dict[str, Any]) -> Any:
    """Run a method as Frappe's execute_cmd does: existence, permission, verb, arguments, then the call."""
    raise NotImplementedError
