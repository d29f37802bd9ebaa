"""
What a project's tests need: a sandbox that the settings lead to, connected users, documents, and request counts.

    def test_customers_are_listed(erpnext_site, client):
        make(Customer, customer_name="Nuts & Bolts")
        with assert_num_erp_requests(1):
            page = client.get("/customers/")
        assert "Nuts &amp; Bolts" in page.content.decode()

With pytest the fixtures are there as soon as the package is installed; Django's own test classes take `ErpTestMixin`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cases import ErpTestMixin
    from .consent import connect
    from .delivering import deliver_writes
    from .factories import build, make
    from .recording import RequestLog, assert_num_erp_requests, record_erp_requests
    from .sites import current_site, open_erpnext_site

__all__ = [
    "ErpTestMixin",
    "RequestLog",
    "assert_num_erp_requests",
    "build",
    "connect",
    "current_site",
    "deliver_writes",
    "make",
    "open_erpnext_site",
    "record_erp_requests",
]

HOMES = {
    "ErpTestMixin": "cases",
    "RequestLog": "recording",
    "assert_num_erp_requests": "recording",
    "build": "factories",
    "connect": "consent",
    "current_site": "sites",
    "deliver_writes": "delivering",
    "make": "factories",
    "open_erpnext_site": "sites",
    "record_erp_requests": "recording",
}


def __getattr__(name: str) -> Any:
    """Import Django's models and the sandbox's server only when a test wants them: pytest loads us before Django."""
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{HOMES[name]}", __name__), name)
