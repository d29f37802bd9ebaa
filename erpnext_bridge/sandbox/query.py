"""One SELECT over the tables of DocTypes, put together by a dialect and answered in Frappe's shapes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import errors, mariadb
from .mariadb import Condition, Expr
from .permissions import RowRule
from .sqltext import Scope, syntax_error, unknown_column
from .store import quoted, table

if TYPE_CHECKING:
    from .context import Context


CLAUSES = {"SELECT": 0, "ON": 1, "WHERE": 2, "GROUP BY": 3, "ORDER BY": 4}


@dataclass
class Query:
    ctx: Context
    doctype: str
    columns: list[tuple[str, Expr | None]] = field(default_factory=list)
    """Key in the answer -> expression; None is a NULL in the place of a hidden column."""
    joins: list[Condition] = field(default_factory=list)
    where: list[Condition] = field(default_factory=list)
    group: list[Expr] = field(default_factory=list)
    order: list[tuple[Expr, str]] = field(default_factory=list)
    limit: int | None = None
    offset: int = 0
    distinct: bool = False
    failures: list[tuple[int, errors.SandboxError]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ctx.store.ensure(self.doctype)
        self.main = f"tab{self.doctype}"
        self.scope = Scope(self.ctx.store, {self.main: self.doctype})

    # -- putting together --------------------------------------------------------------------------------

    def column(self, fieldname: str, clause: str = "SELECT") -> Expr:
        """A column of the main table."""
        found = self.scope.column(self.main, fieldname)
        if found is None:
            raise unknown_column(f"{self.main}.{fieldname}", clause)
        return found

    def at(self, alias: str, fieldname: str, clause: str) -> Expr:
        found = self.scope.column(alias, fieldname)
        if found is None:
            raise unknown_column(f"{alias}.{fieldname}", clause)
        return found

    def joined(self, alias: str) -> bool:
        return alias in self.scope.tables

    def join_children(
        self, doctype: str, missing: str = "parenttype", parentfield: str | None = None
    ) -> None:
        """LEFT JOIN a child table; any other table lacks the column `missing` that the join needs first."""
        alias = f"tab{doctype}"
        if self.joined(alias):
            return
        meta = self.ctx.store.doctypes.get(doctype)
        if meta is None:
            raise errors.SQLProgrammingError(f"(1146, \"Table '<database>.tab{doctype}' doesn't exist\")")
        if not meta.is_child:
            self.failures.append((CLAUSES["ON"], unknown_column(f"{alias}.{missing}", "ON")))
            self.scope.tables[alias] = doctype
            self.ctx.store.ensure(doctype)
            return
        on = f"{quoted(alias)}.parenttype = ? AND {quoted(alias)}.parent = {quoted(self.main)}.name"
        params: tuple[Any, ...] = (self.doctype,)
        if parentfield:
            on += f" AND {quoted(alias)}.parentfield = ?"
            params += (parentfield,)
        self._join("LEFT JOIN", doctype, alias, on, params)

    def join_link(self, doctype: str, alias: str, fieldname: str) -> None:
        if not self.joined(alias):
            on = f"{quoted(alias)}.name = {quoted(self.main)}.{quoted(fieldname)}"
            self._join("LEFT JOIN", doctype, alias, on, ())

    def join_parent(self, doctype: str) -> None:
        on = f"{quoted(self.main)}.parent = {quoted(f'tab{doctype}')}.name"
        self._join("INNER JOIN", doctype, f"tab{doctype}", on, ())

    def _join(self, kind: str, doctype: str, alias: str, on: str, params: tuple[Any, ...]) -> None:
        self.ctx.store.ensure(doctype)
        self.scope.tables[alias] = doctype
        self.joins.append(Condition(f"{kind} {table(doctype)} AS {quoted(alias)} ON {on}", params))

    def select(self, key: str, expr: Expr | None) -> None:
        self.columns.append((key, expr))

    def restrict(self, rule: RowRule | None) -> None:
        if rule is not None:
            self.where.append(Condition(f"({rule.sql})", rule.params))

    # -- running -----------------------------------------------------------------------------------------

    def sql(self) -> tuple[str, list[Any]]:
        params: list[Any] = []
        selected = []
        for _, expr in self.columns:
            selected.append(expr.sql if expr is not None else "NULL")
            params += expr.params if expr is not None else ()
        parts = ["SELECT", "DISTINCT" if self.distinct else "", ", ".join(selected)]
        parts.append(f"FROM {table(self.doctype)} AS {quoted(self.main)}")
        for join in self.joins:
            parts.append(join.sql)
            params += join.params
        if self.where:
            parts.append("WHERE " + " AND ".join(condition.sql for condition in self.where))
            params += [param for condition in self.where for param in condition.params]
        parts += self._group(params) + self._order(params) + self._limit()
        return " ".join(part for part in parts if part), params

    def _group(self, params: list[Any]) -> list[str]:
        if not self.group:
            aggregated = any(_AGGREGATE.search(expr.sql) for expr, _ in self.order)
            # An aggregate in ORDER BY makes MariaDB treat all rows as one group.
            return ["GROUP BY ''"] if aggregated else []
        params += [param for expr in self.group for param in expr.params]
        return ["GROUP BY " + ", ".join(_collated(expr) for expr in self.group)]

    def _order(self, params: list[Any]) -> list[str]:
        if not self.order:
            return self._index_order()
        params += [param for expr, _ in self.order for param in expr.params]
        return ["ORDER BY " + ", ".join(f"{_collated(expr)} {direction}" for expr, direction in self.order)]

    def _index_order(self) -> list[str]:
        """Nobody asked for an order: rows come as the index that answers the query holds them.

        The sort index carries the name too, so a query about nothing else is read from it alone;
        any other one walks the primary key.
        """
        if self.group or self.distinct or self.joins:
            return []
        stamp = "modified" if self.ctx.version < 16 else "creation"
        covered = {f'{quoted(self.main)}."{column}"' for column in ("name", stamp)}
        if not self.where and all(expr is not None and expr.sql in covered for _, expr in self.columns):
            return [f"ORDER BY {quoted(self.main)}.{stamp}, {quoted(self.main)}.name"]
        return []

    def _limit(self) -> list[str]:
        if self.limit is None:
            return []
        return [f"LIMIT {min(self.limit, 2**62)} OFFSET {min(self.offset, 2**62)}"]

    @contextmanager
    def clause(self, name: str) -> Iterator[None]:
        """MariaDB reports one error only: bad syntax first, then clause after clause in its own order."""
        try:
            yield
        except errors.DriverError as error:
            if error.at_once:
                raise
            rank = -1 if "1064" in error.text else CLAUSES[name]
            self.failures.append((rank, error))

    def check(self) -> None:
        if not self.failures:
            return
        rank, error = min(self.failures, key=lambda failure: failure[0])
        if rank < 0:
            # Frappe logs the query that the server could not read, and sends it along.
            self.ctx.debug_messages.append("Syntax error in query:\n" + self.sql()[0])
        raise error

    def run(self) -> list[tuple[Any, ...]]:
        self.check()
        sql, params = self.sql()
        try:
            rows = self.ctx.store.execute(sql, params)
        except (sqlite3.Error, OverflowError):
            self.ctx.debug_messages.append(sql)
            raise syntax_error() from None
        kinds = [expr.kind if expr is not None else mariadb.TEXT for _, expr in self.columns]
        converted = [index for index, kind in enumerate(kinds) if kind in _CONVERTED]
        if not converted:
            return rows
        return [_converted(row, kinds, converted) for row in rows]

    def dicts(self) -> list[dict[str, Any]]:
        keys = [key for key, _ in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in self.run()]

    def count(self) -> int:
        self.check()
        sql, params = self.sql()
        return int(self.ctx.store.execute(f"SELECT count(*) FROM ({sql})", params)[0][0])


_AGGREGATE = re.compile(r"\b(?:count|sum|avg|avg_decimal|avg_integer|min|max|group_concat)\(")
_CONVERTED = frozenset({mariadb.DATETIME, mariadb.TIME, mariadb.DECIMAL})


def _converted(row: tuple[Any, ...], kinds: list[str], positions: list[int]) -> tuple[Any, ...]:
    values = list(row)
    for index in positions:
        values[index] = mariadb.shown(kinds[index], values[index])
    return tuple(values)


def _collated(expr: Expr) -> str:
    return f"{expr.sql} COLLATE {mariadb.COLLATION}" if expr.kind == mariadb.TEXT else expr.sql
