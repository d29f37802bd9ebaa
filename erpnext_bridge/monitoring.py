"""
The health endpoint: whether the sites answer and tokens can be opened, for load balancers and monitoring.

Anybody learns one word; who may see connections, or has METRICS_TOKEN, learns the rest. A user who has to connect
again is no problem of the service, so it is told and changes nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Count, Min
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from erpnext_bridge.conf import Site, get_settings
from erpnext_bridge.models import Connection, PendingRevocation
from erpnext_bridge.probing import unreachable
from erpnext_bridge.tokens.crypto import token_cipher

MAY_SEE = "erpnext_bridge.view_connection"


@never_cache
@require_GET
def health(request: HttpRequest) -> JsonResponse:
    """Answer 200 while all is well, else 503."""
    problems = {"token_keys": _key_problem()} if _key_problem() else {}
    problems |= {f"site {site.alias}": why for site in _sites() if (why := unreachable(site))}
    told: dict[str, Any] = {"status": "problem" if problems else "ok"}
    if may_read(request, MAY_SEE):
        told |= {"problems": problems, "sites": {site.alias: _figures(site) for site in _sites()}}
    return JsonResponse(told, status=503 if problems else 200)


def _sites() -> list[Site]:
    return list(get_settings().sites.values())


def _key_problem() -> str:
    if not any(site.can_connect for site in _sites()):
        return ""
    try:
        token_cipher()
    except ImproperlyConfigured as wrong:
        return str(wrong)
    return ""


def _figures(site: Site) -> dict[str, Any]:
    found = Connection.objects.filter(site=site.alias).order_by().values_list("health")
    waiting = PendingRevocation.objects.filter(site=site.alias)
    told = waiting.aggregate(count=Count("pk"), oldest=Min("created_at"))
    age = (timezone.now() - told["oldest"]).total_seconds() if told["oldest"] else 0.0
    return {
        "connections": Counter(dict(found.annotate(count=Count("pk")))),
        "pending_revocations": {"count": told["count"], "oldest_seconds": round(age)},
    }


def may_read(request: HttpRequest, permission: str) -> bool:
    """Return whether a request carries METRICS_TOKEN as a bearer token, or its user has a permission."""
    wanted = get_settings().metrics_token
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if wanted and scheme.lower() == "bearer":
        return constant_time_compare(given.strip(), wanted)
    user = getattr(request, "user", None)
    return user is not None and user.has_perm(permission)
