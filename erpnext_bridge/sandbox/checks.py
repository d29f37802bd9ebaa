"""What a document must satisfy before it is stored (model/base_document.py)."""

from __future__ import annotations

import re
from email.utils import parseaddr
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from . import errors
from .meta import INT_TYPES, NO_VALUE_TYPES, DocField
from .permissions import meta_of
from .values import FLOATS, cint, cstr, flt, sanitize, strip_html

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document

MAX_INT = 2147483647
VARCHAR = frozenset(
    {"Data", "Link", "Dynamic Link", "Select", "Read Only", "Color", "Icon", "Phone", "Autocomplete"}
)
TEXTS = frozenset(
    {"Data", "Text", "Small Text", "Long Text", "Text Editor", "Select", "Link", "Dynamic Link"}
)
UNFILTERED = frozenset({"Attach", "Attach Image", "Barcode", "Code"})
_EMAIL = re.compile(r"[^@\s<>(),;:\"]+@[^@\s<>(),;:\"]+\.[^@\s<>(),;:\"]+$")
_PHONE = re.compile(r"\+\d{1,4}-?[\d\s()-]{4,}$")
_URL = re.compile(r"(https?|ftps?|file|wss?|mailto|tel)://?\S+|/\S*$", re.IGNORECASE)


# -- links -------------------------------------------------------------------------------------------------------


class Broken(NamedTuple):
    missing: list[str]
    cancelled: list[str]


def check_links(ctx: Context, doc: Document) -> None:
    """Every link must name a document; links take its stored spelling and fetch its values."""
    broken = Broken([], [])
    for part in (doc, *doc.child_rows()):
        _links_of(ctx, part, doc.meta.is_submittable, broken)
    if broken.missing:
        message = f"Could not find {', '.join(broken.missing)}"
        errors.throw(ctx, message, errors.LinkValidationError)
    if broken.cancelled:
        message = f"Cannot link cancelled document: {', '.join(broken.cancelled)}"
        errors.throw(ctx, message, errors.CancelledLinkError)


def _links_of(ctx: Context, doc: Document, submittable: bool, broken: Broken) -> None:
    for df in [*doc.meta.links, *doc.meta.dynamic_links]:
        value = doc.get(df.fieldname)
        if value:
            _check_link(ctx, doc, df, value, submittable, broken)


def _check_link(
    ctx: Context, doc: Document, df: DocField, value: Any, submittable: bool, broken: Broken
) -> None:
    if ctx.version >= 16 and not isinstance(value, str | int):
        raise errors.AssertionError(f"Unexpected value for field {df.fieldname}: {value}")
    doctype = _target(ctx, doc, df)
    if df.fieldtype == "Link" and ctx.store.meta(doctype) is None:
        # A DocType of Frappe's own that no sandbox has.
        return
    meta = meta_of(ctx, doctype)
    fetched = [
        one for one in doc.fetches(df.fieldname) if not one.fetch_if_empty or not doc.get(one.fieldname)
    ]
    found = {"name": doctype} if meta.is_single else ctx.store.get(doctype, value)
    if found is None and fetched and ctx.version < 16:
        # v15 looks up the name and the fetched columns in one query and checks only rows it found.
        return
    if found is not None:
        doc.values[df.fieldname] = str(found["name"])
        for one in fetched:
            if doc.is_new or doc.docstatus != 1 or one.allow_on_submit:
                doc.values[one.fieldname] = found.get(one.fetch_from.split(".")[-1])
    label = f"{df.label}: {value}"
    shown = f"Row #{doc.get('idx')}: {label}" if doc.get("parentfield") else label
    if found is None:
        broken.missing.append(shown)
    elif df.fieldname != "amended_from" and submittable and meta.is_submittable and found["docstatus"] == 2:
        broken.cancelled.append(shown)


def _target(ctx: Context, doc: Document, df: DocField) -> str:
    if df.fieldtype == "Link":
        return df.options
    doctype = doc.get(df.options)
    if not doctype:
        errors.throw(ctx, f"{doc.meta.label(df.options)} must be set first")
    return str(doctype)


# -- values ------------------------------------------------------------------------------------------------------


def check_values(ctx: Context, doc: Document) -> None:
    check_mandatory(ctx, doc)
    for part in (doc, *doc.child_rows()):
        _check_formats(ctx, part)
        _check_selects(ctx, part)
        _check_signs(ctx, part)
        _check_lengths(ctx, part)
        _bound_ratings(part)
        _check_code(ctx, part)
        if part.meta.autoname.startswith("field:") and part.name:
            part.values[part.meta.autoname[6:]] = part.name
        _sanitize(part)
        _keep_passwords(ctx, part)


def check_mandatory(ctx: Context, doc: Document) -> None:
    missing = [one for part in (doc, *doc.child_rows()) for one in _missing(ctx, part)]
    for _, message in missing:
        errors.msgprint(ctx, message)
    if missing:
        names = ", ".join(name for name, _ in missing)
        raise errors.MandatoryError(f"[{doc.doctype}, {doc.name}]: {names}")


def _missing(ctx: Context, doc: Document) -> list[tuple[str, str]]:
    found = []
    for df in doc.meta.mandatory:
        if df.is_table:
            if not doc.rows(df.fieldname):
                colon = ":" if ctx.version < 16 else ""
                found.append((df.fieldname, f"Error: Data missing in table{colon} {df.label}"))
        elif not _has_content(df, doc.get(df.fieldname)):
            found.append((df.fieldname, _missing_message(doc, df)))
    return found


def _has_content(df: DocField, value: Any) -> bool:
    if value == []:
        return False
    text = cstr(value)
    if strip_html(text).strip():
        return True
    markup = df.fieldtype == "Text Editor" or (df.fieldtype == "Code" and df.options == "HTML")
    return markup and "<img" in text


def _missing_message(doc: Document, df: DocField) -> str:
    if doc.get("parentfield"):
        place = f"<strong>{doc.doctype}</strong> Row #{doc.get('idx')}"
        return f"Error: {place}: Value missing for: {df.label}"
    return f"Error: Value missing for {doc.doctype}: {df.label}"


def _check_formats(ctx: Context, doc: Document) -> None:
    for df in doc.meta.formatted:
        value = doc.get(df.fieldname)
        if not value:
            continue
        kind = df.fieldtype if df.fieldtype == "Phone" else df.options
        check = _FORMATS.get(kind)
        if check is not None:
            check(ctx, df, str(value))


def _check_email(ctx: Context, df: DocField, text: str) -> None:
    for address in re.split(r"[,\n]", text):
        address = address.strip()
        if "<" in address:
            # With a display name before it.
            address = parseaddr(address)[1] or address
        if address and address not in ("Administrator", "Guest") and not _EMAIL.search(address):
            message = f"{address} is not a valid Email Address"
            errors.throw(ctx, message, errors.InvalidEmailAddressError)


def _check_url(ctx: Context, df: DocField, text: str) -> None:
    parts = urlsplit(text)
    # 16 takes any scheme (utils/__init__.py, validate_url).
    known = ctx.version >= 16 and bool(parts.scheme and (parts.netloc or parts.path))
    if not known and not _URL.match(text):
        errors.throw(ctx, f"'<strong>{text}</strong>' is not a valid URL")


def _check_phone(ctx: Context, df: DocField, text: str) -> None:
    if re.match(r"\s*\(?\d[\d\s()-]+$", text):
        message = f"Please select a country code for field <strong>{df.fieldname}</strong>."
        errors.throw(ctx, message, errors.InvalidPhoneNumberError, title="Country Code Required")
    if not _PHONE.match(text):
        message = (
            f"Phone Number <strong>{text}</strong> set in field <strong>{df.fieldname}</strong> is not valid."
        )
        errors.throw(ctx, message, errors.InvalidPhoneNumberError, title="Invalid Phone Number")


def _check_name(ctx: Context, df: DocField, text: str) -> None:
    if not _PERSON.match(text.strip()):
        errors.throw(ctx, f"{text} is not a valid Name", errors.InvalidNameError)


_PERSON = re.compile(r"[\w][\w'-]*( \w[\w'-]*)*$")
_FORMATS = {"Name": _check_name, "Email": _check_email, "URL": _check_url, "Phone": _check_phone}


def _check_selects(ctx: Context, doc: Document) -> None:
    for df in doc.meta.selects:
        value = doc.get(df.fieldname)
        if df.fieldname == "naming_series" or not value or not df.options:
            continue
        options = df.options.split("\n")
        text = doc.values[df.fieldname] = cstr(value).strip()
        if text in options:
            continue
        prefix = f"Row #{doc.get('idx')}:" if doc.get("parentfield") else ""
        choices = '", "'.join(options)
        errors.throw(ctx, f'{prefix} {df.label} cannot be "{text}". It should be one of "{choices}"')


def _check_signs(ctx: Context, doc: Document) -> None:
    for df in doc.meta.fields:
        if not df.non_negative or flt(doc.get(df.fieldname)) >= 0:
            continue
        label = f"<strong>{df.label}</strong>"
        if doc.get("parentfield"):
            place = f"<strong>{doc.doctype}</strong> Row #{doc.get('idx')}"
            message = f"{place}: Value cannot be negative for {label}"
        else:
            message = f"Value cannot be negative for {doc.doctype}: {label}"
        errors.throw(ctx, message, errors.NonNegativeError, title="Negative Value")


def _check_lengths(ctx: Context, doc: Document) -> None:
    if doc.meta.is_single:
        return
    for fieldname, value in doc.valid_values(ctx).items():
        df = doc.meta.field(fieldname)
        if df is None or df.fieldtype == "Check" or value is None:
            continue
        if df.fieldtype in VARCHAR:
            limit = df.length or 140
            too_long = len(cstr(value)) > limit
        elif df.fieldtype in INT_TYPES:
            limit = MAX_INT
            too_long = df.length <= 11 and abs(cint(value)) > limit
        else:
            continue
        if too_long:
            _too_long(ctx, doc, df, limit, value)


def _too_long(ctx: Context, doc: Document, df: DocField, limit: int, value: Any) -> None:
    place = f"{doc.doctype}, Row {doc.get('idx')}" if doc.get("parentfield") else f"{doc.doctype} {doc.name}"
    errors.throw(
        ctx,
        f"{place}: '<strong>{df.label}</strong>' ({value}) will get truncated, "
        f"as max characters allowed is {limit}",
        errors.CharacterLengthExceededError,
        title="Value too big",
    )


def _bound_ratings(doc: Document) -> None:
    for df in doc.meta.fields:
        if df.fieldtype == "Rating":
            doc.values[df.fieldname] = max(0, min(flt(doc.get(df.fieldname)), 1))


def _check_code(ctx: Context, doc: Document) -> None:
    for df in doc.meta.fields:
        if df.fieldtype != "Code" or df.options not in ("Python", "PythonExpression"):
            continue
        text = doc.get(df.fieldname)
        if not text:
            continue
        try:
            compile(str(text), "<code>", "exec" if df.options == "Python" else "eval")
        except SyntaxError as problem:
            line = (problem.text or "").rstrip("\n")
            mark = " " * ((problem.offset or 1) - 1) + "^"
            errors.throw(
                ctx,
                f"{df.label}: Invalid python code on line {problem.lineno}<br><pre>{line}</pre><pre>{mark}</pre>",
                title="Syntax Error",
            )


def _sanitize(doc: Document) -> None:
    for fieldname, value in list(doc.values.items()):
        if not isinstance(value, str) or ("<" not in value and ">" not in value):
            continue
        df = doc.meta.field(fieldname)
        if df is None or df.fieldtype in NO_VALUE_TYPES or df.fieldtype in UNFILTERED:
            continue
        closed = doc.docstatus == 2 or (doc.docstatus == 1 and not df.allow_on_submit)
        address = df.options == "Email" and df.fieldtype in ("Data", "Small Text", "Text")
        if df.raw.get("ignore_xss_filter") or closed or address:
            continue
        doc.values[fieldname] = sanitize(value)


def _keep_passwords(ctx: Context, doc: Document) -> None:
    """The text goes to the secrets, and stars stay in the document; stars sent back change nothing."""
    for df in doc.meta.fields:
        if df.fieldtype != "Password":
            continue
        text = doc.get(df.fieldname)
        if not text:
            ctx.store.set_secret(doc.doctype, str(doc.name), df.fieldname, None)
        elif set(str(text)) != {"*"}:
            ctx.store.set_secret(doc.doctype, str(doc.name), df.fieldname, str(text))
            doc.values[df.fieldname] = "*" * len(str(text))


# -- after submit, and constants ---------------------------------------------------------------------------------


def check_constants(ctx: Context, doc: Document, before: Document) -> None:
    """Fields that may be set once, the owner and the creation among them."""
    once = [(df.fieldname, df.fieldtype) for df in doc.meta.fields if df.set_only_once]
    for fieldname, fieldtype in [*once, ("creation", "Datetime"), ("owner", "Data")]:
        new, old = doc.get(fieldname), before.get(fieldname)
        same = str(new) == str(old) if fieldtype in ("Date", "Datetime", "Time") else new == old
        if not same:
            message = f"Value cannot be changed for <strong>{doc.meta.label(fieldname)}</strong>"
            errors.throw(ctx, message, errors.CannotChangeConstantError)


def check_after_submit(ctx: Context, doc: Document, before: Document) -> None:
    _unchanged(ctx, doc, before)
    stored = {str(row.name): row for row in before.child_rows()}
    for row in doc.child_rows():
        df = doc.meta.field(str(row.get("parentfield")))
        if row.is_new and df is not None and df.allow_on_submit:
            continue
        old = stored.get(str(row.name))
        if old is not None:
            _unchanged(ctx, row, old)


def _unchanged(ctx: Context, doc: Document, before: Document) -> None:
    for df in doc.meta.fields:
        if df.allow_on_submit or (df.fieldtype in NO_VALUE_TYPES and not df.is_table):
            continue
        if df.is_table:
            new: Any = len(doc.rows(df.fieldname))
            old: Any = len(before.rows(df.fieldname))
        else:
            new, old = doc.get(df.fieldname), before.get(df.fieldname)
            if not (new or old):
                continue
            new = cast(df, new)
        if new != old:
            prefix = f"Row #{doc.get('idx')}:" if doc.get("parent") else ""
            errors.throw(
                ctx,
                f"{prefix} Not allowed to change <strong>{df.label}</strong> after submission "
                f"from <strong>{old}</strong> to <strong>{new}</strong>",
                errors.UpdateAfterSubmitError,
                title="Cannot Update After Submit",
            )


def cast(df: DocField, value: Any) -> Any:
    """utils.data.cast_fieldtype."""
    if df.fieldtype in FLOATS:
        return flt(value)
    if df.fieldtype in INT_TYPES:
        return cint(value)
    if df.fieldtype in TEXTS:
        return cstr(value)
    return value
