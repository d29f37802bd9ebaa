"""The HTML links to documents that Frappe writes into its messages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from .context import Context

DESK = {15: "app", 16: "desk"}
_UNQUOTED = "~@#$&()*!+=:;,.?/'"
"""utils.quoted leaves these as they are."""


def to_form(ctx: Context, doctype: str, name: str) -> str:
    """utils.get_link_to_form."""
    slug = doctype.lower().replace(" ", "-")
    url = f"{ctx.site.base_url}/{DESK[ctx.version]}/{slug}/{quote(str(name), safe=_UNQUOTED)}"
    return f'<a href="{url}">{name}</a>'


def of_conflict(ctx: Context, doctype: str, name: str) -> str:
    """The link in "is linked with": before 16 it had a shape of its own."""
    if ctx.version >= 16:
        return to_form(ctx, doctype, name)
    return f'<a href="/app/Form/{doctype}/{name}">{name}</a>'
