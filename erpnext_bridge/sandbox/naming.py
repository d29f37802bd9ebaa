"""How new documents get their names (model/naming.py)."""

from __future__ import annotations

import re
import secrets
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import controllers, errors
from .values import cint, cstr

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document

_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


def set_new_name(ctx: Context, doc: Document) -> None:
    meta = doc.meta
    autoname = meta.autoname
    if autoname.lower() != "prompt":
        doc.values["name"] = None
    if meta.autoincrement and not meta.is_single:
        doc.values["name"] = ctx.store.next_number(meta.name)
        return
    if doc.get("amended_from"):
        doc.values["name"] = amended_name(ctx, doc)
        return
    if meta.is_single:
        doc.values["name"] = meta.name
    if not doc.name:
        controllers.run(ctx, doc, "autoname")
    if not cstr(doc.name).strip() and autoname:
        doc.values["name"] = _by_rule(ctx, doc, autoname)
    if not doc.name:
        doc.values["name"] = random_name()
    doc.values["name"] = checked(ctx, doc, doc.name)


def random_name() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(10))


def _by_rule(ctx: Context, doc: Document, autoname: str) -> Any:
    lower = autoname.lower()
    if lower.startswith("field:"):
        fieldname = autoname[6:]
        name = cstr(doc.get(fieldname)).strip()
        if not name:
            errors.throw(ctx, f"{doc.meta.label(fieldname)} is required")
        return name
    if lower.startswith("naming_series:"):
        return _by_series(ctx, doc)
    if lower.startswith("prompt"):
        if not cstr(doc.name).strip():
            errors.throw(ctx, "Please set the document name")
        return doc.name
    if lower.startswith("format:"):
        return _by_format(ctx, doc, autoname[7:])
    if "#" in autoname:
        return make_name(ctx, autoname, doc)
    return None


def _by_series(ctx: Context, doc: Document) -> str:
    if not doc.get("naming_series"):
        df = doc.meta.field("naming_series")
        options = [option for option in (df.options if df else "").split("\n") if option]
        doc.values["naming_series"] = options[0] if options else None
    if not doc.get("naming_series"):
        errors.throw(ctx, "Naming Series mandatory")
    return make_name(ctx, f"{doc.get('naming_series')}.#####", doc)


def _by_format(ctx: Context, doc: Document, pattern: str) -> str:
    if ctx.version >= 16:
        # All hashes of a site count together: the series is called "".
        return re.sub(r"\{(.+?)\}", lambda match: make_name(ctx, match.group(1), doc), pattern)
    filled = re.sub(r"\{([^#]+?)\}", lambda match: make_name(ctx, match.group(1), doc), pattern)

    def count(match: re.Match[str]) -> str:
        return str(ctx.store.next_in_series(filled[: match.start()])).zfill(len(match.group(1)))

    return re.sub(r"\{(#+)\}", count, filled)


def make_name(ctx: Context, key: str, doc: Document | None) -> str:
    """A name out of parts between dots: hashes count, dates and fields fill in (make_autoname)."""
    if key == "hash":
        return random_name()
    if "#" not in key and "." in key and not re.search(r"\.[A-Za-z]+\.?", key):
        key += ".#####"
    name, counted = "", False
    for part in key.split("."):
        if part.startswith("#"):
            if not counted:
                counted = True
                name += str(ctx.store.next_in_series(name)).zfill(len(part))
        else:
            name += _part(ctx, part, doc)
    return name


_DATE_PARTS = {
    "YY": "%y",
    "MM": "%m",
    "DD": "%d",
    "JJJ": "%j",
    "YYYY": "%Y",
    "WW": "%V",
    "timestamp": "%Y-%m-%d %H:%M:%S.%f",
}


def _part(ctx: Context, part: str, doc: Document | None) -> str:
    now: datetime = ctx.site.clock()
    if part in _DATE_PARTS:
        return now.strftime(_DATE_PARTS[part])
    if part == "FY":
        return now.strftime("%Y")
    name = part.strip("{}")
    if doc is not None and (part.startswith("{") or name in doc.values or doc.meta.field(name)):
        return cstr(doc.get(name)).strip()
    return part


def checked(ctx: Context, doc: Document, name: Any) -> Any:
    """naming.validate_name."""
    doctype = doc.doctype
    if not name:
        errors.throw(ctx, f"No Name Specified for {doctype}")
    if isinstance(name, int):
        if doc.meta.autoincrement:
            return name
        errors.throw(ctx, "Invalid name type (integer) for varchar name column", errors.NameError)
    if name.startswith(f"New {doctype}"):
        message = "There were some errors setting the name, please contact the administrator"
        errors.throw(ctx, message, errors.NameError)
    name = name.strip()
    if not doc.meta.is_single and name == doctype and name != "DocType":
        errors.throw(ctx, f"Name of {doctype} cannot be {name}", errors.NameError)
    if re.search("[<>]", name):
        errors.throw(ctx, "Name cannot contain special characters like '<', '>'", errors.NameError)
    return name


def amended_name(ctx: Context, doc: Document) -> str:
    """The amended document's name with a counter."""
    source = str(doc.get("amended_from"))
    stored = ctx.store.get(doc.doctype, source)
    if stored is not None and stored.get("amended_from"):
        prefix, _, number = source.rpartition("-")
        return f"{prefix}-{cint(number) + 1}"
    return f"{source}-1"


def give_back(ctx: Context, doc: Document) -> None:
    """Deleting the last of a series makes its number free again (revert_series_if_last)."""
    autoname = doc.meta.autoname
    series = doc.get("naming_series") if autoname.startswith("naming_series:") else autoname
    kind = autoname.split(":", 1)[0]
    if not autoname or not series or kind in ("Prompt", "prompt", "field", "hash", "autoincrement", "format"):
        return
    prefix = series.rsplit(".#", 1)[0] if ".#" in series else series
    if "." in prefix:
        prefix = "".join(_part(ctx, part, doc) for part in prefix.split("."))
    current = ctx.store.execute("SELECT current FROM series WHERE name = ?", (prefix,))
    if current and current[0][0] == cint(str(doc.name).replace(prefix, "")):
        ctx.store.set_series(prefix, current[0][0] - 1)
