"""The site's tables: SQLite in memory, with MariaDB's types, collation, uniqueness and transactions."""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from erpnext_bridge import collation

from . import errors, mariadb
from .mariadb import DATE, DATETIME, DECIMAL, INT, TEXT, TIME
from .meta import DocField, DocType

# What DocType documents are made of; their rows appear when somebody looks.
META_DOCTYPES = frozenset(
    {"DocType", "DocField", "DocPerm", "DocType Action", "DocType Link", "DocType State"}
)
# Writes to these change who may do what.
ACCESS_DOCTYPES = frozenset({"User", "Has Role", "User Permission", "DocShare", "Role"})
AFFINITY = {TEXT: "TEXT", INT: "INTEGER", DECIMAL: "REAL", DATE: "TEXT", DATETIME: "TEXT", TIME: "INTEGER"}
LONG_TEXT = frozenset(
    {"Long Text", "Code", "Text Editor", "HTML Editor", "Markdown Editor", "Signature", "JSON"}
)

Row = dict[str, Any]


def table(doctype: str) -> str:
    return '"tab' + doctype.replace('"', '""') + '"'


@lru_cache(maxsize=4096)
def quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


class Store:
    """Rows by DocType. Values go in as Frappe writes them into SQL and come out as its driver gives them."""

    version = 15
    """Frappe's, whose drivers and columns differ."""

    def __init__(self, doctypes: Iterable[DocType]) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA foreign_keys=OFF")
        self.connection.create_collation(mariadb.COLLATION, collation.compare)
        for name, kind in mariadb.AGGREGATES.items():
            self.connection.create_aggregate(name, 1, kind)  # type: ignore[arg-type]
        for name, (count, function) in mariadb.FUNCTIONS.items():
            self.connection.create_function(name, count, function, deterministic=True)
        self.doctypes = {doctype.name: doctype for doctype in doctypes}
        self.access_cache: dict[Any, Any] = {}
        self._tables: set[str] = set()
        self._made_in_transaction: set[str] = set()
        self._kinds: dict[str, dict[str, str]] = {}
        self._sequences: dict[str, int] = {}
        self.connection.executescript(
            "CREATE TABLE secrets (doctype TEXT, name TEXT, field TEXT, value TEXT, PRIMARY KEY (doctype, name, field));"
            "CREATE TABLE singles (doctype TEXT, field TEXT, value TEXT, PRIMARY KEY (doctype, field));"
            f"CREATE TABLE series (name TEXT COLLATE {mariadb.COLLATION} PRIMARY KEY, current INTEGER);"
        )

    # -- DocTypes and tables -----------------------------------------------------------------------------

    def meta(self, doctype: str) -> DocType | None:
        return self.doctypes.get(doctype)

    def kinds(self, doctype: str) -> dict[str, str]:
        """Column -> its kind of value."""
        kinds = self._kinds.get(doctype)
        if kinds is None:
            meta = self.doctypes[doctype]
            columns = (*meta.columns, *meta.optional)
            kinds = {column: mariadb.kind_of(meta.fieldtype(column)) for column in columns}
            if meta.autoincrement:
                kinds["name"] = INT
            self._kinds[doctype] = kinds
        return kinds

    def ensure(self, doctype: str) -> None:
        """Create the table at its first use."""
        if doctype in self._tables:
            return
        meta = self.doctypes[doctype]
        kinds = self.kinds(doctype)
        columns = [_declaration(meta, column, kind) for column, kind in kinds.items() if column != "name"]
        key = "INTEGER" if kinds["name"] == INT else f"TEXT COLLATE {mariadb.COLLATION} NOT NULL"
        self.connection.execute(
            f"CREATE TABLE {table(doctype)} (name {key} PRIMARY KEY, {', '.join(columns)})"
            + ("" if kinds["name"] == INT else " WITHOUT ROWID")
        )
        for column in [field.fieldname for field in meta.fields if field.unique and field.stored]:
            self._index(doctype, column)
        if meta.is_child:
            self._index(doctype, "parent")
        self._tables.add(doctype)
        if self.connection.in_transaction:
            self._made_in_transaction.add(doctype)

    def _index(self, doctype: str, column: str) -> None:
        self.connection.execute(
            f"CREATE INDEX {quoted(f'{doctype}.{column}')} ON {table(doctype)} ({quoted(column)})"
        )

    def define(self, meta: DocType) -> None:
        """Take a new or changed DocType; its table gets the columns it lacks."""
        before = self.doctypes.get(meta.name)
        self.doctypes[meta.name] = meta
        self._kinds.pop(meta.name, None)
        if before is None or meta.name not in self._tables:
            return
        kinds = self.kinds(meta.name)
        # A field that was taken away has left its column.
        there = {row[1] for row in self.connection.execute(f"PRAGMA table_info({table(meta.name)})")}
        for column in meta.columns:
            if column not in there:
                declaration = _declaration(meta, column, kinds[column])
                self.connection.execute(f"ALTER TABLE {table(meta.name)} ADD COLUMN {declaration}")

    # -- transactions ------------------------------------------------------------------------------------

    def begin(self) -> None:
        if not self.connection.in_transaction:
            self.connection.execute("BEGIN")

    def commit(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("COMMIT")
            self._made_in_transaction.clear()

    def rollback(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")
            self._undone()

    def savepoint(self) -> None:
        self.begin()
        self.connection.execute("SAVEPOINT inner")

    def release(self) -> None:
        self.connection.execute("RELEASE inner")

    def rollback_to_savepoint(self) -> None:
        self.connection.execute("ROLLBACK TO inner")
        self.connection.execute("RELEASE inner")
        self._undone()

    def _undone(self) -> None:
        """Forget what was known within the transaction. SQLite takes back tables too, which are then made anew."""
        self.access_cache.clear()
        self._tables -= self._made_in_transaction
        for doctype in self._made_in_transaction:
            found = self.connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (f"tab{doctype}",))
            if found.fetchone():
                self._tables.add(doctype)
        self._made_in_transaction &= self._tables

    # -- reading -----------------------------------------------------------------------------------------

    def execute(self, sql: str, params: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, tuple(params)).fetchall()

    def get(self, doctype: str, name: Any) -> Row | None:
        rows = self.rows(doctype, {"name": name}, limit=1)
        return rows[0] if rows else None

    def exists(self, doctype: str, name: Any) -> Any:
        """The name as stored, or None."""
        self.ensure(doctype)
        key = self._key(doctype, name)
        found = self.execute(f"SELECT name FROM {table(doctype)} WHERE name = ?", (key,))
        return found[0][0] if found else None

    def rows(
        self, doctype: str, where: Mapping[str, Any] | None = None, *, order: str = "", limit: int = 0
    ) -> list[Row]:
        """Rows whose columns equal the given values under the collation, with columns as Frappe shows them."""
        self.ensure(doctype)
        columns = self.doctypes[doctype].columns
        conditions, params = self._equal(doctype, where or {})
        sql = f"SELECT {', '.join(map(quoted, columns))} FROM {table(doctype)}{conditions}"
        if order:
            sql += f" ORDER BY {order}"
        if limit:
            sql += f" LIMIT {limit}"
        kinds = self.kinds(doctype)
        convert = [(column, kinds[column]) for column in columns]
        return [
            {column: mariadb.shown(kind, value) for (column, kind), value in zip(convert, row, strict=True)}
            for row in self.connection.execute(sql, params)
        ]

    def _equal(self, doctype: str, where: Mapping[str, Any]) -> tuple[str, list[Any]]:
        parts, params = [], []
        for column, value in where.items():
            if value is None:
                parts.append(f"{quoted(column)} IS NULL")
            else:
                parts.append(f"{quoted(column)} = ?")
                params.append(self._key(doctype, value) if column == "name" else value)
        return (" WHERE " + " AND ".join(parts) if parts else ""), params

    def _key(self, doctype: str, name: Any) -> Any:
        if self.kinds(doctype)["name"] == INT:
            return int(mariadb.number(str(name)))
        return str(name)

    def value(self, doctype: str, name: Any, column: str) -> Any:
        self.ensure(doctype)
        found = self.execute(
            f"SELECT {quoted(column)} FROM {table(doctype)} WHERE name = ?", (self._key(doctype, name),)
        )
        return mariadb.shown(self.kinds(doctype)[column], found[0][0]) if found else None

    # -- writing -----------------------------------------------------------------------------------------

    def insert(self, doctype: str, row: Mapping[str, Any]) -> None:
        self.ensure(doctype)
        self.begin()
        values = self._encoded(doctype, row)
        marks = ", ".join("?" * len(values))
        self.connection.execute(
            f"INSERT INTO {table(doctype)} ({', '.join(map(quoted, values))}) VALUES ({marks})",
            tuple(values.values()),
        )
        self._written(doctype)

    def fill(self, doctype: str, rows: list[Row]) -> None:
        """Insert many rows whose values are known to be right."""
        self.ensure(doctype)
        columns = list(dict.fromkeys(column for row in rows for column in row))
        columns = [column for column in columns if column in self.kinds(doctype)]
        marks = ", ".join("?" * len(columns))
        defaults = [0 if self.kinds(doctype)[column] in mariadb.NUMBERS else None for column in columns]
        self.connection.executemany(
            f"INSERT INTO {table(doctype)} ({', '.join(map(quoted, columns))}) VALUES ({marks})",
            (
                tuple(row.get(column, default) for column, default in zip(columns, defaults, strict=True))
                for row in rows
            ),
        )

    def write(self, sql: str, params: Iterable[Any] = ()) -> None:
        """A statement that changes rows; it belongs to the transaction."""
        self.begin()
        self.connection.execute(sql, tuple(params))

    def update(self, doctype: str, name: Any, row: Mapping[str, Any]) -> int:
        self.ensure(doctype)
        self.begin()
        values = self._encoded(doctype, row)
        pairs = ", ".join(f"{quoted(column)} = ?" for column in values)
        cursor = self.connection.execute(
            f"UPDATE {table(doctype)} SET {pairs} WHERE name = ?",
            (*values.values(), self._key(doctype, name)),
        )
        self._written(doctype)
        return cursor.rowcount

    def delete(self, doctype: str, where: Mapping[str, Any]) -> int:
        self.ensure(doctype)
        self.begin()
        conditions, params = self._equal(doctype, where)
        cursor = self.connection.execute(f"DELETE FROM {table(doctype)}{conditions}", params)
        self._written(doctype)
        return cursor.rowcount

    def _written(self, doctype: str) -> None:
        if doctype in ACCESS_DOCTYPES:
            self.access_cache.clear()

    def _encoded(self, doctype: str, row: Mapping[str, Any]) -> Row:
        meta, kinds = self.doctypes[doctype], self.kinds(doctype)
        return {
            column: self._encode(meta, column, kinds[column], value)
            for column, value in row.items()
            if column in kinds
        }

    def _encode(self, meta: DocType, column: str, kind: str, value: Any) -> Any:
        if value is None:
            if column == "name" or mariadb.kind_of(meta.fieldtype(column)) in (INT, DECIMAL):
                return None if meta.fieldtype(column) == "Duration" else 0
            return None
        if kind == DECIMAL:
            return _encode_decimal(meta, column, value, self.version)
        if kind in (DATE, DATETIME) and _is_zero(value):
            # PyMySQL gives the text of a date back; all else is None.
            return ZERO_DATE[kind] if kind == DATE and self.version < 16 else None
        return ENCODERS[kind](meta, column, value)

    # -- singles, secrets, counters ----------------------------------------------------------------------

    def single(self, doctype: str) -> Row:
        """The stored texts of a Single."""
        return dict(self.execute("SELECT field, value FROM singles WHERE doctype = ?", (doctype,)))

    def set_single(self, doctype: str, values: Mapping[str, Any]) -> None:
        self.begin()
        for field, value in values.items():
            self.connection.execute(
                "INSERT OR REPLACE INTO singles VALUES (?, ?, ?)",
                (doctype, field, None if value is None else str(value)),
            )

    def secret(self, doctype: str, name: str, field: str) -> str | None:
        """A password-like value, which Frappe keeps apart from the document (__Auth)."""
        found = self.execute(
            "SELECT value FROM secrets WHERE doctype = ? AND name = ? AND field = ?", (doctype, name, field)
        )
        return found[0][0] if found else None

    def set_secret(self, doctype: str, name: str, field: str, value: str | None) -> None:
        self.begin()
        where = (doctype, name, field)
        self.connection.execute("DELETE FROM secrets WHERE doctype = ? AND name = ? AND field = ?", where)
        if value is not None:
            self.connection.execute("INSERT INTO secrets VALUES (?, ?, ?, ?)", (*where, value))

    def next_in_series(self, name: str) -> int:
        self.begin()
        self.connection.execute("INSERT OR IGNORE INTO series VALUES (?, 0)", (name,))
        self.connection.execute("UPDATE series SET current = current + 1 WHERE name = ?", (name,))
        return int(self.execute("SELECT current FROM series WHERE name = ?", (name,))[0][0])

    def set_series(self, name: str, current: int) -> None:
        self.begin()
        self.connection.execute("INSERT OR REPLACE INTO series VALUES (?, ?)", (name, current))

    def next_number(self, doctype: str) -> int:
        """Autoincrement names come from a sequence, which no rollback takes back."""
        if doctype not in self._sequences:
            self.ensure(doctype)
            top = self.execute(f"SELECT max(name) FROM {table(doctype)}")[0][0]
            self._sequences[doctype] = top or 0
        self._sequences[doctype] += 1
        return self._sequences[doctype]


def _declaration(meta: DocType, column: str, kind: str) -> str:
    if kind == TEXT:
        return f"{quoted(column)} TEXT COLLATE {mariadb.COLLATION}"
    # Numbers are NOT NULL, except a Duration (mariadb/database.py).
    default = " DEFAULT 0" if kind in mariadb.NUMBERS and meta.fieldtype(column) != "Duration" else ""
    return f"{quoted(column)} {AFFINITY[kind]}{default}"


def hash_name(*parts: str) -> str:
    """A stable stand-in for the random ten characters that Frappe gives rows without a naming rule."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]


# -- what the columns accept -----------------------------------------------------------------------------------


def _incorrect(meta: DocType, column: str, kind: str, value: Any) -> errors.SandboxError:
    place = f"`<database>`.`tab{meta.name}`.`{column}`"
    return errors.SQLOperationalError(
        f"(1292, \"Incorrect {kind} value: '{value}' for column {place} at row 1\")"
    )


ZERO_DATE = {DATE: "0000-00-00", DATETIME: "0000-00-00 00:00:00"}


def _is_zero(value: Any) -> bool:
    """What MariaDB stores as the zero date, unless it is strict about it."""
    return value is not True and value != "0" and str(value) in ("0", "False", *ZERO_DATE.values())


def _encode_date(meta: DocType, column: str, value: Any) -> str:
    value = int(value) if isinstance(value, bool) else value
    _, text = mariadb.moment(str(value))
    if not _is_moment(text, str(value)):
        raise _incorrect(meta, column, "date", value)
    return text[:10]


def _encode_datetime(meta: DocType, column: str, value: Any) -> str:
    kind, text = mariadb.moment(str(value))
    if not _is_moment(text, str(value)):
        raise _incorrect(meta, column, "datetime", value)
    return text if kind == DATETIME else f"{text} 00:00:00.000000"


def _is_moment(read: str, written: str) -> bool:
    """Whether a column takes a text that is read as this date, or date and time."""
    return not read.startswith("0000") and not _has_zone(written) and _is_clock(written)


def _is_clock(value: str) -> bool:
    """False for hours, minutes or seconds that no day has."""
    found = re.match(r"\d{4}-\d\d?-\d\d?[ T](\d+)(?::(\d+))?(?::(\d+))?", value)
    if found is None:
        return True
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return hours < 24 and minutes < 60 and seconds < 60


def _has_zone(value: str) -> bool:
    clock = value[10:]
    return clock.endswith(("Z", "z")) or "+" in clock or "-" in clock


def _encode_time(meta: DocType, column: str, value: Any) -> int:
    text = str(value)
    if not mariadb.is_time(text):
        raise _incorrect(meta, column, "time", value)
    return mariadb.microseconds(text)


def _encode_int(meta: DocType, column: str, value: Any) -> int:
    if isinstance(value, str):
        return int(mariadb.number(value))
    return int(value)


def _encode_decimal(meta: DocType, column: str, value: Any, version: int) -> float:
    if isinstance(value, str):
        if not mariadb.is_number(value):
            raise _no_decimal(meta, column, value, version)
        value = mariadb.number(value)
    scale = _scale(meta.field(column), version)
    number = round(float(value), scale)
    if abs(number) >= 10 ** (DIGITS - scale):
        raise errors.SQLDataError(f"(1264, \"Out of range value for column '{column}' at row 1\")")
    return number


DIGITS = 21


def _scale(field: DocField | None, version: int) -> int:
    if field is not None and field.fieldtype == "Rating":
        return 2
    precision = int(field.raw.get("precision") or 0) if field is not None and version >= 16 else 0
    return precision or 9


def _no_decimal(meta: DocType, column: str, value: str, version: int) -> errors.SandboxError:
    if re.match(r"\s*[+-]?\.?\d", value):
        return errors.SQLDataError(f"(1265, \"Data truncated for column '{column}' at row 1\")")
    place = f"`<database>`.`tab{meta.name}`.`{column}`"
    text = f"(1366, \"Incorrect decimal value: '{value}' for column {place} at row 1\")"
    return errors.SQLOperationalError(text) if version >= 16 else errors.SQLDataError(text)


def _encode_text(meta: DocType, column: str, value: Any) -> str:
    text = str(int(value)) if isinstance(value, bool) else str(value)
    limit = _limit(meta, column)
    if len(text) > limit or (limit == _BLOB and len(text) * 4 > limit and len(text.encode()) > limit):
        raise errors.SQLDataError(f"(1406, \"Data too long for column '{column}' at row 1\")")
    return text


_BLOB = 65535
_VARCHAR = frozenset(
    {
        "Data",
        "Select",
        "Link",
        "Dynamic Link",
        "Read Only",
        "Color",
        "Icon",
        "Phone",
        "Autocomplete",
        "Barcode",
    }
)


def _limit(meta: DocType, column: str) -> int:
    field = meta.field(column)
    if field is None:
        return (
            140
            if column in ("name", "parent", "parenttype", "parentfield", "owner", "modified_by")
            else _BLOB
        )
    if field.fieldtype in LONG_TEXT:
        return 2**32
    if field.fieldtype in _VARCHAR:
        return field.length or 140
    return _BLOB


ENCODERS: dict[str, Callable[[DocType, str, Any], Any]] = {
    TEXT: _encode_text,
    INT: _encode_int,
    DATE: _encode_date,
    DATETIME: _encode_datetime,
    TIME: _encode_time,
}
