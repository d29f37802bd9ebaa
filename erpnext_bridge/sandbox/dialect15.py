"""How Frappe 15 turns filters, fields and orders into SQL (model/db_query.py)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import dates, errors, mariadb
from .filters import OPERATORS, STANDARD, TREE_OPERATORS, columns_of, tree_nodes
from .mariadb import Condition, Expr
from .meta import OPTIONAL_FIELDS, DocField
from .permissions import meta_of, only_select, permitted_fields, require
from .query import Query
from .sqltext import Parser, members, no_list, no_routine, syntax_error, unknown_column

if TYPE_CHECKING:
    from .context import Context

NEVER_NULL = ("name", "modified", "creation")
COMPARED_BARE = frozenset({"Check", "Float", "Int", "Currency", "Percent"})
COMPARISONS = (">", "<", ">=", "<=")

_QUERY = re.compile(r"^(select|delete|update|drop|create)\s")
_PREDICATE = re.compile(r"\s*[0-9a-zA-z]*\s*( from | group by | order by | where | join )")
_SPECIAL = re.compile(r"^.*[,();@].*")
_DISTINCT = re.compile(r"\s*distinct\b", re.IGNORECASE)
_QUOTED = re.compile(r"[0-9a-zA-Z]+\s*'")
_COMMA = re.compile(r"[0-9a-zA-Z]+\s*,")
_ORDER_CHARACTERS = re.compile(r".*[^a-z0-9-_ ,`'\"\.\(\)].*")
_FORBIDDEN_WORDS = frozenset({"select", "create", "insert", "delete", "drop", "update", "case", "show"})
_FORBIDDEN_FUNCTIONS = frozenset(
    [
        "concat",
        "concat_ws",
        "if",
        "ifnull",
        "nullif",
        "coalesce",
        "connection_id",
        "current_user",
        "database",
        "last_insert_id",
        "session_user",
        "system_user",
        "user",
        "version",
        "global",
    ]
)
_RESTRICTED = "Use of sub-query or function is restricted"


# -- filters -----------------------------------------------------------------------------------------------------


def as_list(doctype: str, filters: Any) -> list[Any]:
    """Dicts become lists of [doctype, field, operator, value]."""
    if not isinstance(filters, dict):
        return list(filters)
    return [_tuple(doctype, key, value) for key, value in filters.items()]


def _tuple(doctype: str, key: str, value: Any) -> list[Any]:
    if isinstance(value, list):
        if len(value) < 2:
            raise errors.IndexError("list index out of range")
        return [doctype, key, value[0], value[1]]
    return [doctype, key, "=", value]


def known_operators(ctx: Context) -> tuple[str, ...]:
    """ERPNext adds one, and the union is a set then: its order means nothing."""
    if "erpnext" not in ctx.site.world.installed_apps(15):
        return OPERATORS
    return tuple(sorted({*OPERATORS, "fiscal year"}, key=_SHUFFLED.index))


_SHUFFLED = [
    ">",
    "previous",
    "between",
    "is",
    "like",
    "in",
    "ancestors of",
    "not ancestors of",
    "next",
    "timespan",
    "!=",
    "<=",
    "descendants of (inclusive)",
    "not in",
    "descendants of",
    "not like",
    "=",
    "<",
    "fiscal year",
    ">=",
    "not descendants of",
]


class Filter:
    """One filter, its DocType found and its operator checked (utils.get_filter)."""

    def __init__(self, ctx: Context, doctype: str, raw: Any) -> None:
        if isinstance(raw, dict):
            raw = _tuple(doctype, *next(iter(raw.items())))
        if not isinstance(raw, list):
            errors.throw(ctx, "Filter must be a tuple or list (in a list)")
        if len(raw) == 3:
            raw = [doctype, *raw]
        if len(raw) < 4:
            errors.throw(ctx, f"Filter must have 4 values (doctype, fieldname, operator, value): {raw}")
        self.doctype, self.fieldname, operator, self.value = raw[:4]
        self.operator = str(operator or "=").lower()
        if self.operator not in OPERATORS:
            errors.throw(ctx, f"Operator must be one of {', '.join(known_operators(ctx))}")
        self._find_doctype(ctx)

    def _find_doctype(self, ctx: Context) -> None:
        meta = meta_of(ctx, self.doctype)
        if self.fieldname in STANDARD or meta.field(self.fieldname):
            return
        for df in meta.tables:
            if meta_of(ctx, df.options).field(self.fieldname):
                self.doctype = df.options
                return


@dataclass(frozen=True, slots=True)
class OpenBetween:
    """`column between low`, as Frappe writes it for what is no date: the other end is what comes after the next AND."""

    column: Expr
    low: Any
    before: OpenBetween | None = None

    def closed(self, high: Expr) -> Expr:
        if isinstance(self.low, tuple):
            # The days of a timespan, as Python shows them.
            raise no_routine("datetime.date")
        low = mariadb.compare(self.column, ">=", self.low)
        left, right = mariadb.as_number(self.column), mariadb.as_number(high)
        sql, params = f"({low.sql} AND {left.sql} <= {right.sql})", low.params + left.params + right.params
        whole = Expr(sql, mariadb.INT, params)
        return self.before.closed(whole) if self.before else whole

    def around(self, high: Condition) -> Condition:
        whole = self.closed(Expr(f"({high.sql})", mariadb.INT, high.params))
        return Condition(whole.sql, whole.params)


def condition(query: Query, raw: Any, before: OpenBetween | None = None) -> Condition | OpenBetween:
    """A filter as a condition, which also ends what a `between` before it has left open."""
    ctx = query.ctx
    flt = Filter(ctx, query.doctype, raw)
    column = _column(query, flt)
    df = meta_of(ctx, flt.doctype).field(flt.fieldname)
    nullable = flt.fieldname not in NEVER_NULL
    if flt.operator in TREE_OPERATORS:
        found = _tree(ctx, flt, df, column, nullable)
    elif flt.operator in ("in", "not in"):
        found = _membership(flt, column, nullable)
    else:
        return _Comparison(ctx, flt, df, column, nullable, before).condition()
    return before.around(found) if before else found


def _column(query: Query, flt: Filter) -> Expr:
    alias = f"tab{flt.doctype}"
    if not query.joined(alias):
        check_read(query.ctx, flt.doctype, query.doctype)
        query.join_children(flt.doctype)
    if "`" in flt.fieldname:
        raise syntax_error()
    return query.at(alias, flt.fieldname, "WHERE")


def _tree(ctx: Context, flt: Filter, df: DocField | None, column: Expr, nullable: bool) -> Condition:
    doctype = df.options if df is not None else flt.doctype
    names = tree_nodes(ctx, doctype, flt.value, flt.operator, engine=False)
    nodes = [str(name).strip() for name in names] or [""]
    negated = flt.operator.startswith("not ")
    return mariadb.member(mariadb.ifnull(column, "") if nullable else column, nodes, negated)


def _membership(flt: Filter, column: Expr, nullable: bool) -> Condition:
    value = flt.value
    if flt.operator == "in" and nullable:
        nullable = not value or any(one is None or one == "" for one in _iterable(value))
    items = (value or "").split(",") if isinstance(value or "", str) else list(_iterable(value))
    texts = [_cstr(one).strip() for one in items] or [""]
    left = mariadb.ifnull(column, "") if nullable else column
    return mariadb.member(left, texts, flt.operator == "not in")


def _iterable(value: Any) -> Any:
    if isinstance(value, int | float):
        raise errors.TypeError(f"'{type(value).__name__}' object is not iterable")
    return value


def _cstr(value: Any) -> str:
    return "" if value is None else str(value)


def _flt(value: Any) -> float:
    if isinstance(value, str):
        value = value.replace(",", "")
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


class _Comparison:
    """Operators with one value: which literal it becomes, and whether NULL counts as a fallback."""

    def __init__(
        self,
        ctx: Context,
        flt: Filter,
        df: DocField | None,
        column: Expr,
        nullable: bool,
        before: OpenBetween | None,
    ) -> None:
        self.ctx, self.flt, self.df, self.column, self.before = ctx, flt, df, column, before
        self.fieldtype = df.fieldtype if df is not None else ""
        self.nullable = nullable and self.fieldtype not in COMPARED_BARE
        self.stamp = flt.fieldname in ("creation", "modified")
        self.dated = self.stamp or self.fieldtype in ("Date", "Datetime")

    def condition(self) -> Condition | OpenBetween:
        flt = self.flt
        if flt.operator in ("previous", "next", "timespan"):
            today = self.ctx.site.clock().date()
            flt.value = dates.relative(flt.operator, flt.value, today, 15)
            flt.operator = "between"
        if flt.operator in (">", ">=") and self.dated:
            self.nullable = False
        if flt.operator in COMPARISONS and self.stamp:
            return self._compared(self.column, flt.operator, _cstr(flt.value))
        if flt.operator == "between":
            return self._between()
        if flt.operator == "is":
            return self._is()
        value, fallback = self._literal()
        return self._compare(value, fallback)

    def _between(self) -> Condition | OpenBetween:
        if self.fieldtype == "Time":
            dates.time_text(self.ctx, self.flt.value)
        if not self.dated:
            low, fallback = self._literal()
            if isinstance(low, list | dict):
                raise syntax_error()
            column = mariadb.ifnull(self.column, fallback) if self.nullable else self.column
            return OpenBetween(column, low, self.before)
        fieldtype = self.fieldtype if self.fieldtype == "Date" else "Datetime"
        return self._whole(mariadb.between(self.column, *dates.between(self.ctx, self.flt.value, fieldtype)))

    def _compared(self, left: Expr, operator: str, value: Any) -> Condition:
        # `a between 0 and b = c` is `(a between 0 and b) = c`.
        return mariadb.compare(self.before.closed(left) if self.before else left, operator, value)

    def _whole(self, found: Condition) -> Condition:
        return self.before.around(found) if self.before else found

    def _is(self) -> Condition:
        if self.flt.value == "set":
            return self._compared(self.column, "!=", "")
        if self.flt.value == "not set":
            return self._compared(mariadb.ifnull(self.column, ""), "=", "")
        if self.nullable:
            raise errors.UnboundLocalError(
                "cannot access local variable 'fallback' where it is not associated with a value"
            )
        raise syntax_error()

    def _literal(self) -> tuple[Any, str | float]:
        ctx, value = self.ctx, self.flt.value
        if self.fieldtype == "Date":
            return dates.date_text(ctx, value), "0001-01-01"
        if self.fieldtype == "Datetime":
            return dates.datetime_text(ctx, value), dates.FALLBACK_DATETIME
        if self.fieldtype == "Time":
            return dates.time_text(ctx, value), "00:00:00"
        liked = self.flt.operator in ("like", "not like")
        if liked or (isinstance(value, str) and self.fieldtype not in COMPARED_BARE):
            return ("" if value is None else value), ""
        if (self.flt.operator == "=" and self.fieldtype in ("Link", "Data")) or self.flt.fieldname == "name":
            # `value or "''"`: nothing at all becomes a text of two quotes.
            return value or "''", ""
        return _flt(value), 0

    def _compare(self, value: Any, fallback: str | float) -> Condition:
        flt = self.flt
        if isinstance(value, list | dict):
            raise syntax_error()
        bare = not self.nullable or (flt.value and flt.operator in ("=", "like"))
        left = self.column if bare else mariadb.ifnull(self.column, fallback)
        if flt.operator in ("like", "not like"):
            pattern = str(int(value)) if isinstance(value, bool) else str(value)
            negated = flt.operator == "not like"
            return self._whole(mariadb.like(left, pattern, escape=False, negated=negated))
        return self._compared(left, flt.operator, value)


def check_read(ctx: Context, doctype: str, parent_doctype: str | None) -> None:
    require(ctx, doctype, "select" if only_select(ctx, doctype) else "read", parent_doctype=parent_doctype)


# -- fields ------------------------------------------------------------------------------------------------------


class Fields:
    """The SELECT list out of strings, with everything that Frappe forbids or drops on the way."""

    def __init__(self, query: Query, texts: list[str], parent: str | None, as_lists: bool) -> None:
        self.query, self.parent, self.as_lists = query, parent, as_lists
        self.ctx = query.ctx
        self.links: dict[str, tuple[str, str]] = {}
        """Alias of a linked table -> its DocType and the link field."""
        self.texts: list[str | None] = [self._undotted(text) for text in texts if text]

    def _undotted(self, text: str) -> str:
        """`link.field` and `table.field` name the other table from here on."""
        if "." not in text:
            return text
        path, separator, alias = text.partition(" as ")
        first, _, rest = path.partition(".")
        df = meta_of(self.ctx, self.query.doctype).field(first)
        if df is None:
            return text
        if df.fieldtype == "Link":
            path = f"`{self._link_alias(df)}`.`{rest}`"
        else:
            path = f"`tab{df.options}`.`{rest}`"
        return path + separator + alias

    def _link_alias(self, df: DocField) -> str:
        for alias, found in self.links.items():
            if found == (df.options, df.fieldname):
                return alias
        check_read(self.ctx, df.options, self.query.doctype)
        number = sum(doctype == df.options for doctype, _ in self.links.values()) + 1
        alias = f"tab{df.options}_{number}"
        self.links[alias] = (df.options, df.fieldname)
        return alias

    def sanitize(self) -> None:
        for text in self.texts:
            if text is not None:
                self._sanitize(text)

    def _sanitize(self, text: str) -> None:
        lower = text.lower().strip()
        if _SPECIAL.match(text):
            self._sanitize_call(lower)
        if _QUOTED.match(text) or _COMMA.match(text) or _QUERY.match(text) or _PREDICATE.match(text):
            errors.throw(self.ctx, _RESTRICTED, errors.DataError)

    def _sanitize_call(self, lower: str) -> None:
        if lower[0] == "(" and lower[1:].lstrip().split(" ", 1)[0] in _FORBIDDEN_WORDS:
            errors.throw(self.ctx, _RESTRICTED, errors.DataError)
        function = lower.split("(", 1)[0].rstrip()
        if function in _FORBIDDEN_FUNCTIONS:
            message = f"Use of function {function} in field is restricted"
            errors.throw(self.ctx, message, errors.DataError)
        if "@" in lower:
            errors.throw(self.ctx, _RESTRICTED, errors.DataError)

    def join_tables(self) -> None:
        """Join the tables that the fields name, each after its permission check."""
        for text in self.texts:
            if text is None or "tab" not in text or "." not in text or _calls(text):
                continue
            name = text.split(".", 1)[0]
            name = re.sub(r"^(?:group_concat\(|distinct\s*)", "", name, flags=re.IGNORECASE).strip("` ")
            if name not in self.links and not self.query.joined(name):
                check_read(self.ctx, name[3:], self.query.doctype)
                self.query.join_children(name[3:])

    def drop_optional(self) -> None:
        """A name that contains one of the optional columns' names goes when the table lacks that column.

        db_query.set_optional_columns tests by substring, so `last_seen` goes with `_seen`.
        """
        columns = self.ctx.store.kinds(self.query.doctype)
        missing = [name for name in OPTIONAL_FIELDS if name not in columns]
        self.texts = [
            text for text in self.texts if text is None or not any(name in text for name in missing)
        ]

    def permit(self) -> None:
        """Leave out what the user may not read (db_query.apply_fieldlevel_read_permissions).

        Frappe shortens the list that it walks along, so whatever follows a field that goes is not looked at.
        """
        permitted = permitted_fields(self.ctx, self.query.doctype, self.parent)
        texts, stars = self.texts, list[int]()
        for place, text in enumerate(texts):
            verdict = self._permitted(text, permitted)
            if verdict == "*":
                stars.append(place)
            elif not verdict and self.as_lists:
                texts[place] = None
            elif not verdict:
                texts.pop(place)
        for shift, place in enumerate(stars):
            place += shift * (len(permitted) - 1)
            texts[place : place + 1] = permitted

    def _permitted(self, text: str | None, permitted: list[str]) -> bool | str:
        columns = columns_of(text)
        if not columns:
            return True
        column = columns[0]
        if column == "*" and "*" in (text or ""):
            return True if "(" in (text or "") else "*"
        if not column or column.isnumeric() or column in OPTIONAL_FIELDS or column in permitted:
            return True
        if text is not None and "." in text:
            return self._other_permitted(text, column)
        if text is not None and "(" in text:
            return all(name in permitted for name in columns)
        return False

    def _other_permitted(self, text: str, column: str) -> bool:
        alias, _, fieldname = column.partition(".")
        doctype = self.links[alias][0] if alias in self.links else alias.removeprefix("tab")
        if not self.query.joined(alias) and alias not in self.links:
            raise errors.PermissionError(doctype)
        return fieldname in permitted_fields(self.ctx, doctype, self.query.doctype)

    def select(self) -> None:
        for alias, (doctype, fieldname) in self.links.items():
            self.query.join_link(doctype, alias, fieldname)
        for place, text in enumerate(self.texts):
            if text is None:
                self.query.select("NULL", None)
            else:
                if place and _DISTINCT.match(text):
                    raise syntax_error()
                key, expr = self._expression(text)
                self.query.select(key, expr)
                self.query.scope.name_result(key, expr)

    def _expression(self, text: str) -> tuple[str, Expr]:
        stripped = text.strip()
        lower = stripped.lower()
        if len(self.query.scope.tables) > 1 and "." not in text and not _calls(lower):
            self._refuse_prefixed(lower)
        if lower[0] in "`*\"'" or "(" in lower or "distinct" in lower:
            return self._parsed(stripped)
        if "as" in lower.split(" "):
            parts = stripped.split()
            if len(parts) != 3:
                many = "too many" if len(parts) > 3 else "not enough"
                raise errors.ValueError(f"{many} values to unpack (expected 3)")
            return parts[2].strip("`'\""), self._plain(parts[0])
        return stripped, self._plain(stripped)

    def _refuse_prefixed(self, lower: str) -> None:
        """Where tables are joined, Frappe puts the main one before what it takes for a column (set_field_tables)."""
        if "(" in lower:
            raise no_routine(f"{self.query.main}.{lower.split('(', 1)[0].rstrip()}")
        if _DISTINCT.match(lower):
            raise unknown_column(f"{self.query.main}.distinct", "SELECT")

    def _plain(self, name: str) -> Expr:
        expr = self.query.scope.column(self.query.main, name)
        if expr is None:
            raise unknown_column(name, "SELECT")
        return expr

    def _parsed(self, text: str) -> tuple[str, Expr]:
        parser = Parser(text, self.query.scope, "SELECT")
        if parser.accept("distinct"):
            self.query.distinct = True
        first = parser.position
        expr = parser.expression()
        key = _key_of(parser, first, text)
        if parser.accept("as") or not parser.done:
            key = parser.take()[1].strip("`'\"")
        parser.finish()
        return key, expr


def _calls(text: str) -> bool:
    return any(
        name in text for name in ("dayofyear(", "extract(", "locate(", "strpos(", "count(", "sum(", "avg(")
    )


def _key_of(parser: Parser, first: int, text: str) -> str:
    """A column's own name, or the expression as it was written."""
    last = parser.tokens[parser.position - 1]
    if parser.position - first in (1, 3) and last[0] in ("name", "word"):
        return last[1].strip("`")
    return re.split(r"\s+as\s+", text, flags=re.IGNORECASE)[0].strip()


# -- order and group ---------------------------------------------------------------------------------------------


def check_clause(query: Query, text: str) -> None:
    """validate_order_by_and_group_by."""
    ctx, lower = query.ctx, text.lower()
    if "select" in lower and "from" in lower:
        errors.throw(ctx, "Cannot use sub-query in order by")
    if _ORDER_CHARACTERS.match(lower):
        errors.throw(ctx, "Illegal SQL Query")
    for part in text.split(","):
        part = part.strip()
        if "." in part and part.startswith("`tab"):
            alias = part.split(".", 1)[0].strip("`")
            if query.scope.tables.get(alias) != alias.removeprefix("tab"):
                doctype = alias.removeprefix("tab")
                errors.throw(ctx, f"Please select atleast 1 column from {doctype} to sort/group")
        if part.split("(", 1)[0].rstrip().lower() == "sleep":
            errors.throw(ctx, f"Cannot use {part} in order/group by")


def parse_order(query: Query, text: str) -> list[tuple[Expr, str]]:
    parser = Parser(text, query.scope, "ORDER BY")
    parts: list[tuple[Expr, str]] = []
    while True:
        expr = _positional(query, parser) or parser.expression()
        direction = "DESC" if parser.accept("desc") else "ASC"
        parser.accept("asc")
        parts.append((expr, direction))
        if not parser.accept(","):
            break
    parser.finish()
    return parts


def _positional(query: Query, parser: Parser) -> Expr | None:
    """`order by 1` is the first column."""
    kind, value = parser.peek()
    following = parser.peek(1)[1].lower()
    if kind != "number" or following not in ("", ",", "asc", "desc"):
        return None
    parser.take()
    index = int(float(value)) - 1
    if not 0 <= index < len(query.columns):
        raise unknown_column(value, "ORDER BY")
    return query.columns[index][1]


def parse_group(query: Query, text: str) -> list[Expr]:
    parser = Parser(text, query.scope, "GROUP BY")
    parts = [parser.expression()]
    while parser.accept(","):
        parts.append(parser.expression())
    parser.finish()
    return parts


# -- frappe.db.count ---------------------------------------------------------------------------------------------


def count_condition(query: Query, raw: Any) -> Condition:
    """The filters of frappe.client.get_count: plain SQL, no permission and no empty-is-NULL (database/query.py)."""
    if len(raw) == 2:
        name, value, operator, doctype = raw[0], raw[1], "=", None
    elif len(raw) == 3:
        name, operator, value, doctype = raw[0], raw[1], raw[2], None
    else:
        doctype, name, operator, value = raw
    alias = f"tab{doctype or query.doctype}"
    if re.search(r"\W", str(name)):
        errors.throw(query.ctx, f"Invalid filter: {name}")
    if operator not in TREE_OPERATORS and str(operator).casefold() not in _COUNTED:
        raise errors.KeyError(repr(str(operator).casefold()))
    if not query.joined(alias) and doctype and meta_of(query.ctx, doctype).is_child:
        query.join_children(doctype)
    column = query.scope.column(alias, str(name))
    if column is None:
        raise unknown_column(str(name), "WHERE")
    return _counted(query, column, str(name), operator, value)


def _counted(query: Query, column: Expr, name: str, operator: Any, value: Any) -> Condition:
    if isinstance(value, bool):
        value = int(value)
    if isinstance(value, list) and not value:
        value = [""]
    if operator in TREE_OPERATORS:
        df = meta_of(query.ctx, query.doctype).field(name)
        doctype = df.options if df is not None else query.doctype
        nodes = tree_nodes(query.ctx, doctype, value, operator) or [""]
        return mariadb.member(column, nodes, operator.startswith("not "))
    return _counted_by(query, column, str(operator).casefold(), value)


def _counted_by(query: Query, column: Expr, lower: str, value: Any) -> Condition:
    if value is None:
        return Condition(f"{column.sql} IS NULL", column.params)
    if lower in ("=", "!=", *COMPARISONS):
        return mariadb.compare(column, lower, no_list(value))
    if lower in ("in", "not in"):
        return mariadb.member(column, members(value), lower == "not in")
    if lower in ("like", "not like"):
        return mariadb.like(column, str(no_list(value)), escape=True, negated=lower == "not like")
    if lower == "is":
        if not isinstance(value, str):
            raise errors.AttributeError(f"'{type(value).__name__}' object has no attribute 'lower'")
        return Condition(f"{column.sql} IS {'NOT ' if value.lower() == 'set' else ''}NULL", column.params)
    if lower == "between":
        return _counted_between(column, value)
    found = dates.timespan(value, query.ctx.site.clock().date(), 15)
    return _counted_between(column, None if found is None else [day.isoformat() for day in found])


_COUNTED = frozenset(
    {"=", "!=", *COMPARISONS, "in", "not in", "like", "not like", "is", "between", "timespan"}
)


def _counted_between(column: Expr, ends: Any) -> Condition:
    """Both ends are taken out of `slice(*ends)`."""
    if not isinstance(ends, str | list | dict):
        raise errors.TypeError(f"slice() argument after * must be an iterable, not {type(ends).__name__}")
    if len(ends) > 3:
        raise errors.TypeError(f"slice expected at most 3 arguments, got {len(ends)}")
    first, last = (None, *ends) if len(ends) == 1 else list(ends)[:2]
    return mariadb.between(column, first, last)
