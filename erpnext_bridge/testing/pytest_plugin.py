"""
Fixtures for pytest, there as soon as the package is installed.

pytest imports this file in every project that has the package, before Django is set up: it imports nothing but pytest
until a test takes one of the fixtures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from erpnext_bridge.models import Connection
    from erpnext_bridge.sandbox import Sandbox

MARKER = """erpnext(*versions, world=None, service_user="Administrator", user=""): \
versions of Frappe and the world that `erpnext_site` has, and who `erpnext_user` is there."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("erpnext_versions", "Frappe versions that tests with erpnext_site run on.", "args", ["15"])
    parser.addini(
        "erpnext_world", "JSON file with the world of erpnext_site; a demo company without it.", "paths"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test that uses a site once for each version, where there are several."""
    if "_erpnext_version" not in metafunc.fixturenames:
        return
    versions = versions_of(metafunc.definition)
    if len(versions) > 1:
        names = [f"v{version}" for version in versions]
        metafunc.parametrize("_erpnext_version", versions, indirect=True, ids=names)


def versions_of(node: pytest.Item) -> list[int]:
    marker = node.get_closest_marker("erpnext")
    chosen = (marker.args if marker is not None else ()) or node.config.getini("erpnext_versions")
    return [int(version) for version in chosen]


@pytest.fixture
def _erpnext_version(request: pytest.FixtureRequest) -> int:
    version: int = request.param if hasattr(request, "param") else versions_of(request.node)[0]
    return version


@pytest.fixture
def erpnext_site(request: pytest.FixtureRequest, _erpnext_version: int) -> Iterator[Sandbox]:
    """An ERPNext of this test's own, which `ERPNEXT_BRIDGE` leads to."""
    from .sites import SERVICE_USER, open_erpnext_site

    options = options_of(request)
    world = options.get("world") or next(iter(request.config.getini("erpnext_world")), None)
    service_user = options.get("service_user", SERVICE_USER)
    override = overriding(request) if request.config.pluginmanager.has_plugin("django") else None
    with open_erpnext_site(_erpnext_version, world, service_user=service_user, override=override) as site:
        yield site


def options_of(request: pytest.FixtureRequest) -> dict[str, Any]:
    marker = request.node.get_closest_marker("erpnext")
    return dict(marker.kwargs) if marker is not None else {}


def overriding(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return Django's override_settings by way of pytest-django's fixture: two that cross would not undo each other."""
    settings = request.getfixturevalue("settings")

    @contextmanager
    def override(**values: Any) -> Iterator[None]:
        for name, value in values.items():
            setattr(settings, name, value)
        yield

    return override


@pytest.fixture
def erpnext_connect(erpnext_site: Sandbox, db: None) -> Callable[..., Connection]:
    """A function that connects a Django user as a user of the site: `erpnext_connect(user, "bob@example.com")`."""
    from .consent import connect

    return connect


@pytest.fixture
def erpnext_user(request: pytest.FixtureRequest, erpnext_connect: Callable[..., Connection]) -> Any:
    """A Django user who is connected."""
    from django.contrib.auth import get_user_model

    model = get_user_model()
    user = model.objects.create_user(**{model.USERNAME_FIELD: "erpnext-user@example.com"})
    erpnext_connect(user, options_of(request).get("user", ""))
    return user
