"""What an Attach field holds: the URL of a file at ERPNext, which is read with the rights of its document."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from django.db.models.query_utils import DeferredAttribute

from erpnext_bridge.access import SiteAccess, open_site
from erpnext_bridge.errors import NotConnected
from erpnext_bridge.identity import Identity

if TYPE_CHECKING:
    from erpnext_bridge.transport import Stream


class AttachedFile(str):
    """
    The URL of a file as ERPNext stores it, `/private/files/offer.pdf`, with the rights of the document that names it.

    It is text wherever text is wanted. A file that is elsewhere (`https://…`) has a `url`, and is not downloaded from
    here: credentials go to the document's site and nowhere else.
    """

    _identity: Identity | None

    @classmethod
    def of(cls, value: str, document: Any) -> AttachedFile:
        file = cls(value)
        file._identity = document.erp_identity
        return file

    @property
    def filename(self) -> str:
        return self.partition("?fid=")[0].rpartition("/")[2]

    @property
    def is_private(self) -> bool:
        """Whether only those may read it whom ERPNext lets: a browser needs a session there."""
        return self.startswith("/private/")

    @property
    def url(self) -> str:
        """The address of the file, with its site."""
        if urlsplit(self).netloc:
            return str(self)
        # File names are not encoded in a File's URL; only `?fid=` after them is not part of the name.
        path, mark, fid = self.partition("?fid=")
        return f"{self._access().site.url}{quote(path)}{mark}{quote(fid)}"

    @contextmanager
    def open(self) -> Iterator[Stream]:
        """
        Download the file with the document's rights: `with order.offer.open() as file: for chunk in file: …`.

        Raises PermissionRefused or DocumentDoesNotExist as ERPNext answers, and ValueError for a file of another host.
        """
        with self._access().client.download(self) as stream:
            yield stream

    def read(self) -> bytes:
        """Return the whole file."""
        with self.open() as stream:
            return bytes(stream.read())

    def _access(self) -> SiteAccess:
        if not self:
            raise ValueError("There is no file here.")
        if self._identity is None:
            raise NotConnected("This file's document acts as nobody. Read it with for_user(request.user).")
        return open_site(self._identity)


class AttachedFileAttribute(DeferredAttribute):
    """Hands the text out as a file that knows its document; what is stored stays text."""

    def __get__(self, instance: Any, cls: Any = None) -> Any:
        value = super().__get__(instance, cls)
        return value if instance is None or value is None else AttachedFile.of(value, instance)

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__[self.field.attname] = str(value) if isinstance(value, AttachedFile) else value
