"""What ERPNext does with a document besides saving it: submit, cancel, amend, rename, call, attach, print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from asgiref.sync import sync_to_async

from erpnext_bridge import saving
from erpnext_bridge.client import Payload

if TYPE_CHECKING:
    from erpnext_bridge.documents import BaseDocument as Base
else:
    Base = object

_NOT_COPIED = saving.SET_BY_FRAPPE | {
    "doctype", "parent", "parenttype", "parentfield", "amended_from", "amendment_date", "cancel_reason"
}  # fmt: skip
"""What an amendment does not take over from the cancelled document (frappe/public/js/frappe/model/create_new.js)."""


class Actions(Base):
    """Each acts at once; the document then holds what ERPNext answered."""

    if TYPE_CHECKING:
        _staged: saving.Tables | None
        _wire: Callable[[Mapping[str, Any]], dict[str, Any]]
        _from_fresh: Callable[[Mapping[str, Any]], Self]

    def submit(self) -> None:
        """
        Submit the document, with its changes if there are any: its values are final from then on.

        Conflict when somebody else saved it since it was read: what is submitted is what was seen.
        """
        if self._state.adding:
            self.save()
        self._set_docstatus(1)

    def cancel(self) -> None:
        """Cancel the submitted document. Conflict as with submit()."""
        self._set_docstatus(2)

    def amend(self) -> Self:
        """Return a new draft with the values and rows of this cancelled document; its `amended_from` names this one."""
        access = self._access()
        stored = access.client.read(self.doctype, self.name)
        draft = self._wire(_copy(stored) | {"amended_from": self.name})
        answer = access.client.create(self.doctype, draft)
        return self._from_fresh(answer)

    def rename(self, new_name: str, *, merge: bool = False) -> None:
        """
        Rename the document and every link to it; with `merge`, make it one with the document of that name.

        DuplicateDocument or ValidationRefused where ERPNext does not take the name.
        """
        self.name = self._access().client.rename(self.doctype, self.name, new_name, merge=merge)
        self.refresh_from_db()

    def call(self, method: str, **arguments: Any) -> Any:
        """Call a whitelisted method of the document and return its answer; refresh_from_db() reads what it changed."""
        return self._access().client.call_document(self.doctype, self.name, method, **self._wire(arguments))

    def attach(
        self,
        file: BinaryIO | bytes,
        *,
        filename: str | None = None,
        fieldname: str | None = None,
        is_private: bool = True,
    ) -> Payload:
        """
        Upload a file, attach it to the document, and return its File document; `file_url` is where it is.

        With `fieldname`, an Attach field of the document, that field is set to the URL and saved.
        """
        client = self._access().client
        uploaded = client.upload(
            file,
            filename=filename,
            doctype=self.doctype,
            name=self.name,
            fieldname=fieldname,
            is_private=is_private,
        )
        if fieldname is not None:
            saving.change(self, changed={fieldname: uploaded["file_url"]}, tables={})
        return uploaded

    def pdf(
        self,
        *,
        print_format: str | None = None,
        letterhead: str | None = None,
        no_letterhead: bool = False,
        language: str | None = None,
    ) -> bytes:
        """Return the document's print as PDF, with ERPNext's default format and letterhead unless told otherwise."""
        return self._access().client.print_pdf(
            self.doctype,
            self.name,
            print_format=print_format,
            letterhead=letterhead,
            no_letterhead=no_letterhead,
            language=language,
        )

    # The same in async code.

    async def asubmit(self) -> None:
        await sync_to_async(self.submit)()

    async def acancel(self) -> None:
        await sync_to_async(self.cancel)()

    async def aamend(self) -> Self:
        return await sync_to_async(self.amend)()

    async def arename(self, new_name: str, *, merge: bool = False) -> None:
        await sync_to_async(self.rename)(new_name, merge=merge)

    async def acall(self, method: str, **arguments: Any) -> Any:
        return await sync_to_async(self.call)(method, **arguments)

    async def aattach(self, file: BinaryIO | bytes, **options: Any) -> Payload:
        return await sync_to_async(self.attach)(file, **options)

    async def apdf(self, **options: Any) -> bytes:
        return await sync_to_async(self.pdf)(**options)

    _writer: Any
    for _writer in (submit, cancel, amend, rename, call, attach,
                    asubmit, acancel, aamend, arename, acall, aattach):  # fmt: skip
        _writer.alters_data = True
    del _writer

    def _set_docstatus(self, docstatus: int) -> None:
        staged = self._staged or {}
        tables = saving.merged(staged, saving.changed_rows(self))
        with saving.row_signals(tables):
            saving.change(self, changed=self.changes(), tables=tables, docstatus=docstatus)
        staged.clear()


def _copy(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: [_copy(row) for row in value] if isinstance(value, list) else value
        for name, value in stored.items()
        if name not in _NOT_COPIED and not name.startswith("_") and not _is_masked(value)
    }


def _is_masked(value: Any) -> bool:
    """Tell whether this is what Frappe shows for a Password (frappe/model/base_document.py)."""
    return isinstance(value, str) and bool(value) and not value.strip("*")
