"""What a form shows around its document: comments, attachments, versions, assignments, shares (desk/form/load.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .client_methods import described_rights

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document

VERSIONS = 10
LISTS = {
    "comments": ("Comment",),
    "shared": (),
    "assignment_logs": ("Assigned", "Assignment Completed"),
    "attachment_logs": ("Attachment", "Attachment Removed"),
    "info_logs": ("Info", "Edit", "Label"),
    "like_logs": ("Like",),
    "workflow_logs": ("Workflow",),
}
RIGHTS = ("read", "write", "submit", "share", "everyone")


def add(ctx: Context, doc: Document) -> None:
    """Answer it along with the document."""
    about = {"reference_doctype": doc.doctype, "reference_name": str(doc.name)}
    empty = ["communications", "automated_messages", "milestones", "views", "additional_timeline_content"]
    empty.append("energy_point_logs" if ctx.version < 16 else "custom_perm_types")
    ctx.response["docinfo"] = {
        "user_info": user_info(ctx, doc.get("owner")),
        **{key: [] for key in empty},
        **_comments(ctx, about),
        "attachments": _attachments(ctx, doc),
        "versions": _versions(ctx, doc),
        "assignments": _assignments(ctx, doc),
        "shared": _shares(ctx, doc),
        "doctype": doc.doctype,
        "name": doc.name,
        "permissions": described_rights(ctx, doc),
        "is_document_followed": None,
        "tags": "" if doc.meta.is_single else _tags(ctx, doc),
        "document_email": None,
    }


def _some(row: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: row.get(name) for name in names}


def _comments(ctx: Context, about: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    names = ["name", "creation", "content", "owner", "comment_type"]
    names += ["published"] if ctx.version >= 16 else []
    found: dict[str, list[dict[str, Any]]] = {key: [] for key in LISTS}
    for row in ctx.store.rows("Comment", about, order="creation DESC"):
        shown = _some(row, *names)
        if row["comment_type"] == "Comment" and not str(row["content"]).startswith("<"):
            shown["content"] = f"<p>{row['content']}</p>\n"
        for key, kinds in LISTS.items():
            if row["comment_type"] in kinds:
                found[key].append(shown)
    return found


def _attachments(ctx: Context, doc: Document) -> list[dict[str, Any]]:
    place = {"attached_to_doctype": doc.doctype, "attached_to_name": str(doc.name)}
    rows = ctx.store.rows("File", place, order="creation DESC")
    return [_some(row, "name", "file_name", "file_url", "is_private") for row in rows]


def _versions(ctx: Context, doc: Document) -> list[dict[str, Any]]:
    if not doc.meta.raw.get("track_changes"):
        return []
    place = {"ref_doctype": doc.doctype, "docname": str(doc.name)}
    rows = ctx.store.rows("Version", place, order="creation DESC", limit=VERSIONS)
    return [_some(row, "name", "owner", "creation", "data") for row in rows]


def _assignments(ctx: Context, doc: Document) -> list[dict[str, Any]]:
    place = {"reference_type": doc.doctype, "reference_name": str(doc.name), "status": "Open"}
    rows = ctx.store.rows("ToDo", place)
    return [
        {"name": row["name"], "owner": row["allocated_to"], **_some(row, "description", "status")}
        for row in rows
    ]


def _shares(ctx: Context, doc: Document) -> list[dict[str, Any]]:
    place = {"share_doctype": doc.doctype, "share_name": str(doc.name)}
    return [_some(row, "name", "user", *RIGHTS) for row in ctx.store.rows("DocShare", place)]


def _tags(ctx: Context, doc: Document) -> str:
    # Joined out of the links between tags and documents, without the lead that 15 stores.
    return str(ctx.store.value(doc.doctype, doc.name, "_user_tags") or "").strip(",")


def user_info(ctx: Context, user: Any) -> dict[str, Any]:
    """Since 16 the owner is introduced along with the document."""
    row = ctx.store.get("User", user) if ctx.version >= 16 and user else None
    if row is None:
        return {}
    zone = row.get("time_zone") or ctx.site.world.time_zone
    info = {"fullname": row["full_name"], "image": row.get("user_image"), "name": row["name"]}
    return {row["name"]: {**info, "email": row["email"], "time_zone": zone}}
