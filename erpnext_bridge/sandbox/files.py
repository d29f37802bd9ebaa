"""Files: what is stored where, who may read it, and how it is served."""

from __future__ import annotations

import mimetypes
import time
import zlib
from dataclasses import dataclass
from email.utils import formatdate
from urllib.parse import unquote

from werkzeug.exceptions import Forbidden, NotFound
from werkzeug.http import dump_options_header
from werkzeug.wrappers import Response

from .context import Site
from .server import Answer, Environ, error_page
from .store import Row, Store
from .web import WebContext

PUBLIC, PRIVATE = "/files/", "/private/files/"
# utils/response.py: browsers must not run these.
FORCED_DOWNLOADS = (".svg", ".html", ".htm", ".xml")
REFUSED = "You don't have permission to access this file"
PUBLIC_SECONDS = 12 * 3600


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


def find(ctx: WebContext, url: str, name: str | None = None) -> Row | None:
    """The first File of that address that the user may read (core/doctype/file/utils.py)."""
    where = {"file_url": url} | ({"name": name} if name else {})
    return next((row for row in ctx.store.rows("File", where) if readable(ctx, row)), None)


def readable(ctx: WebContext, row: Row) -> bool:
    return True


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
        response.make_conditional(
            ctx.request.environ, accept_ranges=True, complete_length=len(stored.content)
        )
    return response
