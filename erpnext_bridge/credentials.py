"""What a request proves its identity with; a secret leaves these objects in a request header and nowhere else."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NoReturn, Self

from requests import PreparedRequest

# Frappe splits the header at blanks and the pair at ":", and silently goes on as Guest, or answers 401,
# when the number of parts is not two (frappe/auth.py, validate_auth).
PLAIN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A password, code or token on its way: a page or a report that shows local variables does not show it."""

    _text: str

    @classmethod
    def of(cls, value: str | Secret) -> Secret:
        return value if isinstance(value, Secret) else cls(value)

    def reveal(self) -> str:
        """Return the clear text; use it in the expression that sends it, and keep it in no variable."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "[secret]"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret cannot be pickled.")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Base of all credentials: an authentication handler for requests that cannot be printed or pickled."""

    kind: ClassVar[str]
    """How the credentials are called where they may not be shown."""

    def headers(self) -> dict[str, str]:
        raise NotImplementedError

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers.update(self.headers())
        return request

    def __repr__(self) -> str:
        return f"<{self.kind}>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{self.kind} cannot be pickled: it is a secret. Pass what it belongs to, and load it there."
        )

    def _check(self, **values: str) -> None:
        wrong = [name for name, value in values.items() if not PLAIN.fullmatch(value)]
        values = {}
        if wrong:
            raise ValueError(f"The {wrong[0]} of {self.kind} must be non-empty ASCII without blanks.")


@dataclass(frozen=True, slots=True, repr=False)
class Anonymous(Credentials):
    """Nobody: ERPNext sees Guest."""

    kind: ClassVar[str] = "Guest"

    def headers(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True, slots=True, repr=False)
class ApiKey(Credentials):
    """A user's API key and secret, as `token key:secret` or as HTTP Basic."""

    kind: ClassVar[str] = "API key"
    key: str = field(repr=False)
    secret: str = field(repr=False)
    scheme: Literal["token", "basic"] = "token"

    def __post_init__(self) -> None:
        self._check(key=self.key, secret=self.secret)
        if ":" in self.key + self.secret:
            raise ValueError("Frappe splits an API key and its secret at ':', so neither may contain one.")

    def headers(self) -> dict[str, str]:
        pair = f"{self.key}:{self.secret}"
        if self.scheme == "token":
            return {"Authorization": f"token {pair}"}
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


@dataclass(frozen=True, slots=True, repr=False)
class Bearer(Credentials):
    """An OAuth access token."""

    kind: ClassVar[str] = "bearer token"
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        self._check(token=self.token)

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@dataclass(frozen=True, slots=True, repr=False)
class SessionId(Credentials):
    """The `sid` of a log-in with user and password."""

    kind: ClassVar[str] = "session"
    sid: str = field(repr=False)
    csrf_token: str | None = field(default=None, repr=False)
    """Needed for writes once that session has shown a Desk page in a browser (frappe/auth.py)."""

    def __post_init__(self) -> None:
        self._check(sid=self.sid, csrf_token="none" if self.csrf_token is None else self.csrf_token)
        if set(self.sid) & set(';,"\\'):
            raise ValueError("The sid of session must be a single cookie value.")

    def headers(self) -> dict[str, str]:
        csrf = {"X-Frappe-CSRF-Token": self.csrf_token} if self.csrf_token else {}
        return {"Cookie": f"sid={self.sid}", **csrf}
