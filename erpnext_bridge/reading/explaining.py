"""Says what evaluating a query would send, without sending it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from erpnext_bridge.client import MAX_TARGET, as_query, method_path, resource_path
from erpnext_bridge.compiler.formula import Formula, Leaf, Literal, leaves, substitute
from erpnext_bridge.compiler.plan import Branch, Compiled, Inner, ListRequest, Plan, Selection
from erpnext_bridge.compiler.rows import Join, joins_for
from erpnext_bridge.reading.reader import Reader, askable, inner_queries, values_of
from erpnext_bridge.transport import Request

Report = dict[str, Any]

SHOWN = 20
"""Members of a list that the text shows."""

WHOLE_DOCUMENT = "1 request for the whole document"


def explain_query(compiled: Compiled, reader: Reader, *, whole_document: str | None = None) -> Report:
    """
    Return a JSON-ready report.

    `inner` are the reports of what is asked first, `requests` what is asked of the DocType itself, with what is tested
    again of its rows (`recheck`), `then` what is read for each page of rows, `here` what is done here. `round_trips` is
    the number of requests while nothing fills a page; `walks` tells that there are more for every further page.
    """
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
    return _head(selection) | {
        "summary": WHOLE_DOCUMENT,
        "requests": [request],
        "round_trips": 1,
    }


def _head(selection: Selection) -> Report:
    return {
        "doctype": selection.doctype,
        "identity": str(selection.identity),
        "summary": "",
        "inner": [],
        "requests": [],
        "then": [],
        "here": [],
        "round_trips": 0,
        "walks": False,
    }


def explain_selection(selection: Selection, reader: Reader) -> Report:
    """Return the report of a selection of documents."""
    picked = selection.having is not None or selection.sorted_here
    # What is sorted here is asked for in any order.
    shown = replace(selection.places, order=(), shuffled=False) if picked else selection
    plan = _plan(shown, reader)
    union = len(plan.branches) > 1
    sent = plan.for_names() if union and not picked else plan
    inner, then = _inner(selection, reader), _along(selection)
    then += _along(shown) if picked else []
    twice = (union or picked) and bool(plan.branches)
    in_one = selection.stop is not None and not twice and plan.exact
    return _head(selection) | {
        "inner": inner,
        "requests": [_request(sent, branch, reader.page_size) for branch in sent.branches],
        "then": then if plan.branches else [],
        "here": _here(selection),
        "summary": _summary(plan, reader.page_size, picked=picked),
        "round_trips": _trips(inner, plan, then) + twice,
        "walks": (bool(plan.branches) and not in_one) or any(each["walks"] for each in inner),
    }


def _trips(inner: list[Report], plan: Plan, then: list[str]) -> int:
    asked = len(plan.branches) + len(then) if plan.branches else 0
    return asked + sum(int(each["round_trips"]) for each in inner)


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
    inner, then = _inner(selection, reader), _along(selection)
    return _head(selection) | {
        "inner": inner,
        "requests": requests,
        "then": then if plan.branches else [],
        "here": here,
        "summary": _summary_of_groups(plan, reader.page_size, grouped=grouped),
        "round_trips": _trips(inner, plan, then),
        "walks": (bool(plan.branches) and not grouped) or any(each["walks"] for each in inner),
    }


def _summary_of_groups(plan: Plan, page_size: int, *, grouped: bool) -> str:
    if grouped:
        return "1 request for all groups"
    if len(plan.branches) > 1:
        return f"a union of {len(plan.branches)} requests, each for every {page_size} documents"
    return _summary(plan, page_size, picked=False)


def _inner(selection: Selection, reader: Reader) -> list[Report]:
    found = inner_queries(askable(selection))
    return [
        explain_query(each.compiled if isinstance(each, Inner) else values_of(each), reader) for each in found
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
    given = {name: value for name, value in request.arguments().items() if value is not None}
    shown = {name: value for name, value in given.items() if value not in ([], 0)}
    path = resource_path(request.doctype)
    if "/" in request.doctype or len(Request("GET", path, as_query(given)).target) > MAX_TARGET:
        return "POST", method_path("frappe.client.get_list"), {"doctype": request.doctype, **shown}
    return "GET", f"/api/resource/{request.doctype}", shown


def _name(leaf: Leaf) -> str:
    return f"{leaf.fieldname} {leaf.test}" if isinstance(leaf, Literal) else leaf.text


def _along(selection: Selection) -> list[str]:
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


# How it is told.


def told(report: Report, *, as_json: bool) -> str:
    """Return a report as text, which shortens long lists, or as JSON."""
    return json.dumps(report, indent=2, default=str) if as_json else "\n".join(_lines(report))


def _shortened(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) > SHOWN and not any(isinstance(each, list | dict) for each in value):
        return [*value[:SHOWN], f"… {len(value) - SHOWN} more"]
    return [_shortened(each) for each in value]


def _lines(report: Report, indent: str = "") -> Iterator[str]:
    yield f"{indent}{report['doctype']} as {report['identity']}: {report['summary']}"
    for inner in report["inner"]:
        yield from _lines(inner, indent + "  first: ")
    for request in report["requests"]:
        yield f"{indent}  {request['method']} {request['path']}"
        for name, value in request["arguments"].items():
            yield f"{indent}    {name}: {json.dumps(_shortened(value), ensure_ascii=False, default=str)}"
        if request["recheck"]:
            yield f"{indent}    tested again here: {', '.join(request['recheck'])}"
    yield from (f"{indent}  then: {each}" for each in report["then"])
    if report["here"]:
        yield f"{indent}  here: {', '.join(report['here'])}"
    if not indent:
        more = " and more for every further page" if report["walks"] else ""
        yield f"round trips: {report['round_trips']}{more}"
