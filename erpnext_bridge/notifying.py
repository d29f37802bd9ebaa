"""The e-mail to a user whose connection has to be made again, for projects that set `RECONNECT_EMAIL`."""

from __future__ import annotations

import logging
from typing import Any

from django.core.mail import send_mail
from django.dispatch import receiver
from django.template.loader import render_to_string

from erpnext_bridge.addresses import absolute, connect_page
from erpnext_bridge.conf import get_settings
from erpnext_bridge.models import Connection
from erpnext_bridge.signals import needs_reconnect

logger = logging.getLogger("erpnext_bridge")


@receiver(needs_reconnect)
def send_email(*, connection: Connection, reason: str, **_: Any) -> None:
    """Send it where a project wants it, and where the user has an address. A mail server that is down ends nothing."""
    settings = get_settings()
    site = settings.sites.get(connection.site)
    address = getattr(connection.user, connection.user.get_email_field_name(), "")
    if not settings.reconnect_email or site is None or not address:
        return
    context = {
        "connection": connection,
        "site": site,
        "reason": reason,
        "url": absolute(site, connect_page(site.alias)),
    }
    # A subject is one line, whatever a project's template makes of it.
    subject = " ".join(render_to_string("erpnext_bridge/email/reconnect_subject.txt", context).split())
    try:
        send_mail(subject, render_to_string("erpnext_bridge/email/reconnect.txt", context), None, [address])
    except OSError as error:
        logger.warning("No e-mail about %s: %s.", connection, type(error).__name__)
