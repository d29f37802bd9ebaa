"""
The pages of connecting: see what is connected, start, come back, end.

Leaving for ERPNext takes a POST with our CSRF token. By a link alone, a page of somebody else could first
sign the browser in to that person's ERPNext account and then have it connected here, consent skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.apps import apps
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from erpnext_bridge import connecting, interruptions
from erpnext_bridge.addresses import asked_next, connect_page, page, redirect_uri
from erpnext_bridge.conf import DEFAULT_SITE, Site, get_settings
from erpnext_bridge.errors import ERPNextBridgeError
from erpnext_bridge.identity import Identity
from erpnext_bridge.models import Connection
from erpnext_bridge.pages import NOT_ERPNEXT, error_response, logger, page_for
from erpnext_bridge.tokens.crypto import TokensUnreadable
from erpnext_bridge.tokens.pending import StateRefused


@dataclass(frozen=True)
class SiteRow:
    """One site on the status page."""

    site: Site
    connection: Connection | None
    problem: str
    connect_url: str
    disconnect_url: str
    redirect_uri: str


def _page(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Keep a page out of caches, and out of a transaction that would wait for ERPNext or undo what it did."""

    @wraps(view)
    def shown(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            response = view(request, *args, **kwargs)
        except ImproperlyConfigured as wrong:
            logger.exception("%s: not set up", request.path)
            response = render(request, "erpnext_bridge/error.html", _not_set_up(request, wrong), status=500)
        # A callback's address holds a code: no other site may read it from a Referer header.
        response.headers.setdefault("Referrer-Policy", "same-origin")
        # Nobody is to click "Continue" unseen, inside a page of somebody else.
        response.headers.setdefault("X-Frame-Options", settings.X_FRAME_OPTIONS)
        return response

    return transaction.non_atomic_requests(never_cache(shown))


@_page
@login_required
@require_GET
def status(request: HttpRequest) -> HttpResponse:
    rows = [_row(request, site) for site in get_settings().sites.values() if site.can_connect]
    return render(request, "erpnext_bridge/status.html", {"rows": rows})


@_page
@login_required
@require_http_methods(["GET", "POST"])
def connect(request: HttpRequest, site: str = DEFAULT_SITE) -> HttpResponse:
    row = _row(request, _site_or_404(site))
    if request.method == "POST":
        return redirect(
            connecting.start(
                request.session,
                request.user,
                row.site,
                redirect_uri=row.redirect_uri,
                next_url=asked_next(request),
            )
        )
    context = {
        "row": row,
        "next": asked_next(request),
        "interrupted": interruptions.recall(request.session, request.user),
    }
    return render(request, "erpnext_bridge/connect.html", context)


@_page
@require_GET
def callback(request: HttpRequest, site: str = DEFAULT_SITE) -> HttpResponse:
    wanted = _site_or_404(site)
    again = connect_page(site)
    if "error" in request.GET:
        return _not_granted(request, wanted, again)
    try:
        done = connecting.finish(
            request.session,
            request.user,
            wanted,
            state=request.GET.get("state", ""),
            code=request.GET.get("code", ""),
        )
    except StateRefused as refusal:
        return _notice(request, "This connect cannot be finished", str(refusal), action=again, status=400)
    except ERPNextBridgeError as error:
        shown = page_for(error) or NOT_ERPNEXT
        return error_response(request, error, shown, retry_url=again)
    return _connected(request, done)


@_page
@login_required
@require_http_methods(["GET", "POST"])
def disconnect(request: HttpRequest, site: str = DEFAULT_SITE) -> HttpResponse:
    connection = Connection.objects.for_identity(Identity.for_user(request.user, site)).first()
    if connection is None:
        return redirect(page("status"))
    if request.method == "GET":
        return render(
            request, "erpnext_bridge/disconnect.html", {"connection": connection, "action": request.path}
        )
    lost = _is_lost(connection)
    connecting.disconnect(connection)
    text = f"You are no longer connected as {connection.label}. {_outcome(connection, lost=lost)}"
    return _notice(request, "Disconnected", text)


@_page
@login_required
@require_http_methods(["GET", "POST"])
def resume(request: HttpRequest) -> HttpResponse:
    """Show the form that was being sent when the connection had ended, and send it again when its user says so."""
    interrupted = interruptions.recall(request.session, request.user)
    if interrupted is None or interrupted.fields is None:
        return redirect(page("status"))
    back = asked_next(request) or page("status")
    if request.method == "GET":
        context = {"interrupted": interrupted, "next": back}
        return render(request, "erpnext_bridge/resume.html", context)
    interruptions.forget(request.session)
    if "discard" in request.GET:
        return redirect(back)
    # The browser sends the same form there, by itself.
    return HttpResponseRedirect(interrupted.path, status=307)


def _is_lost(connection: Connection) -> bool:
    try:
        return not connection.access_token.open()
    except TokensUnreadable:
        return True


def _outcome(connection: Connection, *, lost: bool) -> str:
    if connection.revoked:
        return "The tokens are deleted here, and ERPNext has revoked them."
    if lost:
        return (
            "The tokens could not be read any more, so they are only deleted here; the administrator of ERPNext can "
            "delete them there."
        )
    return (
        "Nothing uses the tokens any more. ERPNext did not confirm yet that it has revoked them; it is asked again in the "
        "background until it does."
    )


def _not_set_up(request: HttpRequest, wrong: ImproperlyConfigured) -> dict[str, str]:
    return {
        "title": "ERPNext is not set up here",
        "advice": "An administrator of this site has to complete its settings; manage.py check tells what is missing.",
        "details": str(wrong) if getattr(request.user, "is_staff", False) else "",
    }


def _site_or_404(alias: str) -> Site:
    try:
        site = get_settings().site(alias)
    except ImproperlyConfigured as unknown:
        raise Http404(str(unknown)) from None
    if not site.can_connect:
        raise Http404(f"ERPNEXT_BRIDGE['SITES'][{alias!r}] has no CLIENT_ID, so nobody can connect there.")
    return site


def _row(request: HttpRequest, site: Site) -> SiteRow:
    connection = Connection.objects.for_identity(Identity.for_user(request.user, site.alias)).first()
    return SiteRow(
        site=site,
        connection=connection,
        problem=connecting.problem_of(connection, site) if connection else "",
        connect_url=connect_page(site.alias),
        disconnect_url=page("disconnect", site.alias),
        redirect_uri=redirect_uri(site, request),
    )


def _not_granted(request: HttpRequest, site: Site, again: str) -> HttpResponse:
    # Frappe's Deny button comes back with ?error=access_denied and no state (integrations/oauth2.py), so
    # this may come from anywhere: it changes nothing, and what the address says further is not repeated.
    if request.GET["error"] == "access_denied":
        text = f"You did not allow the access to {site.label}. Nothing was changed."
        return _notice(request, "Cancelled", text, action=again)
    text = f"{site.label} did not grant the access. Nothing was changed."
    return _notice(request, "Not connected", text, action=again, status=400)


def _connected(request: HttpRequest, done: connecting.Finished) -> HttpResponse:
    onward = _onward(request, done.next_url or page("status"))
    if done.replaced:
        text = f"You are now connected as {done.connection.label}; before, it was {done.replaced}."
        return _notice(request, "Another ERPNext account", text, action=onward, label="Continue")
    if apps.is_installed("django.contrib.messages"):
        messages.success(request, f"Connected as {done.connection.label}.", fail_silently=True)
    return redirect(onward)


def _onward(request: HttpRequest, url: str) -> str:
    """Return where to go on: to the form that could not be sent, or to this URL."""
    interrupted = interruptions.recall(request.session, request.user)
    if interrupted is None or interrupted.fields is None:
        interruptions.forget(request.session)
        return url
    return f"{page('resume')}?{urlencode({'next': url})}"


def _notice(
    request: HttpRequest,
    title: str,
    text: str,
    *,
    action: str = "",
    label: str = "Connect",
    status: int = 200,
) -> HttpResponse:
    context = {"title": title, "text": text, "action": action, "label": label}
    return render(request, "erpnext_bridge/notice.html", context, status=status)
