"""Views that need a connection send everybody else to connect first, and back here afterwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, overload

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from erpnext_bridge import interruptions
from erpnext_bridge.addresses import connect_page, return_path
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.models import Connection

View = TypeVar("View", bound=Callable[..., Any])


@overload
def connection_required(view: View, *, site: str = ...) -> View: ...


@overload
def connection_required(view: None = ..., *, site: str = ...) -> Callable[[View], View]: ...


def connection_required(view: Any = None, *, site: str = DEFAULT_SITE) -> Any:
    """
    Let only users pass who are signed in and connected to the site; the view acts as its user.

    Nobody signed in: the login page. Not connected, or to be connected again: the connect page. Both come
    back to this page, or to the page with the form when this one was posted to.
    """
    if view is None:
        return lambda view: connection_required(view, site=site)
    return _async_door(view, site) if iscoroutinefunction(view) else _door(view, site)


class ConnectionRequiredMixin:
    """`connection_required` for class-based views; stands left of the view class."""

    connection_site = DEFAULT_SITE

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., Any]:
        site = initkwargs.get("connection_site", cls.connection_site)
        view: Callable[..., Any] = super().as_view(**initkwargs)  # type: ignore[misc]
        return connection_required(view, site=site)


def _door(view: Callable[..., Any], site: str) -> Callable[..., Any]:
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        user = request.user
        if not user.is_authenticated:
            return _to_login(request)
        if not _is_usable(Connection.objects.for_identity(Identity.for_user(user, site)).first()):
            return _to_connect_page(request, site)
        with acting_as(user):
            return view(request, *args, **kwargs)

    return guarded


def _async_door(view: Callable[..., Any], site: str) -> Callable[..., Any]:
    @wraps(view)
    async def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        user = await request.auser()
        if not user.is_authenticated:
            return _to_login(request)
        if not _is_usable(await Connection.objects.for_identity(Identity.for_user(user, site)).afirst()):
            return await _to_connect_page_async(request, site)
        with acting_as(user):
            return await view(request, *args, **kwargs)

    return guarded


def _to_connect_page(request: HttpRequest, site: str) -> HttpResponse:
    interruptions.remember(request)
    return redirect(connect_page(site, return_path(request)))


# The session may have to be loaded from the database.
_to_connect_page_async = sync_to_async(_to_connect_page)


def _is_usable(connection: Connection | None) -> bool:
    return connection is not None and connection.is_usable


def _to_login(request: HttpRequest) -> HttpResponse:
    return redirect_to_login(return_path(request) or "/")
