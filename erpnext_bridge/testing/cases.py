"""`ErpTestMixin`: a sandbox for each test of Django's own test classes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, ClassVar

from .consent import connect
from .recording import RequestLog, assert_num_erp_requests
from .sites import DEFAULT_VERSION, SERVICE_USER, open_erpnext_site

if TYPE_CHECKING:
    from unittest import TestCase as Base

    from erpnext_bridge.models import Connection
    from erpnext_bridge.sandbox import Sandbox
else:
    Base = object


class ErpTestMixin(Base):
    """Put it before TestCase: `class OrderTests(ErpTestMixin, TestCase)`; each test finds `self.erpnext_site`."""

    erpnext_version: ClassVar[int] = DEFAULT_VERSION
    """Frappe's major version."""
    erpnext_world: ClassVar[Any] = None
    """A World, or what `World.load` takes, such as the path of a snapshot; the demo company when None."""
    erpnext_service_user: ClassVar[str] = SERVICE_USER
    """The user behind the service account."""

    erpnext_site: Sandbox

    def setUp(self) -> None:
        opened = open_erpnext_site(
            self.erpnext_version, self.erpnext_world, service_user=self.erpnext_service_user
        )
        self.erpnext_site = opened.__enter__()
        self.addCleanup(opened.__exit__, None, None, None)
        super().setUp()

    def connect_erpnext(self, user: Any, erp_user: str = "") -> Connection:
        """Connect a Django user as a user of the sandbox."""
        return connect(user, erp_user)

    def assertNumErpRequests(  # noqa: N802 - named like assertNumQueries
        self, number: int, function: Callable[..., Any] | None = None, *args: Any, **kwargs: Any
    ) -> AbstractContextManager[RequestLog] | None:
        """Fail, and list the requests, when the block or the call sends another number of them."""
        counted = assert_num_erp_requests(number)
        if function is None:
            return counted
        with counted:
            function(*args, **kwargs)
        return None
