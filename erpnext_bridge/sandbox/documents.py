"""The life of a document: loaded, inserted, saved, submitted, cancelled (model/document.py)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from . import checks, controllers, errors, links, naming, permissions, trees, versions
from .meta import DocField, DocType
from .permissions import meta_of
from .values import cint, cstr, valid

if TYPE_CHECKING:
    from .context import Context
    from .store import Row

RESERVED = frozenset(
    {"doctype", "meta", "flags", "parent_doc", "_table_fieldnames", "_valid_columns", "permitted_fieldnames"}
)
NOT_IN_SETS = ("_user_tags", "_comments", "_assign", "_liked_by", "_seen")


class Document:
    """One document with its child rows; values are as they were sent or loaded until somebody asks for valid ones."""

    def __init__(self, ctx: Context, doctype: str, values: Mapping[str, Any] | None = None) -> None:
        self.ctx, self.doctype = ctx, doctype
        self.meta: DocType = meta_of(ctx, doctype)
        self.values: dict[str, Any] = {}
        self.tables: dict[str, list[Document]] = {df.fieldname: [] for df in self.meta.tables}
        self.parent_document: Document | None = None
        self.is_new = False
        self.unsaved = False
        self.before: Document | None = None
        self.action = "save"
        self.ignore_permissions = False
        self.name_given = False
        self.original_modified: Any = None
        self.sent: set[str] = set()
        """Fields that were set from outside since the document was loaded."""
        if values:
            self.update(values)

    def __repr__(self) -> str:
        return f"Document({self.doctype!r}, {self.name!r})"

    # -- values ------------------------------------------------------------------------------------------

    @property
    def name(self) -> Any:
        return self.values.get("name")

    @property
    def docstatus(self) -> int:
        return cint(self.values.get("docstatus"))

    def get(self, fieldname: str, default: Any = None, /) -> Any:
        if fieldname in self.tables:
            return self.tables[fieldname]
        return self.values.get(fieldname, default)

    def rows(self, fieldname: str) -> list[Document]:
        return self.tables.get(fieldname, [])

    def child_rows(self) -> Iterator[Document]:
        for rows in self.tables.values():
            yield from rows

    def fetches(self, link: str) -> list[DocField]:
        """Fields that take their value from the document behind a link."""
        prefix = f"{link}."
        return [df for df in self.meta.fields if df.fetch_from.startswith(prefix)]

    def update(self, values: Mapping[str, Any]) -> None:
        if "name" in values:
            self.values["name"] = values["name"]
        for fieldname, value in values.items():
            self.set(fieldname, value)

    def set(self, fieldname: str, value: Any) -> None:
        if fieldname in RESERVED:
            return
        self.sent.add(fieldname)
        if fieldname not in self.tables:
            self.values[fieldname] = value
            return
        self.tables[fieldname] = []
        if not value:
            return
        if not isinstance(value, list | dict | str):
            raise errors.ValueError
        for row in value:
            self.append(fieldname, row)

    def append(self, fieldname: str, row: Any) -> Document:
        if not isinstance(row, dict):
            raise errors.TypeError(f"'{type(row).__name__}' object does not support item assignment")
        df = self.meta.field(fieldname)
        if df is None:
            raise errors.AttributeError(fieldname)
        child = Document(self.ctx, df.options, row)
        child.parent_document = self
        child.values |= {"parent": self.name, "parenttype": self.doctype, "parentfield": fieldname}
        child.values.setdefault("docstatus", 0)
        rows = self.tables[fieldname]
        if not child.values.get("idx"):
            child.values["idx"] = len(rows) + 1
        if not child.name:
            child.is_new = True
        rows.append(child)
        return child

    def valid_values(self, ctx: Context) -> Row:
        """Values of the stored columns, cast to the types of their fields."""
        result: Row = {}
        by_name = self.meta.by_name
        for column in self.meta.columns:
            value = self.values.get(column)
            df = by_name.get(column)
            if df is not None:
                if isinstance(value, list):
                    errors.throw(ctx, f"Value for {df.label} cannot be a list")
                value = valid(df, value)
            elif column == "docstatus":
                value = cint(value)
            result[column] = value
        return result

    def as_dict(self, nulls: bool = True) -> Row:
        """The document as Frappe answers it; v1 leaves the nulls out."""
        result = self.valid_values(self.ctx)
        if not nulls:
            result = {column: value for column, value in result.items() if value is not None}
        result["doctype"] = self.doctype
        for fieldname, rows in self.tables.items():
            result[fieldname] = [row.as_dict(nulls) for row in rows]
        if self.is_new:
            result["__islocal"] = 1
        if self.unsaved:
            result["__unsaved"] = 1
        for key in ("_user_tags", "_liked_by"):
            if self.values.get(key):
                result[key] = self.values[key]
        return result

    def hide_levels(self) -> None:
        """Take out what is above the user's permission level (apply_fieldlevel_read_permissions)."""
        if self.ctx.user == permissions.ADMINISTRATOR:
            return
        owner = self.get("parenttype") if self.meta.is_child else None
        reach = permissions.levels(self.ctx, self.meta, owner)
        for part in (self, *self.child_rows()):
            for df in part.meta.fields:
                if df.permlevel and df.permlevel not in reach:
                    part.values.pop(df.fieldname, None)


# -- making and loading ------------------------------------------------------------------------------------------


def from_dict(ctx: Context, data: Any) -> Document:
    """frappe.get_doc of a dict."""
    if not isinstance(data, dict) or not data.get("doctype"):
        raise errors.ValueError('"doctype" is a required key')
    check_known(ctx, data["doctype"])
    doc = Document(ctx, data["doctype"], data)
    if data.get("__islocal"):
        doc.is_new = True
    return doc


def check_known(ctx: Context, doctype: Any) -> None:
    """An unknown DocType has no controller to import."""
    if ctx.store.meta(doctype) is None:
        module = str(doctype).lower().replace(" ", "_").replace("-", "_")
        raise errors.ImportError(
            f"Module import failed for {doctype}, the DocType you're trying to open might be deleted.<br>\n"
            f"Error: No module named 'frappe.core.doctype.{module}'"
        )


def new(ctx: Context, doctype: str, data: Mapping[str, Any]) -> Document:
    """frappe.new_doc: defaults first, then what was sent."""
    check_known(ctx, doctype)
    doc = Document(ctx, doctype)
    doc.is_new = doc.unsaved = True
    doc.values |= new_values(ctx, doc.meta)
    doc.values |= {"owner": ctx.user, "docstatus": 0}
    doc.update(data)
    return doc


def new_values(ctx: Context, meta: DocType) -> Row:
    """Defaults of a new document: of the user's permissions, of the fields, and the first option of a Select."""
    values: Row = {}
    restrictions = permissions.user_permissions(ctx, ctx.user)
    for df in meta.fields:
        if not df.stored:
            continue
        value = _default(ctx, df, meta, restrictions)
        if df.fieldtype == "Check":
            value = cint(value)
        elif value is not None and df.fieldtype in ("Int", "Float", "Currency", "Percent"):
            value = valid(df, value)
        if df.fieldtype == "Time" and ctx.version < 16:
            value = ctx.site.now_text()[11:]
        if value is not None:
            values[df.fieldname] = value
    return values


def _default(
    ctx: Context, df: DocField, meta: DocType, restrictions: Mapping[str, list[permissions.Allowed]]
) -> Any:
    allowed = permissions.allowed_docs(restrictions.get(df.options, ()), meta.name)
    if (
        df.fieldtype == "Link"
        and df.options != "User"
        and not df.ignore_user_permissions
        and len(allowed) == 1
    ):
        return allowed[0]
    if df.fieldname == meta.title_field:
        return None
    if df.default not in (None, ""):
        return _static_default(ctx, df, allowed)
    if df.fieldtype == "Select" and df.options and df.options not in ("[Select]", "Loading..."):
        return df.options.split("\n", 1)[0]
    return None


def _static_default(ctx: Context, df: DocField, allowed: list[str]) -> Any:
    default = df.default
    if default == "__user":
        return ctx.user
    if default == "Today":
        return ctx.site.today()
    if df.fieldtype == "Datetime" and str(default).lower() == "now":
        return ctx.site.now_text()
    if str(default).startswith(":") or (df.fieldtype == "Link" and allowed and default not in allowed):
        return None
    return default


def load(ctx: Context, doctype: str, name: Any) -> Document:
    """frappe.get_doc: by name, by a dict of filters, or a Single."""
    check_known(ctx, doctype)
    meta = meta_of(ctx, doctype)
    if meta.is_single:
        return _load_single(ctx, meta)
    row = find(ctx, doctype, name) if isinstance(name, dict | list) else ctx.store.get(doctype, name)
    if row is None:
        raise permissions.not_found(ctx, doctype, name)
    return _from_row(ctx, doctype, row)


def find(ctx: Context, doctype: str, filters: Any) -> Row | None:
    """The first row that matches, newest first."""
    from .listing import first_name

    name = first_name(ctx, doctype, filters)
    return ctx.store.get(doctype, name) if name is not None else None


def _from_row(ctx: Context, doctype: str, row: Row) -> Document:
    doc = Document(ctx, doctype)
    doc.values.update(row)
    for df in doc.meta.tables:
        if df.options not in ctx.store.doctypes:
            continue
        place = {"parent": row["name"], "parenttype": doctype, "parentfield": df.fieldname}
        for child in ctx.store.rows(df.options, place, order="idx"):
            part = Document(ctx, df.options)
            part.values.update(child)
            part.parent_document = doc
            # A row saved on its own is numbered when its parent is read.
            part.values["idx"] = part.values["idx"] or len(doc.tables[df.fieldname]) + 1
            doc.tables[df.fieldname].append(part)
    return doc


def _load_single(ctx: Context, meta: DocType) -> Document:
    doc = Document(ctx, meta.name)
    stored = ctx.store.single(meta.name)
    doc.values.update(stored or new_values(ctx, meta))
    doc.values["name"] = meta.name
    for df in meta.fields:
        if doc.values.get(df.fieldname) is not None and df.fieldtype in ("Check", "Int", "Float", "Currency"):
            doc.values[df.fieldname] = valid(df, doc.values[df.fieldname])
    return doc


# -- inserting ---------------------------------------------------------------------------------------------------


def insert(ctx: Context, doc: Document) -> Document:
    doc.is_new = True
    _set_defaults(ctx, doc)
    _stamp(ctx, doc)
    _spread_docstatus(doc)
    # 16 asks first whether the user may.
    if ctx.version >= 16:
        _require(ctx, doc, "create")
    check_latest(ctx, doc)
    checks.check_links(ctx, doc)
    if ctx.version < 16:
        _require(ctx, doc, "create")
    controllers.run(ctx, doc, "before_insert")
    _name(ctx, doc)
    _set_parents(doc)
    _reset_levels(ctx, doc)
    _run_before(ctx, doc)
    checks.check_values(ctx, doc)
    for fieldname in NOT_IN_SETS:
        doc.values.pop(fieldname, None)
    _spread_docstatus(doc)
    if doc.meta.is_single:
        _write_single(ctx, doc)
    else:
        _insert_row(ctx, doc)
    for row in doc.child_rows():
        _insert_row(ctx, row)
    _fire(ctx, doc, "after_insert")
    if doc.get("amended_from"):
        _check_amended(ctx, doc)
    _run_after(ctx, doc, inserting=True)
    doc.is_new = doc.unsaved = False
    return doc


def _set_defaults(ctx: Context, doc: Document) -> None:
    """Fill what is missing or null; in child rows too, where they are new."""
    if doc.is_new:
        _fill(doc, new_values(ctx, doc.meta))
    for rows in doc.tables.values():
        for row in rows:
            if row.is_new:
                _fill(row, {**new_values(ctx, row.meta), "owner": ctx.user})
                row.unsaved = True


def _fill(doc: Document, values: Row) -> None:
    for fieldname, value in values.items():
        if doc.values.get(fieldname) is None:
            doc.values[fieldname] = value


def _stamp(ctx: Context, doc: Document) -> None:
    doc.original_modified = doc.values.get("modified")
    now = ctx.site.now_text()
    doc.values |= {"modified": now, "modified_by": ctx.user}
    if doc.is_new:
        doc.values |= {"creation": now, "owner": ctx.user}
        doc.values.setdefault("idx", 0)
    for row in doc.child_rows():
        row.values |= {"modified": now, "modified_by": ctx.user}
        row.values["owner"] = row.values.get("owner") or doc.values.get("owner")
        row.values["creation"] = row.values.get("creation") or doc.values.get("creation")


def _spread_docstatus(doc: Document) -> None:
    doc.values["docstatus"] = doc.docstatus
    for row in doc.child_rows():
        row.values["docstatus"] = doc.docstatus


def _require(ctx: Context, doc: Document, ptype: str) -> None:
    if not doc.ignore_permissions:
        permissions.check_document(ctx, doc, ptype)


def _name(ctx: Context, doc: Document) -> None:
    if doc.name_given:
        # What v2 takes from the request is used as it is; the children still need names.
        pass
    elif doc.values.get("__newname") and doc.meta.autoname.lower() == "prompt":
        doc.values["name"] = naming.checked(ctx, doc, doc.values["__newname"])
    else:
        naming.set_new_name(ctx, doc)
    for row in doc.child_rows():
        naming.set_new_name(ctx, row)


def _set_parents(doc: Document) -> None:
    for row in doc.child_rows():
        row.values |= {"parent": doc.name, "parenttype": doc.doctype}


def _insert_row(ctx: Context, doc: Document) -> None:
    values = doc.valid_values(ctx)
    _check_stored(ctx, doc, values)
    if ctx.store.exists(doc.doctype, values["name"]) is not None:
        if doc.meta.autoname == "hash" or (not doc.meta.autoname and doc.name_given):
            # A hash that is taken is drawn again, whoever chose it.
            doc.values["name"] = naming.random_name()
            _insert_row(ctx, doc)
            return
        _duplicate_name(ctx, doc)
    _check_unique(ctx, doc, values)
    ctx.store.insert(doc.doctype, values)
    doc.is_new = False


def _duplicate_name(ctx: Context, doc: Document) -> None:
    message = f"{doc.doctype} <strong>{doc.name}</strong> already exists"
    errors.msgprint(ctx, message, title="Duplicate Name", indicator="red")
    # The server's message is in the connection's character set, which has no emoji.
    shown = "".join(character if ord(character) < 0x10000 else "?" for character in str(doc.name))
    raise errors.DuplicateEntryError(
        f"({doc.doctype!r}, {doc.name!r}, IntegrityError(1062, \"Duplicate entry '{shown}' for key 'PRIMARY'\"))"
    )


def _check_unique(ctx: Context, doc: Document, values: Row) -> None:
    for df in doc.meta.fields:
        value = values.get(df.fieldname)
        if not df.unique or value is None or not df.stored:
            continue
        others = ctx.store.rows(doc.doctype, {df.fieldname: value}, limit=2)
        if any(row["name"] != values["name"] for row in others):
            errors.msgprint(ctx, f"{df.label} must be unique")
            problem = f"Duplicate entry '{value}' for key '{df.fieldname}'"
            raise errors.UniqueValidationError(
                f'({doc.doctype!r}, {doc.name!r}, IntegrityError(1062, "{problem}"))'
            )


def _check_stored(ctx: Context, doc: Document, values: Row) -> None:
    """What the driver or a constraint refuses."""
    for column, value in values.items():
        if isinstance(value, dict):
            raise errors.TypeError("dict can not be used as parameter")
        df = doc.meta.field(column)
        if df is not None and df.fieldtype == "JSON" and value is not None and not _is_json(value):
            table = f"tab{doc.doctype}"
            raise errors.SQLOperationalError(
                f"(4025, 'CONSTRAINT `{table}.{column}` failed for `<database>`.`{table}`')"
            )


def _is_json(value: Any) -> bool:
    import json

    try:
        json.loads(str(value))
    except (TypeError, ValueError):
        return False
    return True


def _write_single(ctx: Context, doc: Document) -> None:
    ctx.store.set_single(doc.doctype, doc.valid_values(ctx))


def _check_amended(ctx: Context, doc: Document) -> None:
    source = doc.get("amended_from")
    if "amended_from" not in doc.meta.column_set:
        raise errors.SQLOperationalError("(1054, \"Unknown column 'amended_from' in 'SELECT'\")")
    if ctx.store.value(doc.doctype, source, "docstatus") == 2:
        return
    link = links.to_form(ctx, doc.doctype, source)
    errors.throw(
        ctx,
        f"{link} cannot be amended because it is not cancelled. "
        "Please cancel the document before creating an amendment.",
        title="Amendment Not Allowed",
    )


# -- saving ------------------------------------------------------------------------------------------------------


def save(ctx: Context, doc: Document) -> Document:
    if doc.is_new or not doc.name or doc.values.pop("__islocal", None):
        return insert(ctx, doc)
    _set_defaults(ctx, doc)
    _require(ctx, doc, "write")
    _stamp(ctx, doc)
    _spread_docstatus(doc)
    check_latest(ctx, doc)
    _set_parents(doc)
    for row in doc.child_rows():
        if not row.name:
            naming.set_new_name(ctx, row)
    _reset_levels(ctx, doc)
    if doc.action != "cancel":
        checks.check_links(ctx, doc)
    _run_before(ctx, doc)
    before = doc.before
    if doc.action != "cancel":
        checks.check_values(ctx, doc)
        if before is not None:
            checks.check_constants(ctx, doc, before)
    if doc.action == "update_after_submit" and before is not None:
        checks.check_after_submit(ctx, doc, before)
    _spread_docstatus(doc)
    if doc.meta.is_single:
        _write_single(ctx, doc)
    else:
        _update_row(ctx, doc)
    for df in doc.meta.tables:
        _sync_table(ctx, doc, df)
    _run_after(ctx, doc, inserting=False)
    doc.unsaved = False
    return doc


def check_latest(ctx: Context, doc: Document) -> None:
    """The optimistic lock, and which step of the life cycle this is."""
    doc.before, doc.action = None, "save"
    if doc.is_new:
        _transition(ctx, doc, 0)
        return
    before = doc.before = load(ctx, doc.doctype, doc.name)
    if cstr(before.get("modified")) != cstr(doc.original_modified):
        _conflict(ctx, doc, before)
    if not doc.meta.is_single:
        _transition(ctx, doc, before.docstatus)


def _conflict(ctx: Context, doc: Document, before: Document) -> None:
    subject = "Document" if ctx.version < 16 else f"{doc.name} ({doc.doctype})"
    errors.throw(
        ctx,
        f"Error: {subject} has been modified after you have opened it "
        f"({before.get('modified')}, {doc.get('modified')}). Please refresh to get the latest document.",
        errors.TimestampMismatchError,
    )


TRANSITIONS = {
    (0, 0): ("save", None),
    (0, 1): ("submit", "submit"),
    (1, 1): ("update_after_submit", "submit"),
    (1, 2): ("cancel", "cancel"),
}
REFUSED_TRANSITIONS = {
    (0, 2): "Cannot change docstatus from 0 (Draft) to 2 (Cancelled)",
    (1, 0): "Cannot change docstatus from 1 (Submitted) to 0 (Draft)",
}


def _transition(ctx: Context, doc: Document, stored: int) -> None:
    if stored == 2:
        raise errors.ValidationError("Cannot edit cancelled document")
    step = (stored, doc.docstatus)
    if step in REFUSED_TRANSITIONS:
        raise errors.DocstatusTransitionError(REFUSED_TRANSITIONS[step])
    if step not in TRANSITIONS:
        raise errors.ValidationError(f"('Invalid docstatus', {doc.docstatus})")
    doc.action, ptype = TRANSITIONS[step]
    if ptype is not None:
        if ctx.version >= 16 and not doc.meta.is_submittable and ptype == "submit":
            permissions.check_doctype(ctx, doc.doctype, ptype)
        _require(ctx, doc, ptype)


def _reset_levels(ctx: Context, doc: Document) -> None:
    """Fields above the user's level go back to what they were, or to their defaults."""
    if doc.ignore_permissions or ctx.user == permissions.ADMINISTRATOR:
        return
    owner = doc.get("parenttype") if doc.meta.is_child else None
    reach = permissions.levels(ctx, doc.meta, owner, "write")
    _reset(doc, reach, new_values(ctx, doc.meta) if doc.is_new else (doc.before.values if doc.before else {}))
    if doc.is_new or doc.before is None:
        return
    stored = {str(row.name): row.values for row in doc.before.child_rows()}
    for row in doc.child_rows():
        _reset(row, reach, stored.get(str(row.name)) or new_values(ctx, row.meta))


def _reset(doc: Document, reach: set[int], source: Mapping[str, Any]) -> None:
    for df in doc.meta.fields:
        if df.permlevel and df.permlevel not in reach and df.fieldname not in doc.tables:
            doc.values[df.fieldname] = source.get(df.fieldname)


def _too_long(ctx: Context, doc: Document, error: errors.SQLDataError) -> None:
    """Since 16 an update says which text is too long for its column (base_document.py, db_update)."""
    found = re.search(r"1406, \"Data too long for column '(\w+)'", error.text)
    if ctx.version < 16 or found is None:
        return
    label = f"<strong>{doc.meta.label(found[1])}</strong>"
    errors.throw(
        ctx,
        f"The value of the field {label} is too long in the <strong>{doc.doctype}</strong> document. "
        f"To resolve this issue, please reduce the value length or change the {label} field Type to "
        "Long Text using customize form, and then try again.",
    )


def _update_row(ctx: Context, doc: Document) -> None:
    values = doc.valid_values(ctx)
    _check_stored(ctx, doc, values)
    _check_unique(ctx, doc, values)
    name = values.pop("name")
    try:
        ctx.store.update(doc.doctype, name, values)
    except errors.SQLDataError as error:
        _too_long(ctx, doc, error)
        raise


def _sync_table(ctx: Context, doc: Document, df: DocField) -> None:
    """Rows that are gone are deleted, named ones updated, new ones inserted."""
    rows = doc.tables[df.fieldname]
    kept = {str(row.name) for row in rows if row.name and not row.is_new}
    place = {"parent": doc.name, "parenttype": doc.doctype, "parentfield": df.fieldname}
    for stored in ctx.store.rows(df.options, place):
        if str(stored["name"]) not in kept:
            ctx.store.delete(df.options, {"name": stored["name"]})
    for row in rows:
        if row.is_new or not row.name:
            _insert_row(ctx, row)
        else:
            # A name that no row has changes nothing; one of another document moves that row here.
            _update_row(ctx, row)


# -- events ------------------------------------------------------------------------------------------------------

BEFORE = {
    "save": ("before_validate", "validate", "before_save"),
    "submit": ("before_validate", "validate", "before_submit"),
    "cancel": ("before_cancel",),
    "update_after_submit": ("before_update_after_submit",),
}
AFTER = {
    "save": ("on_update",),
    "submit": ("on_update", "on_submit"),
    "cancel": ("on_cancel",),
    "update_after_submit": ("on_update_after_submit",),
}
# integrations/doctype/webhook/__init__.py: the events that webhooks can hear. on_update_after_submit is offered
# there, but what fires is before_update_after_submit.
HEARD = frozenset({"on_update", "after_insert", "on_submit", "on_cancel", "on_trash", "on_change"})


def _run_before(ctx: Context, doc: Document) -> None:
    for event in BEFORE[doc.action]:
        controllers.run(ctx, doc, event)


def _run_after(ctx: Context, doc: Document, *, inserting: bool) -> None:
    for event in AFTER[doc.action]:
        _fire(ctx, doc, event)
        if event == "on_update" and doc.meta.is_tree:
            trees.place(ctx, doc)
    if doc.action == "cancel":
        from .deleting import check_not_linked

        check_not_linked(ctx, doc, "Cancel")
    versions.record(ctx, doc, inserting)
    if not inserting:
        _fire(ctx, doc, "on_change")


def _fire(ctx: Context, doc: Document, event: str) -> None:
    controllers.run(ctx, doc, event)
    if event in HEARD:
        ctx.events.append((event, doc.doctype, str(doc.name), doc.as_dict()))


# -- steps of the life cycle ---------------------------------------------------------------------------------------


def submit(ctx: Context, doc: Document) -> Document:
    doc.values["docstatus"] = 1
    return save(ctx, doc)


def cancel(ctx: Context, doc: Document) -> Document:
    doc.values["docstatus"] = 2
    return save(ctx, doc)


def discard(ctx: Context, doc: Document) -> Document:
    """Since 16: a draft becomes cancelled without ever having been submitted."""
    if doc.docstatus != 0:
        errors.throw(ctx, "Only draft documents can be discarded", errors.DocstatusTransitionError)
    _require(ctx, doc, "write")
    ctx.store.update(doc.doctype, doc.name, {"docstatus": 2})
    doc.values["docstatus"] = 2
    return doc
