"""`{% load erpnext_bridge_admin %}`: the buttons below a document in the admin."""

from __future__ import annotations

from typing import Any

from django import template
from django.contrib.admin.templatetags.admin_modify import submit_row
from django.template.context import RequestContext

register = template.Library()


@register.inclusion_tag("erpnext_bridge/admin/submit_line.html", takes_context=True)
def document_submit_row(context: RequestContext) -> dict[Any, Any]:
    """Django's row of buttons, with what else ERPNext lets the user do to the document (`document_actions`)."""
    return submit_row(context).flatten()
