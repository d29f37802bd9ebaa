"""What /api/resource and /api/v2/document and /doctype do with a parsed request (api/v1.py, api/v2.py)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import NotFound

from . import client_methods, collaboration, deleting, desk_methods, documents, errors, listing, permissions
from .filters import from_json
from .meta import scrub
from .methods import METHODS, not_whitelisted, run
from .permissions import meta_of

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document

Answer = tuple[int, dict[str, Any]]
# What Document offers to run_method, with the right that it asks for by itself.
DOCUMENT_METHODS = frozenset(
    {"submit", "cancel", "rename", "add_comment", "discard", "add_tag", "get_liked_by"}
)
PRIVATE = frozenset(
    {
        "db_set",
        "db_insert",
        "db_update",
        "insert",
        "save",
        "delete",
        "reload",
        "run_method",
        "as_dict",
        "update",
        "apply_fieldlevel_read_permissions",
        "check_if_latest",
        "check_permission",
        "get_doc_before_save",
        "get_permissions",
        "get_signature",
        "get_tags",
        "get_title",
        "get_url",
        "has_permission",
        "load_from_db",
        "lock",
        "log_error",
        "notify_update",
        "queue_action",
        "set_new_name",
        "set_user_and_timestamp",
        "unlock",
    }
)


# -- version 1 ---------------------------------------------------------------------------------------------------


def handle_v1(ctx: Context, doctype: str, name: str | None) -> Answer:
    verb = ctx.request_method
    if name is None:
        return _answer(ctx, _list(ctx, doctype) if verb in ("GET", "HEAD") else _create(ctx, doctype))
    if verb in ("GET", "HEAD"):
        return _answer(ctx, _read(ctx, doctype, name))
    if verb == "PUT":
        return _answer(ctx, _update(ctx, doctype, name).as_dict(nulls=False))
    if verb == "DELETE":
        deleting.delete(ctx, doctype, name)
        return 202, {"data": "ok"}
    if "run_method" not in ctx.form:
        raise errors.KeyError("'run_method'")
    return _answer(ctx, _run(ctx, doctype, name))


def _answer(ctx: Context, data: Any) -> Answer:
    # handler.py: a method that returns nothing leaves the body without `data`.
    return 200, {} if data is None else {"data": data}


def _list(ctx: Context, doctype: str) -> Any:
    form = ctx.form
    for key in ("fields", "expand"):
        if form.get(key) and (key == "fields" or ctx.version >= 16):
            form[key] = _loaded(form[key])
    form.setdefault("limit_page_length", form.get("limit") or 20)
    for key in ("as_dict", "debug"):
        if form.get(key) is not None:
            form[key] = listing.sbool(form[key])
    return run(ctx, METHODS["frappe.client.get_list"], {**form, "doctype": doctype})


def _loaded(value: Any) -> Any:
    if not isinstance(value, str):
        kind = type(value).__name__
        raise errors.TypeError(f"the JSON object must be str, bytes or bytearray, not {kind}")
    return from_json(value)


def _payload(ctx: Context) -> dict[str, Any]:
    """The document in a v1 request: under `data`, or the whole body, or the form."""
    data = ctx.form.get("data")
    if data is None:
        data = _raw_body(ctx)
        if data is None:
            return ctx.form
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError:
            return ctx.form
    if isinstance(data, list):
        raise errors.TypeError("pop expected at most 1 argument, got 2")
    return data if isinstance(data, dict) else ctx.form


def _raw_body(ctx: Context) -> str | None:
    request = getattr(ctx, "request", None)
    return request.get_data(as_text=True) if request is not None else None


def _create(ctx: Context, doctype: str) -> Any:
    data = dict(_payload(ctx))
    data.pop("doctype", None)
    doc = documents.new(ctx, doctype, data)
    return documents.insert(ctx, doc).as_dict(nulls=False)


def _read(ctx: Context, doctype: str, name: str) -> Any:
    if "run_method" in ctx.form:
        return _run(ctx, doctype, name)
    doc = documents.load(ctx, doctype, name)
    _check_read(ctx, doc)
    doc.hide_levels()
    if ctx.version >= 16 and listing.sbool(ctx.form.get("expand_links")) is True:
        return _expanded(ctx, doc)
    return doc.as_dict(nulls=False)


def _check_read(ctx: Context, doc: Document) -> None:
    if ctx.version >= 16:
        permissions.check_document(ctx, doc)
    elif not permissions.has_permission(ctx, doc.doctype, "read", doc):
        raise errors.PermissionError


def _expanded(ctx: Context, doc: Document) -> dict[str, Any]:
    """`expand_links`: every link becomes the document it names."""
    data = doc.as_dict()
    for df in [*doc.meta.links, *doc.meta.dynamic_links]:
        doctype = df.options if df.fieldtype == "Link" else data.get(df.options)
        if isinstance(doctype, dict):
            # The field that names the DocType is a link itself, and has just been replaced.
            data[df.fieldname] = doctype
        elif data.get(df.fieldname) and doctype:
            data[df.fieldname] = documents.load(ctx, doctype, data[df.fieldname]).as_dict(nulls=False)
    for df in doc.meta.tables:
        meta = meta_of(ctx, df.options)
        names = [link.fieldname for link in meta.links]
        listing.expand_links(ctx, meta, data[df.fieldname], names, names)
    return data


def _update(ctx: Context, doctype: str, name: str) -> Document:
    data = {key: value for key, value in _payload(ctx).items() if key != "flags"}
    return _save(ctx, doctype, name, data)


def _save(ctx: Context, doctype: str, name: str, data: dict[str, Any]) -> Document:
    doc = documents.load(ctx, doctype, name)
    doc.update(data)
    documents.save(ctx, doc)
    if doc.get("parenttype"):
        documents.save(ctx, documents.load(ctx, doc.get("parenttype"), doc.get("parent")))
    return doc


def _run(ctx: Context, doctype: str, name: str) -> Any:
    method = ctx.form.pop("run_method")
    doc = documents.load(ctx, doctype, name)
    check_callable(ctx, doc, method)
    ptype = "read" if ctx.request_method == "GET" else "write"
    if ctx.version >= 16:
        permissions.check_document(ctx, doc, ptype)
    elif not permissions.has_permission(ctx, doctype, ptype, doc):
        errors.throw(ctx, "Not permitted", errors.PermissionError)
    result = call_document(ctx, doc, method, ctx.form)
    return result.as_dict(nulls=False) if result is doc else result


def check_callable(ctx: Context, doc: Document, method: str) -> None:
    """Document.is_whitelisted; a method that does not exist is werkzeug's own 404."""
    if method in PRIVATE:
        not_whitelisted(ctx, f"frappe.model.document.{method}")
    if method not in DOCUMENT_METHODS or (method == "discard" and ctx.version < 16):
        raise NotFound(f"Method {method} not found")


def call_document(ctx: Context, doc: Document, method: str, arguments: dict[str, Any]) -> Any:
    if method in ("submit", "cancel", "discard"):
        return getattr(documents, method)(ctx, doc)
    if method == "rename":
        from .renaming import rename

        if "name" not in arguments:
            raise errors.TypeError("Document.rename() missing 1 required positional argument: 'name'")
        new = rename(ctx, doc.doctype, doc.name, str(arguments["name"]), arguments.get("merge"))
        doc.values["name"] = new
        doc.update(ctx.store.get(doc.doctype, doc.name) or {})
        return None
    if method == "add_comment":
        kind = arguments.get("comment_type") or "Comment"
        text = arguments.get("text") or kind
        return collaboration.comment(ctx, doc, text, comment_type=kind)
    if method == "add_tag":
        collaboration.add_tag(ctx, arguments.get("tag"), doc.doctype, doc.name)
    return None


# -- version 2 ---------------------------------------------------------------------------------------------------


def handle_v2(ctx: Context, segments: list[str]) -> Answer:
    kind, doctype, *rest = segments
    if kind == "doctype":
        return _doctype_v2(ctx, doctype, rest[0])
    if not rest:
        return _collection_v2(ctx, doctype)
    name, *tail = rest
    if tail == ["copy"]:
        return _answer(ctx, _copy(ctx, doctype, name))
    if tail:
        return _method_v2(ctx, doctype, name, tail[1])
    return _document_v2(ctx, doctype, name)


FRAPPE_MODULES = frozenset({"Core", "Desk", "Integrations", "Custom", "Geo"})


def method_path(ctx: Context, doctype: str, method: str) -> str:
    """Where /api/v2/method/<doctype>/<method> leads: a function next to the DocType's controller."""
    meta, name = meta_of(ctx, doctype), scrub(doctype)
    module = meta.raw.get("module") or "Custom"
    if meta.custom:
        raise errors.ImportError(
            f"Module import failed for {doctype}, the DocType you're trying to open might be deleted.\n"
            f"Error: No module named 'frappe.{scrub(module)}.doctype.{name}'"
        )
    app = "frappe" if module in FRAPPE_MODULES else "erpnext"
    return f"{app}.{scrub(module)}.doctype.{name}.{name}.{method}"


def _doctype_v2(ctx: Context, doctype: str, what: str) -> Answer:
    if what == "count":
        return _answer(ctx, listing.report_count(ctx, {**ctx.form, "doctype": doctype}))
    if ctx.user == "Guest":
        raise errors.PermissionError
    return _answer(ctx, desk_methods.described(ctx, meta_of(ctx, doctype)))


def _collection_v2(ctx: Context, doctype: str) -> Answer:
    if ctx.request_method == "POST":
        return _answer(ctx, _create_v2(ctx, doctype))
    form = ctx.form
    if ctx.version >= 16:
        rows, more = listing.list_v2(ctx, doctype, form)
        return 200, {"data": rows, "has_next_page": more}
    if form.get("fields"):
        form["fields"] = _loaded(form["fields"])
    form["limit_page_length"] = form.get("limit") or 20
    return _answer(ctx, run(ctx, METHODS["frappe.client.get_list"], {**form, "doctype": doctype}))


def _nulls(ctx: Context) -> bool:
    return ctx.version >= 16


def _create_v2(ctx: Context, doctype: str) -> Any:
    data = {key: value for key, value in ctx.form.items() if key != "doctype"}
    doc = documents.new(ctx, doctype, data)
    if ctx.version >= 16 and data.get("name") and isinstance(data["name"], str | int):
        doc.name_given = True
    return documents.insert(ctx, doc).as_dict(nulls=_nulls(ctx))


def _document_v2(ctx: Context, doctype: str, name: str) -> Answer:
    verb = ctx.request_method
    if verb in ("GET", "HEAD"):
        doc = documents.load(ctx, doctype, name)
        permissions.check_document(ctx, doc)
        doc.hide_levels()
        return _answer(ctx, doc.as_dict(nulls=_nulls(ctx)))
    if verb == "DELETE":
        client_methods.delete_one(ctx, doctype, name)
        return 202, {"data": "ok"}
    data = {key: value for key, value in ctx.form.items() if key != "flags"}
    doc = _save(ctx, doctype, name, data)
    if ctx.version >= 16:
        doc.hide_levels()
    return _answer(ctx, doc.as_dict(nulls=_nulls(ctx)))


def _method_v2(ctx: Context, doctype: str, name: str, method: str) -> Answer:
    doc = documents.load(ctx, doctype, name)
    check_callable(ctx, doc, method)
    permissions.check_document(ctx, doc, {"GET": "read", "POST": "write"}[ctx.request_method])
    result = call_document(ctx, doc, method, ctx.form)
    if ctx.version < 16:
        return _answer(ctx, result.as_dict(nulls=False) if result is doc else result)
    body: dict[str, Any] = {"docs": [doc.as_dict()]}
    if result is not None:
        body["data"] = result.as_dict(nulls=False) if result is doc else result
    return 200, body


def _copy(ctx: Context, doctype: str, name: str) -> Any:
    """A document without what makes it this one, to be posted as a new one."""
    doc = documents.load(ctx, doctype, name)
    permissions.check_document(ctx, doc)
    doc.hide_levels()
    data = _stripped(doc.as_dict(nulls=False))
    for df in doc.meta.tables:
        data[df.fieldname] = [_stripped(row) for row in data[df.fieldname]]
    return data


_OWN = ("name", "owner", "creation", "modified", "modified_by", "docstatus")


def _stripped(data: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if key not in _OWN}
