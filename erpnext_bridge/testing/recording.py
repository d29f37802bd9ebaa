"""The requests that a block of a test sends to ERPNext: told, counted, frozen at its end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, overload

from .sites import current_site

if TYPE_CHECKING:
    from erpnext_bridge.sandbox import Request, Sandbox


class RequestLog(Sequence["Request"]):
    """Requests in the order in which they were answered; `str()` is one line for each."""

    def __init__(self, requests: Sequence[Request]) -> None:
        self._requests = requests

    @overload
    def __getitem__(self, index: int) -> Request: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Request]: ...
    def __getitem__(self, index: int | slice) -> Request | Sequence[Request]:
        return self._requests[index]

    def __len__(self) -> int:
        return len(self._requests)

    def __repr__(self) -> str:
        return f"<RequestLog of {len(self)}>"

    def __str__(self) -> str:
        return "\n".join(f"{number}. {line_of(request)}" for number, request in enumerate(self, 1))

    def of(self, doctype: str) -> RequestLog:
        """Return the requests about a DocType."""
        return RequestLog(tuple(request for request in self if request.doctype == doctype))

    def by(self, user: str) -> RequestLog:
        """Return the requests that ERPNext answered as this user."""
        return RequestLog(tuple(request for request in self if request.user == user))


class _Recording(RequestLog):
    """A log that follows the sandbox until its block ends."""

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(())
        self.sandbox, self.start = sandbox, sandbox.forgotten + len(sandbox.requests)

    def read(self) -> None:
        start = self.start - self.sandbox.forgotten
        if start < 0:
            raise RuntimeError(
                f"The block sent more requests than the {self.sandbox.keep_requests} that are kept."
            )
        self._requests = tuple(self.sandbox.requests[start:])


@contextmanager
def record_erp_requests() -> Iterator[RequestLog]:
    """Yield the log of the requests that the block sends; it is filled when the block ends."""
    log = _Recording(current_site())
    try:
        yield log
    finally:
        log.read()


@contextmanager
def assert_num_erp_requests(number: int) -> Iterator[RequestLog]:
    """Fail, and list the requests, when the block sends another number of them than this."""
    with record_erp_requests() as log:
        yield log
    if len(log) != number:
        noun = "request was" if len(log) == 1 else "requests were"
        raise AssertionError(f"{len(log)} {noun} sent to ERPNext, not {number}.\n{log}".rstrip())


def line_of(request: Request) -> str:
    query = "&".join(f"{key}={value}" for key, value in request.query)
    target = f"{request.path}?{query}" if query else request.path
    status = request.status if request.status is not None else "no answer"
    about = f" about {request.doctype}" if request.rpc and request.doctype else ""
    return f"{request.method} {target}{about} → {status} as {request.user or 'nobody'}"
