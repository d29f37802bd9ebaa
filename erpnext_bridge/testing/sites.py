"""A sandbox that the project's settings lead to, for the length of a block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.test import override_settings
from django.urls import NoReverseMatch

from erpnext_bridge import addresses, tasks
from erpnext_bridge.conf import DEFAULT_SITE
from erpnext_bridge.signals import write_changed

from .worlds import WorldSource, ready

if TYPE_CHECKING:
    from erpnext_bridge.sandbox import Sandbox

DEFAULT_VERSION = 15
SERVICE_USER = "Administrator"
"""Whose API key the service account gets: every world has that user."""

ORIGIN = "http://testserver"
"""Where Django's test client pretends to be."""

TOKEN_KEY = "erpnext_bridge.testing encrypts nothing of value"  # noqa: S105
"""Used where the project's settings have no TOKEN_KEYS."""

OURS = frozenset(
    {"URL", "CLIENT_ID", "CLIENT_SECRET", "CLIENT_AUTH", "SCOPE", "REDIRECT_URI", "API_KEY", "API_SECRET", "USERNAME"}
    | {"PASSWORD", "VERSION", "TIME_ZONE"}
)  # fmt: skip
"""What a site's entry in the settings loses: no test may reach the site that it names."""

_open: list[Sandbox] = []


def current_site() -> Sandbox:
    """Return the sandbox that was opened last. RuntimeError when there is none."""
    if not _open:
        raise RuntimeError(
            "No sandbox is open. Take the fixture `erpnext_site`, or put ErpTestMixin before TestCase."
        )
    return _open[-1]


@contextmanager
def open_erpnext_site(
    version: int = DEFAULT_VERSION,
    world: WorldSource = None,
    *,
    service_user: str = SERVICE_USER,
    override: Any = None,
) -> Iterator[Sandbox]:
    """
    Start a sandbox of its own, and let `ERPNEXT_BRIDGE` lead to it.

    `world` is a World, what `World.load` takes, or None for the demo company. All sites of the project lead to this
    one. Writes wait for `deliver_writes()`: no worker is asked.
    """
    with sandbox_class()(version, ready(world)) as sandbox:
        values = settings_for(sandbox, service_user)
        change: AbstractContextManager[Any] = (override or override_settings)(ERPNEXT_BRIDGE=values)
        with change, nobody_asked():
            _open.append(sandbox)
            try:
                yield sandbox
            finally:
                _open.remove(sandbox)


def sandbox_class() -> type[Sandbox]:
    """Return Sandbox. ImportError, with the way out, where its libraries are missing."""
    try:
        from erpnext_bridge.sandbox import Sandbox
    except ModuleNotFoundError as missing:
        raise ImportError(
            f"The sandbox needs {missing.name}: pip install erpnext-bridge[sandbox]"
        ) from missing
    return Sandbox


def settings_for(sandbox: Sandbox, service_user: str = SERVICE_USER) -> dict[str, Any]:
    """Return the project's `ERPNEXT_BRIDGE` with the sandbox in place of its sites."""
    project: Mapping[str, Any] = getattr(settings, "ERPNEXT_BRIDGE", None) or {}
    sites = project.get("SITES") or {}
    aliases = list(dict.fromkeys([DEFAULT_SITE, *sites]))
    client_id, client_secret = sandbox.oauth_client([redirect_uri(alias) for alias in aliases])
    key, secret = sandbox.api_key(service_user)
    entry = {
        "URL": sandbox.url,
        "CLIENT_ID": client_id,
        "CLIENT_SECRET": client_secret,
        "API_KEY": key,
        "API_SECRET": secret,
        # Asked of the site, they would cost the first query of each test two requests.
        "VERSION": sandbox.version,
        "TIME_ZONE": sandbox.world.time_zone,
    }
    return {
        **project,
        "SITES": {alias: {**_kept(sites.get(alias)), **entry} for alias in aliases},
        "TOKEN_KEYS": project.get("TOKEN_KEYS") or [TOKEN_KEY],
    }


def _kept(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        return {}
    return {key: value for key, value in entry.items() if key not in OURS}


def redirect_uri(alias: str = DEFAULT_SITE) -> str:
    """Return where the sandbox sends users back to: the project's callback page, as the test client reaches it."""
    try:
        return ORIGIN + addresses.page("callback", alias)
    except NoReverseMatch:
        return f"{ORIGIN}/erpnext/callback/"


@contextmanager
def nobody_asked() -> Iterator[None]:
    """Keep writes from the broker, which may be one that a developer's own worker listens to."""
    asks = write_changed.disconnect(tasks.ask_a_worker)
    try:
        yield
    finally:
        if asks:
            write_changed.connect(tasks.ask_a_worker)
