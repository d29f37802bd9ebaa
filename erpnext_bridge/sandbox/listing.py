"""Lists and counts: what frappe.client.get_list, reportview and the v2 list do with their arguments."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from erpnext_bridge import collation

from . import dialect15, errors
from .dialect15 import OpenBetween
from .dialect16 import Engine
from .filters import from_json, validate_fields, validate_filters
from .mariadb import INT, Condition, Expr
from .meta import DocType
from .permissions import has_permission, meta_of, row_rule
from .query import Query
from .sqltext import syntax_error
from .store import quoted

if TYPE_CHECKING:
    from .context import Context

KEEP_DEFAULT = "KEEP_DEFAULT_ORDERING"
# What DatabaseQuery.execute takes besides what the request may name; anything else is a TypeError.
_COMMON = (
    "fields filters or_filters group_by order_by limit_start limit_page_length as_list with_childnames debug "
    "ignore_permissions user with_comment_count join distinct start page_length limit ignore_ifnull "
    "save_user_settings save_user_settings_fields update user_settings reference_doctype run strict pluck "
    "ignore_ddl parent_doctype"
)
ARGUMENTS = {
    15: frozenset(_COMMON.split()) | {"docstatus", "add_total_row"},
    16: frozenset(_COMMON.split()) | {"offset", "ignore_user_permissions"},
}
# desk/reportview.py: what a client may never pass on.
DROPPED = ("cmd", "data", "ignore_permissions", "view", "user", "csrf_token", "join")


def cint(value: Any) -> int:
    """frappe.utils.cint: a number at any price."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def sbool(value: Any) -> Any:
    """frappe.utils.sbool: the texts of a boolean, anything else as it is."""
    if isinstance(value, str):
        return {"true": True, "1": True, "false": False, "0": False}.get(value.lower(), value)
    return value


# -- entry points ------------------------------------------------------------------------------------------------


def get_list(
    ctx: Context,
    doctype: Any,
    *,
    fields: Any = None,
    filters: Any = None,
    or_filters: Any = None,
    group_by: Any = None,
    order_by: Any = None,
    limit_start: Any = None,
    limit_page_length: Any = 20,
    parent: Any = None,
    debug: Any = False,
    as_dict: Any = True,
    expand: Any = None,
) -> list[Any]:
    """frappe.client.get_list."""
    known = ctx.store.meta(doctype)
    if ctx.version < 16 and known is not None and known.is_child:
        check_parent(ctx, parent, known)
    args = validate(
        ctx,
        {
            "doctype": doctype,
            "parent_doctype": parent,
            "fields": fields,
            "filters": filters,
            "or_filters": or_filters,
            "group_by": group_by,
            "order_by": order_by,
            "limit_start": limit_start,
            "limit_page_length": limit_page_length,
            "debug": debug,
            "as_list": not as_dict,
        },
    )
    rows = execute(ctx, args)
    if expand and ctx.version >= 16:
        if fields and fields[0] != "*":
            # In a list of names, or in the text of one, where a part of another name will do.
            expand = [name for name in expand if name in fields]
        _expand_lists(ctx, meta_of(ctx, doctype), rows, expand)
    return rows


def _expand_lists(ctx: Context, meta: DocType, rows: list[Any], expand: Any) -> None:
    """Links in a list become what the user may see of the documents (utils.attach_expanded_links).

    The options of a Dynamic Link are taken for a DocType, which they never are.
    """
    links = {df.fieldname: df.options for df in meta.fields if df.fieldtype in ("Link", "Dynamic Link")}
    if any(name in links for name in expand) and any(isinstance(row, list) for row in rows):
        raise errors.AttributeError("'tuple' object has no attribute 'get'")
    wanted: dict[str, set[Any]] = {}
    for name in expand:
        if name in links:
            wanted.setdefault(links[name], set()).update(row[name] for row in rows if row.get(name))
    found = {doctype: _by_name(ctx, doctype, names) for doctype, names in wanted.items() if names}
    for row in rows:
        for name in expand:
            if name in links and row.get(name):
                row[name] = found[links[name]].get(row[name], row[name])


def _by_name(ctx: Context, doctype: str, names: set[Any]) -> dict[Any, Any]:
    args = {"doctype": doctype, "fields": ["*"], "filters": {"name": ["in", sorted(names)]}}
    return {row["name"]: row for row in execute(ctx, args)}


def check_parent(ctx: Context, parent: Any, child: DocType) -> None:
    """db_query.check_parent_permission: the parent must exist, hold the child table, and be readable."""
    parent_meta = ctx.store.meta(parent) if isinstance(parent, str) else None
    if parent_meta is None or child.name not in [df.options for df in parent_meta.tables]:
        raise errors.PermissionError
    if not has_permission(ctx, parent_meta.name):
        raise errors.PermissionError


def validate(ctx: Context, args: dict[str, Any]) -> dict[str, Any]:
    """reportview.validate_args: JSON texts become values, and every named field must exist."""
    for key in ("filters", "or_filters", "fields"):
        value = args.get(key)
        if isinstance(value, str) and value:
            args[key] = ["*"] if key == "fields" and value == "*" else from_json(value)
    fields = args.get("fields")
    if fields:
        if isinstance(fields, int | float):
            raise errors.TypeError(f"'{type(fields).__name__}' object is not iterable")
        parent = args.get("parenttype") or args.get("parent_doctype")
        args["fields"] = validate_fields(ctx, args["doctype"], list(fields), parent)
    for key in ("filters", "or_filters"):
        if args.get(key):
            validate_filters(ctx, args["doctype"], args[key])
    return args


def execute(ctx: Context, args: dict[str, Any]) -> list[Any]:
    query = build(ctx, args)
    if isinstance(query, Engine):
        rows: list[Any] = query.query.run() if args.get("as_list") else query.dicts()
        shown = query.query
    else:
        if query is None:
            return []
        rows = query.run() if args.get("as_list") else query.dicts()
        shown = query
    if args.get("debug"):
        tell_query(ctx, shown)
    if args.get("as_list"):
        return [list(row) for row in rows]
    if sbool(args.get("with_comment_count")):
        count_comments(rows)
    return rows


def count_comments(rows: list[Any]) -> None:
    """db_query.add_comment_count: of the rows that have a name, by their column `_comments`."""
    for row in rows:
        if row.get("name"):
            row["_comment_count"] = len(json.loads(row.get("_comments") or "[]"))


def tell_query(ctx: Context, query: Query) -> None:
    ctx.debug_messages += [query.sql()[0], "Execution time: 0.0 sec"]


def build(ctx: Context, args: dict[str, Any], *, raw_text: bool = False) -> Engine | Query | None:
    _check_arguments(ctx, args)
    if ctx.version >= 16:
        return build16(ctx, args, raw_text)
    return build15(ctx, args)


def _check_arguments(ctx: Context, args: dict[str, Any]) -> None:
    unknown = [key for key in args if key not in ARGUMENTS[ctx.version] and key != "doctype"]
    if unknown:
        raise errors.TypeError(f"DatabaseQuery.execute() got an unexpected keyword argument '{unknown[0]}'")
    check_table(ctx, args["doctype"])


def check_table(ctx: Context, doctype: Any) -> None:
    """A DocType without a table of its own, or one found only thanks to the collation."""
    meta = ctx.store.meta(doctype) if isinstance(doctype, str) else None
    if meta is None:
        if any(collation.equal(str(doctype), name) for name in ctx.store.doctypes):
            raise errors.SQLProgrammingError(f"('DocType', {doctype!r})")
        meta_of(ctx, doctype)
    elif meta.is_single:
        if ctx.version < 16:
            dialect15.check_read(ctx, doctype, None)
        raise errors.SQLProgrammingError(f"('DocType', {doctype!r})")


# -- version 15 --------------------------------------------------------------------------------------------------


def build15(ctx: Context, args: dict[str, Any]) -> Query | None:
    doctype, parent = args["doctype"], args.get("parent_doctype")
    meta = meta_of(ctx, doctype)
    dialect15.check_read(ctx, doctype, parent or doctype)
    query = Query(ctx, doctype)
    texts = args.get("fields") or [f"`tab{doctype}`.`{args.get('pluck') or 'name'}`"]
    fields = dialect15.Fields(query, texts, parent, bool(args.get("as_list")))
    fields.sanitize()
    fields.join_tables()
    fields.drop_optional()
    open_between, place = _conditions15(query, args)
    if not meta.is_child:
        _rows15(query, meta)
    if open_between:
        with query.clause("WHERE"):
            if place == len(query.where):
                raise syntax_error()
            query.where[place] = open_between.around(query.where[place])
    fields.permit()
    with query.clause("SELECT"):
        fields.select()
    _clauses15(query, args, meta)
    _limit15(query, args)
    if not fields.texts:
        return None
    if args.get("distinct"):
        query.distinct, query.order = True, []
    return query


def _conditions15(query: Query, args: dict[str, Any]) -> tuple[OpenBetween | None, int]:
    """Add what the filters ask for; return a `between` that they left open, and where the condition is that ends it."""
    before: OpenBetween | None = None
    for raw in dialect15.as_list(query.doctype, args.get("filters") or []):
        opened, before = before, None
        with query.clause("WHERE"):
            found = dialect15.condition(query, raw, opened)
            if isinstance(found, OpenBetween):
                before = found
            else:
                query.where.append(found)
    place = len(query.where)
    either: list[Condition] = []
    for raw in dialect15.as_list(query.doctype, args.get("or_filters") or []):
        with query.clause("WHERE"):
            one = dialect15.condition(query, raw)
            if isinstance(one, OpenBetween):
                raise syntax_error()
            either.append(one)
    if either:
        sql = " OR ".join(one.sql for one in either)
        query.where.append(Condition(f"({sql})", tuple(param for one in either for param in one.params)))
    return before, place


def _rows15(query: Query, meta: DocType) -> None:
    query.restrict(row_rule(query.ctx, meta, quoted(query.main)))


def _clauses15(query: Query, args: dict[str, Any], meta: DocType) -> None:
    order_by, group_by = args.get("order_by"), args.get("group_by")
    if order_by == KEEP_DEFAULT:
        order_by = f"`tab{meta.name}`.`{meta.sort_field}` {meta.raw.get('sort_order') or 'desc'}"
    for text in (order_by, group_by):
        if text:
            if not isinstance(text, str):
                raise errors.AttributeError(f"'{type(text).__name__}' object has no attribute 'lower'")
            dialect15.check_clause(query, text)
    if group_by:
        with query.clause("GROUP BY"):
            query.group = dialect15.parse_group(query, group_by)
    if order_by:
        with query.clause("ORDER BY"):
            query.order = dialect15.parse_order(query, order_by)


def _limit15(query: Query, args: dict[str, Any]) -> None:
    length = args.get("limit") or args.get("page_length") or args.get("limit_page_length")
    limit = cint(length) if length else 0
    if not limit:
        return
    query.limit = limit
    query.offset = cint(args.get("start") or args.get("limit_start"))
    if limit < 0 or query.offset < 0:
        query.failures.append((-1, syntax_error()))


# -- version 16 --------------------------------------------------------------------------------------------------


def build16(ctx: Context, args: dict[str, Any], raw_text: bool) -> Engine:
    fields = args.get("fields") or [args.get("pluck") or "name"]
    limit = args.get("limit") or args.get("limit_page_length") or args.get("page_length")
    offset = args.get("offset") or args.get("limit_start") or args.get("start")
    return run_engine(
        Engine(ctx, args["doctype"], args.get("parent_doctype"), compat=True, raw_text=raw_text),
        {**args, "fields": fields},
        cint(limit),
        cint(offset),
    )


def run_engine(engine: Engine, args: dict[str, Any], limit: int, offset: int) -> Engine:
    ctx, query = engine.ctx, engine.query
    with query.clause("SELECT"):
        engine.select(args.get("fields"))
    with query.clause("WHERE"):
        engine.filters(args.get("filters"))
        if args.get("or_filters") is not None:
            engine.any_of(args["or_filters"])
    _limit16(ctx, query, limit, offset)
    query.distinct = bool(args.get("distinct"))
    if args.get("group_by"):
        with query.clause("GROUP BY"):
            query.group = [expr for expr, _ in engine.clause(args["group_by"], "Group By")]
    if args.get("order_by"):
        with query.clause("ORDER BY"):
            query.order = _order16(engine, args["order_by"])
    engine.restrict()
    return engine


def _limit16(ctx: Context, query: Query, limit: int, offset: int) -> None:
    for label, number in (("Limit", limit), ("Offset", offset)):
        if number < 0:
            errors.throw(ctx, f"{label} must be a non-negative integer", errors.TypeError)
    if limit:
        query.limit, query.offset = limit, offset
    elif offset:
        # OFFSET without LIMIT, which MariaDB does not parse.
        query.failures.append((-1, syntax_error()))


def _order16(engine: Engine, order_by: Any) -> list[tuple[Expr, str]]:
    if order_by != KEEP_DEFAULT:
        return list(engine.clause(order_by, "Order By"))
    meta = meta_of(engine.ctx, engine.doctype)
    direction = str(meta.raw.get("sort_order") or "DESC").upper()
    return [(engine.query.column(meta.sort_field), direction)]


def list_v2(ctx: Context, doctype: str, form: dict[str, Any]) -> tuple[list[Any], bool]:
    """GET /api/v2/document/<doctype> since 16: rows and whether more follow."""
    meta = ctx.store.meta(doctype)
    args = {key: _parsed(form.get(key)) for key in ("fields", "filters")}
    args |= {"order_by": form.get("order_by"), "group_by": form.get("group_by")}
    limit = cint(form.get("limit", 20))
    if meta is None and any(collation.equal(doctype, name) for name in ctx.store.doctypes):
        # Found thanks to the collation, which does not reach to the names of tables.
        missing = f"(1146, \"Table '<database>.tab{doctype}' doesn't exist\")"
        blank = f"(1103, \"Incorrect table name 'tab{doctype}'\")"
        raise errors.SQLProgrammingError(blank if doctype.endswith(" ") else missing)
    engine = Engine(ctx, doctype, compat=False)
    if meta is not None and meta.is_single:
        raise errors.SQLProgrammingError(f"(1146, \"Table '<database>.tab{doctype}' doesn't exist\")")
    run_engine(engine, args, limit + 1, cint(form.get("start", 0)))
    as_dict = form.get("as_dict", True)
    rows: list[Any] = engine.dicts() if as_dict else [list(row) for row in engine.query.run()]
    if form.get("debug"):
        tell_query(ctx, engine.query)
    return rows[:limit], len(rows) > limit


def _parsed(value: Any) -> Any:
    """frappe.parse_json, which reads with orjson since 16."""
    if not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except errors.JSONDecodeError:
        # Its parser tells the beginnings of true, false and null from all else, and all of it from nothing.
        reason = "invalid literal" if value[:1] in ("t", "f", "n") else "unexpected character"
        reason = reason if value else "Input is a zero-length, empty document"
        error = errors.JSONDecodeError(f"{reason}: line 1 column 1 (char 0)")
        error.module = "orjson."
        raise error from None


def expand_links(ctx: Context, meta: DocType, rows: list[Any], fields: list[Any] | None, expand: Any) -> None:
    """Replace the names of links by dicts of the documents they name."""
    wanted = [name for name in expand if not fields or fields[0] == "*" or name in fields]
    for df in meta.fields:
        if df.fieldname not in wanted or df.fieldtype not in ("Link", "Dynamic Link"):
            continue
        for row in rows:
            doctype = df.options if df.fieldtype == "Link" else row.get(df.options)
            if row.get(df.fieldname) and doctype in ctx.store.doctypes:
                row[df.fieldname] = ctx.store.get(doctype, row[df.fieldname]) or row[df.fieldname]


# -- counts ------------------------------------------------------------------------------------------------------


def report_args(ctx: Context, form: dict[str, Any]) -> dict[str, Any]:
    """The form as reportview reads it."""
    args = {key: value for key, value in form.items() if key not in DROPPED}
    if "doctype" not in args:
        if ctx.version < 16:
            raise errors.TypeError("execute() missing 1 required positional argument: 'doctype'")
        args["doctype"] = None
    args["save_user_settings"] = True
    args["strict"] = None
    args.setdefault("order_by", KEEP_DEFAULT)
    for key in ("start", "page_length"):
        if ctx.version >= 16 and isinstance(args.get(key), str):
            args[key] = cint(args[key])
    return validate(ctx, args)


def report_count(ctx: Context, form: dict[str, Any]) -> int | None:
    """desk.reportview.get_count."""
    args = report_args(ctx, form)
    distinct, limit = sbool(args.get("distinct")), cint(args.get("limit"))
    doctype = args["doctype"]
    args |= {"order_by": None, "distinct": distinct, "limit": limit}
    if ctx.version < 16:
        return _count15(ctx, args, doctype, bool(distinct), limit)
    args["fields"] = [f"`tab{doctype}`.name"]
    _check_arguments(ctx, args)
    count = build16(ctx, args, raw_text=True).query.count()
    if limit and count == limit:
        ctx.response_headers["Cache-Control"] = "private,max-age=600,stale-while-revalidate=10800"
    return count


def _count15(ctx: Context, args: dict[str, Any], doctype: Any, distinct: bool, limit: int) -> int:
    name = f"{'distinct ' if distinct else ''}`tab{doctype}`.name"
    if limit:
        query = build(ctx, {**args, "fields": [name]})
        return query.count() if isinstance(query, Query) else 0
    rows = execute(
        ctx, {**args, "fields": [f"count({name}) as total_count"], "limit": None, "distinct": None}
    )
    return int(rows[0]["total_count"])


def plain_count(ctx: Context, doctype: Any, filters: Any) -> int:
    """frappe.db.count, behind frappe.client.get_count of 15: no permission, SQL's own NULLs."""
    meta = ctx.store.meta(doctype) if isinstance(doctype, str) else None
    if meta is None or meta.is_single:
        raise errors.SQLProgrammingError(f"(1146, \"Table '<database>.tab{doctype}' doesn't exist\")")
    query = Query(ctx, doctype)
    query.select("count", Expr("count(*)", INT))
    for raw in _plain_filters(filters):
        with query.clause("WHERE"):
            query.where.append(dialect15.count_condition(query, raw))
    return int(query.run()[0][0])


def _plain_filters(filters: Any) -> list[list[Any]]:
    if filters is None:
        return []
    if isinstance(filters, str | int):
        return [["name", "=", str(filters)]]
    if isinstance(filters, dict):
        return [[key, *value] if isinstance(value, list) else [key, value] for key, value in filters.items()]
    if filters and all(isinstance(one, str | int) for one in filters):
        return [["name", "in", filters]]
    found: list[list[Any]] = []
    for one in filters:
        if isinstance(one, list):
            # Five elements fit none of the engine's shapes and are passed over.
            found += [one] if len(one) in (2, 3, 4) else []
        else:
            found += _plain_filters(one)
    return found


def first_name(ctx: Context, doctype: str, filters: Any) -> Any:
    """The name that frappe.db.get_value finds for filters: no permission, newest first."""
    meta = meta_of(ctx, doctype)
    query = Query(ctx, doctype)
    query.select("name", query.column("name"))
    for raw in _plain_filters(filters):
        with query.clause("WHERE"):
            query.where.append(dialect15.count_condition(query, raw))
    query.order = [(query.column(meta.sort_field), "DESC")]
    query.limit = 1
    rows = query.run()
    return rows[0][0] if rows else None
