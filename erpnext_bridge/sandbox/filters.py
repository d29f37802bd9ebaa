"""The shapes that filters come in, the checks before any SQL (desk/reportview.py), and trees."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

from . import errors
from .meta import CHILD_FIELDS, OPTIONAL_FIELDS, STANDARD_FIELDS, DocField, DocType
from .permissions import levels, meta_of, permitted_fields
from .store import table

if TYPE_CHECKING:
    from .context import Context

STANDARD = frozenset({*STANDARD_FIELDS, "doctype", *OPTIONAL_FIELDS, *CHILD_FIELDS})
TREE_OPERATORS = (
    "ancestors of",
    "descendants of",
    "not ancestors of",
    "not descendants of",
    "descendants of (inclusive)",
)
OPERATORS = (
    "=",
    "!=",
    ">",
    "<",
    ">=",
    "<=",
    "like",
    "not like",
    "in",
    "not in",
    "is",
    "between",
    "timespan",
    "previous",
    "next",
    *TREE_OPERATORS,
)


def from_json(text: str) -> Any:
    """json.loads, failing as Python's does."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise errors.JSONDecodeError(str(error)) from None


def parsed(value: Any) -> Any:
    """Lists and documents come as JSON in a form, and as they are in a JSON body."""
    return from_json(value) if isinstance(value, str) else value


def invalid_field(ctx: Context, fieldname: Any) -> NoReturn:
    errors.throw(ctx, f"Field not permitted in query: {fieldname}", errors.DataError)


def is_standard(fieldname: Any) -> bool:
    if not isinstance(fieldname, str):
        if fieldname is None or isinstance(fieldname, int | float):
            raise errors.TypeError(f"argument of type '{type(fieldname).__name__}' is not iterable")
        return False
    if "." in fieldname:
        fieldname = fieldname.split(".")[1].strip("`")
    return fieldname in STANDARD


def docfield(ctx: Context, fieldname: Any, doctype: str) -> tuple[DocType, DocField | None]:
    """The DocType and field that a name in a query stands for."""
    if not isinstance(fieldname, str):
        raise errors.AttributeError(f"'{type(fieldname).__name__}' object has no attribute 'strip'")
    parent = doctype
    name = fieldname.strip("`")
    if "." in fieldname:
        first, name = fieldname.split(".")[:2]
        df = meta_of(ctx, doctype).field(first)
        if df is None and first.startswith("tab"):
            parent = first[3:]
        elif df is None:
            raise errors.AttributeError("'NoneType' object has no attribute 'options'")
        else:
            parent = df.options or None  # type: ignore[assignment]
    meta = meta_of(ctx, parent)
    return meta, meta.field(name)


# -- filters -----------------------------------------------------------------------------------------------------


def validate_filters(ctx: Context, doctype: str, filters: Any) -> None:
    """Every name must be a field; the value's shape is judged later."""
    if isinstance(filters, list):
        for condition in filters:
            _validate_condition(ctx, doctype, condition)
        return
    if not isinstance(filters, dict | str):
        raise errors.TypeError(f"'{type(filters).__name__}' object is not iterable")
    for fieldname in filters:
        _validate_name(ctx, doctype, fieldname, fieldname)


def _validate_condition(ctx: Context, doctype: str, condition: Any) -> None:
    if not isinstance(condition, list | str | dict):
        raise errors.TypeError(f"object of type '{type(condition).__name__}' has no len()")
    if len(condition) == 3:
        fieldname = _item(condition, 0)
        _validate_name(ctx, doctype, fieldname, fieldname)
        return
    fieldname = _item(condition, 1)
    if is_standard(fieldname):
        return
    if meta_of(ctx, _item(condition, 0)).field(fieldname) is None:
        invalid_field(ctx, fieldname)


def _item(condition: Any, index: int) -> Any:
    if isinstance(condition, dict):
        raise errors.KeyError(str(index))
    if index >= len(condition):
        kind = "string" if isinstance(condition, str) else "list"
        raise errors.IndexError(f"{kind} index out of range")
    return condition[index]


def _validate_name(ctx: Context, doctype: str, fieldname: Any, shown: Any) -> None:
    if is_standard(fieldname):
        return
    if docfield(ctx, fieldname, doctype)[1] is None:
        invalid_field(ctx, shown)


# -- fields ------------------------------------------------------------------------------------------------------

_SPECIAL = re.compile(r"\W")
_WORDS = re.compile(
    r"@+\w*|--.*|/\*.*?\*/|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|(?:`[^`]*`|\w+)(?:\.(?:`[^`]*`|\w+|\*))*\s*\(?|\*|\S"
)
_KEYWORDS = frozenset(
    [
        "as",
        "distinct",
        "case",
        "when",
        "then",
        "else",
        "end",
        "and",
        "or",
        "not",
        "is",
        "null",
        "in",
        "like",
        "between",
        "select",
        "from",
        "union",
        "all",
        "by",
        "asc",
        "desc",
        "interval",
        "unit",
        "table",
        "drop",
    ]
)


def columns_of(text: Any) -> list[str]:
    """The columns that an expression mentions, as the parser that Frappe asks would list them."""
    if not isinstance(text, str):
        if isinstance(text, dict | list):
            raise errors.TypeError(f"unhashable type: '{type(text).__name__}'")
        raise errors.TypeError(f"expected string or bytes-like object, got '{type(text).__name__}'")
    if not _SPECIAL.search(text):
        return [text]
    found = _mentioned(text)
    if not found and "*" in text and re.search(r"(count|sum|avg)\(", text, re.IGNORECASE):
        return ["*"]
    return found


@lru_cache(maxsize=1)
def _reserved() -> frozenset[str]:
    """Words that Frappe's parser (sql_metadata, over sqlparse) takes for keywords: `count`, `day`, `owner`."""
    from sqlparse import keywords

    tables = [table for name, table in vars(keywords).items() if name.startswith("KEYWORDS")]
    return frozenset(word.lower() for table in tables for word in table)


def _mentioned(text: str) -> list[str]:
    found: list[str] = []
    after_as = False
    tokens = [token.strip() for token in _WORDS.findall(text)]
    for word, following in zip(tokens, [*tokens[1:], ""], strict=True):
        if word == "*" and found == [] and not text.strip()[0].isalpha():
            found.append("*")
        is_name = word[0] == "`" or word[0].isalpha() or word[0] == "_"
        if not is_name or word.endswith("("):
            continue
        if word.lower() in _KEYWORDS:
            after_as = word.lower() == "as"
        elif after_as:
            after_as = False
        elif word.lower() not in _reserved() or following.lower() == "as":
            found.append(word.replace("`", ""))
    return found


def validate_fields(ctx: Context, doctype: str, fields: list[Any], parent: str | None) -> list[Any]:
    """The fields that may be asked for; those above the user's permission level fall out silently."""
    if fields == ["*"]:
        return permitted_fields(ctx, doctype, parent)
    kept = []
    for text in fields:
        if (isinstance(text, dict) and ctx.version >= 16) or _field_kept(ctx, doctype, text):
            kept.append(text)
    return kept


def _field_kept(ctx: Context, doctype: str, text: Any) -> bool:
    columns = columns_of(text)
    if not columns:
        raise errors.IndexError("list index out of range")
    fieldname = columns[0]
    if not fieldname:
        invalid_field(ctx, fieldname)
    if is_standard(fieldname):
        return True
    meta, df = docfield(ctx, fieldname, doctype)
    if df is None:
        invalid_field(ctx, fieldname)
    return not df.permlevel or df.permlevel in levels(ctx, meta, doctype)


# -- trees -------------------------------------------------------------------------------------------------------


def tree_nodes(
    ctx: Context, doctype: str | None, name: Any, operator: str, *, engine: bool = True
) -> list[str]:
    """
    The names that a tree operator stands for, nearest first; none for an unknown node.

    `engine` is the query builder of 16, and of counts on 15; DatabaseQuery of 15 fails in its own ways.
    """
    meta = ctx.store.meta(doctype) if doctype else None
    if meta is not None:
        ctx.store.ensure(meta.name)
    if meta is None or "lft" not in ctx.store.kinds(meta.name):
        error = _no_tree(ctx, doctype, name, engine)
        error.at_once = True
        raise error
    node = ctx.store.get(meta.name, name) if name else None
    if "descendants" in operator:
        condition, order = "lft > ? AND rgt < ?", "lft"
    else:
        condition, order = "lft < ? AND rgt > ?", "lft DESC"
    found: list[str] = []
    if node is not None:
        sql = f"SELECT name FROM {table(meta.name)} WHERE {condition} ORDER BY {order}"
        found = [row[0] for row in ctx.store.execute(sql, (node["lft"], node["rgt"]))]
    if operator == "descendants of (inclusive)":
        found.append(name)
    return found


def _no_tree(ctx: Context, doctype: str | None, name: Any, engine: bool) -> errors.SandboxError:
    """What comes of a field whose options name no DocType, or none that is a tree."""
    if doctype and ctx.store.meta(doctype) is not None:
        column, clause = ("lft", "SELECT") if engine or name else (f"tab{doctype}.lft", "WHERE")
        return errors.SQLOperationalError(f"(1054, \"Unknown column '{column}' in '{clause}'\")")
    if engine:
        if not doctype:
            return errors.AttributeError("'NoneType' object has no attribute 'startswith'")
        shown = doctype.replace("\n", "\\n")
        return errors.SQLProgrammingError(f"(1146, \"Table '<database>.tab{shown}' doesn't exist\")")
    if not doctype:
        text = "expected string or bytes-like object, got 'NoneType'"
        return errors.TypeError(text if name else 'can only concatenate str (not "NoneType") to str')
    if name and re.search(r"[^\w -]", doctype):
        errors.throw(ctx, f"Invalid DocType: {doctype}")
    return errors.SQLProgrammingError(f"('DocType', {doctype!r})")
