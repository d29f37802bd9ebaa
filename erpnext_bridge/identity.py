"""
Whose rights a request to ERPNext carries.

An identity names a Django user or a service account at one site. It holds no secret, so querysets and
writes can carry, pickle and store it. The *ambient* identity is what the code being run acts as; it is
captured when a queryset is built and never looked up when one is evaluated.

What a module builds while it is being imported stays there for everybody, and Django imports a URLconf with all its
views inside the first request. So code that is being imported acts as nobody, unless it names somebody itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.errors import NotConnected

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.contrib.auth.models import AnonymousUser

    User = AbstractBaseUser | AnonymousUser


@dataclass(frozen=True, slots=True)
class Identity:
    """A user's connection, or the service account, at one site."""

    site: str
    """Alias of the site."""
    user_pk: str | None
    """Primary key of the Django user as text; None for the service account."""

    @classmethod
    def for_user(cls, user: User, site: str = DEFAULT_SITE) -> Identity:
        """Return the identity of a signed-in user. NotConnected for an anonymous one."""
        if user.pk is None:
            raise NotConnected("Nobody is signed in. Sign the user in before using their ERPNext connection.")
        return cls(site, str(user.pk))

    @classmethod
    def service(cls, site: str = DEFAULT_SITE) -> Identity:
        """Return the identity of the site's service account."""
        return cls(site, None)

    @property
    def is_service(self) -> bool:
        return self.user_pk is None

    def __str__(self) -> str:
        who = "service account" if self.is_service else f"user {self.user_pk}"
        return f"{who} at site {self.site!r}"


AmbientIdentity = Callable[[str], Identity | None]
"""Site alias → identity, or None when nobody acts."""


@dataclass(frozen=True, slots=True)
class _Ambient:
    resolve: AmbientIdentity | None = None
    imports: int = 0
    """Modules that were being imported when it was set: those inside of which it was."""


_ambient: ContextVar[_Ambient] = ContextVar("erpnext_bridge_identity", default=_Ambient())  # noqa: B039 - it is frozen


def ambient_identity(site: str = DEFAULT_SITE) -> Identity | None:
    """Return the identity that the running code acts as at a site, or None."""
    ambient = _ambient.get()
    if ambient.resolve is None or _imports_under_way() > ambient.imports:
        return None
    return ambient.resolve(site)


def set_ambient(resolve: AmbientIdentity | None) -> Token[_Ambient]:
    """Set the ambient identity; undo it with `reset_ambient`. For middleware; use `acting_as` elsewhere."""
    return _ambient.set(_Ambient(resolve, _imports_under_way()))


def reset_ambient(token: Token[_Ambient]) -> None:
    _ambient.reset(token)


def _imports_under_way() -> int:
    """Return how many modules the running code is being imported for."""
    frame, count = sys._getframe(), 0  # noqa: SLF001 - a module that is being imported is seen on the stack alone
    while (caller := frame.f_back) is not None:
        frame = caller
        if frame.f_code.co_name == "<module>":
            # The import system's own mark; a script and a line typed in a shell have none.
            count += bool(getattr(frame.f_globals.get("__spec__"), "_initializing", False))
    return count


def user_identity(get_user: Callable[[], Any]) -> AmbientIdentity:
    """Return an ambient identity that asks for the user only when a queryset is built."""

    def resolve(site: str) -> Identity | None:
        user = get_user()
        return Identity.for_user(user, site) if user is not None and user.pk is not None else None

    return resolve


@contextmanager
def acting_as(who: User | Identity) -> Iterator[None]:
    """
    Build the querysets and documents inside the block as this user, or as this identity.

    A user acts at every site; an `Identity` at its own site only.
    """
    if isinstance(who, Identity):
        identity = who
        token = set_ambient(lambda site: identity if site == identity.site else None)
    else:
        user = who
        Identity.for_user(user)
        token = set_ambient(user_identity(lambda: user))
    try:
        yield
    finally:
        reset_ambient(token)
