"""Every request acts as its user, and an error of ERPNext becomes a page instead of a traceback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import SynchronousOnlyOperation
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from erpnext_bridge import interruptions
from erpnext_bridge.addresses import connect_page, return_path
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import ERPNextBridgeError, NeedsReconnect, NotConnected
from erpnext_bridge.identity import Identity, reset_ambient, set_ambient, user_identity
from erpnext_bridge.models import Connection
from erpnext_bridge.pages import error_response, page_for

GetResponse = Callable[[HttpRequest], Any]


class ConnectionMiddleware:
    """Stands behind AuthenticationMiddleware."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._answer(request)
        token = set_ambient(user_identity(lambda: getattr(request, "user", None)))
        try:
            response: HttpResponseBase = self.get_response(request)
            return response
        finally:
            reset_ambient(token)

    async def _answer(self, request: HttpRequest) -> HttpResponseBase:
        token = set_ambient(user_identity(_user_of_async_view(request)))
        try:
            response: HttpResponseBase = await self.get_response(request)
            return response
        finally:
            reset_ambient(token)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        if isinstance(exception, NotConnected):
            return _to_connect_page(request, exception)
        if isinstance(exception, ERPNextBridgeError):
            page = page_for(exception)
            return error_response(request, exception, page) if page is not None else None
        return None


def _user_of_async_view(request: HttpRequest) -> Callable[[], Any]:
    """Return a function that tells the user without touching the database in the event loop."""
    known: list[Any] = []
    first = getattr(request, "user", None)
    if ask := getattr(request, "auser", None):

        async def auser() -> Any:
            known[:] = [await ask()]
            return known[0]

        request.auser = auser

    def get_user() -> Any:
        user = getattr(request, "user", None)
        # alogin() and alogout() replace it: from then on, it is another user's request.
        if known and user is first:
            return known[0]
        try:
            _ = user.pk if user is not None else None
        except SynchronousOnlyOperation:
            raise SynchronousOnlyOperation(
                "An async view has to `await request.auser()` before it builds a query as its user; "
                "connection_required does, and for_user() needs no ambient user."
            ) from None
        return user

    return get_user


def _to_connect_page(request: HttpRequest, error: NotConnected) -> HttpResponse | None:
    site = error.site or DEFAULT_SITE
    if not isinstance(error, NeedsReconnect) and _is_connected(request, site):
        # The code built a query without an identity. Connecting again would not help, so it is not hidden.
        return None
    url = connect_page(site, return_path(request))
    if request.accepts("text/html"):
        interruptions.remember(request)
        return redirect(url)
    return JsonResponse({"error": {"title": str(error), "connect_url": url}}, status=403)


def _is_connected(request: HttpRequest, site: str) -> bool:
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return False
    return any(c.is_usable for c in Connection.objects.for_identity(Identity.for_user(user, site)))
