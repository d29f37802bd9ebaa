"""What Frappe's own Desk calls to show, find and save documents: report views, search, forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import deleting, dialect15, docinfo, documents, errors, listing, permissions, renaming
from .client_methods import cacheable
from .dialect16 import Engine
from .filters import from_json, parsed
from .mariadb import DECIMAL, Expr
from .meta import DocType
from .methods import TEXT, not_whitelisted, whitelist
from .permissions import meta_of
from .query import Query

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document

TEXT_TYPES = frozenset(
    {"Data", "Text", "Small Text", "Long Text", "Link", "Select", "Read Only", "Text Editor"}
)


@whitelist("ping", guest=True)
@whitelist("frappe.ping", guest=True)
def ping(ctx: Context) -> str:
    return "pong"


@whitelist("frappe.utils.change_log.get_versions")
def get_versions(ctx: Context) -> Any:
    about = {
        "frappe": "Full stack web framework with Python, Javascript, MariaDB, Redis, Node",
        "erpnext": "ERP made simple",
    }
    installed = ctx.site.world.installed_apps(ctx.version)
    return {
        app: {"title": data["title"], "description": about.get(app, ""), **_branch(data)}
        for app, data in installed.items()
    }


def _branch(data: dict[str, str]) -> dict[str, str]:
    return {key: data[key] for key in ("branch", "version") if key in data}


@whitelist("frappe.core.doctype.user.user.get_roles")
def get_roles(ctx: Context, uid: Any = None) -> Any:
    return list(permissions.roles_of(ctx, uid or ctx.user))


# -- report view -------------------------------------------------------------------------------------------------


def _form(ctx: Context) -> dict[str, Any]:
    return {key: value for key, value in ctx.form.items() if key != "cmd"}


@whitelist("frappe.desk.reportview.get")
def reportview_get(ctx: Context) -> Any:
    rows = listing.execute(ctx, listing.report_args(ctx, _form(ctx)))
    if not rows:
        return rows
    keys = list(rows[0])
    return {"keys": keys, "values": [[row.get(key) for key in keys] for row in rows], "user_info": {}}


@whitelist("frappe.desk.reportview.get_list")
def reportview_get_list(ctx: Context) -> Any:
    return listing.execute(ctx, listing.report_args(ctx, _form(ctx)))


@whitelist("frappe.desk.reportview.get_count")
def reportview_get_count(ctx: Context) -> Any:
    return listing.report_count(ctx, _form(ctx))


@whitelist("frappe.desk.reportview.delete_items")
def delete_items(ctx: Context, doctype: Any = None, items: Any = None) -> None:
    """Up to ten at once; what fails is told in the messages only, and what is not there does not fail."""
    failed = []
    for name in sorted(parsed(items), reverse=True):
        if ctx.store.exists(doctype, name) is None:
            continue
        try:
            deleting.delete(ctx, doctype, name)
        except errors.SandboxError:
            failed.append(str(name))
    if failed:
        message = f"Failed to delete {len(failed)} documents: {', '.join(failed)}"
        errors.msgprint(ctx, message, title="Bulk Operation Failed")


@whitelist("frappe.desk.doctype.bulk_update.bulk_update.submit_cancel_or_update_docs")
def bulk(ctx: Context, doctype: Any, docnames: Any, action: Any = "submit", data: Any = None) -> Any:
    names = parsed(docnames)
    values = from_json(data) if isinstance(data, str) and data else data or {}
    failed = []
    for name in names:
        doc = documents.load(ctx, doctype, name)
        try:
            _bulk_one(ctx, doc, action, values)
        except errors.SandboxError:
            failed.append(name)
    return failed


def _bulk_one(ctx: Context, doc: Document, action: Any, values: dict[str, Any]) -> None:
    if action == "update":
        doc.update(values)
        documents.save(ctx, doc)
    else:
        {"submit": documents.submit, "cancel": documents.cancel}[str(action)](ctx, doc)


# -- search ------------------------------------------------------------------------------------------------------


@whitelist("frappe.desk.search.search_link")
def search_link(
    ctx: Context,
    doctype: Any,
    txt: Any,
    filters: Any = None,
    page_length: Any = 10,
    searchfield: Any = None,
    reference_doctype: Any = None,
    query: Any = None,
    ignore_user_permissions: Any = False,
) -> Any:
    found = search_widget(ctx, doctype, txt, page_length=page_length, filters=filters)
    cacheable(ctx, "private,max-age=300,stale-while-revalidate=300")
    results = []
    for row in found:
        rest = dict.fromkeys(str(value) for value in row[1:] if value not in (None, ""))
        result = {"value": row[0], "description": ", ".join(rest)}
        if ctx.version >= 16:
            result["label"] = row[0]
        results.append(result)
    return results


@whitelist("frappe.desk.search.search_widget")
def search_widget(
    ctx: Context,
    doctype: Any,
    txt: Any,
    query: Any = None,
    searchfield: Any = None,
    start: Any = 0,
    page_length: Any = 10,
    filters: Any = None,
    filter_fields: Any = None,
    as_dict: Any = False,
    reference_doctype: Any = None,
    ignore_user_permissions: Any = False,
) -> list[Any]:
    meta = meta_of(ctx, doctype)
    text = str(txt or "")
    found = _search(ctx, meta, text, _search_filters(meta, filters), listing.cint(page_length) or 10)
    # Names that begin with the text come first, then by code point (search.relevance_sorter).
    found.sort(key=lambda row: (not str(row[0]).casefold().startswith(text.casefold()), str(row[0])))
    return found


def _search_filters(meta: DocType, filters: Any) -> list[Any]:
    if isinstance(filters, str) and filters:
        filters = from_json(filters)
    conditions = dialect15.as_list(meta.name, filters or [])
    if (df := meta.field("enabled")) is not None and df.fieldtype == "Check":
        conditions.append([meta.name, "enabled", "=", 1])
    if (df := meta.field("disabled")) is not None and df.fieldtype == "Check":
        conditions.append([meta.name, "disabled", "!=", 1])
    return conditions


def _search(ctx: Context, meta: DocType, text: str, filters: list[Any], length: int) -> list[Any]:
    names = [*dict.fromkeys(filter(None, ["name", meta.title_field, *meta.search_fields]))]
    searched = [name for name in names if name == "name" or meta.fieldtype(name) in TEXT_TYPES]
    args = {
        "doctype": meta.name,
        "fields": [f"`tab{meta.name}`.`{name}`" for name in names],
        "filters": filters,
        "or_filters": [[meta.name, name, "like", f"%{text}%"] for name in searched] if text else None,
        "limit_page_length": length,
        "as_list": True,
    }
    built = listing.build(ctx, args)
    query: Query | None = built.query if isinstance(built, Engine) else built
    if query is None:
        return []
    if text:
        # Names with the text further left come first, those without it last.
        nearness = f"1.0 / nullif(instr(lower_text({query.column('name').sql}), lower_text(?)), 0)"
        place = Expr(f"ifnull({nearness}, -9999)", DECIMAL, (text.replace("%", "").replace("@", ""),))
        query.order.append((place, "DESC"))
    query.order += [(query.column("idx"), "DESC")]
    if meta.is_submittable and ctx.version < 16:
        query.order.append((query.column("docstatus"), "ASC"))
    query.order.append((query.column(meta.sort_field), "DESC"))
    return query.run()


# -- forms -------------------------------------------------------------------------------------------------------

# desk/form/meta.py: what FormMeta adds for the browser.
_ASSETS = {
    15: "js css list_js calendar_js map_js linked_with messages form_grid_templates listview_template tree_js "
    "templates",
    16: "js css list_js calendar_js form_grid_templates listview_template tree_js templates workspaces",
}
_TABLES = ("fields", "permissions", "actions", "links", "states")


@whitelist("frappe.desk.form.load.getdoctype")
def getdoctype(ctx: Context, doctype: Any, with_parent: Any = False, cached_timestamp: Any = None) -> Any:
    meta = meta_of(ctx, doctype)
    bundle = [meta]
    if with_parent:
        parents = [one for one in ctx.store.doctypes.values() if doctype in [df.options for df in one.tables]]
        if parents:
            ctx.response["parent_dt"] = parents[0].name
            bundle = [parents[0]]
            meta = parents[0]
    bundle += [meta_of(ctx, df.options) for df in meta.tables]
    docs = [_form_meta(ctx, one) for one in dict.fromkeys(bundle)]
    ctx.response["user_settings"] = "{}"
    if cached_timestamp and docs[0]["modified"] == cached_timestamp and ctx.version < 15:
        return "use_cache"
    ctx.response["docs"] = docs
    return None


def _form_meta(ctx: Context, meta: DocType) -> dict[str, Any]:
    data = described(ctx, meta)
    slug = meta.name.lower().replace(" ", "_").replace("-", "_")
    parts = {
        "__custom_js": f"\n\n//# sourceURL={slug}__custom_js",
        "__custom_list_js": f"\n\n//# sourceURL={slug}__custom_list_js",
        "__print_formats": [],
        "__workflow_docs": [],
        "__dashboard": {"transactions": [], "non_standard_fieldnames": {}, "internal_links": {}},
        "__kanban_column_fields": [],
    }
    # Child tables have no form of their own.
    data |= dict.fromkeys(parts) if meta.is_child else parts
    data |= {"__assets_loaded": True, **{f"__{name}": None for name in _ASSETS[ctx.version].split()}}
    if ctx.version >= 16:
        data["masked_fields"] = []
    else:
        data["fields"] = [{**row, "is_custom_field": None, **_about_link(ctx, row)} for row in data["fields"]]
    return data


def _about_link(ctx: Context, row: dict[str, Any]) -> dict[str, Any]:
    """What a link field tells of the DocType behind it."""
    target = ctx.store.meta(row.get("options", "")) if row["fieldtype"] == "Link" else None
    if target is None:
        return {"search_fields": None, "linked_document_type": None}
    return {
        "search_fields": target.search_fields or None,
        "linked_document_type": target.raw.get("document_type") or "",
    }


def described(ctx: Context, meta: DocType) -> dict[str, Any]:
    """frappe.get_meta as JSON: the DocType's document without its nulls, tables included."""
    row = ctx.store.get("DocType", meta.name) or {}
    data: dict[str, Any] = {"doctype": "DocType", **_present(row)}
    place = {"parent": meta.name, "parenttype": "DocType"}
    for table, child in (("fields", "DocField"), ("permissions", "DocPerm")):
        found = ctx.store.rows(child, {**place, "parentfield": table}, order="idx")
        data[table] = [_part(ctx, child, one) for one in found]
    if ctx.version < 16:
        tables = {df.fieldname for df in meta.tables}
        if tables:
            data["_table_fields"] = [one for one in data["fields"] if one["fieldname"] in tables]
    data |= {"is_large_table": False, "actions": [], "links": [], "states": []}
    return data


def _part(ctx: Context, doctype: str, row: dict[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = {"doctype": doctype, **_present(row)}
    if ctx.version < 16:
        data |= {table: [] for table in _TABLES}
    elif doctype == "DocField":
        # A column that no field stands for any more; only the metadata still shows it.
        data["show_preview_popup"] = 0
    return data


def _present(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if value is not None}


@whitelist("frappe.desk.form.load.getdoc")
def getdoc(ctx: Context, doctype: Any, name: Any) -> Any:
    meta = meta_of(ctx, doctype)
    if not meta.is_single and ctx.store.exists(doctype, name) is None:
        return []
    doc = documents.load(ctx, doctype, name)
    permissions.check_document(ctx, doc)
    doc.hide_levels()
    ctx.response["docs"] = [doc.as_dict(nulls=False)]
    ctx.response["_link_titles"] = {}
    docinfo.add(ctx, doc)
    return None


@whitelist("frappe.desk.form.save.savedocs", verbs=("POST", "PUT"))
def savedocs(ctx: Context, doc: Any, action: Any) -> Any:
    data = parsed(doc)
    loaded = documents.from_dict(ctx, data)
    if loaded.is_new and not loaded.name:
        loaded.is_new = True
    if data.get("__islocal") and loaded.meta.autoname.lower() == "prompt":
        # new names are sent as __newname; what the form calls itself is temporary
        loaded.values["name"] = data.get("__newname")
    loaded.values["docstatus"] = {"Save": 0, "Submit": 1, "Update": 1, "Cancel": 2}[str(action)]
    saved = documents.save(ctx, loaded)
    shown = saved.as_dict()
    if data.get("__islocal"):
        shown["localname"] = data.get("name")
    ctx.response["docs"] = [shown]
    docinfo.add(ctx, saved)
    label = {"Save": "Saved", "Submit": "Submitted", "Update": "Saved", "Cancel": "Cancelled"}
    errors.msgprint(ctx, label[str(action)], indicator="green", alert=True)
    return None


@whitelist("run_doc_method")
@whitelist("frappe.handler.run_doc_method")
def run_doc_method(
    ctx: Context,
    method: Any,
    docs: Any = None,
    dt: Any = None,
    dn: Any = None,
    arg: Any = None,
    args: Any = None,
    document: Any = None,
    kwargs: Any = None,
) -> Any:
    """Call a method of a document, stored or sent along."""
    from .resources import DOCUMENT_METHODS, PRIVATE, call_document

    if ctx.api_version == 2 and document is None:
        raise errors.TypeError("run_doc_method() missing 1 required positional argument: 'document'")
    arguments = args or arg or kwargs or {}
    arguments = parsed(arguments)
    if dt:
        doc = documents.load(ctx, dt, dn or dt)
    else:
        data = docs if docs is not None else document
        doc = documents.from_dict(ctx, parsed(data))
    doc.original_modified = doc.get("modified")
    if ctx.api_version == 1:
        _may_call(ctx, doc)
    documents.check_latest(ctx, doc)
    if ctx.api_version == 2:
        permissions.check_document(ctx, doc, "read" if ctx.request_method == "GET" else "write")
    if method in PRIVATE:
        not_whitelisted(ctx, f"frappe.model.document.{method}")
    if method not in DOCUMENT_METHODS:
        raise errors.AttributeError(f"'{_class_name(doc)}' object has no attribute '{method}'")
    result = call_document(ctx, doc, method, arguments)
    ctx.response["docs"] = [doc.as_dict(nulls=False)]
    return result if result is not doc else doc.as_dict(nulls=False)


def _class_name(doc: Document) -> str:
    return "Document" if doc.meta.custom else doc.doctype.replace(" ", "")


def _may_call(ctx: Context, doc: Document) -> None:
    if ctx.version >= 16:
        permissions.check_document(ctx, doc, "read")
    elif not permissions.has_permission(ctx, doc.doctype, "read", doc):
        errors.throw(ctx, "Not permitted", errors.PermissionError)


@whitelist("frappe.desk.form.load.get_docinfo")
def get_docinfo(ctx: Context, doctype: Any = None, name: Any = None) -> None:
    doc = documents.load(ctx, doctype, name)
    permissions.check_document(ctx, doc)
    docinfo.add(ctx, doc)


@whitelist("frappe.desk.form.save.cancel", verbs=("POST", "PUT"))
def cancel_form(ctx: Context, doctype: Any = None, name: Any = None) -> None:
    doc = documents.cancel(ctx, documents.load(ctx, doctype, name))
    ctx.response["docs"] = [doc.as_dict()]
    docinfo.add(ctx, doc)
    errors.msgprint(ctx, "Cancelled", indicator="red", alert=True)


@whitelist("frappe.model.rename_doc.update_document_title", types={"doctype": TEXT, "docname": TEXT})
def update_document_title(
    ctx: Context, doctype: Any, docname: Any, title: Any = None, name: Any = None, merge: Any = False
) -> Any:
    """A new name, a new title, or both; answers the name."""
    doc = documents.load(ctx, doctype, docname)
    permissions.check_document(ctx, doc, "write")
    field = doc.meta.title_field
    retitled = bool(title and field and field != "name" and title != doc.get(field))
    if name and name != doc.name:
        docname = renaming.rename(ctx, doctype, str(doc.name), name, merge)
    if retitled:
        doc = documents.load(ctx, doctype, docname)
        doc.values[field] = title
        documents.save(ctx, doc)
        errors.msgprint(ctx, "Saved", indicator="green", alert=True)
    return docname


@whitelist("frappe.desk.form.utils.get_next")
def get_next(
    ctx: Context,
    doctype: Any,
    value: Any,
    prev: Any,
    filters: Any = None,
    sort_order: Any = "desc",
    sort_field: Any = "modified",
) -> Any:
    """The name of the document after or before this one, in the order of a list."""
    given = from_json(filters) if isinstance(filters, str) and filters else filters or []
    ascending = (str(sort_order).lower() == "asc") != bool(int(prev))
    here = [doctype, sort_field, ">" if ascending else "<", ctx.store.value(doctype, value, sort_field)]
    order = f"`tab{doctype}`.{sort_field} {'asc' if ascending else 'desc'}"
    found = listing.get_list(
        ctx, doctype, fields=["name"], filters=[*given, here], order_by=order, limit_page_length=1
    )
    if not found:
        errors.msgprint(ctx, "No further records")
        return None
    return found[0]["name"]


# -- what a site without workflows and reports says --------------------------------------------------------------


@whitelist("frappe.model.workflow.get_transitions")
def get_transitions(ctx: Context, doc: Any) -> None:
    data = parsed(doc)
    permissions.check_document(ctx, documents.load(ctx, data["doctype"], data.get("name")))
    raise permissions.not_found(ctx, "Workflow", "")


@whitelist("frappe.model.workflow.apply_workflow")
def apply_workflow(ctx: Context, doc: Any, action: Any) -> None:
    get_transitions(ctx, doc)


@whitelist("frappe.model.workflow.can_cancel_document")
def can_cancel_document(ctx: Context, doctype: Any) -> None:
    raise permissions.not_found(ctx, "Workflow", "")


@whitelist("frappe.desk.query_report.run")
def run_report(ctx: Context, report_name: Any) -> None:
    raise permissions.not_found(ctx, "Report", report_name)
