"""
Tokens are text that only the keys in `TOKEN_KEYS` can open; everything else holds them sealed.

A model's attribute, a pickle, a cached row and a dump hold a `SealedText`; the clear text exists from
`open()` to the request that carries it. So a missing or wrong key is met where a token is used, and
never where a row is listed or deleted.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.core.exceptions import ImproperlyConfigured
from django.db import models
from django.db.models.query_utils import DeferredAttribute

from erpnext_bridge.conf import get_settings
from erpnext_bridge.errors import NeedsReconnect

if TYPE_CHECKING:
    _TextField = models.TextField[Any, Any]
else:
    _TextField = models.TextField

MIN_KEY_LENGTH = 32
"""Characters that a key which is no Fernet key needs at least."""


class TokensUnreadable(NeedsReconnect):
    """The stored tokens were sealed with a key that is not in `TOKEN_KEYS` any more."""

    way_out = (
        "The stored tokens cannot be opened with the keys in ERPNEXT_BRIDGE['TOKEN_KEYS']. "
        "Put the former key back there, or let the user connect again."
    )


@dataclass(frozen=True, slots=True)
class SealedText:
    """Encrypted text: shows nothing, compares by what is stored, and opens with the keys in the settings."""

    stored: str = field(default="", repr=False)
    """What the database holds; "" is no text at all."""

    @classmethod
    def seal(cls, text: str) -> SealedText:
        """Return the text encrypted with the first key. ImproperlyConfigured without a usable key."""
        return cls(token_cipher().encrypt(text.encode()).decode() if text else "")

    def open(self) -> str:
        """Return the clear text. TokensUnreadable when no key fits, or there is none."""
        if not self.stored:
            return ""
        try:
            return token_cipher().decrypt(self.stored.encode()).decode()
        except (InvalidToken, ImproperlyConfigured):
            raise TokensUnreadable from None

    @property
    def is_current(self) -> bool:
        """Whether the first key opens it, so that the others are not needed for it."""
        try:
            first_cipher().decrypt(self.stored.encode())
        except InvalidToken:
            return not self.stored
        return True

    def sealed_anew(self) -> SealedText:
        """Return the same text sealed with the first key. TokensUnreadable when no key fits."""
        return type(self).seal(self.open())

    def __bool__(self) -> bool:
        return bool(self.stored)

    def __str__(self) -> str:
        return "(sealed)" if self.stored else ""


def token_cipher() -> MultiFernet:
    """Return the cipher of `TOKEN_KEYS`. ImproperlyConfigured when there is no key, or one is too short."""
    keys = get_settings().token_keys
    if not keys:
        raise ImproperlyConfigured(
            "ERPNEXT_BRIDGE['TOKEN_KEYS'] is empty, and tokens are only stored encrypted. Put a key there; "
            "python -c 'from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())' makes one."
        )
    return _cipher(keys)


def first_cipher() -> Fernet:
    """Return the cipher of the key that encrypts."""
    token_cipher()
    return Fernet(fernet_key(get_settings().token_keys[0]))


@lru_cache(maxsize=8)
def _cipher(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(fernet_key(key)) for key in keys])


def fernet_key(key: str) -> bytes:
    """Return a Fernet key as it is, and derive one from any other text that is long enough."""
    if is_fernet_key(key):
        return key.encode()
    if len(key) < MIN_KEY_LENGTH:
        raise ImproperlyConfigured(
            f"A key in ERPNEXT_BRIDGE['TOKEN_KEYS'] has {len(key)} characters. Use a Fernet key, or a random text "
            f"of at least {MIN_KEY_LENGTH} characters."
        )
    # HKDF and no slow hash: these are random keys of machines, not passwords of people.
    derived = HKDF(SHA256(), length=32, salt=None, info=b"erpnext_bridge TOKEN_KEYS").derive(key.encode())
    return base64.urlsafe_b64encode(derived)


def is_fernet_key(key: str) -> bool:
    try:
        return len(key) == 44 and len(base64.b64decode(key.encode(), altchars=b"-_", validate=True)) == 32
    except (binascii.Error, ValueError):
        return False


class _SealedAttribute(DeferredAttribute):
    """Seals clear text as it is assigned, so that no instance ever holds it."""

    def __set__(self, instance: models.Model, value: Any) -> None:
        instance.__dict__[self.field.attname] = _sealed(value)


class EncryptedTextField(_TextField):
    """Text that is stored encrypted and read as a `SealedText`; clear text may be assigned."""

    descriptor_class = _SealedAttribute

    def from_db_value(self, value: str | None, *_: Any) -> SealedText | None:
        return None if value is None else SealedText(value)

    def to_python(self, value: Any) -> SealedText | None:
        # Called for dumps (dumpdata, loaddata) and validation: text is what was stored, never clear.
        return SealedText(value) if isinstance(value, str) else value

    def value_to_string(self, obj: models.Model) -> str:
        return str(self.get_prep_value(self.value_from_object(obj)))

    def get_prep_value(self, value: Any) -> str | None:
        if isinstance(value, str):
            raise TypeError(
                f"{self.name} is stored encrypted and cannot be looked up by its clear text. Look it up by a SealedText."
            )
        return value.stored if isinstance(value, SealedText) else value

    def get_db_prep_save(self, value: Any, connection: Any) -> Any:
        return super().get_db_prep_save(_sealed(value), connection)


def _sealed(value: Any) -> Any:
    return SealedText.seal(value) if isinstance(value, str) else value
