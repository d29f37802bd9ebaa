"""Says what evaluating a selection would send, without sending it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from erpnext_bridge.formula import Formula, Literal, literals, substitute
from erpnext_bridge.plan import Branch, Plan, Selection, make_plan
from erpnext_bridge.reading import Reader, inner_selections


def explain_selection(
    selection: Selection, reader: Reader, *, whole_document: str | None = None
) -> dict[str, Any]:
    """Return a JSON-ready report: `doctype`, `identity`, `summary`, `inner` reports and `requests`."""
    report: dict[str, Any] = {"doctype": selection.doctype, "identity": str(selection.identity), "inner": []}
    if whole_document is not None:
        request = {
            "method": "GET",
            "path": f"/api/resource/{selection.doctype}/{whole_document}",
            "arguments": {},
            "recheck": [],
        }
        return report | {"summary": "1 request for the whole document", "requests": [request]}
    report["inner"] = [explain_selection(inner, reader) for inner in inner_selections(selection.where)]
    shown = replace(selection, where=substitute(selection.where, _placeholder))
    plan = make_plan(shown, reader.dialect, reader.max_branches)
    sent = plan.for_names() if len(plan.branches) > 1 else plan
    requests = [_request(sent, branch, reader.page_size) for branch in sent.branches]
    return report | {"summary": _summary(plan, reader.page_size), "requests": requests}


def _placeholder(literal: Literal) -> Formula:
    """Stand in for the names that an inner query will find."""
    if not isinstance(literal.value, Selection):
        return literal
    test = "not_in" if literal.test == "not_in_query" else "in"
    inner = literal.value
    return Literal(
        literal.fieldname, literal.kind, test, (f"<{inner.columns[0]} of {inner.doctype}>",), literal.null_ok
    )


def _request(plan: Plan, branch: Branch, page_size: int) -> dict[str, Any]:
    selection = plan.selection
    stop, start = selection.stop, selection.start
    in_one = stop is not None and branch.exact
    limit = stop - start if in_one and stop is not None else page_size
    request = plan.request(branch, plan.columns(branch), limit=limit, start=start if in_one else 0)
    return {
        "method": "GET",
        "path": f"/api/resource/{selection.doctype}",
        "arguments": {
            name: value for name, value in request.arguments().items() if value not in (None, [], 0)
        },
        "recheck": [f"{literal.fieldname} {literal.test}" for literal in literals(branch.recheck)],
    }


def _summary(plan: Plan, page_size: int) -> str:
    if not plan.branches:
        return "no request, nothing can match"
    if len(plan.branches) > 1:
        return f"a union of {len(plan.branches)} requests for names, then one for the documents"
    (branch,) = plan.branches
    if plan.selection.stop is not None and branch.exact:
        return "1 request"
    return f"1 request for every {page_size} documents"
