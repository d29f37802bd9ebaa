"""The few DocTypes whose documents compute something: hooks by DocType and event."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .values import cint, cstr, flt

if TYPE_CHECKING:
    from .context import Context
    from .documents import Document

Hook = Callable[["Context", "Document"], None]
HOOKS: dict[tuple[str, str], Hook] = {}


def hook(doctype: str, *events: str) -> Callable[[Hook], Hook]:
    """Run a function at an event of a DocType's documents: autoname, before_insert, validate, on_update, ..."""

    def register(function: Hook) -> Hook:
        for event in events:
            HOOKS[doctype, event] = function
        return function

    return register


def run(ctx: Context, doc: Document, event: str) -> None:
    function = HOOKS.get((doc.doctype, event))
    if function is not None:
        function(ctx, doc)


# -- Frappe's own ------------------------------------------------------------------------------------------------


@hook("OAuth Client", "validate")
def oauth_client(ctx: Context, doc: Document) -> None:
    """integrations/doctype/oauth_client: the name is the client id."""
    doc.values["client_id"] = doc.name
    if not doc.get("client_secret"):
        doc.values["client_secret"] = secrets.token_hex(5)
    if ctx.version < 16 and not doc.rows("allowed_roles"):
        doc.append("allowed_roles", {"role": "Desk User"})


@hook("User", "autoname")
def user_name(ctx: Context, doc: Document) -> None:
    doc.values["name"] = cstr(doc.get("email")).strip().lower() or None


@hook("User", "validate")
def user(ctx: Context, doc: Document) -> None:
    names = (cstr(doc.get("first_name")), cstr(doc.get("last_name")))
    doc.values["full_name"] = " ".join(filter(None, names))
    doc.values["new_password"] = ""
    if ctx.version >= 16 and not cint(doc.get("enabled")):
        doc.values |= {"thread_notify": 0, "allowed_in_mentions": 0}


# -- ERPNext's ---------------------------------------------------------------------------------------------------


@hook("Customer", "autoname")
def customer_name(ctx: Context, doc: Document) -> None:
    """selling/doctype/customer: a name that exists already gets a counter."""
    name = cstr(doc.get("customer_name")).strip()
    if name and ctx.store.exists("Customer", name):
        count = 1
        while ctx.store.exists("Customer", f"{name} - {count}"):
            count += 1
        name = f"{name} - {count}"
    doc.values["name"] = name or None


@hook("Lead", "validate")
def lead(ctx: Context, doc: Document) -> None:
    """crm/doctype/lead: the name is put together, and the title follows."""
    if not doc.get("lead_name"):
        parts = (doc.get("first_name"), doc.get("middle_name"), doc.get("last_name"))
        doc.values["lead_name"] = " ".join(cstr(part) for part in parts if part) or doc.get("email_id")
    doc.values["title"] = doc.get("company_name") or doc.get("lead_name")


@hook("Sales Order", "validate")
def sales_order(ctx: Context, doc: Document) -> None:
    """controllers/taxes_and_totals: amounts of the rows, then the totals."""
    total_qty = total = 0.0
    for row in doc.rows("items"):
        _sales_order_row(ctx, doc, row)
        total_qty += flt(row.get("qty"))
        total += flt(row.get("amount"))
    conversion = flt(doc.get("conversion_rate")) or 1.0
    grand = round(total - flt(doc.get("discount_amount")), 2)
    doc.values |= {
        "customer_name": ctx.store.value("Customer", doc.get("customer"), "customer_name"),
        "total_qty": total_qty,
        "total": round(total, 2),
        "net_total": round(total, 2),
        "base_total": round(total * conversion, 2),
        "grand_total": grand,
        "base_grand_total": round(grand * conversion, 2),
        "rounded_total": float(round(grand)),
        "title": doc.get("title") or doc.get("customer_name"),
    }
    doc.values["status"] = ORDER_STATUS[cint(doc.get("docstatus"))]


ORDER_STATUS = {0: "Draft", 1: "To Deliver and Bill", 2: "Cancelled"}


def _sales_order_row(ctx: Context, doc: Document, row: Document) -> None:
    item: dict[str, Any] = ctx.store.get("Item", row.get("item_code")) or {}
    row.values["item_name"] = row.get("item_name") or item.get("item_name")
    row.values["uom"] = row.get("uom") or item.get("stock_uom")
    row.values["delivery_date"] = row.get("delivery_date") or doc.get("delivery_date")
    if not flt(row.get("rate")):
        row.values["rate"] = flt(item.get("standard_rate"))
    row.values["amount"] = round(flt(row.get("qty")) * flt(row.get("rate")), 2)


@hook("Sales Order", "before_cancel")
def sales_order_cancelled(ctx: Context, doc: Document) -> None:
    doc.values["status"] = ORDER_STATUS[2]
