"""What a DocType is: its fields, standard columns, naming rule and permissions, prepared for quick look-ups."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

STANDARD_FIELDS = ("name", "owner", "creation", "modified", "modified_by", "docstatus", "idx")
CHILD_FIELDS = ("parent", "parentfield", "parenttype")
OPTIONAL_FIELDS = ("_user_tags", "_comments", "_assign", "_liked_by", "_seen")
TREE_FIELDS = ("lft", "rgt")

STANDARD_TYPES = {
    "name": "Link",
    "owner": "Link",
    "creation": "Datetime",
    "modified": "Datetime",
    "modified_by": "Link",
    "docstatus": "Int",
    "idx": "Int",
    "parent": "Data",
    "parentfield": "Data",
    "parenttype": "Data",
    "_user_tags": "Data",
    "_comments": "Text",
    "_assign": "Text",
    "_liked_by": "Data",
    "_seen": "Text",
}

TABLE_TYPES = frozenset({"Table", "Table MultiSelect"})
# model/__init__.py: data_fieldtypes is the complement of these.
NO_VALUE_TYPES = frozenset(
    {
        "Section Break",
        "Column Break",
        "Tab Break",
        "HTML",
        "Table",
        "Table MultiSelect",
        "Button",
        "Image",
        "Fold",
        "Heading",
    }
)
VARCHAR_TYPES = frozenset(
    {
        "Data",
        "Select",
        "Link",
        "Dynamic Link",
        "Password",
        "Read Only",
        "Color",
        "Icon",
        "Phone",
        "Autocomplete",
        "Attach",
        "Attach Image",
    }
)
INT_TYPES = frozenset({"Int", "Long Int", "Check"})
DECIMAL_TYPES = frozenset({"Float", "Currency", "Percent", "Rating"})
# Numbers that mariadb/database.py declares NOT NULL DEFAULT 0.
NOT_NULL_TYPES = INT_TYPES | DECIMAL_TYPES
NUMERIC_TYPES = NOT_NULL_TYPES | {"Duration"}
DATE_TYPES = frozenset({"Date", "Datetime", "Time"})
PERMISSION_TYPES = (
    "select",
    "read",
    "write",
    "create",
    "delete",
    "submit",
    "cancel",
    "amend",
    "report",
    "export",
    "import",
    "share",
    "print",
    "email",
)


class DocField:
    """One field; `raw` keeps every property as Frappe's DocField row has it."""

    __slots__ = (
        "allow_on_submit",
        "default",
        "fetch_from",
        "fetch_if_empty",
        "fieldname",
        "fieldtype",
        "hidden",
        "ignore_user_permissions",
        "label",
        "length",
        "no_copy",
        "non_negative",
        "options",
        "permlevel",
        "raw",
        "read_only",
        "reqd",
        "set_only_once",
        "unique",
    )

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw
        self.fieldname: str = raw["fieldname"]
        self.fieldtype: str = raw["fieldtype"]
        self.label: str = raw.get("label") or ""
        self.options: str = raw.get("options") or ""
        self.default: Any = raw.get("default")
        self.fetch_from: str = raw.get("fetch_from") or ""
        self.permlevel = int(raw.get("permlevel") or 0)
        self.length = int(raw.get("length") or 0)
        for flag in ("reqd", "unique", "read_only", "hidden", "no_copy", "set_only_once"):
            setattr(self, flag, bool(raw.get(flag)))
        for flag in ("allow_on_submit", "ignore_user_permissions", "non_negative", "fetch_if_empty"):
            setattr(self, flag, bool(raw.get(flag)))

    allow_on_submit: bool
    fetch_if_empty: bool
    hidden: bool
    ignore_user_permissions: bool
    no_copy: bool
    non_negative: bool
    read_only: bool
    reqd: bool
    set_only_once: bool
    unique: bool

    def __repr__(self) -> str:
        return f"DocField({self.fieldname!r}, {self.fieldtype!r})"

    @property
    def stored(self) -> bool:
        return self.fieldtype not in NO_VALUE_TYPES and not self.raw.get("is_virtual")

    @property
    def is_table(self) -> bool:
        return self.fieldtype in TABLE_TYPES


class DocType:
    """One DocType; `raw` keeps every property as Frappe's DocType document has it, without its tables."""

    def __init__(
        self,
        raw: dict[str, Any],
        fields: Iterable[dict[str, Any]] = (),
        permissions: Iterable[dict[str, Any]] = (),
    ) -> None:
        self.raw = raw
        self.name: str = raw["name"]
        self.fields = [DocField(field) for field in fields]
        self.permissions = list(permissions)
        self.autoname: str = raw.get("autoname") or ""
        self.title_field: str = raw.get("title_field") or ""
        self.is_single = bool(raw.get("issingle"))
        self.is_child = bool(raw.get("istable"))
        self.is_submittable = bool(raw.get("is_submittable"))
        self.is_tree = bool(raw.get("is_tree"))
        self.allow_rename = bool(raw.get("allow_rename", 1))
        self.custom = bool(raw.get("custom"))
        self.parent_field: str = raw.get("nsm_parent_field") or f"parent_{scrub(self.name)}"
        self.sort_field: str = raw.get("sort_field") or "modified"

    def __repr__(self) -> str:
        return f"DocType({self.name!r})"

    @cached_property
    def by_name(self) -> dict[str, DocField]:
        return {field.fieldname: field for field in self.fields}

    def field(self, fieldname: str) -> DocField | None:
        return self.by_name.get(fieldname)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every stored column in Frappe's order: standard, then parent ones, then the fields."""
        parents = CHILD_FIELDS if self.is_child else ()
        stored = (field.fieldname for field in self.fields if field.stored)
        return tuple(dict.fromkeys((*STANDARD_FIELDS, *parents, *stored)))

    @cached_property
    def optional(self) -> tuple[str, ...]:
        """Columns of the table that are no part of the document: tags, comments, assignments, likes."""
        if self.is_child or self.is_single:
            return ()
        return OPTIONAL_FIELDS if self.raw.get("track_seen") else OPTIONAL_FIELDS[:4]

    @cached_property
    def column_set(self) -> frozenset[str]:
        return frozenset(self.columns)

    @cached_property
    def tables(self) -> list[DocField]:
        return [field for field in self.fields if field.is_table]

    @cached_property
    def links(self) -> list[DocField]:
        return [field for field in self.fields if field.fieldtype == "Link" and field.stored]

    @cached_property
    def dynamic_links(self) -> list[DocField]:
        return [field for field in self.fields if field.fieldtype == "Dynamic Link" and field.stored]

    @cached_property
    def mandatory(self) -> list[DocField]:
        return [field for field in self.fields if field.reqd]

    @cached_property
    def selects(self) -> list[DocField]:
        return [field for field in self.fields if field.fieldtype == "Select"]

    @cached_property
    def formatted(self) -> list[DocField]:
        """Fields whose text has a form to keep: e-mail addresses, names, URLs and phone numbers."""
        return [
            field
            for field in self.fields
            if field.fieldtype == "Phone"
            or (field.fieldtype == "Data" and field.options in ("Email", "Name", "URL"))
        ]

    @cached_property
    def search_fields(self) -> list[str]:
        names = [part.strip() for part in (self.raw.get("search_fields") or "").split(",")]
        return [name for name in names if name]

    @cached_property
    def autoincrement(self) -> bool:
        return self.autoname == "autoincrement"

    def fieldtype(self, column: str) -> str:
        """The type of any column, standard ones included; Data when unknown."""
        field = self.by_name.get(column)
        if field is not None:
            return field.fieldtype
        return STANDARD_TYPES.get(column, "Data")

    def label(self, fieldname: str) -> str:
        field = self.by_name.get(fieldname)
        if field is not None:
            return field.label
        return STANDARD_LABELS.get(fieldname, "No Label")


# model/meta.py: labels of the standard columns, as messages show them.
STANDARD_LABELS = {
    "name": "ID",
    "creation": "Created On",
    "docstatus": "Document Status",
    "idx": "Index",
    "modified": "Last Updated On",
    "modified_by": "Last Updated By",
    "owner": "Created By",
    "_user_tags": "Tags",
    "_liked_by": "Liked By",
    "_comments": "Comments",
    "_assign": "Assigned To",
}


def scrub(text: str) -> str:
    return text.replace(" ", "_").replace("-", "_").lower()
