"""
How a row becomes an instance: as Django's `from_db()` makes it, without the detour through `__init__` where nobody minds.

`Model.__init__` is most of what a long list costs on this side. It is left out for a class whose `__init__` and `from_db`
are the package's and Django's own, and as long as nobody listens to `pre_init` or `post_init` of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from typing import Any

from django.db import models
from django.db.models.base import ModelState
from django.db.models.signals import post_init, pre_init


def make(model: Any, known: Mapping[str, Any]) -> Any:
    """Return the instance of a document class with these values, by attname in the order of its fields; the others are deferred."""
    if not _is_plain(model):
        return model.from_db(None, list(known), list(known.values()))
    instance = model.__new__(model)
    state = ModelState()
    state.adding = False
    state.db = None
    own = dict(known)
    own["_state"] = state
    for name, kind in model._beside_fields:
        own[name] = kind()
    instance.__dict__ = own
    return instance


def kept(model: Any, loaded: dict[str, Any]) -> dict[str, Any]:
    """Return the values so that they stay as they were read: only that of a JSON field can change in place."""
    mutable = {attname: deepcopy(loaded[attname]) for attname in _json_attnames(model) if attname in loaded}
    return loaded | mutable if mutable else loaded


def _is_plain(model: Any) -> bool:
    # Asked for each row of a long list: nearly always nobody listens to anything.
    if (pre_init.receivers or post_init.receivers) and (
        pre_init.has_listeners(model) or post_init.has_listeners(model)
    ):
        return False
    return not _has_own_making(model)


@cache
def _has_own_making(model: Any) -> bool:
    ours = model.__init__.__module__ == f"{__package__}.documents"
    return not ours or model.from_db.__func__ is not models.Model.from_db.__func__  # type: ignore[attr-defined]


@cache
def _json_attnames(model: Any) -> tuple[str, ...]:
    fields = model._meta.concrete_fields
    return tuple(field.attname for field in fields if field.get_internal_type() == "JSONField")
