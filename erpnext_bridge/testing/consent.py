"""Users who are connected: the way through ERPNext's pages and back, without a browser."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, quote, urlsplit

from django.contrib.sessions.backends.signed_cookies import SessionStore

from erpnext_bridge import connecting
from erpnext_bridge.conf import DEFAULT_SITE, get_site
from erpnext_bridge.credentials import Credentials
from erpnext_bridge.transport import Request, transport_for

from .sites import current_site, redirect_uri

if TYPE_CHECKING:
    from erpnext_bridge.models import Connection
    from erpnext_bridge.sandbox import Sandbox

STANDARD_USERS = ("Administrator", "Guest")


def connect(user: Any, erp_user: str = "", *, alias: str = DEFAULT_SITE) -> Connection:
    """
    Connect a Django user as a user of the sandbox, as if he had clicked Connect and Allow, and return the connection.

    Without `erp_user` it is the first user of the world: alice@example.com of the demo company. The code, the PKCE
    verifier and the tokens are real; the requests for them are not kept in `site.requests`.
    """
    sandbox = current_site()
    kept = len(sandbox.requests)
    site, session = get_site(alias), SessionStore()
    url = connecting.start(session, user, site, redirect_uri=site.redirect_uri or redirect_uri(alias))
    answer = _allow(sandbox, erp_user or default_user(sandbox), url)
    finished = connecting.finish(session, user, site, state=answer["state"], code=answer["code"])
    del sandbox.requests[kept:]
    return finished.connection


def default_user(sandbox: Sandbox) -> str:
    """Return the first person in the sandbox's world."""
    people = [name for name in sandbox.world.users if name not in STANDARD_USERS]
    if not people:
        raise ValueError("The sandbox's world has no users. Name 'Administrator', or add one to the world.")
    return people[0]


@dataclass(frozen=True, slots=True, repr=False)
class _SignedIn(Credentials):
    """The cookies of a browser that is signed in to ERPNext."""

    kind: ClassVar[str] = "browser"
    user: str
    sid: str = field(repr=False)

    def headers(self) -> dict[str, str]:
        # Frappe ties the code to the cookie `user_id`, not to the session (frappe/oauth.py, save_authorization_code).
        return {"Cookie": f"sid={self.sid}; user_id={quote(self.user)}"}


def _allow(sandbox: Sandbox, erp_user: str, url: str) -> dict[str, str]:
    """Return the query that ERPNext sends the browser back with once its user has clicked Allow."""
    if sandbox.site.store.exists("User", erp_user) is None:
        known = ", ".join(sandbox.world.users)
        raise ValueError(f"The sandbox has no user {erp_user!r}. Known users: {known}.")
    browser = _SignedIn(erp_user, sandbox.gate.start(erp_user).sid)
    # The button on the consent page leads to the same address with another ending.
    for step in ("authorize", "approve"):
        path, _, query = url.removeprefix(sandbox.url).partition("?")
        path = path.replace("oauth2.authorize", f"oauth2.{step}")
        request = Request("GET", path, dict(parse_qsl(query)), credentials=browser)
        answer = transport_for(sandbox.url).send(request)
    back = dict(parse_qsl(urlsplit(answer.headers.get("Location", "")).query))
    if "code" not in back:
        raise ValueError(f"The sandbox gives {erp_user} no code: {answer.status} {answer.content[:300]!r}")
    return back
