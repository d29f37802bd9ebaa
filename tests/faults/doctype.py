"""The DocType that is written to: submittable, named by a series, and with the steps of a document in a field."""

from __future__ import annotations

from typing import Any

NAME = "Bridge Fault Ticket"
ROLE = "System Manager"


def definition() -> dict[str, Any]:
    """Return the DocType as Frappe makes it of a document."""
    fields = [
        {"fieldname": "reference", "label": "Reference", "fieldtype": "Data", "reqd": 1, "search_index": 1},
        # Written after the submission too, so that the order shows there.
        {"fieldname": "step", "label": "Step", "fieldtype": "Int", "allow_on_submit": 1},
    ]
    rights = dict.fromkeys(("read", "write", "create", "delete", "submit", "cancel"), 1)
    return {
        "name": NAME,
        "module": "Custom",
        "custom": 1,
        # A series gives the number of its newest document back when that is deleted: names come twice.
        "autoname": "BFT-.######",
        "naming_rule": "Expression (old style)",
        "is_submittable": 1,
        "track_changes": 1,
        "fields": fields,
        "permissions": [{"role": ROLE, "permlevel": 0, **rights}],
    }
