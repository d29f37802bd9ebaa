"""A site whose DocTypes have every type of field, and every name that could go wrong in Python and Django."""

from __future__ import annotations

from erpnext_bridge.sandbox import World

RULE = {"role": "System Manager", "permlevel": 0} | dict.fromkeys(
    ("read", "write", "create", "delete", "submit", "report"), 1
)

TYPES = (
    "Data", "Small Text", "Text", "Long Text", "Code", "Text Editor", "HTML Editor", "Markdown Editor", "Signature",
    "Barcode", "Geolocation", "Password", "Read Only", "Color", "Icon", "Phone", "Autocomplete", "Attach",
    "Attach Image", "Int", "Long Int", "Check", "Float", "Currency", "Percent", "Rating", "Date", "Datetime", "Time",
    "Duration", "JSON",
)  # fmt: skip
LAYOUT = ("Section Break", "Column Break", "Tab Break", "HTML", "Button", "Image", "Heading", "Fold")

NAMES = (
    "from", "class", "save", "delete", "check", "pk", "objects", "fields", "models", "changes", "site", "a__b", "a_b", "tail_", "tail", "_user", "2nd", "email_id", "Kunde",
)  # fmt: skip


def field(fieldname, fieldtype="Data", **more):
    return {"fieldname": fieldname, "fieldtype": fieldtype, "label": fieldname.title(), **more}


def doctype(name, *fields, **more):
    return {
        "name": name,
        "module": "Odd",
        "custom": 1,
        "fields": list(fields),
        "permissions": [RULE],
        "autoname": "hash" if more.get("istable") else "Prompt",
        **more,
    }


def odd_world():
    every = [field(f"a_{kind.lower().replace(' ', '_')}", kind) for kind in (*TYPES, *LAYOUT)]
    thing = doctype(
        "Odd Thing",
        field(
            "title",
            reqd=1,
            label="Title of the <b>thing</b>",
            description="As <i>printed</i> & 'quoted' \\ \"so\".",
        ),
        *every,
        field("status", "Select", options='\nOpen\nIn Progress\nIt\'s "done"\nOpen', default="Open"),
        field("mood", "Select", options="Good\nBad", reqd=1, default="Good"),
        field("short", length=20, default="x"),
        field("wanted_on", "Date", reqd=1, default="Today"),
        field("count", "Int", default="3"),
        field("is_on", "Check", default="1"),
        field("total", "Currency", read_only=1, default="1.5"),
        field("peer", "Link", options="Odd Peer"),
        field("peer_again", "Link", options="Odd Peer", reqd=1),
        field("email", "Link", options="Odd Peer", label="E-Mail Peer"),
        field("email_id"),
        field("part_of", "Link", options="Odd Thing"),
        field("territory", "Link", options="Odd.Region"),
        field("settings", "Link", options="Odd Settings"),
        field("kind", "Link", options="DocType"),
        field("kind_name", "Dynamic Link", options="kind"),
        field("computed", "Data", is_virtual=1),
        field("parts", "Table", options="Odd Part"),
        field("call", "Table", options="Odd Part"),
        field("tags", "Table MultiSelect", options="Odd Tag Row"),
        description="A thing\nof <b>many</b> kinds. " + "It goes on. " * 12,
        is_submittable=1,
    )
    peer = doctype(
        "Odd Peer",
        field("thing", "Link", options="Odd Thing"),
        field("oddthing", "Int"),
        field("oddpeer_by_peer", "Data"),
        *(field(name) for name in NAMES),
    )
    return World(
        doctypes={
            each["name"]: each
            for each in (
                thing,
                peer,
                doctype("Odd-Peer", field("nick")),
                doctype("Currency Odd", field("symbol")),
                doctype("Odd Settings", field("motto"), field("limit", "Int"), issingle=1),
                doctype("Odd Tree", field("title"), is_tree=1),
                doctype("Odd Virtual", field("title"), is_virtual=1),
                doctype(
                    "Odd Part",
                    field("thing", "Link", options="Odd Thing"),
                    field("qty", "Float", label="Quantity"),
                    field("parent_part", "Data"),
                    istable=1,
                ),
                doctype("Odd Tag Row", field("tag", "Link", options="Odd Peer"), istable=1),
            )
        },
        rows={
            "Odd Peer": [{"name": "Ann", **{name: f"value of {name}" for name in NAMES}}, {"name": "Ben"}],
            "Odd Thing": [
                {
                    "name": "T-1",
                    "title": "First",
                    "a_data": "  Zoë 50% ",
                    "a_text": "a\nb",
                    "a_json": '{"a": [1, null, "ü"]}',
                    "a_int": -7,
                    "a_long_int": 2_000_000_000,
                    "a_check": 1,
                    "a_float": 0.1,
                    "a_currency": 1234567.891,
                    "a_percent": 12.5,
                    "a_rating": 0.8,
                    "a_date": "2024-02-29",
                    "a_datetime": "2024-07-01 08:00:00.000001",
                    "a_time": "9:05:00.5",
                    "a_duration": 90.5,
                    "a_password": "hidden",
                    "a_attach": "/private/files/ä b.pdf",
                    "status": 'It\'s "done"',
                    "mood": "Bad",
                    "wanted_on": "2024-03-01",
                    "count": 0,
                    "is_on": 0,
                    "total": 7,
                    "peer": "Ann",
                    "peer_again": "Ben",
                    "email": "Ann",
                    "part_of": "T-1",
                    "territory": "R-1",
                    "kind": "Odd Peer",
                    "kind_name": "Ann",
                },
                {"name": "T-2", "title": "Second", "mood": "Good", "peer_again": "Ann", "wanted_on": "2024-03-02"},
            ],
            "Odd Part": [
                {"name": f"p{number}", "parent": "T-1", "parenttype": "Odd Thing", "parentfield": table, "idx": idx,
                 "qty": number / 2, "thing": "T-2", "parent_part": "x"}
                for number, (table, idx) in enumerate([("parts", 1), ("parts", 2), ("call", 1)])
            ],
            "Odd Tag Row": [
                {"name": "t1", "parent": "T-1", "parenttype": "Odd Thing", "parentfield": "tags", "idx": 1, "tag": "Ben"}
            ],
        },
        singles={"Odd Settings": {"motto": "Hold fast", "limit": "7"}},
    )  # fmt: skip
