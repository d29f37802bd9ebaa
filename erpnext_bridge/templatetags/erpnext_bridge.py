"""`{% load erpnext_bridge %}`: what the user may do at ERPNext, asked where a button is drawn."""

from __future__ import annotations

from typing import Any

from django import template
from django.core.exceptions import ImproperlyConfigured

from erpnext_bridge import rights
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.documents import BaseDocument
from erpnext_bridge.errors import NotConnected
from erpnext_bridge.identity import Identity, ambient_identity

register = template.Library()


@register.simple_tag(takes_context=True)
def erpnext_can(
    context: dict[str, Any], action: str, what: Any, name: str | None = None, site: str = ""
) -> bool:
    """
    Tell whether the user may do something to a DocType, or to one document of it.

    `{% erpnext_can "create" "Sales Order" as may_order %}`, `{% erpnext_can "write" order as may_edit %}`. `what` is a
    DocType's name, a Document class or a document. A user who is not connected may do nothing.
    """
    if isinstance(what, str):
        doctype, alias = what, site or DEFAULT_SITE
    else:
        doctype, alias = _doctype(what), what.site
        name = name or (what.pk if isinstance(what, BaseDocument) else None)
    identity = _identity(context, what, alias)
    if identity is None:
        return False
    try:
        return rights.can(identity, action, doctype, None if name is None else str(name))
    except NotConnected:
        return False


def _doctype(what: Any) -> str:
    doctype = getattr(what, "doctype", None)
    if not isinstance(doctype, str):
        raise ImproperlyConfigured(
            f"erpnext_can takes a DocType's name, a Document class or a document, not {what!r}."
        )
    return doctype


def _identity(context: dict[str, Any], what: Any, alias: str) -> Identity | None:
    """Return whose rights are meant: those that the document was read with, else those of whoever acts, else the user's."""
    if isinstance(what, BaseDocument) and what.erp_identity is not None:
        return what.erp_identity
    acting = ambient_identity(alias)
    if acting is not None:
        return acting
    user = getattr(context.get("request"), "user", None) or context.get("user")
    return Identity.for_user(user, alias) if user is not None and user.pk is not None else None
