"""
A write: what is to be done to one document, by whom, and how far it has come.

The row is the promise. It is saved in the transaction of the code that wants it, and stays with its payload
whatever becomes of it:

    waits for an earlier write (`waits_since`, no `next_attempt_at`)
       │  ▲
       ▼  │
    pending ──▶ sending ──▶ done           ERPNext has it
     ▲   ▲       ▲  │ └───▶ refused        ERPNext said no; its messages are kept
     │   │       │  ├─────▶ retrying ──┐   later, by itself: an error that passes, a lost answer that can be found
     │   │       └──│──────────────────┘   again, or nobody is connected
     │   │          ├─────▶ pending        one step of several is done, such as the create before the submit
     │   │          └─────▶ uncertain      a person decides: what became of it cannot be told, or the attempts are
     │   └── retry ── refused, uncertain   used up
     │                      │
     └──────────────────────┘ of a write that it waits for: it is refused or cancelled along, and comes back along
                    cancelled              a person gave it up, or its user was deleted

There is no state of its own for used-up attempts. `refused` would be a lie, for ERPNext said nothing;
`retrying` would be one too, and nobody would look. `outcome_unknown` tells the two kinds of `uncertain` apart.

Writes to one document are sent in the order in which they were queued, one after the other; so one that is not
settled, or uncertain, holds up those after it.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self
from urllib.parse import quote

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone

from erpnext_bridge.conf import get_settings
from erpnext_bridge.errors import NotConnected
from erpnext_bridge.identity import Identity
from erpnext_bridge.payloads import Promised
from erpnext_bridge.signals import write_changed

if TYPE_CHECKING:
    from erpnext_bridge.identity import User

HISTORY_LENGTH = 30


class Action(models.TextChoices):
    CREATE = "create", "Create"
    UPDATE = "update", "Update"
    SUBMIT = "submit", "Submit"
    CANCEL = "cancel", "Cancel"
    DELETE = "delete", "Delete"
    CALL = "call", "Call"


class State(models.TextChoices):
    PENDING = "pending", "Pending"
    SENDING = "sending", "Sending"
    DONE = "done", "Done"
    RETRYING = "retrying", "Retrying"
    REFUSED = "refused", "Refused"
    UNCERTAIN = "uncertain", "Uncertain"
    CANCELLED = "cancelled", "Cancelled"


class Priority(models.IntegerChoices):
    """Whose turn is first, where more is queued than the site takes at once."""

    LOW = 0, "Low"
    NORMAL = 5, "Normal"
    HIGH = 9, "High"


class OnConflict(models.TextChoices):
    """What becomes of an update whose document somebody else has saved since it was read."""

    REFUSE = "refuse", "Refuse it"
    REAPPLY = "reapply", "Send it again if nobody has touched the same fields"
    OVERWRITE = "overwrite", "Send it again in any case"


class KeyStrategy(models.TextChoices):
    """What makes ERPNext refuse a create that it has carried out already."""

    MARKER = "marker", "Tags that are created along"
    FIELD = "field", "A unique field of the DocType"
    NONE = "none", "Nothing"


WAITING = (State.PENDING, State.RETRYING)
"""States in which a write is delivered as soon as it is due."""

SETTLED = (State.DONE, State.REFUSED, State.UNCERTAIN, State.CANCELLED)
"""States that a write does not leave by itself."""

IN_THE_WAY = (State.PENDING, State.SENDING, State.RETRYING, State.UNCERTAIN)
"""States in which a write holds up the later ones to its document."""


class DocumentWriteQuerySet(models.QuerySet["DocumentWrite"]):
    def due(self, now: datetime | None = None) -> DocumentWriteQuerySet:
        """Narrow to the writes that may be delivered now."""
        return self.filter(state__in=WAITING, next_attempt_at__lte=now or timezone.now())

    def ready(self, now: datetime | None = None) -> DocumentWriteQuerySet:
        """Narrow to the writes whose time has come: as `due`, by one index alone, for only those that wait have a time."""
        return self.filter(next_attempt_at__lte=now or timezone.now())

    def crashed(self, now: datetime | None = None) -> DocumentWriteQuerySet:
        """Narrow to the writes whose delivery was not heard of until its lease ended."""
        return self.filter(state=State.SENDING, lease_expires_at__lte=now or timezone.now())

    def for_user(self, user: User) -> DocumentWriteQuerySet:
        """Narrow to the writes of one user; an anonymous one has none."""
        return self.filter(user_id=user.pk) if user.pk is not None else self.none()

    def for_identity(self, identity: Identity) -> DocumentWriteQuerySet:
        """Narrow to the writes of a user, or of the service account, at one site."""
        owner = Q(is_service=True) if identity.user_pk is None else Q(user_id=identity.user_pk)
        return self.filter(owner, site=identity.site)


class DocumentWrite(Promised, models.Model):
    """One action on one document, to be delivered in the background."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    site = models.CharField(max_length=64, help_text="Alias of the site in ERPNEXT_BRIDGE['SITES'].")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="erpnext_writes",
        help_text="Whose rights it is sent with.",
    )
    is_service = models.BooleanField(
        "service account", default=False, help_text="Sent with the rights of the site's service account."
    )
    action = models.CharField(max_length=10, choices=Action.choices)
    doctype = models.CharField("DocType", max_length=140)
    document_name = models.CharField(
        "document",
        max_length=140,
        blank=True,
        help_text="Its name at ERPNext; of a new one as soon as known.",
    )
    payload = models.JSONField(default=dict, blank=True, help_text="Fields and their values.")
    base_modified = models.CharField(
        max_length=40, blank=True, help_text="`modified` of the document that the write is based on."
    )
    base_values = models.JSONField(
        default=dict,
        blank=True,
        help_text="What the changed fields held in the document that it is based on.",
    )
    on_conflict = models.CharField(
        max_length=10,
        choices=OnConflict.choices,
        default=OnConflict.REFUSE,
        help_text="What to do when somebody else has saved the document since.",
    )
    conflict = models.JSONField(
        null=True,
        blank=True,
        help_text="Of a refused conflict: `base`, `ours` and `theirs` by fieldname, `modified` and `modified_by`.",
    )
    submit = models.BooleanField(default=False, help_text="Submit the document once it is created.")
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)

    document_key = models.CharField(
        max_length=32, blank=True, editable=False, help_text="The same for all writes to one document."
    )
    follows = models.ForeignKey(
        "self",
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        editable=False,
        related_name="followers",
        help_text="The write to the same document that was queued before it.",
    )
    depends_on: models.ManyToManyField[DocumentWrite, Any] = models.ManyToManyField(
        "self",
        symmetrical=False,
        blank=True,
        related_name="dependents",
        help_text="Writes that must be done before it is sent.",
    )

    lane = models.CharField(
        max_length=32,
        blank=True,
        editable=False,
        help_text="Of a create: the same for all that may be sent together, and never at the same time.",
    )
    batch = models.UUIDField(
        null=True,
        blank=True,
        editable=False,
        help_text="Of a create: the request that it was last sent with.",
    )
    key_strategy = models.CharField(max_length=10, choices=KeyStrategy.choices, blank=True, editable=False)
    lane_lock = models.CharField(max_length=32, null=True, blank=True, unique=True, editable=False)
    slot_lock = models.CharField(max_length=80, null=True, blank=True, unique=True, editable=False)

    state = models.CharField(max_length=10, choices=State.choices, default=State.PENDING)
    attempts = models.PositiveIntegerField(default=0, help_text="Deliveries since it was queued or retried.")
    next_attempt_at = models.DateTimeField(default=timezone.now, null=True, blank=True)
    waits_since = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="Of a pending write that is not due: it waits for another one.",
    )
    nudged_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When the sweep last asked a worker to deliver it."
    )
    lease_token = models.UUIDField(null=True, blank=True, editable=False)
    lease_expires_at = models.DateTimeField(null=True, blank=True, editable=False)
    outcome_unknown = models.BooleanField(
        default=False, help_text="ERPNext may have carried out an attempt whose answer never came."
    )

    last_error = models.TextField(blank=True, help_text="ERPNext's messages, or what it waits for.")
    error_type = models.CharField(max_length=140, blank=True)
    answer = models.JSONField(default=dict, blank=True, help_text="What ERPNext told about the document.")
    history = models.JSONField(default=list, blank=True, help_text="What happened to it, oldest first.")

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[DocumentWrite]] = DocumentWriteQuerySet.as_manager()

    class Meta:
        verbose_name = "write"
        indexes = [
            # None of them holds what is not waiting any more, so the next write is found as fast as ever.
            models.Index(
                fields=["site", "-priority", "next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="erpnext_bridge_write_next",
            ),
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="erpnext_bridge_write_due",
            ),
            models.Index(
                fields=["waits_since"],
                condition=Q(waits_since__isnull=False),
                name="erpnext_bridge_write_waits",
            ),
            models.Index(
                fields=["lane", "-priority", "created_at"],
                condition=Q(next_attempt_at__isnull=False),
                name="erpnext_bridge_write_lane",
            ),
            models.Index(
                fields=["site", "lease_expires_at"],
                condition=Q(lease_expires_at__isnull=False),
                name="erpnext_bridge_write_lease",
            ),
            models.Index(
                fields=["batch"], condition=Q(batch__isnull=False), name="erpnext_bridge_write_batch"
            ),
            models.Index(fields=["document_key", "created_at"], name="erpnext_bridge_write_order"),
            models.Index(fields=["state", "-created_at"], name="erpnext_bridge_write_state"),
            models.Index(fields=["user", "-created_at"], name="erpnext_bridge_write_user"),
            models.Index(fields=["doctype", "document_name"], name="erpnext_bridge_write_document"),
            models.Index(fields=["-created_at"], name="erpnext_bridge_write_created"),
            models.Index(fields=["finished_at"], name="erpnext_bridge_write_finished"),
        ]
        constraints = [
            # A write without a user must never come to mean one of the service account, which may do more.
            models.CheckConstraint(
                condition=Q(is_service=False) | Q(user__isnull=True), name="erpnext_bridge_write_identity"
            )
        ]

    def __str__(self) -> str:
        return f"{self.title} ({self.get_state_display().lower()})"

    @property
    def title(self) -> str:
        """What it does, for people."""
        return f"{self.get_action_display()} {self.doctype} {self.document_name}".rstrip()

    @property
    def identity(self) -> Identity:
        """Whose rights the write is sent with. NotConnected when its user was deleted."""
        if self.is_orphan:
            raise NotConnected("The user of this write was deleted.", site=self.site)
        return Identity(self.site, None if self.is_service else str(self.user_id))

    @property
    def is_orphan(self) -> bool:
        """Whether nobody is left whose rights it could be sent with."""
        return self.user_id is None and not self.is_service

    @property
    def actor(self) -> str:
        """Whose write it is, for people."""
        if self.is_service:
            return "the service account"
        return "a deleted user" if self.user is None else self.user.get_username()

    @property
    def is_settled(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.state in SETTLED

    def wait(self, timeout: float = 60.0, *, poll: float = 0.1) -> Self:
        """
        Wait until the write is settled, and return it: for scripts and tests, outside of transactions.

        TimeoutError when it is not after so many seconds. It only waits; a worker, or the sweep, delivers.
        """
        deadline = time.monotonic() + timeout
        self.refresh_from_db()
        while not self.is_settled:
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{self} after {timeout:g} seconds. {self.last_error}".rstrip())
            time.sleep(poll)
            self.refresh_from_db()
        return self

    @property
    def creates(self) -> bool:
        """Whether its next request makes a new document: the one that must not be sent twice."""
        return self.action == Action.CREATE and not self.document_name

    @property
    def site_label(self) -> str:
        """What people call the site; its alias when the settings name it no more."""
        site = get_settings().sites.get(self.site)
        return site.label if site else self.site

    @property
    def document_url(self) -> str:
        """Where a person reads the document at ERPNext; "" when there is no such page."""
        site = get_settings().sites.get(self.site)
        is_gone = (self.action, self.state) == (Action.DELETE, State.DONE)
        if site is None or is_gone or not self.document_name:
            return ""
        # Frappe 16 redirects /app/ to /desk/ (frappe/hooks.py, website_redirects).
        slug = self.doctype.lower().replace(" ", "-")
        return f"{site.url}/app/{quote(slug, safe='')}/{quote(self.document_name, safe='')}"

    def remember(self, event: str, **facts: Any) -> None:
        """Add a line to the history, which keeps the newest ones; `advance` saves it."""
        told = {key: value for key, value in facts.items() if value not in ("", None)}
        entry = {"at": timezone.now().isoformat(timespec="seconds"), "event": event, **told}
        self.history = [*self.history, entry][-HISTORY_LENGTH:]

    def advance(self, allowed: Iterable[State], *conditions: Q, **changes: Any) -> bool:
        """
        Change the write, and return whether it was still as this instance knows it: the only way of its state.

        One conditional UPDATE decides between everybody who would change it at the same time: the row must be
        in one of the allowed states and under the lease, or none, that this instance has seen.
        """
        changes = self.stamped(changes, timezone.now())
        rows = DocumentWrite.objects.filter(
            *conditions, pk=self.pk, state__in=list(allowed), lease_token=self.lease_token
        )
        if not rows.update(**changes):
            return False
        self.become(changes, rows.db)
        return True

    def stamped(self, changes: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Return changes with what goes with them: the history, and when they are made."""
        stamps: dict[str, Any] = {"history": self.history, "updated_at": now}
        if {"state", "next_attempt_at"} & changes.keys():
            state = changes.get("state", self.state)
            is_due = changes.get("next_attempt_at", self.next_attempt_at) is not None
            stamps["waits_since"] = now if state == State.PENDING and not is_due else None
        return {**changes, **stamps}

    def become(self, changes: Mapping[str, Any], using: str | None) -> None:
        """Take what the row has become by now, and announce it."""
        previous = self.state
        for name, value in changes.items():
            setattr(self, name, value)
        self.announce(previous, using)

    def announce(self, previous: str, using: str | None = None) -> None:
        """Send `write_changed` once the change is committed."""
        send = partial(write_changed.send_robust, DocumentWrite, write=self, previous=previous)
        transaction.on_commit(send, using=using)


class WriteFile(models.Model):
    """The content of a file that a write uploads; in the database, so that it lives and dies with the write."""

    write = models.OneToOneField(
        DocumentWrite, on_delete=models.CASCADE, primary_key=True, related_name="file"
    )
    content = models.BinaryField()
    size = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name = "file of a write"
        verbose_name_plural = "files of writes"

    def __str__(self) -> str:
        return f"{self.size} bytes"
