"""File documents: where their content goes, who may touch them, and how it is uploaded and served."""

from __future__ import annotations

import base64
import hashlib
import mimetypes
import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote

from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import Forbidden, NotFound
from werkzeug.http import dump_options_header
from werkzeug.wrappers import Response

from . import clients, documents, errors, permissions
from .context import Context, Site
from .controllers import hook
from .documents import Document
from .errors import MandatoryError, SandboxError, throw
from .methods import whitelist
from .server import Answer, Environ, error_page
from .store import Store
from .values import cint
from .web import WebContext, posts_only

PUBLIC, PRIVATE = "/files/", "/private/files/"
REMOTE = ("http://", "https://")
HOME, ATTACHMENTS = "Home", "Home/Attachments"
# utils/response.py: browsers must not run these.
FORCED_DOWNLOADS = (".svg", ".html", ".htm", ".xml")
REFUSED = "You don't have permission to access this file"
PUBLIC_SECONDS = 12 * 3600
# Names of the sites' directories, which show in the errors of missing files.
SITES = {15: "erp.localhost", 16: "v16.localhost"}
# handler.py: all that users without a desk may upload.
WEBSITE_TYPES = frozenset(
    {
        "image/png",
        "image/jpeg",
        "application/pdf",
        "application/msword",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "application/vnd.ms-excel",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "application/vnd.oasis.opendocument.text",
        "application/vnd.oasis.opendocument.spreadsheet",
        "text/plain",
        "video/quicktime",
        "video/mp4",
        "text/csv",
    }
)
WEBSITE_COMPLAINT = {
    15: "You can only upload JPG, PNG, PDF, TXT, CSV or Microsoft documents.",
    16: "You can only upload JPG, PNG, GIF, PDF, TXT, CSV or Microsoft documents.",
}


class OSError(SandboxError):  # noqa: A001 - clients see the class name as exc_type
    pass


class FileNotFoundError(SandboxError):  # noqa: A001
    pass


class FileExistsError(SandboxError):  # noqa: A001
    pass


# -- the disk ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stored:
    content: bytes
    changed: float


def disk(store: Store) -> Store:
    store.connection.execute(
        "CREATE TABLE IF NOT EXISTS files (url TEXT PRIMARY KEY, content BLOB, changed REAL)"
    )
    return store


def read(store: Store, url: str) -> Stored | None:
    found = disk(store).execute("SELECT content, changed FROM files WHERE url = ?", (url,))
    return Stored(*found[0]) if found else None


def write(store: Store, url: str, content: bytes) -> None:
    disk(store).begin()
    store.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?)", (url, content, time.time()))


def move(store: Store, url: str, target: str) -> None:
    disk(store).begin()
    store.execute("UPDATE files SET url = ? WHERE url = ?", (target, url))


def remove(store: Store, url: str) -> None:
    disk(store).begin()
    store.execute("DELETE FROM files WHERE url = ?", (url,))


def install(site: Site) -> None:
    """The two folders that every site has."""
    flags = {HOME: "is_home_folder", ATTACHMENTS: "is_attachments_folder"}
    for name, flag in flags.items():
        if site.store.exists("File", name) is None:
            row = clients.standard(site, permissions.ADMINISTRATOR)
            folder = {"name": name, "file_name": name.split("/")[-1], "is_folder": 1, flag: 1}
            parent = {"folder": HOME} if name != HOME else {}
            site.store.insert("File", row | folder | parent)
    site.store.commit()


# -- the document (core/doctype/file/file.py) ----------------------------------------------------------


@hook("File", "before_insert")
def before_insert(ctx: Context, doc: Document) -> None:
    values = doc.values
    if not values.get("folder"):
        values["folder"] = ATTACHMENTS if values.get("attached_to_doctype") else HOME
    if values.get("file_url"):
        values["is_private"] = int(str(values["file_url"]).startswith("/private"))
    name_file(ctx, values)
    if cint(values.get("is_folder")):
        return
    values["file_type"] = file_type(values["file_name"])
    content = content_of(values)
    if content:
        keep(ctx, doc, content)
    elif is_local(values):
        adopt(ctx, values)


def name_file(ctx: Context, values: dict[str, Any]) -> None:
    if not values.get("file_name"):
        if not values.get("file_url"):
            throw(ctx, "Fields `file_name` or `file_url` must be set for File", MandatoryError)
        values["file_name"] = str(values["file_url"]).split("/")[-1]
    else:
        values["file_name"] = str(values["file_name"]).replace("/", "")


def file_type(name: str) -> str | None:
    kind = mimetypes.guess_type(name)[0]
    extension = mimetypes.guess_extension(kind) if kind else None
    return extension.lstrip(".").upper() if extension else None


def content_of(values: Mapping[str, Any]) -> bytes:
    content = values.get("content") or b""
    data = content.encode() if isinstance(content, str) else bytes(content)
    if not values.get("decode"):
        return data
    return base64.b64decode(data.partition(b",")[2] if b"," in data else data)


def is_local(values: Mapping[str, Any]) -> bool:
    url = values.get("file_url")
    return bool(url) and not str(url).startswith(REMOTE)


def adopt(ctx: Context, values: dict[str, Any]) -> None:
    """A File for content that is there already."""
    stored = read(ctx.store, str(values["file_url"]))
    if stored is None:
        path = f"sites/{SITES[ctx.version]}{values['file_url']}"
        raise FileNotFoundError(f"[Errno 2] No such file or directory: '{path}'")
    values["content_hash"] = hashlib.md5(stored.content, usedforsecurity=False).hexdigest()
    values["file_size"] = len(stored.content)


def keep(ctx: Context, doc: Document, content: bytes) -> None:
    """Write the content, or share that of a File that has the same (save_file)."""
    values = doc.values
    private = cint(values.get("is_private"))
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    values |= {"is_private": private, "file_size": len(content), "content_hash": digest}
    same = ctx.store.rows("File", {"content_hash": digest, "is_private": private}, limit=1)
    if same and read(ctx.store, same[0]["file_url"]):
        values["file_url"] = same[0]["file_url"]
        return
    folder = PRIVATE if private else PUBLIC
    values["file_name"] = free_name(ctx.store, folder, values["file_name"], digest[-6:])
    safe = re.sub(r"[/\\%?#]", "_", values["file_name"]) if ctx.version >= 16 else values["file_name"]
    values["file_url"] = folder + safe
    write(ctx.store, values["file_url"], content)


def free_name(store: Store, folder: str, name: str, suffix: str) -> str:
    """A name that is taken gets the end of the content's hash before its extension."""
    if read(store, folder + name) is None:
        return name
    stem, dot, extension = name.rpartition(".")
    return f"{stem}{suffix}{dot}{extension}" if dot else f"{name}{suffix}"


@hook("File", "validate")
def validate(ctx: Context, doc: Document) -> None:
    values = doc.values
    if cint(values.get("is_folder")):
        return
    values["file_url"] = unquote(values.get("file_url") or "")
    if values.get("attached_to_doctype") and not isinstance(
        values.get("attached_to_name") or None, str | int
    ):
        throw(ctx, "Attached To Name must be a string or an integer")
    if doc.before is not None and cint(doc.before.get("is_private")) != cint(values.get("is_private")):
        change_privacy(ctx, values)
    if str(values["file_url"]).startswith(REMOTE):
        return
    if values["file_url"] and not values["file_url"].startswith((PUBLIC, PRIVATE)):
        throw(ctx, "URL must start with http:// or https://", title="Invalid URL")
    if read(ctx.store, values["file_url"]) is None:
        throw(ctx, f"File {values['file_url']} does not exist", OSError)


def change_privacy(ctx: Context, values: dict[str, Any]) -> None:
    """Move the content; every File that shares it follows."""
    old = str(values["file_url"])
    new = (PRIVATE if cint(values.get("is_private")) else PUBLIC) + old.rsplit("/", 1)[-1]
    if new == old or old.startswith(REMOTE):
        return
    if read(ctx.store, new) is not None:
        throw(ctx, f"A file with same name {new} already exists", FileExistsError)
    move(ctx.store, old, new)
    values["file_url"] = new
    for row in ctx.store.rows("File", {"content_hash": values.get("content_hash")}):
        if row["name"] != values["name"]:
            change = {"file_url": new, "is_private": cint(values.get("is_private"))}
            ctx.store.update("File", row["name"], change)


@hook("File", "on_trash")
def on_trash(ctx: Context, doc: Document) -> None:
    if cint(doc.get("is_home_folder")) or cint(doc.get("is_attachments_folder")):
        throw(ctx, "Cannot delete Home and Attachments folders")
    digest = doc.get("content_hash")
    if digest and len(ctx.store.rows("File", {"content_hash": digest}, limit=2)) < 2:
        remove(ctx.store, str(doc.get("file_url")))


def allowed(ctx: Context, row: Mapping[str, Any], ptype: str) -> bool:
    """The rule that File adds to its role permissions (file.py, has_permission)."""
    if ctx.user == permissions.ADMINISTRATOR:
        return True
    if not cint(row.get("is_private")) and ptype in ("read", "select"):
        return True
    if ctx.user != "Guest" and row.get("owner") == ctx.user:
        return True
    doctype, name = row.get("attached_to_doctype"), row.get("attached_to_name")
    if not doctype or not name or ctx.store.exists(str(doctype), name) is None:
        return False
    needed = "write" if ptype in ("write", "create", "delete") else "read"
    return permissions.has_permission(ctx, str(doctype), needed, documents.load(ctx, str(doctype), name))


def _document_rule(ctx: Context, doc: Document, ptype: str) -> bool:
    return ptype == "create" or allowed(ctx, doc.values, ptype)


def _list_rule(ctx: Context, alias: str) -> permissions.RowRule:
    """file.py, get_permission_query_conditions: users without the desk see what is their own."""
    if "Desk User" not in permissions.roles_of(ctx, ctx.user):
        return permissions.RowRule(f"{alias}.owner = ?", (ctx.user,))
    readable = [
        meta.name
        for meta in ctx.store.doctypes.values()
        if permissions.role_permissions(ctx, meta, ctx.user).get("read")
    ]
    marks = ", ".join("?" * len(readable))
    return permissions.RowRule(
        f"{alias}.is_private = 0 OR ({alias}.attached_to_doctype IS NULL AND {alias}.owner = ?)"
        f" OR {alias}.attached_to_doctype IN ({marks})",
        (ctx.user, *readable),
    )


permissions.DOCUMENT_RULES["File"] = _document_rule
permissions.LIST_RULES["File"] = _list_rule


# -- uploading -----------------------------------------------------------------------------------------


@whitelist("frappe.handler.upload_file", guest=True)
def upload_file(ctx: WebContext, **params: Any) -> Any:
    posts_only(ctx)
    if ctx.user == "Guest":
        raise errors.PermissionError
    form = ctx.form
    check_target(ctx, form.get("doctype"), form.get("docname"))
    upload = ctx.files.get("file")
    values = {
        "attached_to_doctype": form.get("doctype"),
        "attached_to_name": form.get("docname"),
        "attached_to_field": form.get("fieldname"),
        "folder": form.get("folder") or HOME,
        "file_name": form.get("file_name"),
        "file_url": form.get("file_url"),
        "is_private": cint(form.get("is_private")),
    }
    if isinstance(upload, FileStorage):
        values |= {"file_name": upload.filename, "content": upload.stream.read()}
        check_type(ctx, str(upload.filename))
    return store_file(ctx, values)


def check_target(ctx: WebContext, doctype: str | None, name: str | None) -> None:
    """handler.py, check_write_permission: a document that does not exist yet may be attached to."""
    if not doctype:
        return
    if not name:
        permissions.require(ctx, doctype, "write")
        return
    if ctx.version >= 16 and ctx.store.meta(doctype) is None:
        text = f"DocType {doctype} not found"
        errors.tied(ctx, errors.DoesNotExistError(text), text)
    documents.check_known(ctx, doctype)
    if ctx.store.exists(doctype, name) is not None:
        permissions.check_document(ctx, documents.load(ctx, doctype, name), "write")


def check_type(ctx: WebContext, name: str) -> None:
    if permissions.is_system_user(ctx, ctx.user):
        return
    kind = mimetypes.guess_type(name)[0]
    if kind not in WEBSITE_TYPES and not (kind == "image/gif" and ctx.version >= 16):
        throw(ctx, WEBSITE_COMPLAINT[ctx.version])


def store_file(ctx: WebContext, values: dict[str, Any]) -> dict[str, Any]:
    doc = documents.from_dict(ctx, {"doctype": "File", **values})
    documents.insert(ctx, doc)
    return doc.as_dict(nulls=False)


@whitelist("frappe.client.attach_file", verbs=("POST", "PUT"))
def attach_file(
    ctx: WebContext,
    filename: str | None = None,
    filedata: str | None = None,
    doctype: str | None = None,
    docname: str | None = None,
    folder: str | None = None,
    decode_base64: Any = False,
    is_private: Any = None,
    docfield: str | None = None,
) -> dict[str, Any]:
    doc = documents.load(ctx, str(doctype), docname)
    permissions.check_document(ctx, doc)
    values = {
        "file_name": filename,
        "attached_to_doctype": doctype,
        "attached_to_name": docname,
        "attached_to_field": docfield,
        "folder": folder,
        "is_private": is_private,
        "content": filedata,
        "decode": decode_base64,
    }
    result = store_file(ctx, values)
    if docfield:
        doc.set(docfield, result["file_url"])
        documents.save(ctx, doc)
    return result


@whitelist("frappe.handler.download_file", guest=True)
@whitelist("frappe.core.doctype.file.file.download_file", guest=True)
def download_file(ctx: WebContext, file_url: str) -> Response:
    row = (
        find(ctx, file_url)
        if ctx.version >= 16
        else documents.load(ctx, "File", {"file_url": file_url}).values
    )
    if row is None or (ctx.version < 16 and not allowed(ctx, row, "read")):
        raise errors.PermissionError
    stored = read(ctx.store, file_url)
    name = file_url.rsplit("/", 1)[-1]
    disposition = dump_options_header("attachment", {"filename": name})
    return Response(
        stored.content if stored else b"",
        headers={"Content-Disposition": disposition},
        content_type=content_type(name),
    )


# -- serving -------------------------------------------------------------------------------------------


def static(site: Site, environ: Environ) -> Answer:
    """A public file, as the static middleware in front of Frappe answers: no session, no cookies."""
    path = environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace")
    with site.lock:
        stored = read(site.store, unquote(path))
    if stored is None:
        # The development middleware fails on a missing file; nginx would say 404.
        return error_page(500)
    name = path.rsplit("/", 1)[1]
    tag = f'"wzsdm-{stored.changed}-{len(stored.content)}-{zlib.adler32(path.encode()) & 0xFFFFFFFF}"'
    headers = [("ETag", tag), ("Cache-Control", f"max-age={PUBLIC_SECONDS}, public")]
    if environ.get("HTTP_IF_NONE_MATCH") == tag:
        return Answer(304, headers)
    headers += [
        ("Content-Type", content_type(name)),
        ("Last-Modified", formatdate(stored.changed, usegmt=True)),
    ]
    return Answer(200, headers, stored.content)


def content_type(name: str) -> str:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def download_private(ctx: WebContext) -> Response:
    """/private/files/… for those who may read one of the File documents of that address."""
    path = ctx.path
    if ctx.user == "Guest" or find(ctx, path, ctx.form.get("fid")) is None:
        raise Forbidden(REFUSED)
    stored = read(ctx.store, path)
    if stored is None:
        raise NotFound
    return served(ctx, path, stored)


def find(ctx: WebContext, url: str, name: str | None = None) -> Mapping[str, Any] | None:
    """The first File of that address that the user may read (core/doctype/file/utils.py)."""
    where = {"file_url": url} | ({"name": name} if name else {})
    return next((row for row in ctx.store.rows("File", where) if allowed(ctx, row, "read")), None)


def served(ctx: WebContext, path: str, stored: Stored) -> Response:
    name = path.rsplit("/", 1)[1]
    forced = name.lower().endswith(FORCED_DOWNLOADS)
    response = Response(stored.content, content_type=content_type(name))
    if forced or ctx.version >= 16:
        disposition = "attachment" if forced else "inline"
        response.headers["Content-Disposition"] = dump_options_header(disposition, {"filename": name})
    if ctx.version >= 16:
        check = zlib.adler32(path.encode()) & 0xFFFFFFFF
        response.set_etag(f"{stored.changed}-{len(stored.content)}-{check}")
        response.headers["Last-Modified"] = formatdate(stored.changed, usegmt=True)
        response.headers["Cache-Control"] = "no-cache"
        length = len(stored.content)
        response.make_conditional(ctx.request.environ, accept_ranges=True, complete_length=length)
        if response.status_code != 206:
            response.headers.remove("Accept-Ranges")
    return response
