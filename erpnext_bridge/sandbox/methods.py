"""The methods that `/api/method/<dotted path>` can call, found, allowed and given their arguments as Frappe does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from .context import Context

DEFAULT_VERBS = ("GET", "POST", "PUT", "DELETE")

TEXT, FLAG, NUMBER = "str", "typing.Union[int, bool, float]", "int"
"""Types of arguments that Frappe checks, as its messages name them (utils/typing_validations.py)."""

INSTALLED = ("frappe", "erpnext")
# Functions that exist and that no client may call, with the module that defines them.
FORBIDDEN = {
    "frappe.utils.now": "frappe.utils.data.now",
    "frappe.utils.nowdate": "frappe.utils.data.nowdate",
    "frappe.utils.get_url": "frappe.utils.data.get_url",
    "frappe.model.document.Document": "frappe.model.document.Document",
    "frappe.get_all": "frappe.get_all",
    "frappe.get_doc": "frappe.get_doc",
    "frappe.db.sql": "frappe.database.database.sql",
    "frappe.delete_doc": "frappe.delete_doc",
    "frappe.share.remove": "frappe.share.remove",
    "frappe.integrations.oauth2.get_oauth_server": "frappe.integrations.oauth2.get_oauth_server",
    "frappe.integrations.oauth2.sanitize_kwargs": "frappe.integrations.oauth2.sanitize_kwargs",
    "frappe.integrations.oauth2.encode_params": "frappe.integrations.oauth2.encode_params",
}
PACKAGES = frozenset({"frappe.utils", "frappe.model", "frappe.model.document", "frappe.db"})


@dataclass(frozen=True)
class Method:
    path: str
    call: Callable[..., Any]
    guest: bool = False
    verbs: tuple[str, ...] = DEFAULT_VERBS
    types: Mapping[str, str] = field(default_factory=dict)
    versions: tuple[int, ...] = (15, 16)
    required: tuple[str, ...] = ()
    accepted: frozenset[str] | None = None
    """Names of the parameters; None where the function takes whatever comes."""


METHODS: dict[str, Method] = {}


def whitelist(
    path: str,
    *,
    guest: bool = False,
    verbs: tuple[str, ...] = DEFAULT_VERBS,
    types: Mapping[str, str] | None = None,
    versions: tuple[int, ...] = (15, 16),
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Serve a function `f(ctx, **params)` under Frappe's dotted path."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        required, accepted = _signature(function)
        METHODS[path] = Method(
            path, function, guest, verbs, types or {}, versions, required=required, accepted=accepted
        )
        return function

    return register


def _signature(function: Callable[..., Any]) -> tuple[tuple[str, ...], frozenset[str] | None]:
    parameters = list(inspect.signature(function).parameters.values())[1:]
    if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
        return (), None
    required = tuple(one.name for one in parameters if one.default is inspect.Parameter.empty)
    return required, frozenset(one.name for one in parameters)


def call(ctx: Context, path: str, params: dict[str, Any]) -> Any:
    """Run a method as Frappe's execute_cmd does: existence, permission, verb, arguments, then the call."""
    method = find(ctx, path)
    if ctx.user == "Guest" and not method.guest:
        not_whitelisted(ctx, path)
    if ctx.request_method not in method.verbs:
        errors.throw(ctx, "Not permitted", errors.PermissionError)
    return run(ctx, method, params)


def run(ctx: Context, method: Method, params: dict[str, Any]) -> Any:
    """frappe.call: unknown arguments fall away, missing ones are Python's TypeError, typed ones are checked."""
    arguments = params
    if method.accepted is not None:
        arguments = {name: value for name, value in params.items() if name in method.accepted}
    for name, expected in method.types.items():
        if name in arguments:
            arguments = {**arguments, name: _typed(ctx, method, name, expected, arguments[name])}
    missing = [name for name in method.required if name not in arguments]
    if missing:
        raise errors.TypeError(_missing(method.path.rpartition(".")[2], missing))
    return method.call(ctx, **arguments)


def _missing(function: str, names: list[str]) -> str:
    shown = [f"'{name}'" for name in names]
    listed = shown[0] if len(shown) == 1 else " and ".join([", ".join(shown[:-1]), shown[-1]])
    if len(shown) > 2:
        listed = ", ".join(shown[:-1]) + f", and {shown[-1]}"
    plural = "s" if len(shown) > 1 else ""
    return f"{function}() missing {len(shown)} required positional argument{plural}: {listed}"


_FLAGS = {"1": 1, "0": 0, "true": True, "false": False, "yes": True, "no": False, "on": True, "off": False}


def _typed(ctx: Context, method: Method, name: str, expected: str, value: Any) -> Any:
    if expected == TEXT and isinstance(value, str):
        return value
    if expected == NUMBER:
        try:
            return int(value)
        except (TypeError, ValueError):
            pass
    if expected == FLAG:
        if isinstance(value, int | float):
            return value
        if isinstance(value, str) and value.lower() in _FLAGS:
            return _FLAGS[value.lower()]
    place = "" if ctx.version < 16 else f" in '{method.path}'"
    got = type(value).__name__
    raise errors.FrappeTypeError(
        f"Argument '{name}'{place} should be of type '{expected}' but got '{got}' instead."
    )


# -- finding -----------------------------------------------------------------------------------------------------


def find(ctx: Context, path: str) -> Method:
    method = METHODS.get(path)
    if method is not None and ctx.version in method.versions:
        return method
    if path in FORBIDDEN:
        not_whitelisted(ctx, FORBIDDEN[path])
    if path.rpartition(".")[2] == "__builtins__":
        if ctx.version < 16:
            raise errors.AttributeError("'dict' object has no attribute '__module__'")
        raise errors.TypeError("unhashable type: 'dict'")
    what = "method" if ctx.api_version == 2 else "method for command"
    return errors.throw(ctx, f"Failed to get {what} {path} with {_reason(ctx, path)}")


def _reason(ctx: Context, path: str) -> str:
    """What Python says to the import of a path that leads nowhere."""
    if "." not in path:
        if ctx.api_version == 2:
            return _not_installed(ctx, path)
        return f"'{path}'"
    app = path.split(".", 1)[0]
    if app not in INSTALLED:
        return _not_installed(ctx, app)
    module, _, name = path.rpartition(".")
    known = _packages()
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        if package not in known:
            return f"No module named '{package}'"
    return f"module '{module}' has no attribute '{name}'"


def _not_installed(ctx: Context, app: str) -> str:
    message = f"App {app} is not installed"
    if ctx.api_version == 1 or ctx.version >= 16:
        errors.tied(ctx, errors.ValidationError(message), message)
    return message


def _packages() -> frozenset[str]:
    """Modules that exist: those of every method here, and of the functions known to exist."""
    if not _KNOWN:
        for path in (*METHODS, *FORBIDDEN):
            parts = path.split(".")[:-1]
            _KNOWN.update(".".join(parts[:length]) for length in range(1, len(parts) + 1))
        _KNOWN.update(PACKAGES, INSTALLED)
    return frozenset(_KNOWN)


_KNOWN: set[str] = set()


def not_whitelisted(ctx: Context, path: str) -> None:
    hint = "" if ctx.version < 16 else " Login to access"
    errors.throw(
        ctx,
        f"<details><summary>You are not permitted to access this resource.{hint}</summary>"
        f"Function <strong>{path}</strong> is not whitelisted.</details>",
        errors.PermissionError,
        title="Method Not Allowed",
    )
