"""How a query of Django's is run: by a compiler that asks ERPNext instead of a database, with the rights that the query carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, NoReturn

from django.db.models.sql import Query

from erpnext_bridge.access import SiteAccess, open_site
from erpnext_bridge.compiler import Compiled, Compiler, resolved_aggregates
from erpnext_bridge.compiler.dialects import dialect_for
from erpnext_bridge.compiler.rows import Row
from erpnext_bridge.conf import get_settings
from erpnext_bridge.errors import NotConnected, UnsupportedQuery
from erpnext_bridge.identity import Identity
from erpnext_bridge.reading.explaining import explain_query, told
from erpnext_bridge.reading.reader import Reader


class ErpQuery(Query):
    """A query that knows whose rights it carries, and whose compiler speaks to ERPNext."""

    identity: Identity | None = None
    identity_is_given: bool = False
    """Whether for_user() or its like named the identity; one that is not gives way to a related document's."""

    def get_compiler(self, using: str | None = None, connection: Any = None, elide_empty: bool = True) -> Any:
        return ErpCompiler(self)

    def get_count(self, using: str) -> int:
        return ErpCompiler(self).count()

    def has_results(self, using: str) -> bool:
        return ErpCompiler(self).exists()

    def get_aggregation(self, using: str, aggregate_exprs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of aggregate(); they may refer to one another and to annotations, as in Django."""
        return ErpCompiler(self).totals(resolved_aggregates(self, aggregate_exprs)) if aggregate_exprs else {}

    def explain(self, using: str, format: str | None = None, **options: Any) -> str:
        return told(ErpCompiler(self).explain(), as_json=format == "json")

    def __str__(self) -> str:
        # Django's builds SQL here; this one must be printable without a site.
        doctype = getattr(self.model, "doctype", "")
        who = str(self.identity) if self.identity else "nobody"
        return f"{doctype} as {who}, {len(self.where.children)} condition(s)"


class ErpCompiler:
    """Runs one query: what Django's iterables and `Query` ask of a compiler, and no more."""

    def __init__(self, query: ErpQuery) -> None:
        self.query: Any = query

    def compile(self) -> Compiled:
        return Compiler(self.query, self.access.facts.time_zone).compile()

    def count(self) -> int:
        return self._reader().count(self.compile())

    def exists(self) -> bool:
        return self._reader().exists(self.compile())

    def totals(self, aggregates: Mapping[str, Any]) -> dict[str, Any]:
        compiled = Compiler(self.query, self.access.facts.time_zone).totals(aggregates)
        row = next(self._reader().results(compiled))
        return dict(zip(aggregates, (term.value(row) for term in compiled.outputs), strict=True))

    def explain(self, aggregates: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the report of what is sent for the query, or for these resolved aggregates over it."""
        if aggregates:
            compiled = Compiler(self.query, self.access.facts.time_zone).totals(aggregates)
            return explain_query(compiled, self._reader())
        compiled = self.compile()
        return explain_query(compiled, self._reader(), whole_document=self.whole_document(compiled))

    def rows(self, compiled: Compiled) -> Iterator[Row]:
        """Yield the rows; the documents with their child rows when the query is `get(pk=…)` alone."""
        name = self.whole_document(compiled)
        if name is None or compiled.selection.is_single:
            return self._reader().results(compiled)
        row = self._reader().document(compiled.selection.doctype, name)
        return iter([row] if row is not None else [])

    def get_order_by(self) -> NoReturn:
        # Asked for by a Prefetch of a slice alone, which Django turns into a window function.
        raise UnsupportedQuery("Frappe cannot read a slice for each document. Slice the rows in Python.")

    def results_iter(
        self,
        results: Any = None,
        tuple_expected: bool = False,
        chunked_fetch: bool = False,
        chunk_size: int = 0,
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the values of each row, in the order that values() or values_list() asked for."""
        compiled = self.compile()
        outputs = [term.value for term in compiled.outputs]
        for row in self._reader().results(compiled):
            yield tuple(value(row) for value in outputs)

    def whole_document(self, compiled: Compiled) -> str | None:
        """Return the name when reading that one document answers the query."""
        query, selection = self.query, compiled.selection
        if selection.is_single:
            return selection.doctype
        everything = query.default_cols and not query.get_select_mask() and not compiled.annotations
        sliced_away = selection.start > 0 or selection.stop == 0
        if not everything or sliced_away or selection.parent is not None or selection.having is not None:
            return None
        return selection.single_name()

    @cached_property
    def access(self) -> SiteAccess:
        if self.query.identity is None:
            raise NotConnected(
                f"This {self.query.model.__name__} queryset acts as nobody. "
                "Use .for_user(request.user), .as_service(), or build it inside acting_as(user)."
            )
        return open_site(self.query.identity)

    def _reader(self) -> Reader:
        settings = get_settings()
        access = self.access
        return Reader(
            access.client,
            dialect_for(access.facts.version),
            page_size=settings.page_size,
            max_branches=settings.max_branches,
            max_members=settings.max_members,
        )
