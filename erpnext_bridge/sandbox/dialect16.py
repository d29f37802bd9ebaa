"""How Frappe 16 turns filters, fields and orders into SQL (database/query.py, the query builder's engine)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, cast

from . import dates, errors, mariadb
from .filters import TREE_OPERATORS, tree_nodes
from .mariadb import DECIMAL, INT, TEXT, Condition, Expr
from .meta import CHILD_FIELDS, OPTIONAL_FIELDS, STANDARD_FIELDS, STANDARD_TYPES, DocField, DocType
from .permissions import (
    has_permission,
    meta_of,
    only_select,
    permissions_for,
    permitted_fields,
    role_permissions,
    row_rule,
    shared_names,
)
from .query import Query
from .sqltext import (
    AGGREGATES,
    FUNCTIONS,
    aggregate,
    arithmetic,
    members,
    no_list,
    syntax_error,
    unknown_column,
)
from .store import quoted

if TYPE_CHECKING:
    from .context import Context

_COMMA = re.compile(r",\s*(?![^()]*\))")
_CALL = re.compile(r"^\s*[a-zA-Z_][a-zA-Z0-9_]*\s*\(", re.ASCII)
_SELECT = re.compile(
    r"^(?:(`[\w\s-]+`|\w+)\.)?(`\w+`|\w+)(?:\s+as\s+(?:`[\w\s-]+`|'[\w\s:-]+'|\w+))?$",
    re.ASCII | re.IGNORECASE,
)
_AS = re.compile(r"\s+as\s+", re.IGNORECASE)
_PARSED = re.compile(r"^(?:(`?)(tab[\w\s-]+)\1\.)?(`?)(\w+)\3$")
_BACKTICKED = re.compile(r"^`tab([\w\s-]+)`\.(`?)(\w+)\2$")
_CHILD = re.compile(r'^[`"]?tab([\w\s]+)[`"]?\.([`"]?)(\w+)\2$')
_SIMPLE = re.compile(r"^\w+$", re.ASCII)
_IDENTIFIER = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_]*$", re.ASCII)

# The engine's operator map; regex and ilike become SQL that MariaDB does not know.
COMPARISONS = {"=": "=", "!=": "!=", "<": "<", ">": ">", "<=": "<=", "=<": "<=", ">=": ">=", "=>": ">="}
OTHER_OPERATORS = ("in", "not in", "like", "ilike", "not like", "regex", "between", "is", "timespan")
ARITHMETIC_OPERATORS = ("+", "-", "/", "*")
KNOWN_OPERATORS = frozenset((*COMPARISONS, *OTHER_OPERATORS, *ARITHMETIC_OPERATORS))
NEVER_NULL = ("name", "modified", "creation")
NOT_NULL_TYPES = frozenset({"Check", "Float", "Int", "Currency", "Percent"})
FALLBACKS: dict[str, str | int] = {
    "Date": "0001-01-01",
    "Datetime": "0001-01-01",
    "Time": "00:00:00",
    **dict.fromkeys(NOT_NULL_TYPES, 0),
}
ARITHMETIC = {"ADD": "+", "SUB": "-", "MUL": "*", "DIV": "/"}
FUNCTION_NAMES = [
    "COUNT",
    "SUM",
    "AVG",
    "MAX",
    "MIN",
    "ABS",
    "EXTRACT",
    "LOCATE",
    "TIMESTAMP",
    "IFNULL",
    "CONCAT",
    "NOW",
    "NULLIF",
    "MONTHNAME",
    "QUARTER",
    "MONTH",
]


@dataclass
class Place:
    """Where a name in a query points: a column of the main table, of a child table or of a linked document."""

    expr: Expr
    doctype: str
    fieldname: str


@dataclass
class ChildRows:
    """`{"items": ["qty"]}`: rows of a child table, fetched after the parents and nested into them."""

    fieldname: str
    fields: list[str]
    doctype: str


@dataclass
class Engine:
    ctx: Context
    doctype: str
    parent: str | None = None
    compat: bool = True
    """Whether NULLs count as empty values, as v1 lists have it; v2 lists take SQL's own logic."""
    raw_text: bool = False
    """Whether values go into the SQL with only their quotes doubled, as counts do it."""
    query: Query = field(init=False)
    aliases: set[str] = field(default_factory=set)
    children: list[ChildRows] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not re.match(r"^[\w -]*$", self.doctype, re.ASCII):
            self._throw(f"Invalid DocType: {self.doctype}")
        self._check_read()
        self.query = Query(self.ctx, self.doctype)

    def _throw(
        self, message: str, error: type[errors.SandboxError] = errors.ValidationError, title: str = ""
    ) -> NoReturn:
        errors.throw(self.ctx, message, error, title=title or None)

    # -- permission --------------------------------------------------------------------------------------

    def _check_read(self) -> None:
        for ptype in ("select", "read"):
            if has_permission(self.ctx, self.doctype, ptype, show=False, parent_doctype=self.parent):
                return
        self._insufficient(self.doctype)

    def _insufficient(self, doctype: str) -> None:
        self._throw(f"Insufficient Permission for <strong>{doctype}</strong>", errors.PermissionError)

    def restrict(self) -> None:
        """The conditions of the DocType whose permissions count; a child table is joined to its parent's."""
        owner, alias = self.doctype, self.query.main
        if self.parent and self.parent != self.doctype:
            owner = self.parent
            if meta_of(self.ctx, owner).is_single:
                return
            self.query.join_parent(owner)
            alias = f"tab{owner}"
        self.restrict_table(owner, alias)

    def restrict_table(self, doctype: str, alias: str) -> None:
        meta = meta_of(self.ctx, doctype)
        rights = role_permissions(self.ctx, meta, self.ctx.user)
        if not (rights.get("read") or rights.get("select") or shared_names(self.ctx, doctype)):
            self._insufficient(doctype)
        self.query.restrict(row_rule(self.ctx, meta, quoted(alias)))

    def permission_type(self, doctype: str, parent: str | None = None) -> str:
        return "select" if only_select(self.ctx, parent or doctype) else "read"

    def permitted(self, doctype: str, parent: str | None) -> frozenset[str]:
        ptype = self.permission_type(doctype, parent)
        return frozenset(permitted_fields(self.ctx, doctype, parent, ptype))

    def check_field(self, doctype: str, fieldname: str, parent: str | None = None) -> None:
        if fieldname in OPTIONAL_FIELDS:
            return
        meta = meta_of(self.ctx, doctype)
        if not permissions_for(self.ctx, meta, parent):
            return
        bold = f"<strong>{doctype}.{fieldname}</strong>"
        if parent and self.permission_type(doctype, parent) == "select":
            self._throw(
                f"You do not have permission to access child table field: {bold}", errors.PermissionError
            )
        if fieldname not in self.permitted(doctype, parent):
            self._throw(
                f"You do not have permission to access field: {bold}",
                errors.PermissionError,
                "Permission Error",
            )

    # -- names -------------------------------------------------------------------------------------------

    def dotted(self, path: str, *, tab_allowed: bool = True) -> tuple[DocField | None, str, str] | None:
        """`table.field` or `link.field` as (field of the main DocType, other DocType, fieldname)."""
        if "." not in path:
            return None
        match = _CHILD.match(path) if tab_allowed else None
        if match:
            return None if match.group(1) == self.doctype else (None, match.group(1), match.group(3))
        first, rest = path.split(".", 1)
        if not (first.replace("_", "").isalnum() and rest.replace("_", "").isalnum()):
            return None
        df = meta_of(self.ctx, self.doctype).field(first)
        if df is None or not (df.fieldtype == "Link" or df.is_table):
            return None
        return df, df.options, rest

    def join(self, df: DocField | None, doctype: str) -> None:
        if df is None or df.is_table:
            self.query.join_children(doctype, "parent", df.fieldname if df is not None else None)
            return
        # The query builder renames the joined copy but reads from the first table: a self link
        # answers with the row's own values.
        alias = f"tab{doctype}2" if doctype == self.doctype else f"tab{doctype}"
        if not self.query.joined(alias):
            self.query.join_link(doctype, alias, df.fieldname)
            self.restrict_table(doctype, alias)

    def place(self, doctype: str, fieldname: str, clause: str) -> Place:
        alias = f"tab{doctype}"
        if not self.query.joined(alias):
            if self.query.joins:
                raise unknown_column(f"{alias}.{fieldname}", clause)
            # A query of one table is written without table names, so any other name is lost.
            alias = self.query.main
        expr = self.query.scope.column(alias, fieldname)
        if expr is None:
            shown = f"{alias}.{fieldname}" if self.query.joins else fieldname
            raise unknown_column(shown, clause)
        return Place(expr, doctype, fieldname)

    # -- filters -----------------------------------------------------------------------------------------

    def filters(self, filters: Any) -> None:
        self.query.where += self.conditions(filters)

    def any_of(self, filters: Any) -> None:
        found = self.conditions(filters, collecting=True)
        if found:
            sql = " OR ".join(condition.sql for condition in found)
            self.query.where.append(Condition(f"({sql})", tuple(p for one in found for p in one.params)))

    def conditions(self, filters: Any, *, collecting: bool = False) -> list[Condition]:
        if filters is None:
            return []
        if isinstance(filters, str | int | float):
            filters = {"name": _value(filters)}
        if isinstance(filters, dict):
            return list(self._dict(filters))
        if not filters:
            return []
        if all(isinstance(one, str | int | float) for one in filters):
            return list(self._dict({"name": ["in", [_value(one) for one in filters]]}))
        nested = _nested(filters)
        if nested is not None:
            found = self._strict(filters, nested)
            if collecting:
                self.query.where.append(found)
                return []
            return [found]
        return [condition for one in filters for condition in self._one(one)]

    def _dict(self, filters: dict[str, Any]) -> Iterator[Condition]:
        for fieldname, value in filters.items():
            operator = "="
            if isinstance(value, list):
                if len(value) != 2:
                    raise _unpack_error(len(value))
                operator, value = value
            yield self.simple(fieldname, value, operator)

    def _one(self, raw: Any) -> Iterator[Condition]:
        if isinstance(raw, dict):
            yield from self._dict(raw)
            return
        if not isinstance(raw, list):
            kind = type(raw).__name__
            raise errors.ValueError(
                f"Invalid item type in filter list: {kind}. Expected list, tuple, dict, or Criterion."
            )
        if len(raw) not in (2, 3, 4, 5):
            raise errors.ValueError(f"Unknown filter format: {raw}")
        if len(raw) == 2:
            yield self.simple(raw[0], raw[1])
        elif len(raw) == 3:
            yield self.simple(raw[0], raw[2], raw[1])
        else:
            yield self.simple(raw[1], raw[3], raw[2], raw[0])

    def _strict(self, filters: list[Any], nested: list[Any]) -> Condition:
        """The parser for boolean lists, which also takes every list of a single filter."""
        try:
            if len(filters) == 1 and nested is filters[0]:
                return self._criterion(nested)
            return self._boolean(nested)
        except errors.SandboxError as error:
            if isinstance(error, errors.DriverError):
                raise
            text = f"Error parsing nested filters: {filters}. {error.text}"
            error.text = text
            error.args = (text,)
            raise errors.tied(self.ctx, error, text) from None

    def _boolean(self, parts: Any) -> Condition:
        if not parts or not isinstance(parts[0], list):
            first = parts[0] if parts else parts
            self._throw(f"Invalid start for filter condition: {first}. Expected a list or tuple.")
        current = self._criterion(parts[0])
        rest = iter(parts[1:])
        for operator in rest:
            if not isinstance(operator, str) or operator.lower() not in ("and", "or"):
                self._throw(f"Expected 'and' or 'or' operator, found: {operator}")
            following = next(rest, None)
            if following is None:
                self._throw(f"Filter condition missing after operator: {operator}")
            if not isinstance(following, list):
                self._throw(f"Invalid filter condition: {following}. Expected a list or tuple.")
            other = self._criterion(following)
            current = Condition(
                f"({current.sql} {operator.upper()} {other.sql})", current.params + other.params
            )
        return current

    def _criterion(self, raw: list[Any]) -> Condition:
        if len(raw) >= 3 and isinstance(raw[1], str) and isinstance(raw[0], list):
            return self._boolean(raw)
        if len(raw) == 3 and isinstance(raw[1], str) and raw[1].lower() in KNOWN_OPERATORS:
            return self.simple(raw[0], raw[2], raw[1])
        if len(raw) == 4 and isinstance(raw[2], str) and raw[2].lower() in KNOWN_OPERATORS:
            return self.simple(raw[1], raw[3], raw[2], raw[0])
        if len(raw) == 2:
            return self.simple(raw[0], raw[1])
        return self._throw(f"Invalid simple filter format: {raw}")

    # -- one filter --------------------------------------------------------------------------------------

    def simple(self, name: Any, value: Any, operator: Any = "=", doctype: str | None = None) -> Condition:
        if not isinstance(operator, str):
            raise errors.AttributeError(f"'{type(operator).__name__}' object has no attribute 'lower'")
        place = self._filter_place(name, doctype)
        if self.raw_text:
            value = self._reread(value)
        return _Simple(self, place, name, _value(value), operator, doctype or self.doctype).condition()

    def _reread(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._reread(one) for one in value]
        if not isinstance(value, str):
            return value
        text = mariadb.unescape(value)
        if text is None:
            raise syntax_error()
        return text

    def _filter_place(self, name: Any, doctype: str | None) -> Place:
        if not isinstance(name, str):
            raise errors.TypeError(f"argument of type '{type(name).__name__}' is not iterable")
        if "`" in name:
            match = _BACKTICKED.match(name.strip())
            if match is None:
                self._throw(f"Filter fields have invalid backtick notation: {name}", title="Invalid Filter")
            self.check_field(match.group(1), match.group(3))
            return self.place(match.group(1), match.group(3), "WHERE")
        if "." in name:
            return self._dotted_filter(name)
        if not _SIMPLE.match(name):
            self._throw(
                f"Invalid characters in fieldname: {name}. Only letters, numbers, and underscores are allowed.",
                title="Invalid Filter",
            )
        if doctype and doctype != self.doctype:
            return self._child_filter(name, doctype)
        return self._main_filter(name, doctype)

    def _dotted_filter(self, name: str) -> Place:
        found = self.dotted(name, tab_allowed=False)
        if found is None:
            self._throw(
                f"Invalid filter field format: {name}. Use 'fieldname' or 'link_fieldname.target_fieldname'.",
                title="Invalid Filter",
            )
        df, doctype, fieldname = found
        self.check_field(doctype, fieldname, self.doctype if df is None or df.is_table else None)
        self.join(df, doctype)
        return self.place(doctype, fieldname, "WHERE")

    def _child_filter(self, name: str, doctype: str) -> Place:
        tables = [df for df in meta_of(self.ctx, self.doctype).tables if df.options == doctype]
        if not tables:
            self._throw(f"{doctype} is not a child table of {self.doctype}", title="Invalid Filter")
        self.check_field(doctype, name, self.doctype)
        self.join(tables[0], doctype)
        return self.place(doctype, name, "WHERE")

    def _main_filter(self, name: str, doctype: str | None) -> Place:
        meta = meta_of(self.ctx, self.doctype)
        if not doctype and name not in _ANYWHERE and meta.field(name) is None:
            for df in meta.tables:
                if meta_of(self.ctx, df.options).field(name) is not None:
                    self.check_field(df.options, name, self.doctype)
                    self.join(df, df.options)
                    return self.place(df.options, name, "WHERE")
        self.check_field(self.doctype, name, self.parent if doctype else None)
        return self.place(self.doctype, name, "WHERE")

    # -- fields ------------------------------------------------------------------------------------------

    def select(self, fields: Any) -> None:
        for item in self._items(fields) or ["name"]:
            self._select_item(item)
        if (not self.query.columns and not self.children) or not self.query.columns:
            self._add("name", self.query.column("name"))

    def _items(self, fields: Any) -> list[Any]:
        if not fields:
            return []
        if isinstance(fields, str):
            return [part.strip() for part in _COMMA.split(fields) if part.strip()]
        if not isinstance(fields, list):
            self._throw("Fields must be a string, list, tuple, pypika Field, or pypika Function")
        items: list[Any] = []
        for item in fields:
            if isinstance(item, str) and "," in item:
                items += [part.strip() for part in _COMMA.split(item) if part.strip()]
            elif item is not None:
                items.append(item)
        for item in items:
            if isinstance(item, str):
                self._check_text(item.strip())
                self._check_path(item.strip())
        return items

    def _check_text(self, text: str) -> None:
        if text == "*" or text.isdigit():
            return
        if _CALL.match(text):
            self._throw(
                f"SQL functions are not allowed as strings in SELECT: {text}. "
                "Use dict syntax like {'COUNT': '*'} instead."
            )
        if not _SELECT.match(text):
            self._throw(
                f"Invalid field format for SELECT: {text}. "
                "Field names must be simple, backticked, table-qualified, aliased, or '*'.",
                errors.PermissionError,
            )

    def _check_path(self, text: str) -> None:
        path = _AS.split(text)[0].strip()
        if path != "*" and self.dotted(path) is None and not _PARSED.match(path):
            self._throw(f"Could not parse field: {text}")

    def _select_item(self, item: Any) -> None:
        if isinstance(item, dict):
            self._select_dict(item)
        elif isinstance(item, str):
            self._select_text(item.strip())
        else:
            self._throw(f"Invalid field type: {type(item)}")

    def _select_text(self, text: str) -> None:
        permitted = self.permitted(self.doctype, self.parent)
        if text == "*":
            for name in permitted_fields(
                self.ctx, self.doctype, self.parent, self.permission_type(self.doctype)
            ):
                self._add(name, self.query.column(name))
            return
        parts = _AS.split(text)
        path, alias = parts[0].strip(), parts[-1].strip().strip("`\"'") if len(parts) > 1 else None
        found = self.dotted(path)
        if found is not None:
            self._select_dotted(found, alias, permitted)
            return
        match = cast("re.Match[str]", _PARSED.match(path))  # _check_path has seen to that
        doctype = match.group(2)[3:] if match.group(2) else self.doctype
        fieldname = match.group(4)
        if fieldname in OPTIONAL_FIELDS or fieldname in permitted:
            self._add(alias or fieldname, self.place(doctype, fieldname, "SELECT").expr, named=alias)

    def _select_dotted(
        self, found: tuple[DocField | None, str, str], alias: str | None, permitted: frozenset[str]
    ) -> None:
        df, doctype, fieldname = found
        if alias:
            self.aliases.add(alias)
        if df is None or df.is_table:
            if self.permission_type(self.doctype) == "select":
                return
            allowed = fieldname in self.permitted(doctype, self.doctype)
        else:
            readable = any(
                has_permission(self.ctx, doctype, ptype, show=False) for ptype in ("select", "read")
            )
            allowed = df.fieldname in permitted and readable and fieldname in self.permitted(doctype, None)
        if allowed:
            self.join(df, doctype)
            self._add(alias or fieldname, self.place(doctype, fieldname, "SELECT").expr, named=alias)

    def _add(self, key: str, expr: Expr, named: str | None = None) -> None:
        if named:
            self.aliases.add(named)
        self.query.select(key, expr)
        self.query.scope.name_result(key, expr)

    def _select_dict(self, item: dict[str, Any]) -> None:
        keys = [key for key in item if key.lower() != "as"]
        if len(keys) == 1 and (keys[0] in FUNCTION_NAMES or keys[0] in ARITHMETIC):
            text, expr = self.call(item)
            alias = item.get("as") or item.get("AS")
            self._add(alias or text, expr, named=alias)
            return
        for key, names in item.items():
            self._select_children(key, names)

    def _select_children(self, key: str, names: Any) -> None:
        if key.isupper():
            self._throw(f"Unsupported function or operator: {key}")
        if not isinstance(names, list):
            self._throw(f"Child query fields for '{key}' must be a list or tuple.")
        df = meta_of(self.ctx, self.doctype).field(key)
        if df is None:
            raise errors.AttributeError("'NoneType' object has no attribute 'fieldtype'")
        if not df.is_table:
            raise errors.AttributeError("'ChildQuery' object has no attribute 'doctype'")
        if self.permission_type(self.doctype) == "select":
            return
        allowed = self.permitted(df.options, self.doctype)
        kept = [name for name in names if name in allowed]
        if kept:
            self.children.append(ChildRows(key, kept, df.options))

    # -- functions ---------------------------------------------------------------------------------------

    def call(self, item: dict[str, Any]) -> tuple[str, Expr]:
        """A function or operator dict as (SQL text that names the result, expression)."""
        name = next(key for key in item if key.lower() != "as")
        alias = item.get("as")
        if alias:
            self._check_alias(alias)
        if name in ARITHMETIC:
            return self._operator(name, item[name])
        arguments = self._arguments(name, item[name])
        shown = ",".join(text for text, _ in arguments)
        label = f"{name}({shown})"
        lower = name.lower()
        exprs = [expr for _, expr in arguments]
        if lower in AGGREGATES:
            return label, aggregate(lower, exprs[0])
        if lower not in FUNCTIONS:
            raise errors.SQLOperationalError(f"(1305, 'FUNCTION <database>.{name} does not exist')")
        return label, FUNCTIONS[lower](exprs)

    def _operator(self, name: str, operands: Any) -> tuple[str, Expr]:
        if not isinstance(operands, list) or len(operands) != 2:
            self._throw(f"Operator {name} requires exactly 2 arguments (left and right operands)")
        (left_text, left), (right_text, right) = (self._argument(one) for one in operands)
        return f"{left_text}{ARITHMETIC[name]}{right_text}", arithmetic(left, ARITHMETIC[name], right)

    def _arguments(self, name: str, raw: Any) -> list[tuple[str, Expr]]:
        if raw is None:
            if name not in ("NOW",):
                self._throw(f"Function {name} requires arguments but none were provided")
            return []
        if isinstance(raw, list):
            return [self._argument(one, name) for one in raw]
        if isinstance(raw, str | int | float):
            return [self._argument(raw, name)]
        kind = type(raw).__name__
        return self._throw(
            f"Invalid function argument type: {kind}. Only strings, numbers, lists, and None are allowed."
        )

    def _argument(self, raw: Any, function: str = "") -> tuple[str, Expr]:
        if isinstance(raw, int | float):
            return str(raw), Expr("?", INT if isinstance(raw, int) else DECIMAL, (raw,))
        if raw is None:
            return "null", Expr("NULL", TEXT)
        if isinstance(raw, dict):
            keys = [key for key in raw if key.lower() != "as"]
            if len(keys) != 1 or keys[0] not in (*FUNCTION_NAMES, *ARITHMETIC):
                self._throw("Invalid nested expression: dictionary must represent a function or operator")
            return self.call(raw)
        if not isinstance(raw, str):
            kind = type(raw).__name__
            self._throw(f"Invalid argument type: {kind}. Only strings, numbers, dicts, and None are allowed.")
        return self._text_argument(raw.strip(), function)

    def _text_argument(self, text: str, function: str) -> tuple[str, Expr]:
        if not text:
            self._throw("Empty string arguments are not allowed")
        if text == "*":
            if function != "COUNT":
                self._throw("'*' is only allowed in COUNT SQL function(s)")
            return "*", Expr("*", INT)
        if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0]:
            return text, Expr("?", TEXT, (text[1:-1],))
        if match := _BACKTICKED.match(text):
            self.check_field(match.group(1), match.group(3))
            return text, self.place(match.group(1), match.group(3), "SELECT").expr
        if _IDENTIFIER.match(text):
            self.check_field(self.doctype, text, self.parent)
            return f"`{text}`", self.place(self.doctype, text, "SELECT").expr
        if text.isdigit():
            return text, Expr("?", INT, (int(text),))
        return self._throw(
            f"Invalid argument format: {text}. Only quoted string literals or simple field names are allowed."
        )

    def _check_alias(self, alias: Any) -> None:
        if not isinstance(alias, str):
            self._throw("Alias must be a string")
        if not alias.strip():
            self._throw("Empty alias is not allowed")
        if not _IDENTIFIER.match(alias.strip()):
            self._throw(f"Invalid alias format: {alias.strip()}. Alias must be a simple identifier.")

    # -- order and group ---------------------------------------------------------------------------------

    def clause(self, text: Any, label: str) -> Iterator[tuple[Expr, str]]:
        """The fields of a `group_by` or `order_by` with their directions."""
        if not isinstance(text, str):
            self._throw(f"{label} must be a string", errors.TypeError)
        ordering = label == "Order By"
        for part in text.split(","):
            name = part.strip()
            if not name:
                continue
            words = name.split()
            direction = ""
            if ordering and len(words) > 1 and words[-1].lower() in ("asc", "desc"):
                direction, name = words[-1].lower(), " ".join(words[:-1])
            descending = direction == "desc" or (not direction and not self.compat)
            yield self._clause_field(name, label), "DESC" if descending else "ASC"

    def _clause_field(self, name: str, label: str) -> Expr:
        clause = label.upper()
        if name.isdigit():
            raise unknown_column(name, clause)
        if name in self.aliases:
            return self.query.scope.result(name, clause)
        if "`" in name:
            match = _BACKTICKED.match(name.strip())
            if match is None:
                self._throw(f"{label} has invalid backtick notation: {name}")
            self.check_field(match.group(1), match.group(3))
            return self.place(match.group(1), match.group(3), clause).expr
        found = self.dotted(name, tab_allowed=False)
        if found is not None:
            return self._dotted_clause(found, clause)
        if not _SIMPLE.match(name):
            self._throw(
                f"Invalid field format in {label}: {name}. "
                "Use 'field', 'link_field.field', or 'child_table.field'."
            )
        self.check_field(self.doctype, name, self.parent)
        return self.place(self.doctype, name, clause).expr

    def _dotted_clause(self, found: tuple[DocField | None, str, str], clause: str) -> Expr:
        df, doctype, fieldname = found
        if df is None or df.is_table:
            self.check_field(doctype, fieldname, self.doctype)
        else:
            self.check_field(self.doctype, df.fieldname)
            self.check_field(doctype, fieldname)
        self.join(df, doctype)
        return self.place(doctype, fieldname, clause).expr

    # -- running -----------------------------------------------------------------------------------------

    def dicts(self) -> list[dict[str, Any]]:
        rows = self.query.dicts()
        for child in self.children:
            self._nest(child, rows)
        return rows

    def _nest(self, child: ChildRows, rows: list[dict[str, Any]]) -> None:
        if not rows or not rows[0].get("name"):
            return
        nested: dict[str, list[dict[str, Any]]] = {str(row["name"]): [] for row in rows}
        found = self.ctx.store.rows(
            child.doctype, {"parenttype": self.doctype, "parentfield": child.fieldname}, order="idx"
        )
        for row in found:
            if str(row["parent"]) in nested:
                nested[str(row["parent"])].append({name: row[name] for name in child.fields})
        for row in rows:
            row[child.fieldname] = nested[str(row["name"])]


_ANYWHERE = frozenset((*STANDARD_FIELDS, *OPTIONAL_FIELDS, *CHILD_FIELDS, "doctype"))


def _value(value: Any) -> Any:
    """database.utils.convert_to_value."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, dict):
        return json.dumps(value, indent=1, sort_keys=True, separators=(",", ": "))
    return value


def _nested(filters: list[Any]) -> list[Any] | None:
    """The list that the strict parser gets, if it gets any."""
    first = filters[0]
    if len(filters) == 1 and isinstance(first, list):
        return first if len(first) >= 3 and isinstance(first[1], str) else None
    if isinstance(first, str) or any(isinstance(one, str) for one in filters[1::2]):
        return filters
    return None


def _unpack_error(count: int) -> errors.SandboxError:
    if count > 2:
        return errors.ValueError("too many values to unpack (expected 2)")
    return errors.ValueError(f"not enough values to unpack (expected 2, got {count})")


class _Simple:
    """One filter whose column is found: what its operator and value become."""

    def __init__(
        self, engine: Engine, place: Place, name: str, value: Any, operator: str, doctype: str
    ) -> None:
        self.engine, self.ctx, self.place = engine, engine.ctx, place
        self.value, self.operator, self.doctype = value, operator, doctype
        self.name = name.split(".")[-1]
        meta: DocType = meta_of(engine.ctx, doctype)
        df = meta.field(self.name)
        self.df = df
        self.fieldtype = df.fieldtype if df is not None else STANDARD_TYPES.get(self.name, "")

    def condition(self) -> Condition:
        self._ranges()
        if isinstance(self.value, list) and not self.value:
            self.value = [""]
        lower = self.operator.lower()
        if self.engine.compat and self.value is None and lower in ("in", "not in"):
            self.value = [""]
        if self.operator in TREE_OPERATORS:
            return self._tree()
        if lower not in KNOWN_OPERATORS:
            raise errors.KeyError(repr(lower))
        if self.value is None:
            return self._null(lower)
        return self._applied(lower)

    def _ranges(self) -> None:
        lower = self.operator.lower()
        if lower in ("timespan", "previous", "next"):
            today = self.ctx.site.clock().date()
            found = dates.relative(lower, self.value, today, 16)
            self.value = list(found) if found else None
            self.operator = lower = "between"
        if lower != "between":
            return
        if isinstance(self.value, str):
            fieldtype = "Date" if self.df is not None and self.fieldtype == "Date" else "Datetime"
            self.value = list(dates.between(self.ctx, self.value, fieldtype))
        elif isinstance(self.value, list) and len(self.value) == 2:
            self.value = self._widened(self.value)

    def _widened(self, ends: list[Any]) -> list[Any]:
        if self.fieldtype == "Datetime" and (self.df is not None or self.name in ("creation", "modified")):
            first, last = ends
            return [self._end(first, "00:00:00.000000"), self._end(last, "23:59:59.999999")]
        return [
            end if isinstance(end, str | int | float | list) or end is None else end.isoformat()
            for end in ends
        ]

    def _end(self, value: Any, clock: str) -> Any:
        if isinstance(value, int | float) or value is None:
            return value
        return dates.end_text(self.ctx, value, clock)

    def _tree(self) -> Condition:
        df = meta_of(self.ctx, self.engine.doctype).field(self.name)
        doctype = df.options if df is not None else self.engine.doctype
        nodes = tree_nodes(self.ctx, doctype, self.value, self.operator) or [""]
        return mariadb.member(self.place.expr, nodes, self.operator.startswith("not "))

    def _null(self, operator: str) -> Condition:
        expr = self.place.expr
        if operator == "!=":
            return mariadb.compare(expr, "!=", self._fallback())
        return Condition(f"{expr.sql} IS NULL", expr.params)

    def _fallback(self) -> str | int:
        return FALLBACKS.get(self.fieldtype, "")

    def _applied(self, operator: str) -> Condition:
        expr = self.place.expr
        if not self._as_empty(operator):
            return _OPERATIONS[operator](self, expr, operator)
        fallback = self._fallback()
        if fallback == self.value and self.operator == "=":
            same = mariadb.compare(expr, "=", self.value)
            return Condition(f"({expr.sql} IS NULL OR {same.sql})", expr.params + same.params)
        if fallback == self.value and self.operator == "!=":
            return mariadb.compare(expr, "!=", self.value)
        return _OPERATIONS[operator](self, mariadb.ifnull(expr, fallback), operator)

    def _as_empty(self, operator: str) -> bool:
        """Whether a NULL counts as the type's fallback (Engine._should_apply_ifnull)."""
        if not self.engine.compat or not self._nullable() or operator in ("like", "is"):
            return False
        if operator == "=" and self.value:
            return False
        dated = self.df is not None and self.fieldtype in ("Date", "Datetime")
        if operator in (">", ">=", "between") and dated:
            return False
        if operator == "in":
            return isinstance(self.value, list) and any(one is None or one == "" for one in self.value)
        return True

    def _nullable(self) -> bool:
        if self.name in NEVER_NULL:
            return False
        if self.df is None:
            return True
        return self.fieldtype not in NOT_NULL_TYPES and not self.df.raw.get("not_nullable")

    # -- operations --------------------------------------------------------------------------------------

    def compare(self, expr: Expr, operator: str) -> Condition:
        return mariadb.compare(expr, COMPARISONS[operator], no_list(self.value))

    def member(self, expr: Expr, operator: str) -> Condition:
        values = members(self.value)
        if any(isinstance(one, list | dict) for one in values):
            raise syntax_error()
        return mariadb.member(expr, values, operator == "not in")

    def like(self, expr: Expr, operator: str) -> Condition:
        pattern = str(no_list(self.value))
        return mariadb.like(expr, pattern, escape=True, negated=operator == "not like")

    def between(self, expr: Expr, operator: str) -> Condition:
        if not isinstance(self.value, list):
            raise errors.TypeError(
                f"slice() argument after * must be an iterable, not {type(self.value).__name__}"
            )
        first, last = (None, *self.value) if len(self.value) == 1 else self.value[:2]
        return mariadb.between(expr, first, last)

    def is_set(self, expr: Expr, operator: str) -> Condition:
        if not isinstance(self.value, str):
            raise errors.AttributeError(f"'{type(self.value).__name__}' object has no attribute 'lower'")
        if self.value.lower() == "set":
            return mariadb.compare(expr, "!=", "")
        if self.value.lower() == "not set":
            empty = mariadb.compare(expr, "=", "")
            return Condition(f"({expr.sql} IS NULL OR {empty.sql})", expr.params + empty.params)
        raise errors.ValueError("`is` operator only supports `set` and `not set` as value")

    def unknown_sql(self, expr: Expr, operator: str) -> Condition:
        raise syntax_error()


_OPERATIONS: dict[str, Callable[[_Simple, Expr, str], Condition]] = {
    **dict.fromkeys(COMPARISONS, _Simple.compare),
    **dict.fromkeys(("in", "not in"), _Simple.member),
    **dict.fromkeys(("like", "not like"), _Simple.like),
    "between": _Simple.between,
    "is": _Simple.is_set,
    **dict.fromkeys(("regex", "ilike", *ARITHMETIC_OPERATORS), _Simple.unknown_sql),
}
