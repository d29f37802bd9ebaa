"""
Django's query tree, read into a selection. The only file that touches the insides of `django.db.models.sql`.

What is read: `Query.where` (`WhereNode.connector/negated/children`, `NothingNode`), `Query.alias_map` (`Join.join_field`,
`join_type`, `parent_alias`, `filtered_relation`), `alias_refcount`, `select`, `default_cols`, `get_select_mask()`, `selected`,
`values_select`, `order_by`,
`extra_order_by`, `default_ordering`, `standard_ordering`, `low_mark`, `high_mark`, `distinct`, `distinct_fields`,
`annotation_select`, `annotations`, `combinator`, `extra`, `select_for_update`, `group_by`, `get_meta()`,
`Col.alias/target`, `Lookup.lookup_name/lhs/rhs`, `TupleIn` over `ColPairs.get_cols()`, `OrderBy`, `F`. `tests/test_compiler.py` names each of them.

The rule is an allow-list: what is not known here is refused by name, and never dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

from django.core.exceptions import FieldError
from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.db.models.expressions import Col, F, OrderBy, Value
from django.db.models.fields.related import ForeignKey
from django.db.models.fields.tuple_lookups import TupleIn
from django.db.models.lookups import In, Lookup, Transform
from django.db.models.sql import Query
from django.db.models.sql.constants import INNER
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode

from erpnext_bridge import lookups, values
from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.formula import FALSE, TRUE, Formula, Literal, all_of, any_of
from erpnext_bridge.plan import OrderKey, Selection

Field = Any
"""A model field; the stubs know too little of `column`, `target_field` and `is_relation` to be of help."""

_KINDS = {
    **dict.fromkeys(("FloatField", "DecimalField"), lookups.DECIMAL),
    **dict.fromkeys(("DateField", "DateTimeField"), lookups.DATE),
    "TimeField": lookups.TIME,
    "DurationField": lookups.DURATION,
    "JSONField": lookups.JSON,
    **dict.fromkeys(
        ("BooleanField", "IntegerField", "BigIntegerField", "SmallIntegerField", "PositiveIntegerField",
         "PositiveBigIntegerField", "PositiveSmallIntegerField"),
        lookups.NUMBER,
    ),
}  # fmt: skip

_STAMPS = frozenset({"creation", "modified"})

_WAYS_OUT = {
    "regex": "Use __startswith, __contains or __in.",
    "iregex": "Use __istartswith, __icontains or __in.",
    "year": "Filter by a range: date__gte=first_day, date__lte=last_day.",
    "month": "Filter by a range: date__gte=first_day, date__lte=last_day.",
    "date": "Filter by a range: moment__gte=midnight, moment__lt=next_midnight.",
}


@dataclass(frozen=True, slots=True)
class Compiled:
    """A selection and the Django fields that its columns fill, in the order the caller asked for."""

    selection: Selection
    fields: tuple[Field, ...]


class Compiler:
    """Reads one query for one site: times are written in the site's zone."""

    def __init__(self, query: Query, zone: ZoneInfo) -> None:
        # Any: what is read of it below is not in the stubs, or not typed there.
        self.query: Any = query
        self.zone = zone

    def compile(self) -> Compiled:
        """Return the selection. UnsupportedQuery names what Frappe cannot say."""
        self._refuse_features()
        fields = tuple(self._fields())
        return Compiled(self._selection(tuple(map(values.column_of, fields))), fields)

    def condition(self) -> Formula:
        """Return the formula of the rows for which `where` is true."""
        return self._node(self.query.where, negated=False)

    # What is asked for.

    def _selection(self, columns: tuple[str, ...]) -> Selection:
        query, model = self.query, self.query.model
        return Selection(
            doctype=model.doctype,
            columns=tuple(dict.fromkeys(columns)),
            where=all_of([rows_of(model), self.condition(), *self._inner_joins()]),
            order=tuple(self._order()),
            start=query.low_mark,
            stop=query.high_mark,
            parent=getattr(model, "parent_doctype", None) or None,
            identity=getattr(query, "identity", None),
        )

    def _refuse_features(self) -> None:
        query = self.query
        if query.combinator:
            raise UnsupportedQuery(
                f"Frappe cannot combine querysets ({query.combinator}). Use Q objects joined by | or &."
            )
        if query.annotation_select:
            names = ", ".join(query.annotation_select)
            raise UnsupportedQuery(
                f"Frappe cannot compute annotations ({names}). Compute them from the documents."
            )
        if query.extra or query.extra_order_by:
            raise UnsupportedQuery("extra() is SQL, which Frappe does not take. Use filter() and order_by().")
        if query.select_for_update:
            raise UnsupportedQuery(
                "Frappe cannot lock rows for a client. save() refuses a document that changed."
            )
        if query.distinct_fields or (query.distinct and not self._selects_name()):
            raise UnsupportedQuery(
                "Frappe lists cannot drop repeated rows. Read them and use set() on the values."
            )
        if query.group_by is not None:
            raise UnsupportedQuery("Grouping is not supported. Read the rows and group them in Python.")

    def _selects_name(self) -> bool:
        return any(field.column == "name" for field in self._fields())

    def _fields(self) -> Iterator[Field]:
        query = self.query
        if query.default_cols:
            mask = query.get_select_mask()
            for field in query.get_meta().concrete_fields:
                # Without `modified` a document that is saved later could not tell that it was changed meanwhile.
                if not mask or field in mask or field.column == "modified":
                    yield field
            return
        for expression in query.select:
            if not isinstance(expression, Col):
                raise UnsupportedQuery(f"Frappe cannot compute {expression!r} in values().")
            if expression.alias != query.get_initial_alias():
                raise UnsupportedQuery(
                    f"values() cannot reach {expression.target.name!r} through a link. "
                    "Use select_related() or prefetch_related() and read it from the documents."
                )
            yield expression.target

    # In what order.

    def _order(self) -> Iterator[OrderKey]:
        query = self.query
        ordering = query.order_by
        if not ordering and query.default_ordering:
            ordering = tuple(query.get_meta().ordering)
        for item in ordering:
            key = self._order_key(item)
            yield key if query.standard_ordering else replace(key, descending=not key.descending)

    def _order_key(self, item: Any) -> OrderKey:
        if isinstance(item, str):
            name, descending = item.removeprefix("-"), item.startswith("-")
        else:
            name, descending = _ordering_expression(item)
        if name == "?":
            raise UnsupportedQuery("Frappe cannot sort at random. Use random.sample() on the documents.")
        meta = self.query.get_meta()
        path = name.removeprefix("-").split(LOOKUP_SEP)
        field = meta.pk if path[0] == "pk" else meta.get_field(path[0])
        if len(path) > 1 and path[1:] not in (["pk"], ["name"]):
            raise UnsupportedQuery(
                f"Frappe cannot sort {meta.label} by {name!r}, a field of another document. Sort by a field of its own."
            )
        if not isinstance(field, models.Field) or field.column is None:
            raise FieldError(f"Cannot resolve keyword {name!r} into a field that can be sorted by.")
        if path == [field.name] and field.is_relation and not _sorts_by_name(field.related_model):
            raise UnsupportedQuery(
                f"{meta.label}.{field.name} leads to documents with an order of their own, by which Frappe cannot sort. "
                f"Sort by {field.attname!r}, the name."
            )
        return OrderKey(field.column, kind_of(field), descending)

    # Under which conditions.

    def _node(self, node: Any, *, negated: bool) -> Formula:
        if isinstance(node, NothingNode):
            return TRUE if negated else FALSE
        if isinstance(node, WhereNode):
            return self._tree(node, negated=negated != node.negated)
        if isinstance(node, Lookup):
            return self._lookup(node, negated=negated)
        return _refuse_condition(node)

    def _tree(self, node: WhereNode, *, negated: bool) -> Formula:
        if node.connector not in (AND, OR):
            return self._xor(node, negated=negated)
        if node.connector == AND and negated:
            return any_of(self._none_of(*group) for group in self._by_link(node))
        if node.connector == OR and not negated:
            return any_of(self._node(child, negated=False) for child in node.children)
        units = self._units(node, negated=negated)
        self._refuse_shared_rows(units)
        return all_of(self._unit(unit, negated=negated) for unit in units)

    def _xor(self, node: WhereNode, *, negated: bool) -> Formula:
        """Django counts the parts that are true; one that compares with NULL is not (`WhereNode.as_sql`)."""
        if self._many_aliases(node):
            raise UnsupportedQuery(
                "Frappe cannot count which conditions are true of each child row (^). "
                "Use inner querysets: pk__in=Child.objects.filter(…).values('parent')."
            )
        odd: Formula = FALSE
        for child in node.children:
            true = self._node(child, negated=False)
            odd = any_of([all_of([odd, lookups.otherwise(true)]), all_of([lookups.otherwise(odd), true])])
        return lookups.otherwise(odd) if negated else odd

    def _inner_joins(self) -> Iterator[Formula]:
        """
        Yield what INNER JOINs ask of the documents beyond `where`: that there is a link.

        It goes without saying but below an XOR, where Django does not promote joins (`JoinPromoter`).
        """
        if not _has_xor(self.query.where):
            return
        for alias, join in self.query.alias_map.items():
            link = getattr(join, "join_field", None)
            if (
                join.join_type != INNER
                or not self.query.alias_refcount[alias]
                or not isinstance(link, ForeignKey)
            ):
                continue
            found = lookups.not_null(kind_of(link), link.column)
            first = join.parent_alias == self.query.get_initial_alias()
            yield found if first else self._through(join.parent_alias, found)

    # exclude() over a link names the documents that are linked to the wrong ones, where NULL is ruled out as Django does.

    def _by_link(self, node: WhereNode) -> list[tuple[str | None, list[Any]]]:
        """Return the children of an AND, those about the same linked document together, with the link's alias."""
        groups: dict[Any, tuple[str | None, list[Any]]] = {}
        for position, child in enumerate(node.children):
            alias = child.lhs.alias if isinstance(child, Lookup) and isinstance(child.lhs, Col) else None
            if alias == self.query.get_initial_alias() or self._many_aliases(child):
                alias = None
            groups.setdefault(alias or position, (alias, []))[1].append(child)
        return list(groups.values())

    def _none_of(self, alias: str | None, children: list[Any]) -> Formula:
        """Return NOT over an AND of conditions on one linked document."""
        if alias is not None:
            compared = [child for child in children if child.lookup_name != "isnull"]
            others = [child for child in children if child.lookup_name == "isnull"]
            not_null = {child.lhs.target for child in others if not child.rhs}
            whole = len(not_null) == len(others) and all(_is_plain(each, not_null) for each in compared)
            if compared and whole:
                where = all_of(self._comparison(child, negated=False) for child in children)
                return lookups.otherwise(self._through(alias, where))
        return any_of(self._node(child, negated=True) for child in children)

    # An AND of lookups over one join asks for one related row that passes them all, so they go into one inner query.

    def _units(self, node: Any, *, negated: bool) -> list[list[Any]]:
        """Return the children of an AND, those that are about the same related row together."""
        units: dict[Any, list[Any]] = {}
        for position, child in enumerate(node.children):
            together = not negated and isinstance(child, Lookup) and child.lookup_name != "isnull"
            rows = self._many_aliases(child) if together else frozenset()
            units.setdefault(child.lhs.alias if rows else position, []).append(child)
        return list(units.values())

    def _unit(self, unit: list[Any], *, negated: bool) -> Formula:
        if len(unit) == 1:
            return self._node(unit[0], negated=negated)
        where = all_of(self._comparison(child, negated=False) for child in unit)
        return self._through(unit[0].lhs.alias, where)

    def _refuse_shared_rows(self, units: list[list[Any]]) -> None:
        seen: set[str] = set()
        for unit in units:
            aliases = frozenset().union(*(self._many_aliases(child) for child in unit))
            if aliases & seen:
                raise UnsupportedQuery(
                    "Frappe cannot ask for one child row that passes conditions nested in Q objects. "
                    "Use an inner queryset of the child rows: pk__in=Child.objects.filter(…).values('parent')."
                )
            seen |= aliases

    def _many_aliases(self, node: Any) -> frozenset[str]:
        """Return the joins below a node that can find several rows for one document."""
        if isinstance(node, WhereNode):
            return frozenset().union(*(self._many_aliases(child) for child in node.children))
        if not isinstance(node, Lookup) or not isinstance(node.lhs, Col):
            return frozenset()
        found, alias = set(), node.lhs.alias
        while alias != self.query.get_initial_alias():
            join = self.query.alias_map[alias]
            if not isinstance(join.join_field, ForeignKey):
                found.add(alias)
            alias = join.parent_alias
        return frozenset(found)

    def _lookup(self, node: Lookup[Any], *, negated: bool) -> Formula:
        if isinstance(node, TupleIn) and len(node.lhs) == 1:
            node = _plain_in(node)
        if not isinstance(node.lhs, Col):
            _refuse_transform(node)
        alias = node.lhs.alias
        if alias == self.query.get_initial_alias():
            return self._comparison(node, negated=negated)
        if negated and self._many_aliases(node):
            raise UnsupportedQuery(
                "Frappe cannot negate a condition on child rows. "
                "Use exclude(pk__in=Model.objects.filter(…)) with an inner queryset."
            )
        where = self._comparison(node, negated=negated)
        missing_counts = node.lookup_name == "isnull" and bool(node.rhs) != negated
        return self._through(alias, where, missing_counts=missing_counts)

    def _comparison(self, node: Lookup[Any], *, negated: bool) -> Formula:
        """Return the formula of a lookup on the document that its column belongs to."""
        field, name = node.lhs.target, node.lookup_name
        kind, column = kind_of(field), field.column
        if name == "isnull":
            return (
                lookups.is_null(kind, column) if bool(node.rhs) != negated else lookups.not_null(kind, column)
            )
        if kind == lookups.JSON:
            raise UnsupportedQuery(
                f"Frappe cannot compare {field.name!r}, which is JSON. Read the documents and compare there."
            )
        if isinstance(node.rhs, Query):
            return self._inner_query(node, kind, column, negated=negated)
        if name == "range":
            low, high = (
                self._leaf(field, test, bound, negated=negated)
                for test, bound in zip(("gte", "lte"), node.rhs, strict=True)
            )
            return any_of([low, high]) if negated else all_of([low, high])
        if name not in lookups.LOOKUPS:
            _refuse_lookup(str(name))
        return self._leaf(field, lookups.LOOKUPS[name], node.rhs, negated=negated)

    def _leaf(self, field: Field, test: str, rhs: Any, *, negated: bool) -> Formula:
        kind = kind_of(field)
        base = test.removeprefix("i")
        if base in lookups.PATTERNS:
            if kind not in lookups.TEXTS:
                raise UnsupportedQuery(
                    f"Frappe cannot search inside {field.name!r}, which is not text. Compare it instead."
                )
            return lookups.leaf(kind, field.column, test, str(self._constant(rhs)), negated=negated)
        if test == "in":
            members = (values.to_wire(field, self._constant(member), self.zone) for member in rhs)
            wire: Any = tuple(dict.fromkeys(member for member in members if member is not None))
        else:
            wire = values.to_wire(field, self._constant(rhs), self.zone)
            if wire is None:
                # Nothing compares with NULL, and neither does its negation.
                return FALSE
        # A column is nullable at ERPNext whatever the model says; where it says there is no NULL, an
        # exclude() forgets none.
        null_ok = negated and not field.null and kind not in lookups.NEVER_NULL
        return lookups.leaf(kind, field.column, test, wire, negated=negated, null_ok=null_ok)

    def _constant(self, rhs: Any) -> Any:
        if isinstance(rhs, Value):
            return rhs.value
        if isinstance(rhs, Col | F):
            name = rhs.target.name if isinstance(rhs, Col) else getattr(rhs, "name", "")
            raise UnsupportedQuery(
                f"Frappe cannot compare two fields (F({name!r})). Read the documents and compare there."
            )
        if hasattr(rhs, "resolve_expression"):
            raise UnsupportedQuery(f"Frappe cannot compute {rhs!r} in a filter. Compute the value first.")
        return rhs

    # Conditions on other documents.

    def _inner_query(self, node: Lookup[Any], kind: str, column: str, *, negated: bool) -> Formula:
        if node.lookup_name not in ("in", "exact"):
            _refuse_lookup(f"{node.lookup_name} with a queryset")
        if negated and node.lookup_name == "exact":
            raise UnsupportedQuery(
                f"Frappe cannot say that {column!r} is not what a queryset finds. Use __in."
            )
        query = node.rhs
        if not hasattr(query, "identity"):
            raise UnsupportedQuery(
                "A queryset of the database cannot be an inner query. Wrap it in list() first."
            )
        if query.identity != getattr(self.query, "identity", None):
            raise UnsupportedQuery(
                "The inner queryset acts as somebody else. Use the same identity for both."
            )
        if not query.has_select_fields:
            query = query.clone()
            query.clear_select_clause()
            query.add_fields(["pk"])
        compiled = Compiler(query, self.zone).compile()
        if len(compiled.fields) != 1:
            raise UnsupportedQuery("An inner queryset must have one column. Narrow it with values('…').")
        inner = replace(compiled.selection, member_kind=kind_of(compiled.fields[0]), null_spoils=negated)
        return Literal(column, kind, "not_in_query" if negated else "in_query", inner)

    def _through(self, alias: str, where: Formula, *, missing_counts: bool = False) -> Formula:
        """
        Return "the document that this alias is joined for has such a related document".

        With `missing_counts`, one without any counts too: all of its joined columns are NULL.
        """
        join = self.query.alias_map[alias]
        if join.filtered_relation is not None:
            raise UnsupportedQuery("FilteredRelation is not supported. Filter with a queryset and __in.")
        if isinstance(join.join_field, ForeignKey):
            outer = self._linked_to(join.join_field, where, missing_counts=missing_counts)
        else:
            outer = self._has_rows(join.join_field, where, missing_counts=missing_counts)
        if join.parent_alias == self.query.get_initial_alias():
            return outer
        return self._through(join.parent_alias, outer, missing_counts=missing_counts)

    def _linked_to(self, link: Any, where: Formula, *, missing_counts: bool) -> Formula:
        wanted = lookups.otherwise(where) if missing_counts else where
        inner = self._related(link.related_model, link.target_field, wanted)
        found = Literal(link.column, kind_of(link), "in_query", inner)
        return lookups.otherwise(found) if missing_counts else found

    def _has_rows(self, relation: Any, where: Formula, *, missing_counts: bool) -> Formula:
        def found(condition: Formula) -> Formula:
            rows = self._related(relation.related_model, relation.field, condition)
            return Literal("name", lookups.NAME, "in_query", rows)

        return any_of([found(where), lookups.otherwise(found(TRUE))]) if missing_counts else found(where)

    def _related(self, model: Any, column: Field, where: Formula) -> Selection:
        return Selection(
            doctype=model.doctype,
            columns=(values.column_of(column),),
            where=all_of([rows_of(model), where]),
            parent=getattr(model, "parent_doctype", None) or None,
            identity=getattr(self.query, "identity", None),
            member_kind=kind_of(column),
        )


def kind_of(field: Field) -> str:
    """Return how Frappe compares a field's column."""
    if field.is_relation or getattr(field, "blank_is_null", False):
        return lookups.LINK
    if field.column == "name":
        return lookups.NAME
    if field.column in _STAMPS:
        return lookups.STAMP
    return _KINDS.get(field.get_internal_type(), lookups.TEXT if field.null else lookups.BLANK)


def rows_of(model: Any) -> Formula:
    """Return the condition that a DocType's rows are the model's: a child table may serve several parents."""
    parent = getattr(model, "parent_doctype", "")
    if not parent:
        return TRUE
    pairs = (("parenttype", parent), ("parentfield", model.parent_fieldname))
    return all_of(lookups.leaf(lookups.BLANK, name, "eq", value, negated=False) for name, value in pairs)


def _sorts_by_name(model: Any) -> bool:
    return tuple(model._meta.ordering) in ((), ("pk",), ("name",))


def _has_xor(node: Any) -> bool:
    if not isinstance(node, WhereNode):
        return False
    return node.connector not in (AND, OR) or any(map(_has_xor, node.children))


def _is_plain(comparison: Any, not_null: set[Field]) -> bool:
    """Whether a comparison is true or false, and never NULL, of every row that has these fields."""
    return comparison.lhs.target in not_null and not isinstance(comparison.rhs, Query)


def _plain_in(node: TupleIn) -> In[Any]:
    """Return `(name) IN ((x), (y))`, which is how Django fetches the documents of a link, as `name IN (x, y)`."""
    (column,) = node.lhs.get_cols()
    return In(column, [member for (member,) in node.rhs])


def _ordering_expression(item: Any) -> tuple[str, bool]:
    if isinstance(item, OrderBy):
        # MariaDB sorts NULL first upwards and last downwards; nothing in a list request changes that.
        if (item.nulls_first and item.descending) or (item.nulls_last and not item.descending):
            raise UnsupportedQuery(
                "Frappe sorts empty values first upwards and last downwards. Leave nulls_first and nulls_last out."
            )
        name, descending = _ordering_expression(item.expression)
        return name, descending != item.descending
    if isinstance(item, F):
        return str(getattr(item, "name", "")), False
    raise UnsupportedQuery(f"Frappe cannot sort by {item!r}. Sort by a field.")


def _refuse_transform(node: Lookup[Any]) -> NoReturn:
    if isinstance(node.lhs, Transform):
        _refuse_lookup(str(node.lhs.lookup_name))
    _refuse_condition(node.lhs)


def _refuse_lookup(name: str) -> NoReturn:
    way_out = _WAYS_OUT.get(name, f"Known lookups: {', '.join([*lookups.LOOKUPS, 'isnull', 'range'])}.")
    raise UnsupportedQuery(f"Frappe cannot express the lookup {name!r}. {way_out}")


def _refuse_condition(node: Any) -> NoReturn:
    if type(node).__name__ == "Exists":
        raise UnsupportedQuery(
            "Frappe cannot express Exists(), nor exclude() across child rows. "
            "Use exclude(pk__in=Model.objects.filter(…)) with an inner queryset."
        )
    raise UnsupportedQuery(
        f"Frappe cannot express the condition {type(node).__name__}. Use field lookups and Q."
    )
