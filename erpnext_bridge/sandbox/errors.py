"""How Frappe fails: each exception with its HTTP status, its dotted name and what it says to the user."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from .context import Context

# Frappe's driver differs: PyMySQL before 16, mysqlclient since; mariadb/database.py and mysqlclient.py.
DRIVER = {15: "pymysql.err.", 16: "MySQLdb."}


class SandboxError(Exception):
    """A failure of the served site; `text` is what str() of Frappe's own exception would give."""

    status = 500
    module = ""
    html = False
    """Raised by werkzeug instead of Frappe: rendered as werkzeug's own page."""
    at_once = False
    """Comes of a query of its own, sent before the one that is being put together."""

    def __init__(self, text: str = "", *, traceback: bool = True) -> None:
        super().__init__(text)
        self.text = text
        self.exc_id: str | None = None
        """Ties the error to its entry in `Context.messages` (key `__frappe_exc_id`)."""
        self.traceback = traceback
        """False where Frappe sets flags.disable_traceback."""

    @property
    def exc_type(self) -> str:
        return type(self).__name__

    def last_line(self, version: int) -> str:
        """The last line of the traceback, which v1 answers as `exception`."""
        prefix = DRIVER[version] if self.module == "driver" else self.module
        name = f"{prefix}{self.exc_type}"
        return f"{name}: {self.text}".splitlines()[-1] if self.text else name


# -- frappe.exceptions -------------------------------------------------------------------------------


class FrappeError(SandboxError):
    module = "frappe.exceptions."


class ValidationError(FrappeError):
    status = 417


class FrappeTypeError(FrappeError):
    status = 417


class AuthenticationError(FrappeError):
    status = 401


class SessionExpired(FrappeError):
    status = 401


class PermissionError(FrappeError):  # noqa: A001 - clients see the class name as exc_type
    status = 403


class DoesNotExistError(ValidationError):
    status = 404


class PageDoesNotExistError(ValidationError):
    status = 404


class NameError(FrappeError):  # noqa: A001
    status = 409


class DuplicateEntryError(NameError):
    pass


class CSRFTokenError(FrappeError):
    status = 400


class InvalidAuthorizationHeader(CSRFTokenError):
    pass


class InvalidAuthorizationToken(CSRFTokenError):
    pass


class TooManyRequestsError(FrappeError):
    status = 429


class RateLimitExceededError(ValidationError):
    status = 429


class UnsupportedMediaType(FrappeError):
    status = 415


class SessionStopped(FrappeError):
    status = 503


class InReadOnlyMode(ValidationError):
    status = 503


class LinkExpired(ValidationError):
    status = 410


class InvalidKeyError(ValidationError):
    status = 401


class SecurityException(FrappeError):
    pass


class QueryTimeoutError(FrappeError):
    pass


class QueryDeadlockError(FrappeError):
    pass


class DataError(ValidationError):
    pass


class MandatoryError(ValidationError):
    pass


class NonNegativeError(ValidationError):
    pass


class CannotChangeConstantError(ValidationError):
    pass


class CharacterLengthExceededError(ValidationError):
    pass


class UpdateAfterSubmitError(ValidationError):
    pass


class LinkValidationError(ValidationError):
    pass


class CancelledLinkError(LinkValidationError):
    pass


class DocstatusTransitionError(ValidationError):
    pass


class TimestampMismatchError(ValidationError):
    pass


class LinkExistsError(ValidationError):
    pass


class InvalidEmailAddressError(ValidationError):
    pass


class InvalidPhoneNumberError(ValidationError):
    pass


class InvalidNameError(ValidationError):
    pass


class UniqueValidationError(ValidationError):
    pass


class AttachmentLimitReached(ValidationError):
    pass


class DocumentLockedError(ValidationError):
    pass


class NestedSetChildExistsError(ValidationError):
    module = "frappe.utils.nestedset."


class NestedSetRecursionError(ValidationError):
    module = "frappe.utils.nestedset."


class NestedSetInvalidMergeError(ValidationError):
    module = "frappe.utils.nestedset."


# -- Python's own, where Frappe lets them through -----------------------------------------------------


class TypeError(SandboxError):  # noqa: A001
    pass


class KeyError(SandboxError):  # noqa: A001
    pass


class IndexError(SandboxError):  # noqa: A001
    pass


class ValueError(SandboxError):  # noqa: A001
    pass


class AttributeError(SandboxError):  # noqa: A001
    pass


class UnboundLocalError(SandboxError):  # noqa: A001
    pass


class ImportError(SandboxError):  # noqa: A001
    pass


class OverflowError(SandboxError):  # noqa: A001
    pass


class AssertionError(SandboxError):  # noqa: A001
    pass


class RuntimeError(SandboxError):  # noqa: A001
    pass


class JSONDecodeError(SandboxError):
    module = "json.decoder."


class ParserError(SandboxError):
    module = "dateutil.parser._parser."


# -- the database driver -------------------------------------------------------------------------------


class DriverError(SandboxError):
    module = "driver"


class SQLProgrammingError(DriverError):
    @property
    def exc_type(self) -> str:
        return "ProgrammingError"


class SQLOperationalError(DriverError):
    @property
    def exc_type(self) -> str:
        return "OperationalError"


class SQLDataError(DriverError):
    """Not frappe.exceptions.DataError: the column refused the value."""

    @property
    def exc_type(self) -> str:
        return "DataError"


class SQLIntegrityError(DriverError):
    @property
    def exc_type(self) -> str:
        return "IntegrityError"


class SQLNotSupportedError(DriverError):
    @property
    def exc_type(self) -> str:
        return "NotSupportedError"


# -- werkzeug's pages ----------------------------------------------------------------------------------


class PageNotFound(SandboxError):
    status = 404
    html = True


class PageMethodNotAllowed(SandboxError):
    status = 405
    html = True


# -- saying it to the user -----------------------------------------------------------------------------


def msgprint(
    ctx: Context, message: str, *, title: str | None = None, indicator: str | None = None, alert: bool = False
) -> dict[str, Any]:
    """Frappe's frappe.msgprint: remembered for `_server_messages`."""
    entry: dict[str, Any] = {"message": message}
    if ctx.version >= 16:
        entry["as_table"] = False
    entry["title"] = title or "Message"
    if indicator:
        entry["indicator"] = indicator
    if alert:
        entry["alert"] = 1
    ctx.messages.append(entry)
    return entry


def throw(
    ctx: Context, message: str, error: type[SandboxError] = ValidationError, *, title: str | None = None
) -> NoReturn:
    """Frappe's frappe.throw: a message and an exception with the same text, tied by an id."""
    raise tied(ctx, error(message), message, title)


def tied(ctx: Context, error: SandboxError, message: str, title: str | None = None) -> SandboxError:
    entry = msgprint(ctx, message, title=title, indicator="red")
    error.exc_id = secrets.token_hex(5)
    entry["raise_exception"] = 1
    entry["__frappe_exc_id"] = error.exc_id
    return error
