"""What people see when ERPNext says no, or does not answer: one table from errors to pages."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from erpnext_bridge.errors import (
    AuthenticationRefused,
    BulkError,
    Conflict,
    DocumentDoesNotExist,
    DuplicateDocument,
    ERPNextBridgeError,
    GrantRefused,
    PermissionRefused,
    RefusedError,
    SiteBusy,
    SiteUnreachable,
    TransientError,
    UnreadableAnswer,
    ValidationRefused,
)

logger = logging.getLogger("erpnext_bridge")


@dataclass(frozen=True)
class ErrorPage:
    """How one kind of error is shown."""

    status: int
    title: str
    advice: str
    quotes: bool = False
    """Whether ERPNext's own messages are for the user."""


TRY_AGAIN = "Nothing is wrong with your connection. Try again in a moment."

NOT_ERPNEXT = ErrorPage(
    502,
    "Something else than ERPNext answered",
    "Your connection is kept. Try again; if it stays, an administrator has to check the address of ERPNext.",
)

PAGES: dict[type[ERPNextBridgeError], ErrorPage | None] = {
    # Django's own views and shortcuts know this one, as an ObjectDoesNotExist.
    DocumentDoesNotExist: None,
    PermissionRefused: ErrorPage(
        403,
        "ERPNext does not allow this",
        "Your ERPNext account has no permission for it. Its administrator can give you a role that has.",
        quotes=True,
    ),
    Conflict: ErrorPage(
        409, "Somebody else saved this first", "Open it again, and repeat your change.", quotes=True
    ),
    DuplicateDocument: ErrorPage(
        409, "This exists already", "ERPNext has a document like this.", quotes=True
    ),
    ValidationRefused: ErrorPage(
        422, "ERPNext did not accept this", "Correct what it names, and send it again.", quotes=True
    ),
    GrantRefused: ErrorPage(
        400,
        "ERPNext did not accept the authorization",
        "It may have been used already, or taken too long. Connect again. Nothing was stored.",
    ),
    AuthenticationRefused: ErrorPage(
        502,
        "ERPNext did not accept our credentials",
        "An administrator of this site has to check the access to ERPNext that it is set up with.",
    ),
    RefusedError: ErrorPage(
        502, "ERPNext could not do this", "An administrator finds more in ERPNext's Error Log.", quotes=True
    ),
    SiteBusy: ErrorPage(503, "ERPNext is busy", TRY_AGAIN),
    SiteUnreachable: ErrorPage(503, "ERPNext does not answer", TRY_AGAIN),
    TransientError: ErrorPage(503, "ERPNext cannot answer now", TRY_AGAIN),
    BulkError: ErrorPage(
        409,
        "Not all of it could be done",
        "What was done stays. Look at what is left, and repeat it.",
        quotes=True,
    ),
    UnreadableAnswer: NOT_ERPNEXT,
}


def page_for(error: ERPNextBridgeError) -> ErrorPage | None:
    """Return how an error is shown; None for one that is a mistake in the code, or the caller's to handle."""
    return next((PAGES[cls] for cls in type(error).__mro__ if cls in PAGES), None)


def error_response(
    request: HttpRequest, error: ERPNextBridgeError, page: ErrorPage, *, retry_url: str = ""
) -> HttpResponse:
    """Return the page about an error, or its JSON where the client wants no HTML; staff read the details."""
    # An outage would fill the log with tracebacks; a refusal has one line of code that caused it.
    cause = error if isinstance(error, RefusedError) else None
    logger.warning("%s: %s: %s", request.path, type(error).__name__, error, exc_info=cause)
    text = {"title": page.title, "advice": page.advice, "quotes": error.messages if page.quotes else ()}
    if request.accepts("text/html"):
        staff = getattr(getattr(request, "user", None), "is_staff", False)
        context = {**text, "retry_url": retry_url, "details": str(error) if staff else ""}
        response = render(request, "erpnext_bridge/error.html", context, status=page.status)
    else:
        response = JsonResponse({"error": text}, status=page.status)
    retry_after = getattr(error, "retry_after", None)
    if retry_after:
        response["Retry-After"] = str(round(retry_after))
    return response
