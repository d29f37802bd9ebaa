"""What a person decides about an update that met a newer document: field by field, whose value it is to have."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from django.db import transaction

from erpnext_bridge.models.write import DocumentWrite, State
from erpnext_bridge.writes import WriteStateError, cancel, retry


@dataclass(frozen=True)
class Side:
    """One field that the write changes, as three people see it."""

    fieldname: str
    base: Any
    """What the write was based on."""
    ours: Any
    """What the write wants it to be."""
    theirs: Any
    """What it was at ERPNext when the write was refused."""

    @property
    def both_changed(self) -> bool:
        """Whether somebody else has changed this very field, and not to the same value."""
        return self.theirs not in (self.base, self.ours)


def is_open(write: DocumentWrite) -> bool:
    """Return whether the write was refused by a conflict that nobody has decided yet."""
    # A delete that met a newer document has nothing to compare.
    return write.state == State.REFUSED and bool(sides(write))


def sides(write: DocumentWrite) -> list[Side]:
    """Return the fields of an undecided conflict; [] where there is none."""
    found = write.conflict or {}
    base, theirs = found.get("base", {}), found.get("theirs", {})
    ours = found.get("ours", {})
    return [Side(field, base.get(field), ours[field], theirs.get(field)) for field in ours]


def settle(write: DocumentWrite, *, theirs: Collection[str] = (), by: str = "") -> None:
    """
    Send the write again, on top of what the others have saved, without the fields that are to stay as `theirs`.

    It is cancelled when none is left. Should the document have changed once more since, it is refused again.
    WriteStateError when there is no conflict to decide.
    """
    if not is_open(write):
        raise WriteStateError(
            f"This write is {write.get_state_display().lower()}: there is no conflict to decide."
        )
    ours = {field: value for field, value in write.payload.items() if field not in theirs}
    if not ours:
        cancel(write, by=by)
        return
    found = write.conflict or {}
    with transaction.atomic():
        write.remember("merged", by=by, ours=", ".join(ours), theirs=", ".join(theirs))
        decided = write.advance(
            (State.REFUSED,),
            payload=ours,
            base_modified=found.get("modified", ""),
            base_values={field: found.get("theirs", {}).get(field) for field in ours},
            conflict=None,
        )
        if not decided:
            raise WriteStateError(
                "Somebody else has decided about this write in the meantime. Look at it again."
            )
        retry(write, by=by)
