"""
What documents and querysets have done in the background: each call queues a write, and asks ERPNext for nothing.

A document remembers what was queued for it. What is queued next builds on that: it is sent after it, and not at all
when it was refused; and a document that is yet to be created may be linked to by others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO

from erpnext_bridge import saving, values
from erpnext_bridge.errors import NotConnected, UnsupportedQuery
from erpnext_bridge.identity import Identity

if TYPE_CHECKING:
    from erpnext_bridge.documents import BaseDocument as Base
    from erpnext_bridge.models import DocumentWrite
else:
    Base = object


class Later(Base):
    """The *_later methods of a document."""

    if TYPE_CHECKING:
        _new_rows: dict[str, list[Any]]
        creation_payload: Callable[[], dict[str, Any]]
        _base_modified: Callable[[], str | None]
        _refuse_set_by_hand: Callable[[], None]

    creation_write: DocumentWrite | None = None
    """The write that creates this document."""
    _latest: DocumentWrite | None = None
    """What was queued for it last."""
    _queued_rows: dict[str, list[Any]] | None = None
    """The new child rows that are queued with its creation, until that is known to have come to something."""

    def save_later(
        self,
        *,
        user: Any = None,
        submit: bool = False,
        priority: int | None = None,
        on_conflict: str = "",
    ) -> DocumentWrite:
        """
        Create the document, or send its changes, after the current transaction commits.

        `user` says whose rights the write carries, where the instance does not. With `submit`, the document is
        submitted once it is created. `on_conflict` is "refuse", "reapply" or "overwrite" (WRITE_CONFLICT says which
        when it is not given): what becomes of changes to a document that somebody else has saved since it was read.
        """
        options = {} if priority is None else {"priority": priority}
        self._forget_ended()
        if self._state.adding and self.creation_write is None:
            write = self._queue("create", user, payload=self.creation_payload(), submit=submit, **options)
            self.take_queued(write)
        elif submit:
            raise UnsupportedQuery(
                "save_later(submit=True) is for new documents. Call submit_later() after it."
            )
        else:
            self._refuse_rows()
            self._refuse_set_by_hand()
            write = self._queue("update", user, on_conflict=on_conflict, **self._changed(), **options)
            self._remember(
                field.attname for field in self._meta.concrete_fields if self._is_changed(field.attname)
            )
        return write

    def update_later(self, *, user: Any = None, on_conflict: str = "", **changes: Any) -> DocumentWrite:
        """Set these fields and send them, and nothing else, in the background."""
        for name, value in changes.items():
            self._meta.get_field(name)
            setattr(self, name, value)
        columns = {values.column_of(self._meta.get_field(name)) for name in changes}
        changed = self._changed()
        payload = {name: value for name, value in changed["payload"].items() if name in columns}
        base_values = {name: value for name, value in changed["base_values"].items() if name in columns}
        write = self._queue(
            "update",
            user,
            on_conflict=on_conflict,
            payload=payload,
            base_values=base_values,
            base_modified=changed["base_modified"],
        )
        self._remember(self._meta.get_field(name).attname for name in changes)  # type: ignore[union-attr]
        return write

    def submit_later(self, *, user: Any = None) -> DocumentWrite:
        """Submit the document in the background, after its changes if there are any."""
        if self.changes() and (self.creation_write is not None or not self._state.adding):
            self.save_later(user=user)
        return self._queue("submit", user)

    def cancel_later(self, *, user: Any = None) -> DocumentWrite:
        """Cancel the document in the background."""
        return self._queue("cancel", user)

    def delete_later(self, *, user: Any = None) -> DocumentWrite:
        """Delete the document in the background."""
        return self._queue("delete", user)

    def call_later(self, method: str, *, user: Any = None, **arguments: Any) -> DocumentWrite:
        """
        Call a whitelisted method of the document in the background; `write.answer["result"]` is what it returned.

        A method is called once. When its answer is lost, the write is uncertain: a person looks what it did.
        """
        return self._queue("call", user, payload={"method": method, "arguments": arguments})

    def attach_later(
        self,
        file: BinaryIO | bytes,
        *,
        filename: str = "",
        fieldname: str = "",
        is_private: bool = True,
        user: Any = None,
    ) -> DocumentWrite:
        """Upload a file and attach it to the document, which may be yet to be created, in the background."""
        from erpnext_bridge import writes

        name = filename or str(getattr(file, "name", "")).rpartition("/")[2]
        if not name:
            raise ValueError("The file has no name. Give it one: attach_later(…, filename='invoice.pdf').")
        identity = self._identity_of(user)
        return writes.enqueue_file(
            identity, self.doctype, self._target(), file, name, fieldname=fieldname, is_private=is_private
        )

    _writer: Any
    for _writer in (
        save_later,
        update_later,
        submit_later,
        cancel_later,
        delete_later,
        call_later,
        attach_later,
    ):
        _writer.alters_data = True
    del _writer

    def take_queued(self, write: DocumentWrite) -> None:
        """Take what was queued for what is there, so that what changes from now on is sent after it."""
        self.creation_write = self._latest = write
        self._queued_rows, self._new_rows = self._new_rows, {}
        self._remember(field.attname for field in self._meta.concrete_fields)

    def _forget_ended(self) -> None:
        """Start anew where what was queued came to nothing."""
        if self._latest is None:
            return
        for write in {self._latest, self.creation_write or self._latest}:
            self._refresh_state(write)
        if self._latest.state in ("refused", "cancelled"):
            self._latest = None
        if self.creation_write is not None and self.creation_write.state in ("refused", "cancelled"):
            self.creation_write = None
            self._new_rows = {**(self._queued_rows or {}), **self._new_rows}

    def _refresh_state(self, write: DocumentWrite) -> None:
        try:
            write.refresh_from_db(fields=["state"])
        except type(write).DoesNotExist:
            # Nobody can tell whether it was sent before, so it is not queued a second time.
            raise UnsupportedQuery(
                f"What was queued for this {self.doctype} is gone: its transaction was rolled back, or it was done and "
                "pruned. Go on with a new instance, or with one that is read again."
            ) from None

    def _queue(self, action: str, user: Any, **promise: Any) -> DocumentWrite:
        from erpnext_bridge import writes

        self._forget_ended()
        after = [] if self._latest is None else [self._latest]
        name = "" if action == "create" and not self.name else self._target(new=action == "create")
        self._latest = writes.enqueue(
            action, self._identity_of(user), self.doctype, name, after=after, **promise
        )
        return self._latest

    def _target(self, new: bool = False) -> str | DocumentWrite:
        """Return the document's name, or the write that creates it."""
        if new or not self._state.adding:
            return self.name or ""
        if self.creation_write is None:
            raise UnsupportedQuery(f"This {self.doctype} is not at ERPNext yet. Call save_later() first.")
        return self.creation_write

    def _identity_of(self, user: Any) -> Identity:
        return Identity.for_user(user, self._site()) if user is not None else self._identity()

    def _changed(self) -> dict[str, Any]:
        payload = self.changes()
        base = {
            values.column_of(field): values.to_payload(field, self._loaded[field.attname])
            for field in self._meta.concrete_fields
            if values.column_of(field) in payload and field.attname in self._loaded
        }
        modified = "" if self._state.adding else self._base_modified() or ""
        return {"payload": payload, "base_values": base, "base_modified": modified}

    def _refuse_rows(self) -> None:
        if saving.changed_rows(self) or any(self._new_rows.values()):
            raise UnsupportedQuery(
                "Rows of a document that is there are saved now, with save(): save_later() would lose their changes."
            )

    def _refuse_queued(self) -> None:
        """Refuse to create at once what is queued to be created."""
        if self.creation_write is not None:
            raise UnsupportedQuery(
                f"This {self.doctype} is queued to be created. Go on with save_later(), or read it by its name once "
                "the write is done."
            )


class LaterQuerySet:
    """The *_later methods of a queryset, with its own rights."""

    if TYPE_CHECKING:
        model: Any
        query: Any

        def __iter__(self) -> Iterator[Any]: ...

    def create_later(self, *, submit: bool = False, **values_of: Any) -> DocumentWrite:
        """Queue the creation of a document."""
        document = self.model(**values_of)
        document.erp_identity = self._acting()
        write: DocumentWrite = document.save_later(submit=submit)
        return write

    def bulk_create_later(
        self, objs: Iterable[Any], *, submit: bool = False, priority: int | None = None
    ) -> list[DocumentWrite]:
        """
        Queue the creation of each document, and return the writes in that order.

        They go many in one request, when nothing more urgent waits; one that ERPNext refuses holds no other back.
        """
        from erpnext_bridge import writes

        documents = list(objs)
        for document in documents:
            if not document._state.adding or document.creation_write is not None:
                raise ValueError(
                    f"{document} is there, or queued, already: bulk_create_later() is for new ones."
                )
        identity = self._acting()
        payloads = [document.creation_payload() for document in documents]
        options = {} if priority is None else {"priority": priority}
        queued = writes.enqueue_many(identity, self.model.doctype, payloads, submit=submit, **options)
        for document, write in zip(documents, queued, strict=True):
            document.erp_identity = identity
            document.take_queued(write)
        return queued

    def update_later(self, *, on_conflict: str = "", **changes: Any) -> list[DocumentWrite]:
        """Read the documents now, and queue these values for each, so that ERPNext validates each."""
        return [document.update_later(on_conflict=on_conflict, **changes) for document in self]

    def delete_later(self) -> list[DocumentWrite]:
        """Read the documents now, and queue the deletion of each."""
        return [document.delete_later() for document in self]

    _writer: Any
    for _writer in (create_later, bulk_create_later, update_later, delete_later):
        _writer.alters_data = True
    del _writer

    def _acting(self) -> Identity:
        identity: Identity | None = self.query.identity
        if identity is None:
            raise NotConnected(
                f"This {self.model.__name__} queryset acts as nobody. "
                "Use .for_user(request.user), .as_service(), or build it inside acting_as(user)."
            )
        return identity
