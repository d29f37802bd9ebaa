"""
Conditions on related rows as inner queries: the leaves of a formula that carry an alias, as leaves that carry none.

A link leads to one document or none, so what is asked of it can be asked apart from the rest. Of child rows there are
several, and all that is asked of one alias is asked of the same row: the formula is spread out until each part asks for
"one row that passes all of this", or for none.
"""

from __future__ import annotations

from typing import Any

from erpnext_bridge import values
from erpnext_bridge.compiler import lookups
from erpnext_bridge.compiler.formula import (
    FALSE,
    TRUE,
    And,
    Check,
    Formula,
    Literal,
    Or,
    all_of,
    any_of,
    leaves,
)
from erpnext_bridge.compiler.kinds import kind_of, rows_of
from erpnext_bridge.compiler.plan import Selection
from erpnext_bridge.compiler.scope import Scope
from erpnext_bridge.errors import UnsupportedQuery

MAX_PARTS = 64
"""Conjunctions that one condition on child rows may be spread into."""

Part = tuple[Formula, Formula]
"""What is asked of the document, and, of the same related row, what is asked of that."""


def of_document(scope: Scope, formula: Formula) -> Formula:
    """Return the formula of the documents for which some joined row passes."""
    while aliases := {leaf.alias for leaf in leaves(formula)} - {""}:
        alias = max(aliases, key=lambda each: (scope.depth(each), each))
        formula = _linked(scope, alias, formula) if scope.is_link(alias) else _several(scope, alias, formula)
    return formula


def asked_of(scope: Scope, formula: Formula, alias: str) -> Formula:
    """
    Return what a formula asks of the rows of one alias.

    UnsupportedQuery when that cannot be told apart from what it asks of the document.
    """
    below = {leaf.alias for leaf in leaves(formula)} - {"", alias}
    for deeper in sorted(below, key=lambda each: (-scope.depth(each), each)):
        if scope.is_link(deeper):
            formula = _linked(scope, deeper, formula)
    parts = _parts(formula, alias)
    if len(parts) != 1:
        raise UnsupportedQuery(
            "Frappe cannot aggregate rows that are only in some cases conditioned. "
            "Give the aggregate its own filter=Q(…), or filter the documents by pk__in."
        )
    return parts[0][1]


def _parent(scope: Scope, alias: str) -> str:
    parent = scope.parent(alias)
    return "" if parent == scope.root else parent


# Links.


def _linked(scope: Scope, alias: str, formula: Formula) -> Formula:
    """Replace what is asked of a linked document, the parts that stand together as one inner query."""
    if isinstance(formula, Literal | Check):
        return _through(scope, alias, formula) if formula.alias == alias else formula
    pure = [part for part in formula.parts if _is_only(part, alias)]
    mixed = [_linked(scope, alias, part) for part in formula.parts if not _is_only(part, alias)]
    join = all_of if isinstance(formula, And) else any_of
    together = [_through(scope, alias, join(pure))] if pure else []
    return join([*together, *mixed])


def _through(scope: Scope, alias: str, asked: Formula) -> Formula:
    """Return "the linked document passes"; where there is none, all of its columns are NULL."""
    link = scope.join(alias).join_field
    missing = lookups.passes_without(asked)
    wanted = lookups.of_its_own(lookups.otherwise(asked) if missing else asked)
    if wanted == FALSE:
        return TRUE if missing else FALSE
    inner = _selection(scope, link.related_model, link.target_field, wanted)
    found = Literal(link.column, kind_of(link), "in_query", inner, alias=_parent(scope, alias))
    return lookups.otherwise(found) if missing else found


# Child rows, and documents that link to this one.


def _several(scope: Scope, alias: str, formula: Formula) -> Formula:
    """Replace what is asked of related rows: what stands together is asked of one and the same row."""
    found = []
    for own, asked in _parts(formula, alias):
        if asked == TRUE:
            found.append(own)
            continue
        exists = _rows(scope, alias, lookups.of_its_own(asked))
        if lookups.passes_without(asked):
            # Where there is no row, the outer join makes one of NULLs.
            exists = any_of([exists, lookups.otherwise(_rows(scope, alias, TRUE))])
        found.append(all_of([own, exists]))
    return any_of(found)


def _rows(scope: Scope, alias: str, where: Formula) -> Formula:
    if where == FALSE:
        return FALSE
    relation = scope.join(alias).join_field
    inner = _selection(scope, relation.related_model, relation.field, where)
    target = relation.field.target_field
    return Literal(target.column, kind_of(target), "in_query", inner, alias=_parent(scope, alias))


def _parts(formula: Formula, alias: str) -> list[Part]:
    """Return parts of which one must hold, each of them for the document and one row."""
    if _is_only(formula, alias):
        return [(TRUE, formula)]
    if isinstance(formula, Literal | Check) or not _asks(formula, alias):
        return [(formula, TRUE)]
    if isinstance(formula, Or):
        return _either(formula, alias)
    return _both(formula, alias)


def _either(formula: Or, alias: str) -> list[Part]:
    pure = [part for part in formula.parts if _is_only(part, alias)]
    apart = [part for part in formula.parts if not _asks(part, alias)]
    found: list[Part] = [(TRUE, any_of(pure))] if pure else []
    found += [(any_of(apart), TRUE)] if apart else []
    for part in formula.parts:
        if _asks(part, alias) and not _is_only(part, alias):
            found += _parts(part, alias)
    return found


def _both(formula: And, alias: str) -> list[Part]:
    found: list[Part] = [(TRUE, TRUE)]
    for part in formula.parts:
        further = _parts(part, alias)
        found = [(all_of([a, c]), all_of([b, d])) for a, b in found for c, d in further]
        if len(found) > MAX_PARTS:
            raise UnsupportedQuery(
                "These conditions on child rows nest too many ORs. "
                "Use an inner queryset of the child rows: pk__in=Child.objects.filter(…).values('parent')."
            )
    return found


def _is_only(formula: Formula, alias: str) -> bool:
    found = {leaf.alias for leaf in leaves(formula)}
    return found == {alias}


def _asks(formula: Formula, alias: str) -> bool:
    return any(leaf.alias == alias for leaf in leaves(formula))


def _selection(scope: Scope, model: Any, column: Any, where: Formula) -> Selection:
    return Selection(
        doctype=model.doctype,
        columns=(values.column_of(column),),
        where=all_of([rows_of(model), where]),
        parent=getattr(model, "parent_doctype", None) or None,
        identity=scope.identity,
        member_kind=kind_of(column),
    )
