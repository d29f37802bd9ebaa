"""Markers that nobody needs any more, deleted: a day after their request, when none of its kind can be on its way."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef
from django.utils import timezone

from erpnext_bridge.access import open_site
from erpnext_bridge.conf import get_settings
from erpnext_bridge.errors import AuthenticationRefused, ERPNextBridgeError, NotConnected, RefusedError
from erpnext_bridge.identity import Identity
from erpnext_bridge.models.write import IN_THE_WAY, DocumentWrite, KeyStrategy, State
from erpnext_bridge.outbox import markers

logger = logging.getLogger("erpnext_bridge")

AFTER = timedelta(days=1)
WRITES = 5000
"""Finished creates whose markers one run deletes; the next one goes on."""


def clean(now: datetime | None = None) -> int:
    """
    Delete the markers of finished creates, and return of how many requests.

    The site's service account does it where there is one, else the user whose markers they are. Where that one may
    not, which only System Managers may, they stay: they harm nobody.
    """
    # Of a write whose answer was lost, they say whether its document is there, however long nobody decides.
    needed = DocumentWrite.objects.filter(batch=OuterRef("batch"), state__in=IN_THE_WAY)
    old = DocumentWrite.objects.filter(
        ~Exists(needed),
        state=State.DONE,
        key_strategy=KeyStrategy.MARKER,
        batch__isnull=False,
        finished_at__lt=(now or timezone.now()) - AFTER,
    )
    batches = {
        write.batch: write for write in old.order_by("finished_at").defer("payload", "history")[:WRITES]
    }
    count, failing = 0, set[str]()
    for write in batches.values():
        try:
            count += write.site not in failing and _remove(write)
        except ERPNextBridgeError as error:
            failing.add(write.site)
            logger.info("Markers at %s are deleted later: %s", write.site_label, type(error).__name__)
    return count


def _remove(write: DocumentWrite) -> bool:
    site = get_settings().sites.get(write.site)
    if site is None or write.batch is None or (write.is_orphan and not site.has_service_account):
        return _forget(write) and False
    identity = Identity.service(write.site) if site.has_service_account else write.identity
    try:
        markers.remove(open_site(identity).client, write.batch)
    except (AuthenticationRefused, NotConnected):
        return False
    except RefusedError:
        return _forget(write) and False
    return _forget(write)


def _forget(write: DocumentWrite) -> bool:
    return bool(DocumentWrite.objects.filter(batch=write.batch, state=State.DONE).update(batch=None))
