"""The addresses of our own pages: one function makes each, so that they are the same everywhere."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.http import url_has_allowed_host_and_scheme

from erpnext_bridge.conf import DEFAULT_SITE, Site


def page(name: str, site: str = DEFAULT_SITE) -> str:
    """Return the path of one of our pages about a site. NoReverseMatch when our URLs are not included."""
    args = [] if site == DEFAULT_SITE else [site]
    return reverse(f"erpnext_bridge:{name}", args=args)


def page_or_nothing(name: str) -> str:
    """Return the path of a page, of the admin for instance; "" where the project has no such page."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def connect_page(site: str = DEFAULT_SITE, next_url: str = "") -> str:
    """Return the path of the page on which a user starts to connect, and comes back from to `next_url`."""
    query = f"?{urlencode({'next': next_url})}" if next_url else ""
    return page("connect", site) + query


def redirect_uri(site: Site, request: HttpRequest | None = None) -> str:
    """
    Return the redirect URI of a site, which has to be registered at ERPNext byte for byte.

    Without a request it is built from the first host in `ALLOWED_HOSTS`, or is a path when none is named.
    """
    if site.redirect_uri:
        return site.redirect_uri
    path = page("callback", site.alias)
    if request is not None:
        return request.build_absolute_uri(path)
    return f"{_guessed_origin()}{path}"


def absolute(site: Site, path: str) -> str:
    """Return one of our paths as a whole address, for texts that leave the browser."""
    parts = urlsplit(site.redirect_uri)
    return f"{parts.scheme}://{parts.netloc}{path}" if parts.netloc else f"{_guessed_origin()}{path}"


def _guessed_origin() -> str:
    hosts = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    if hosts:
        return f"https://{hosts[0]}"
    return "http://localhost:8000" if settings.DEBUG else ""


def is_ours(request: HttpRequest, url: str) -> bool:
    """Return whether a URL stays on the host of the request."""
    return url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())


def asked_next(request: HttpRequest) -> str:
    """Return the `next` of a request when it stays on our host, else ""."""
    url = request.POST.get("next") or request.GET.get("next") or ""
    return url if is_ours(request, url) else ""


def return_path(request: HttpRequest) -> str:
    """
    Return where to come back to after connecting: this page when it can be fetched again.

    A POST cannot: its user comes back to the page with the form, as far as the browser named one of ours.
    """
    if request.method in ("GET", "HEAD"):
        return request.get_full_path()
    referrer = request.headers.get("Referer", "")
    if not is_ours(request, referrer):
        return ""
    parts = urlsplit(referrer)
    return f"{parts.path}?{parts.query}" if parts.query else parts.path
