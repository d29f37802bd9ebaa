"""What each page knows: the site, the connection of its user, and how many requests it took."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from erpnext_bridge.conf import get_site
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection
from project.metering import current_meter


def erpnext(request: HttpRequest) -> dict[str, Any]:
    return {
        "erpnext_site": get_site(),
        # A page that does not mention it asks the database nothing.
        "connection": SimpleLazyObject(lambda: connection_of(request)),
        "meter": current_meter(),
    }


def connection_of(request: HttpRequest) -> Connection | None:
    """Return the connection of the signed-in user, if there is one."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return None
    return Connection.objects.for_identity(Identity.for_user(user)).first()
