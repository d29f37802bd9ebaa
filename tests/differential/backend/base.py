"""
SQLite, where `db_collation="utf8mb4_unicode_ci"` is MariaDB's collation and LIKE is MariaDB's LIKE.

Django's SQLite backend uses LIKE for `contains` and `icontains` alike; MariaDB's has `LIKE BINARY` for the former
(django/db/backends/mysql/base.py), and so has this one, as the operator MATCH. `iexact` is equality, as on PostgreSQL.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from django.db.backends.sqlite3 import base, operations

from erpnext_bridge import collation

COLLATION = "utf8mb4_unicode_ci"


class DatabaseOperations(operations.DatabaseOperations):
    def prep_for_iexact_query(self, x: str) -> str:
        return x


class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
    operators = {
        **base.DatabaseWrapper.operators,
        "iexact": "= %s",
        **dict.fromkeys(("contains", "startswith", "endswith"), "MATCH %s"),
    }

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = super().get_new_connection(conn_params)
        connection.create_collation(COLLATION, collation.compare)
        connection.create_function("like", 3, _like, deterministic=True)
        connection.create_function("match", 2, _like_binary, deterministic=True)
        return connection


def _like(pattern: str | None, text: Any, escape: str) -> bool | None:
    if pattern is None or text is None:
        return None
    return collation.like(pattern, str(text), escape=True)


def _like_binary(pattern: str | None, text: Any) -> bool | None:
    if pattern is None or text is None:
        return None
    return _binary(pattern).fullmatch(str(text)) is not None


@lru_cache(maxsize=1024)
def _binary(pattern: str) -> re.Pattern[str]:
    wild = {"%": ".*", "_": "."}
    parts = re.findall(r"\\.|.", pattern, re.DOTALL)
    return re.compile(
        "".join(wild.get(part) or re.escape(part.removeprefix("\\") or "\\") for part in parts), re.DOTALL
    )
