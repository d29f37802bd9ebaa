"""
The errors, arranged by what the caller does next.

ERPNextBridgeError                    everything below
├── UnsupportedQuery                  change the code: Frappe cannot express the query
├── NotConnected                      send the user to the connect page
│   └── NeedsReconnect                the same: the connection was there, and is over
├── RefusedError                      ERPNext said no and changed nothing; the same request will fail again
│   ├── DocumentDoesNotExist          there is no such document, or it is hidden from this user
│   ├── PermissionRefused             this user may not; ask ERPNext's administrator for a role
│   ├── AuthenticationRefused         the credentials are not good (any more)
│   │   └── GrantRefused              OAuth refused a code or a refresh token: connect again; or our client
│   ├── DuplicateDocument             it is there already: read it instead
│   └── ValidationRefused             show ERPNext's messages, correct the document
│       └── Conflict                  somebody else saved first: read again, then decide
├── TransientError                    try again later; look first if `sent` and the request was a write
│   ├── SiteUnreachable               no answer, or only a part of one
│   └── SiteBusy                      ERPNext, or the proxy before it, asked to come back later
├── BulkError                         some of many writes were not done: look at its `failed`
└── UnreadableAnswer                  something else than ERPNext's API answered: a person checks the site's URL
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.utils import NotSupportedError


class ERPNextBridgeError(Exception):
    """Base of all errors; `str()` tells the request, its status and the messages, never a secret or a body."""

    way_out = ""
    """What is said when the error was raised without a message."""

    def __init__(
        self, *messages: str, method: str = "", path: str = "", status: int | None = None, exc_type: str = ""
    ) -> None:
        # The positional arguments alone are `args`, and the rest is plain attributes: that is what
        # lets every error be pickled and copied without a method of its own.
        super().__init__(*messages)
        self.method = method
        """HTTP method of the request, "" when no request was made."""
        self.path = path
        """Path of the request, without its query string."""
        self.status = status
        """HTTP status of the answer, None when there was none."""
        self.exc_type = exc_type
        """Name of Frappe's exception class, such as "LinkValidationError"; "" when Frappe did not tell."""

    @property
    def messages(self) -> tuple[str, ...]:
        """ERPNext's own messages as plain text, the cause first."""
        return tuple(str(message) for message in self.args)

    def __str__(self) -> str:
        request = f"{self.method} {self.path}".strip()
        answer = " ".join(str(part) for part in (self.status, self.exc_type) if part)
        text = " ".join(self.messages) or self.way_out
        return ": ".join(part for part in (request, answer, text) if part)


class UnsupportedQuery(ERPNextBridgeError, NotSupportedError):
    """Frappe cannot express this query exactly; the message names the part and the way out."""


class NotConnected(ERPNextBridgeError):
    """The query has no identity, or its user has no connection to the site."""

    way_out = (
        "Not connected to ERPNext. Send the user to the connect page, or name an identity with for_user()."
    )

    def __init__(self, *messages: str, site: str = "", **request: Any) -> None:
        super().__init__(*messages, **request)
        self.site = site
        """Alias of the site to connect to, "" when the raiser did not know."""


class NeedsReconnect(NotConnected):
    """The site refused the connection's tokens for good."""

    way_out = "The connection to ERPNext has ended. Send the user to the connect page to connect again."


class RefusedError(ERPNextBridgeError):
    """ERPNext said no and rolled back; the same request will be refused again."""

    def __init__(self, *messages: str, fields: tuple[str, ...] = (), **request: Any) -> None:
        super().__init__(*messages, **request)
        self.fields = fields
        """Fieldnames the refusal is about, as far as ERPNext names them."""


class DocumentDoesNotExist(RefusedError, ObjectDoesNotExist):
    """There is no such document or DocType, or none that this user may see."""


class PermissionRefused(RefusedError):
    """The user may not do that."""


class AuthenticationRefused(RefusedError):
    """The credentials are wrong, expired or revoked, or the log-in needs a further step."""

    way_out = "ERPNext does not accept these credentials."


GRANT_OVER = frozenset({"invalid_grant", "invalid_scope"})
"""OAuth's codes that say that a code or a refresh token is no good any more. All others are about the client."""


class GrantRefused(AuthenticationRefused):
    """The OAuth endpoint refused a code or a refresh token, or the client that showed it."""

    def __init__(self, *messages: str, error: str = "", **refusal: Any) -> None:
        super().__init__(*messages, **refusal)
        self.error = error
        """OAuth's error code, such as "invalid_grant"."""

    @property
    def is_final(self) -> bool:
        """Whether the grant is over. If not, another client, or the same one set up rightly, could still use it."""
        return self.error in GRANT_OVER

    @property
    def description(self) -> str:
        """What the site said about it, as plain text."""
        return " ".join(self.messages)


class DuplicateDocument(RefusedError):
    """A document with this name, or with this value of a unique field, is there already."""


class ValidationRefused(RefusedError):
    """The document or the arguments are not valid for ERPNext."""


class Conflict(ValidationRefused):
    """The document was saved by somebody else since it was read."""

    def __init__(self, *messages: str, document: Any = None, **refusal: Any) -> None:
        super().__init__(*messages, **refusal)
        self.document = document
        """The document as it is now, when the raiser read it again."""


class TransientError(ERPNextBridgeError):
    """Nothing is wrong with the request; it may succeed later."""

    def __init__(
        self, *messages: str, retry_after: float | None = None, sent: bool = False, **request: Any
    ) -> None:
        super().__init__(*messages, **request)
        self.retry_after = retry_after
        """Seconds the site asked to wait, None when it did not say."""
        self.sent = sent
        """Whether ERPNext may have carried the request out, so that a write's outcome is unknown."""


class SiteUnreachable(TransientError):
    """No answer came from the site, or it broke off."""


class SiteBusy(TransientError):
    """The site answered that it cannot serve the request now."""


class BulkError(ERPNextBridgeError):
    """Of many writes some were not done; those that were done stay."""

    def __init__(
        self,
        *messages: str,
        ok: Sequence[Any] = (),
        failed: Sequence[tuple[Any, ERPNextBridgeError]] = (),
        **request: Any,
    ) -> None:
        super().__init__(*messages, **request)
        self.ok = list(ok)
        """The documents that were written."""
        self.failed = list(failed)
        """Each document that was not, and why: ERPNext's refusal, or the error that ended the run before its turn."""


class UnreadableAnswer(ERPNextBridgeError):
    """The answer is not one of ERPNext's API: a redirect, a web page, or more than is accepted."""

    def __init__(self, *messages: str, sent: bool = True, **request: Any) -> None:
        super().__init__(*messages, **request)
        self.sent = sent
        """Whether ERPNext may have carried the request out, so that a write's outcome is unknown."""
