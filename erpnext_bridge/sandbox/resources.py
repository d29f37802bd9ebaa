"""What /api/resource and /api/v2/document and /doctype do with a parsed request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .context import Context


def handle_v1(ctx: Context, doctype: str, name: str | None) -> tuple[int, dict[str, Any]]:
    raise NotImplementedError


def handle_v2(ctx: Context, segments: list[str]) -> tuple[int, dict[str, Any]]:
    raise NotImplementedError
