"""What people add around documents: shares, comments, tags, likes, assignments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from erpnext_bridge import collation

from . import documents, errors, listing, permissions
from .filters import from_json, parsed
from .methods import TEXT, whitelist

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document


def _make(ctx: Context, doctype: str, values: dict[str, Any]) -> Document:
    """Insert a document of the system's, whatever the user may do."""
    doc = documents.new(ctx, doctype, values)
    doc.ignore_permissions = True
    return documents.insert(ctx, doc)


@whitelist("frappe.share.add")
def share_add(
    ctx: Context,
    doctype: Any,
    name: Any,
    user: Any = None,
    read: Any = 1,
    write: Any = 0,
    submit: Any = 0,
    share: Any = 0,
    everyone: Any = 0,
    notify: Any = 0,
) -> Any:
    where = {"share_doctype": doctype, "share_name": name, "user": user}
    found = ctx.store.rows("DocShare", where, limit=1)
    rights = {"read": read, "write": write, "submit": submit, "share": share, "everyone": everyone}
    numbers = {key: listing.cint(value) for key, value in rights.items()} | {"read": 1}
    doc = documents.load(ctx, doctype, name)
    if not permissions.has_permission(ctx, doctype, "share", doc, show=False):
        errors.throw(ctx, f"No permission to share {doctype} {name}", errors.PermissionError)
    if found:
        changed = {"modified": ctx.site.now_text(), "modified_by": ctx.user}
        ctx.store.update("DocShare", found[0]["name"], {**numbers, **changed})
        return documents.load(ctx, "DocShare", found[0]["name"]).as_dict(nulls=False)
    return _make(ctx, "DocShare", {**where, **numbers}).as_dict(nulls=False)


@whitelist("frappe.share.set_permission")
def share_set(
    ctx: Context, doctype: Any, name: Any, user: Any, permission_to: Any, value: Any = 1, everyone: Any = 0
) -> Any:
    where = {"share_doctype": doctype, "share_name": name, "user": user}
    found = ctx.store.rows("DocShare", where, limit=1)
    number = listing.cint(value)
    if not found:
        return share_add(ctx, doctype, name, user, **{permission_to: number}) if number else None
    row = {**found[0], permission_to: number}
    if any(row[right] for right in ("read", "write", "submit", "share")):
        ctx.store.update("DocShare", row["name"], {permission_to: number})
        return documents.load(ctx, "DocShare", row["name"]).as_dict(nulls=False)
    ctx.store.delete("DocShare", {"name": row["name"]})
    return None


SHOWN_OF_A_SHARE = ("name", "user", "read", "write", "submit", "share", "everyone", "owner", "creation")


@whitelist("frappe.share.get_users", types={"doctype": TEXT, "name": TEXT})
def share_users(ctx: Context, doctype: Any, name: Any) -> list[dict[str, Any]]:
    """The latest share first; nobody, for whoever may not read the document."""
    doc = documents.load(ctx, doctype, name)
    if not permissions.has_permission(ctx, doctype, "read", doc, show=False):
        return []
    rows = ctx.store.rows("DocShare", {"share_doctype": doctype, "share_name": name}, order="creation DESC")
    return rows if ctx.version >= 16 else [{key: row[key] for key in SHOWN_OF_A_SHARE} for row in rows]


def comment(
    ctx: Context,
    doc: Document,
    content: Any,
    *,
    comment_type: str = "Comment",
    email: Any = None,
    by: Any = None,
) -> dict[str, Any]:
    values = {
        "comment_type": comment_type,
        "comment_email": email or ctx.user,
        "comment_by": by,
        "reference_doctype": doc.doctype,
        "reference_name": str(doc.name),
        "content": content,
    }
    made = _make(ctx, "Comment", values)
    if comment_type == "Comment" and "_comments" in ctx.store.kinds(doc.doctype):
        _note(ctx, doc, {"comment": str(content), "by": ctx.user, "name": made.name})
    return made.as_dict(nulls=False)


def _note(ctx: Context, doc: Document, entry: dict[str, Any]) -> None:
    """Lists show comments out of a column of the document itself."""
    stored = ctx.store.value(doc.doctype, doc.name, "_comments")
    notes = json.loads(stored) if stored else []
    ctx.store.update(doc.doctype, doc.name, {"_comments": json.dumps([*notes, entry])})


@whitelist("frappe.desk.form.utils.add_comment", verbs=("POST", "PUT"))
def add_comment(
    ctx: Context,
    reference_doctype: Any,
    reference_name: Any,
    content: Any,
    comment_email: Any,
    comment_by: Any,
) -> Any:
    doc = documents.load(ctx, reference_doctype, reference_name)
    permissions.check_document(ctx, doc)
    return comment(ctx, doc, content, email=comment_email, by=comment_by)


@whitelist("frappe.desk.form.utils.update_comment")
def update_comment(ctx: Context, name: Any, content: Any) -> None:
    """Its owner alone may; lists show the new text, too."""
    row = documents.load(ctx, "Comment", name)
    if ctx.user not in (permissions.ADMINISTRATOR, row.get("owner")):
        errors.throw(ctx, "Comment can only be edited by the owner", errors.PermissionError)
    doctype, about = row.get("reference_doctype"), row.get("reference_name")
    row.values["content"] = content
    row.ignore_permissions = True
    if doctype and about:
        permissions.check_document(ctx, documents.load(ctx, doctype, about))
    documents.save(ctx, row)
    if doctype and about and "_comments" in ctx.store.kinds(doctype):
        notes = json.loads(ctx.store.value(doctype, about, "_comments") or "[]")
        changed = [{**note, "comment": str(content)} if note["name"] == row.name else note for note in notes]
        ctx.store.update(doctype, about, {"_comments": json.dumps(changed)})


@whitelist("frappe.desk.doctype.tag.tag.add_tag")
def add_tag(ctx: Context, tag: Any, dt: Any, dn: Any, color: Any = None) -> Any:
    """A tag that is there already asks nobody; a new one is written for whoever may write the document."""
    tags = _tags_of(ctx, dt, dn)
    if tag in tags or (not tag and ctx.version < 16):
        return tag
    permissions.check_document(ctx, documents.load(ctx, dt, dn), "write")
    if ctx.store.exists("Tag", tag) is None:
        if not tag:
            errors.throw(ctx, "Please set the document name")
        _make(ctx, "Tag", {"name": tag})
    for part in str(tag).split(","):
        # Commas separate tags where they are stored: each part has to be one.
        if ctx.store.exists("Tag", part) is None:
            errors.throw(ctx, f"Could not find Document Tag: {part}", errors.LinkValidationError)
    _set_tags(ctx, dt, dn, [*tags, str(tag)])
    return tag


@whitelist("frappe.desk.doctype.tag.tag.add_tags")
def add_tags(ctx: Context, tags: Any, dt: Any, docs: Any, color: Any = None) -> None:
    for name in parsed(docs):
        for tag in parsed(tags):
            documents.load(ctx, dt, name)
            add_tag(ctx, tag, dt, name)


@whitelist("frappe.desk.doctype.tag.tag.get_tagged_docs")
def get_tagged_docs(ctx: Context, doctype: Any, tag: Any) -> Any:
    """The tag is a pattern for the whole column; which documents are the user's to see is not asked."""
    if not permissions.has_permission(ctx, doctype):
        raise errors.PermissionError
    tags = {
        row["name"]: ctx.store.value(doctype, row["name"], "_user_tags") for row in ctx.store.rows(doctype)
    }
    return [[name] for name, text in tags.items() if text is not None and collation.like(str(tag), str(text))]


def _tags_of(ctx: Context, doctype: Any, name: Any) -> list[str]:
    return [one for one in str(ctx.store.value(doctype, name, "_user_tags") or "").split(",") if one]


def _set_tags(ctx: Context, doctype: Any, name: Any, tags: list[str]) -> None:
    lead = "," if ctx.version < 16 else ""
    ctx.store.update(doctype, name, {"_user_tags": lead + ",".join(tags)})


@whitelist("frappe.desk.doctype.tag.tag.remove_tag")
def remove_tag(ctx: Context, tag: Any, dt: Any, dn: Any) -> None:
    doc = documents.load(ctx, dt, dn)
    permissions.check_document(ctx, doc, "write")
    _set_tags(ctx, dt, doc.name, [one for one in _tags_of(ctx, dt, dn) if one.lower() != str(tag).lower()])


@whitelist("frappe.desk.doctype.tag.tag.get_tags")
def get_tags(ctx: Context, doctype: Any, txt: Any) -> Any:
    found = listing.get_list(ctx, "Tag", filters=[["name", "like", f"%{txt}%"]], limit_page_length=0)
    names = {str(row["name"]) for row in found}
    return sorted(name for name in names if str(txt).casefold() in name.casefold())


@whitelist("frappe.desk.like.toggle_like")
def toggle_like(ctx: Context, doctype: Any, name: Any, add: Any = False) -> None:
    doc = documents.load(ctx, doctype, name)
    liked = from_json(ctx.store.value(doctype, doc.name, "_liked_by") or "[]")
    likes = [user for user in liked if user != ctx.user]
    if add == "Yes":
        likes = liked if ctx.user in liked else [*liked, ctx.user]
    if add == "Yes" and ctx.user not in liked:
        comment(ctx, doc, "Liked", comment_type="Like")
    ctx.store.update(doctype, doc.name, {"_liked_by": json.dumps(likes)})


@whitelist("frappe.desk.form.assign_to.remove")
def unassign(ctx: Context, doctype: Any, name: Any, assign_to: Any) -> Any:
    return _end_assignment(ctx, doctype, name, assign_to, "Cancelled")


@whitelist("frappe.desk.form.assign_to.remove_multiple")
def unassign_many(ctx: Context, doctype: Any, names: Any) -> None:
    for name in parsed(names):
        for one in _assigned(ctx, doctype, name):
            unassign(ctx, doctype, name, one["owner"])


@whitelist("frappe.desk.form.assign_to.close", types={"doctype": TEXT, "name": TEXT, "assign_to": TEXT})
def close_assignment(ctx: Context, doctype: Any, name: Any, assign_to: Any) -> Any:
    if assign_to != ctx.user:
        errors.throw(ctx, "Only the assignee can complete this to-do.")
    return _end_assignment(ctx, doctype, name, assign_to, "Closed")


def _end_assignment(ctx: Context, doctype: Any, name: Any, user: Any, status: str) -> list[dict[str, Any]]:
    permissions.check_document(ctx, documents.load(ctx, doctype, name))
    place = {"reference_type": doctype, "reference_name": str(name), "allocated_to": user}
    for row in ctx.store.rows("ToDo", {**place, "status": "Open"}, limit=1):
        ctx.store.update("ToDo", row["name"], {"status": status})
    return _assigned(ctx, doctype, name)


@whitelist("frappe.desk.form.assign_to.add_multiple")
def assign_many(
    ctx: Context,
    name: Any,
    doctype: Any = None,
    assign_to: Any = None,
    description: Any = None,
    date: Any = None,
    priority: Any = "Medium",
) -> None:
    for one in parsed(name):
        assign(ctx, doctype, one, assign_to, description, date, priority)


@whitelist("frappe.desk.form.assign_to.add")
def assign(
    ctx: Context,
    doctype: Any = None,
    name: Any = None,
    assign_to: Any = None,
    description: Any = None,
    date: Any = None,
    priority: Any = "Medium",
) -> Any:
    users = parsed(assign_to)
    permissions.check_document(ctx, documents.load(ctx, doctype, name))
    place = {"reference_type": doctype, "reference_name": str(name), "status": "Open"}
    there = {row["allocated_to"] for row in ctx.store.rows("ToDo", place)}
    if known := [user for user in users if user in there]:
        errors.msgprint(ctx, "Already in the following Users ToDo list:<br><br>" + "<br>".join(known))
    for user in (user for user in users if user not in there):
        values = {
            "allocated_to": user,
            "reference_type": doctype,
            "reference_name": str(name),
            "description": description or f"Assignment for {doctype} {name}",
            "priority": priority,
            "status": "Open",
            "date": date or ctx.site.today(),
            "assigned_by": ctx.user,
        }
        _make(ctx, "ToDo", values)
    return _assigned(ctx, doctype, name)


def _assigned(ctx: Context, doctype: Any, name: Any) -> list[dict[str, Any]]:
    """Who has the document to do; the document names them, too (ToDo.update_in_reference)."""
    place = {"reference_type": doctype, "reference_name": str(name), "status": "Open"}
    rows = ctx.store.rows("ToDo", place)
    names = [row["allocated_to"] for row in rows]
    ctx.store.update(doctype, name, {"_assign": json.dumps(names) if names else ""})
    return [{"owner": row["allocated_to"], "name": row["name"]} for row in rows]
