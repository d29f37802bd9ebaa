"""Says what evaluating a query would send, without sending it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from erpnext_bridge.formula import Formula, Leaf, Literal, leaves, substitute
from erpnext_bridge.plan import Branch, Compiled, Inner, ListRequest, Plan, Selection
from erpnext_bridge.reading import Reader, askable, inner_queries
from erpnext_bridge.rows import Join, joins_for

Report = dict[str, Any]


def explain_query(compiled: Compiled, reader: Reader, *, whole_document: str | None = None) -> Report:
    """Return a JSON-ready report: `doctype`, `identity`, `summary`, `inner` reports, `requests`, `then` and `here`."""
    if whole_document is not None:
        return _whole(compiled.selection, whole_document)
    if compiled.over is not None:
        report = explain_query(compiled.over, reader)
        return report | {"here": [*report["here"], "aggregated"]}
    if compiled.grouping is not None:
        return _groups(compiled, reader)
    return explain_selection(compiled.selection, reader)


def _whole(selection: Selection, name: str) -> Report:
    request = {
        "method": "GET",
        "path": f"/api/resource/{selection.doctype}/{name}",
        "arguments": {},
        "recheck": [],
    }
    return _head(selection) | {"summary": "1 request for the whole document", "requests": [request]}


def _head(selection: Selection) -> Report:
    return {
        "doctype": selection.doctype,
        "identity": str(selection.identity),
        "summary": "",
        "inner": [],
        "requests": [],
        "then": [],
        "here": [],
    }


def explain_selection(selection: Selection, reader: Reader) -> Report:
    """Return the report of a selection of documents."""
    picked = selection.having is not None or selection.sorted_here
    shown = selection.places if picked else selection
    plan = _plan(shown, reader)
    union = len(plan.branches) > 1
    sent = plan.for_names() if union and not picked else plan
    return _head(selection) | {
        "inner": _inner(selection, reader),
        "requests": [_request(sent, branch, reader.page_size) for branch in sent.branches],
        "then": _along(selection, reader),
        "here": _here(selection),
        "summary": _summary(plan, reader.page_size, picked=picked),
    }


def _groups(compiled: Compiled, reader: Reader) -> Report:
    selection, grouping = compiled.selection, compiled.grouping
    if grouping is None:
        raise TypeError("Not a grouping.")
    plan, request = reader.grouper.request(replace(selection, where=_shown(selection)), grouping)
    grouped = request is not None
    if request is not None:
        requests = [_told(request, plan.branches[0])]
    else:
        requests = [_request(plan, branch, reader.page_size) for branch in plan.branches]
    here = ["grouped" if grouping.keys else "aggregated"] if not grouped else []
    here += [f"groups tested: {grouping.having.text}"] if grouping.having is not None else []
    here += ["groups sorted"] if compiled.order else []
    summary = "1 request for all groups" if grouped else _summary(plan, reader.page_size, picked=False)
    return _head(selection) | {
        "inner": _inner(selection, reader),
        "requests": requests,
        "then": _along(selection, reader),
        "here": here,
        "summary": summary if plan.branches else "no request, nothing can match",
    }


def _inner(selection: Selection, reader: Reader) -> list[Report]:
    return [
        explain_query(inner.compiled, reader)
        if isinstance(inner, Inner)
        else explain_selection(inner, reader)
        for inner in inner_queries(askable(selection))
    ]


def _plan(selection: Selection, reader: Reader) -> Plan:
    return reader.make_plan(replace(selection, where=_shown(selection)))


def _shown(selection: Selection) -> Formula:
    return substitute(askable(selection), _placeholder)


def _placeholder(leaf: Leaf) -> Formula:
    """Stand in for the names that an inner query will find."""
    if not isinstance(leaf, Literal) or not isinstance(leaf.value, Selection | Inner):
        return leaf
    inner = leaf.value.compiled.selection if isinstance(leaf.value, Inner) else leaf.value
    column = "value" if isinstance(leaf.value, Inner) else inner.columns[0]
    test = "not_in" if leaf.test == "not_in_query" else "in"
    return replace(leaf, test=test, value=(f"<{column} of {inner.doctype}>",))


def _request(plan: Plan, branch: Branch, page_size: int) -> Report:
    selection = plan.selection
    stop, start = selection.stop, selection.start
    in_one = stop is not None and branch.exact
    limit = stop - start if in_one and stop is not None else page_size
    request = plan.request(branch, plan.columns(branch), limit=limit, start=start if in_one else 0)
    return _told(request, branch)


def _told(request: ListRequest, branch: Branch) -> Report:
    method, path, arguments = _sent(request)
    return {
        "method": method,
        "path": path,
        "arguments": arguments,
        "recheck": list(map(_name, leaves(branch.recheck))),
    }


def _sent(request: ListRequest) -> tuple[str, str, Report]:
    arguments = {name: value for name, value in request.arguments().items() if value not in (None, [], 0)}
    return "GET", f"/api/resource/{request.doctype}", arguments


def _name(leaf: Leaf) -> str:
    return f"{leaf.fieldname} {leaf.test}" if isinstance(leaf, Literal) else leaf.text


def _along(selection: Selection, reader: Reader) -> list[str]:
    """Return what is read of other documents, for every page."""
    found = [line for join in joins_for(selection.linked) for line in _joined(join)]
    found += [
        f"{relation.selection.doctype}, grouped by {relation.fieldname}" for relation in selection.relations
    ]
    return found


def _joined(join: Join) -> list[str]:
    further = [line for each in join.joins for line in _joined(each)]
    return [f"{join.link.doctype}: {', '.join(join.columns)} for each {join.link.fieldname}", *further]


def _here(selection: Selection) -> list[str]:
    found = [f"tested: {selection.having.text}"] if selection.having is not None else []
    if selection.shuffled:
        return [*found, "shuffled"]
    return [*found, "sorted"] if selection.sorted_here else found


def _summary(plan: Plan, page_size: int, *, picked: bool) -> str:
    if not plan.branches:
        return "no request, nothing can match"
    if len(plan.branches) > 1:
        return f"a union of {len(plan.branches)} requests for names, then one for the documents"
    if picked:
        return (
            f"1 request for the order of every {page_size} documents, 1 for every {page_size} that are wanted"
        )
    (branch,) = plan.branches
    if plan.selection.stop is not None and branch.exact:
        return "1 request"
    return f"1 request for every {page_size} documents"
