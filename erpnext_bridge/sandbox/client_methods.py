"""frappe.client: documents and values by RPC."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import deleting, documents, errors, listing, permissions, renaming
from .checks import cast
from .filters import from_json, parsed
from .meta import CHILD_FIELDS, STANDARD_FIELDS
from .methods import FLAG, TEXT, whitelist
from .permissions import meta_of
from .values import cint, flt

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document

WRITE = ("POST", "PUT")
LIMIT = 200


# -- reading -----------------------------------------------------------------------------------------------------


@whitelist("frappe.client.get_list", types={"debug": FLAG, "as_dict": FLAG})
def get_list(
    ctx: Context,
    doctype: Any,
    fields: Any = None,
    filters: Any = None,
    group_by: Any = None,
    order_by: Any = None,
    limit_start: Any = None,
    limit_page_length: Any = 20,
    parent: Any = None,
    debug: Any = False,
    as_dict: Any = True,
    or_filters: Any = None,
    expand: Any = None,
) -> list[Any]:
    return listing.get_list(
        ctx,
        doctype,
        fields=fields,
        filters=filters,
        or_filters=or_filters,
        group_by=group_by,
        order_by=order_by,
        limit_start=limit_start,
        limit_page_length=limit_page_length,
        parent=parent,
        debug=debug,
        as_dict=as_dict,
        expand=expand,
    )


@whitelist("frappe.client.get_count")
def get_count(ctx: Context, doctype: Any, filters: Any = None, debug: Any = False, cache: Any = False) -> Any:
    if ctx.version < 16:
        return listing.plain_count(ctx, doctype, safe_filters(filters))
    form = {**ctx.form, "doctype": doctype, "filters": safe_filters(filters), "debug": debug}
    return listing.report_count(ctx, form)


def safe_filters(filters: Any) -> Any:
    """frappe.utils.get_safe_filters: JSON where it is JSON, and numbers as texts."""
    try:
        parsed = json.loads(filters)
    except (TypeError, ValueError):
        return filters
    if isinstance(parsed, int | float):
        return str(parsed)
    return parsed


@whitelist("frappe.client.get")
def get(ctx: Context, doctype: Any, name: Any = None, filters: Any = None, parent: Any = None) -> Any:
    _check_child(ctx, doctype, parent)
    if name:
        doc = documents.load(ctx, doctype, name)
    elif filters or filters == {}:
        doc = documents.load(ctx, doctype, parsed(filters))
    else:
        meta = meta_of(ctx, doctype)
        # 16 asks for no name at all, which only a single survives.
        doc = documents.load(ctx, doctype, doctype if ctx.version < 16 or meta.is_single else None)
    permissions.check_document(ctx, doc)
    doc.hide_levels()
    return doc.as_dict()


def _check_child(ctx: Context, doctype: Any, parent: Any) -> None:
    meta = ctx.store.meta(doctype) if isinstance(doctype, str) else None
    if ctx.version < 16 and meta is not None and meta.is_child:
        listing.check_parent(ctx, parent, meta)


@whitelist("frappe.client.get_value")
def get_value(
    ctx: Context,
    doctype: Any,
    fieldname: Any,
    filters: Any = None,
    as_dict: Any = True,
    debug: Any = False,
    parent: Any = None,
) -> Any:
    _check_child(ctx, doctype, parent)
    if not permissions.has_permission(ctx, doctype, show=False, parent_doctype=parent):
        errors.throw(ctx, f"No permission for {doctype}", errors.PermissionError)
    filters = safe_filters(filters)
    if isinstance(filters, str):
        filters = {"name": filters}
    fields = _names(fieldname)
    # Only get_list looks at what a text says; for all else any text is true.
    as_dicts = as_dict not in (0, False, "0", "false", None, "")
    if meta_of(ctx, doctype).is_single:
        return _single_values(ctx, doctype, fields, bool(as_dict))
    found = listing.get_list(
        ctx,
        doctype,
        filters=filters or None,
        fields=fields,
        debug=debug,
        limit_page_length=1,
        parent=parent,
        as_dict=as_dicts,
    )
    if as_dict:
        return found[0] if found else {}
    return found[0] if found else None


def _names(fieldname: Any) -> Any:
    if not isinstance(fieldname, str):
        return fieldname if isinstance(fieldname, list) else [fieldname]
    try:
        return json.loads(fieldname)
    except ValueError:
        return [fieldname]


def _single_values(ctx: Context, doctype: str, fields: Any, as_dict: bool) -> Any:
    stored = ctx.store.single(doctype)
    found: dict[str, Any] = {name: stored[name] for name in fields if name in stored}
    if ctx.version >= 16:
        by_name = meta_of(ctx, doctype).by_name
        found = {
            name: cast(by_name[name], value) if name in by_name else value for name, value in found.items()
        }
    return found if as_dict else list(found.values())


@whitelist("frappe.client.get_single_value")
def get_single_value(ctx: Context, doctype: Any, field: Any) -> Any:
    if not permissions.has_permission(ctx, doctype, show=False):
        errors.throw(ctx, f"No permission for {doctype}", errors.PermissionError)
    df = meta_of(ctx, doctype).field(field)
    if df is None and field not in STANDARD_FIELDS:
        message = f"Field <strong>{field}</strong> does not exist on <strong>{doctype}</strong>"
        errors.throw(ctx, message)
    value = ctx.store.single(doctype).get(field)
    if df is not None and df.fieldtype in ("Check", "Int", "Long Int"):
        return cint(value)
    if df is not None and df.fieldtype in ("Float", "Currency", "Percent"):
        return flt(value)
    return value


@whitelist("frappe.client.get_time_zone", guest=True)
def get_time_zone(ctx: Context) -> Any:
    """The user's own zone; a guest has that which Frappe was installed with."""
    if ctx.user == "Guest":
        return {"time_zone": "Asia/Kolkata"}
    own = ctx.store.value("User", ctx.user, "time_zone")
    return {"time_zone": own or ctx.store.single("System Settings").get("time_zone")}


@whitelist("frappe.client.has_permission", types={})
def has_permission(ctx: Context, doctype: Any, docname: Any, perm_type: Any = "read") -> Any:
    if ctx.user == permissions.ADMINISTRATOR:
        return {"has_permission": True}
    # Without a name, the question is about the DocType.
    doc = documents.load(ctx, doctype, docname) if docname else None
    return {"has_permission": permissions.has_permission(ctx, doctype, perm_type.lower(), doc, show=False)}


@whitelist("frappe.client.get_doc_permissions")
def get_doc_permissions(ctx: Context, doctype: Any, docname: Any) -> Any:
    doc = documents.load(ctx, doctype, docname)
    return {"permissions": described_rights(ctx, doc)}


def described_rights(ctx: Context, doc: Document) -> dict[str, Any]:
    rights: dict[str, Any] = permissions.document_rights(ctx, doc)
    if not rights or ctx.user == permissions.ADMINISTRATOR:
        return rights
    is_owner = str(doc.get("owner") or "").lower() == ctx.user.lower()
    granted = permissions.role_permissions(ctx, doc.meta, ctx.user, is_owner)
    return {**rights, "if_owner": dict(granted.if_owner), "has_if_owner_enabled": granted.owner_rules}


@whitelist("frappe.client.get_password")
def get_password(ctx: Context, doctype: Any, name: Any, fieldname: Any) -> Any:
    only_for(ctx, "System Manager")
    doc = documents.load(ctx, doctype, name)
    secret = ctx.store.secret(doctype, str(doc.name), fieldname)
    if secret is None:
        message = f"Password not found for {doctype} {name} {fieldname}"
        errors.throw(ctx, message, errors.AuthenticationError if ctx.version < 16 else errors.ValidationError)
    return secret


def only_for(ctx: Context, role: str) -> None:
    if role in permissions.roles_of(ctx, ctx.user) or ctx.user == permissions.ADMINISTRATOR:
        return
    raise errors.PermissionError


def cacheable(ctx: Context, text: str) -> None:
    """Since 16 some answers may be kept by the browser (utils/caching.py, http_cache)."""
    if ctx.version >= 16 and ctx.request_method == "GET":
        ctx.response_headers["Cache-Control"] = text


@whitelist("frappe.client.is_document_amended")
def is_document_amended(ctx: Context, doctype: Any, docname: Any) -> Any:
    cacheable(ctx, "private,max-age=600")
    if not permissions.has_permission(ctx, doctype, show=False):
        return None
    if "amended_from" not in meta_of(ctx, doctype).column_set:
        return None
    found = ctx.store.rows(doctype, {"amended_from": docname}, limit=1)
    return found[0]["name"] if found else None


@whitelist("frappe.client.validate_link", types={"doctype": TEXT, "docname": TEXT}, versions=(15,))
def validate_link(ctx: Context, doctype: Any, docname: Any, fields: Any = None) -> Any:
    if doctype != "DocType" and not any(
        permissions.has_permission(ctx, doctype, ptype, show=False) for ptype in ("select", "read")
    ):
        message = f"You do not have Read or Select Permissions for <strong>{doctype}</strong>"
        errors.throw(ctx, message, errors.PermissionError)
    meta = ctx.store.meta(doctype)
    single = meta is not None and meta.is_single
    values = {"name": doctype if single else ctx.store.exists(doctype, docname)}
    wanted = from_json(fields) if isinstance(fields, str) and fields else fields
    if values["name"] is None or not wanted:
        return values
    return {**values, **get_value(ctx, doctype, wanted, values["name"])}


@whitelist("frappe.client.validate_link_and_fetch", verbs=("GET", "POST"), versions=(16,))
def validate_link_and_fetch(ctx: Context, doctype: Any, docname: Any, fields_to_fetch: Any = None) -> Any:
    wanted = parsed(fields_to_fetch)
    found = listing.get_list(ctx, doctype, filters=[[doctype, "name", "=", docname]], limit_page_length=1)
    if not found:
        return {}
    if not wanted:
        cacheable(ctx, "private,max-age=1800,stale-while-revalidate=7200")
        return found[0]
    return {**found[0], **get_value(ctx, doctype, wanted, found[0]["name"])}


# -- writing -----------------------------------------------------------------------------------------------------


@whitelist("frappe.client.set_value", verbs=WRITE)
def set_value(ctx: Context, doctype: Any, name: Any, fieldname: Any, value: Any = None) -> Any:
    if isinstance(fieldname, str) and fieldname in (*STANDARD_FIELDS, "doctype", *CHILD_FIELDS):
        errors.throw(ctx, "Cannot edit standard fields")
    values = fieldname
    if value:
        values = {fieldname: value}
    elif isinstance(fieldname, str):
        try:
            values = json.loads(fieldname)
        except ValueError:
            values = {fieldname: ""}
    if meta_of(ctx, doctype).is_child:
        doc = _update_child(ctx, doctype, name, values)
    else:
        doc = documents.load(ctx, doctype, name)
        doc.update(values)
    documents.save(ctx, doc)
    return doc.as_dict()


def _update_child(ctx: Context, doctype: str, name: Any, values: dict[str, Any]) -> Document:
    row = ctx.store.get(doctype, name)
    if row is None:
        raise errors.AttributeError("'NoneType' object has no attribute 'parenttype'")
    doc = documents.load(ctx, row["parenttype"], row["parent"])
    child = next(one for one in doc.child_rows() if one.name == row["name"])
    child.update(values)
    return doc


@whitelist("frappe.client.insert", verbs=WRITE)
def insert(ctx: Context, doc: Any = None) -> Any:
    return insert_one(ctx, parsed(doc)).as_dict()


@whitelist("frappe.client.insert_many", verbs=WRITE)
def insert_many(ctx: Context, docs: Any = None) -> Any:
    docs = parsed(docs)
    if not isinstance(docs, list):
        raise errors.TypeError(f"object of type '{type(docs).__name__}' has no len()")
    if len(docs) > LIMIT:
        errors.throw(ctx, f"Only {LIMIT} inserts allowed in one request")
    return [insert_one(ctx, one).name for one in docs]


def insert_one(ctx: Context, data: Any) -> Document:
    """A child row is appended to its parent, and the parent is what comes back."""
    if not isinstance(data, dict):
        raise errors.TypeError(f"'{type(data).__name__}' object is not iterable")
    meta = ctx.store.meta(str(data.get("doctype")))
    if meta is None or not meta.is_child:
        return documents.insert(ctx, documents.from_dict(ctx, data))
    place = [data.get(key) for key in ("parenttype", "parent", "parentfield")]
    if not all(place):
        errors.throw(ctx, "Parenttype, Parent and Parentfield are required to insert a child record")
    parent = documents.load(ctx, str(place[0]), place[1])
    parent.append(str(place[2]), data)
    return documents.save(ctx, parent)


@whitelist("frappe.client.save", verbs=WRITE)
def save(ctx: Context, doc: Any) -> Any:
    loaded = documents.from_dict(ctx, parsed(doc))
    return documents.save(ctx, loaded).as_dict()


@whitelist("frappe.client.rename_doc", verbs=WRITE)
def rename_doc(ctx: Context, doctype: Any, old_name: Any, new_name: Any, merge: Any = False) -> Any:
    return renaming.rename(ctx, doctype, old_name, new_name, merge)


@whitelist("frappe.client.submit", verbs=WRITE)
def submit(ctx: Context, doc: Any) -> Any:
    loaded = documents.from_dict(ctx, parsed(doc))
    return documents.submit(ctx, loaded).as_dict()


@whitelist("frappe.client.cancel", verbs=WRITE)
def cancel(ctx: Context, doctype: Any, name: Any) -> Any:
    return documents.cancel(ctx, documents.load(ctx, doctype, name)).as_dict()


@whitelist("frappe.client.delete", verbs=("DELETE", "POST"))
def delete(ctx: Context, doctype: Any, name: Any) -> None:
    delete_one(ctx, doctype, name)


def delete_one(ctx: Context, doctype: Any, name: Any) -> None:
    """A child row goes by saving its parent without it."""
    meta = ctx.store.meta(doctype) if isinstance(doctype, str) else None
    if meta is None or not meta.is_child:
        deleting.delete(ctx, doctype, name)
        return
    row = ctx.store.get(doctype, name)
    if row is None:
        raise permissions.hidden(ctx, errors.DoesNotExistError(), doctype)
    parent = documents.load(ctx, row["parenttype"], row["parent"])
    rows = parent.tables[row["parentfield"]]
    rows[:] = [one for one in rows if one.name != row["name"]]
    for index, one in enumerate(rows, 1):
        one.values["idx"] = index
    documents.save(ctx, parent)


@whitelist("frappe.client.bulk_update", verbs=WRITE)
def bulk_update(ctx: Context, docs: Any) -> Any:
    """Each document by itself, without a savepoint: what fails is told, the rest stays."""
    if not isinstance(docs, str):
        kind = type(docs).__name__
        raise errors.TypeError(f"the JSON object must be str, bytes or bytearray, not {kind}")
    failed = []
    for data in from_json(docs):
        data.pop("flags", None)
        try:
            _update_one(ctx, data)
        except errors.SandboxError as error:
            failed.append({"doc": data, "exc": f"Traceback\n{error.last_line(ctx.version)}"})
    return {"failed_docs": failed}


def _update_one(ctx: Context, data: dict[str, Any]) -> None:
    for key in ("doctype", "docname"):
        if key not in data:
            raise errors.KeyError(repr(key))
    doc = documents.load(ctx, data["doctype"], data["docname"])
    doc.update(data)
    documents.save(ctx, doc)
