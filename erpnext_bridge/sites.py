"""
Documents of any DocType, without a class written for it.

    from erpnext_bridge.sites import site, sites

    site.doctype("Customer").objects.filter(territory="North")
    SalesOrder, Customer = sites["second"].doctypes("Sales Order", "Customer")

The classes are made of the site's own metadata, as `erpnext_inspect` would write them. They are in no app: Django's
migrations, content types and checks know nothing of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import new_class
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.apps.registry import Apps
from django.db import models

from erpnext_bridge import fields
from erpnext_bridge.access import open_site
from erpnext_bridge.conf import DEFAULT_SITE, get_settings, get_site
from erpnext_bridge.doctypes import DocType, read_doctypes
from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.errors import NotConnected, UnsupportedQuery
from erpnext_bridge.identity import Identity, ambient_identity
from erpnext_bridge.modelling import FieldSpec, LinkTo, Modelling, ModelSpec

if TYPE_CHECKING:
    from erpnext_bridge.identity import User

APP_LABEL = "erpnext_site"

Found = tuple[DocType, ...]
"""A DocType, and those of its tables."""


class SiteDocuments:
    """The DocTypes of a site as classes; one object serves every thread and every identity."""

    def __init__(self, alias: str = DEFAULT_SITE) -> None:
        self.alias = alias
        self._lock = threading.RLock()
        # By the site's URL too, as settings can change.
        self._found: dict[tuple[str, str], tuple[float, Found]] = {}
        self._made: dict[frozenset[str], tuple[list[Found], dict[str, type[Document]]]] = {}

    def __repr__(self) -> str:
        return f"<SiteDocuments of site {self.alias!r}>"

    def doctype(self, name: str, who: User | Identity | None = None) -> Any:
        """
        Return the class of a DocType's documents; links in it hold names.

        What a DocType consists of is read once in `METADATA_TTL` seconds, as `who`, or as the code that runs; it is the
        same for everybody. The class stays the same one until the DocType changes. Raises NotConnected when nobody acts,
        DocumentDoesNotExist for an unknown DocType, and UnsupportedQuery for one that is a table or virtual.
        """
        return self.doctypes(name, who=who)[0]

    def doctypes(self, *names: str, who: User | Identity | None = None) -> list[Any]:
        """Return the classes of several DocTypes, whose links lead to one another: `order.customer.territory`."""
        classes = self.classes(names, self._identity(who))
        return [classes[name] for name in names]

    def classes(self, names: Sequence[str], who: User | Identity | None) -> dict[str, type[Document]]:
        """Return DocType → class, for code that must not fail when nobody acts and everything is known."""
        found = [self._read(name, who) for name in names]
        with self._lock:
            return self._classes(names, found)

    def reload(self) -> None:
        """Forget what the DocTypes consist of, so that it is read again; classes of those that did not change stay."""
        with self._lock:
            self._found.clear()

    def _identity(self, who: User | Identity | None) -> Identity:
        if isinstance(who, Identity):
            return who
        identity = Identity.for_user(who, self.alias) if who is not None else ambient_identity(self.alias)
        if identity is None:
            raise NotConnected(
                f"Nobody acts who could read DocTypes of site {self.alias!r}. Call doctype('…', request.user), "
                "or do it inside acting_as(user)."
            )
        return identity

    def _read(self, name: str, who: User | Identity | None) -> Found:
        key = (get_site(self.alias).url, name)
        if (known := self._fresh(key)) is not None:
            return known
        with self._lock:
            # Another thread may have read it meanwhile.
            if (known := self._fresh(key)) is not None:
                return known
            found = tuple(read_doctypes(open_site(self._identity(who)).client.doctype(name)))
            _refuse_without_list(found[0])
            self._found[key] = (time.monotonic() + get_settings().metadata_ttl, found)
            return found

    def _fresh(self, key: tuple[str, str]) -> Found | None:
        until, found = self._found.get(key, (0.0, ()))
        return found if found and time.monotonic() < until else None

    def _classes(self, names: Sequence[str], found: list[Found]) -> dict[str, type[Document]]:
        wanted = frozenset(names)
        facts = sorted(found, key=lambda each: each[0].name)
        made = self._made.get(wanted)
        if made is None or made[0] != facts:
            made = self._made[wanted] = (facts, _make(facts, self.alias, tuple(sorted(wanted))))
        return made[1]


class Sites:
    """`sites["default"]`: the sites of the settings by their aliases."""

    def __init__(self, default: SiteDocuments) -> None:
        self._known = {default.alias: default}

    def __getitem__(self, alias: str) -> SiteDocuments:
        """Return the site. ImproperlyConfigured, with the known ones, when the settings name none of this alias."""
        return self._known.setdefault(get_site(alias).alias, SiteDocuments(alias))


site = SiteDocuments()
"""The default site."""

sites = Sites(site)


def _refuse_without_list(doctype: DocType) -> None:
    if doctype.is_child:
        raise UnsupportedQuery(f"{doctype.name} has rows of other documents. Read them from those documents.")
    if doctype.is_virtual:
        raise UnsupportedQuery(f"{doctype.name} is virtual: ERPNext keeps no table of it. Call its methods.")


# How classes are made.


class _NoApp(AppConfig):
    """Holds the classes of one set, so that relations between them are found."""

    path = ""

    def __init__(self) -> None:
        super().__init__(APP_LABEL, None)

    def import_models(self) -> None:
        registry: Any = self.apps
        self.models = registry.all_models[self.label]


class _Unregistered:
    """Pickles a document so that its class, which is in no registry of Django's, is found by whose rights it was read with."""

    _place: tuple[str, tuple[str, ...]]
    """Alias of the site, and the DocTypes that were asked for."""

    def __reduce__(self) -> Any:
        made: tuple[Any, ...] = super().__reduce__()  # type: ignore[assignment]
        # Child rows are querysets, whose fields Django looks up in its own registry: they are read again.
        state = {name: value for name, value in made[2].items() if name != "_prefetched_objects_cache"}
        return _blank, (*self._place, type(self).__name__, getattr(self, "erp_identity", None)), state


def _blank(alias: str, names: tuple[str, ...], name: str, identity: Identity | None) -> models.Model:
    first = sites[alias].classes(names, identity)[names[0]]
    model: type[models.Model] = first._meta.apps.get_model(APP_LABEL, name)
    return model.__new__(model)


def _make(found: Sequence[Found], alias: str, names: tuple[str, ...]) -> dict[str, type[Document]]:
    modelling = Modelling([each[0] for each in found], [one for each in found for one in each])
    registry = Apps([_NoApp()])
    maker = _Maker(registry, alias, names, modelling.names)
    for spec in modelling.models():
        maker.make(spec)
    return maker.documents


class _Maker:
    """Makes the classes of one set, one after the other."""

    def __init__(self, registry: Apps, alias: str, names: tuple[str, ...], classes: dict[str, str]) -> None:
        self.registry = registry
        self.alias = alias
        self.names = names
        self.classes = classes
        """DocType → name of its class."""
        self.made: dict[str, Any] = {}
        self.documents: dict[str, type[Document]] = {}

    def make(self, spec: ModelSpec) -> None:
        base = self.made[spec.base] if spec.base else ChildDocument if spec.is_child else Document
        bases = (base,) if spec.base else (_Unregistered, base)
        body = self.body(spec, base)
        self.made[spec.name] = new_class(
            spec.name, bases, self.keywords(spec), lambda space: space.update(body)
        )
        if not spec.is_child:
            self.documents[spec.doctype] = self.made[spec.name]

    def keywords(self, spec: ModelSpec) -> dict[str, Any]:
        keywords: dict[str, Any] = {"doctype": spec.doctype, "single": spec.is_single}
        if spec.parent:
            keywords["parent"] = self.made[spec.parent]
            keywords["fieldname"] = spec.fieldname
            keywords["related_name"] = spec.related_name or None
        return keywords

    def body(self, spec: ModelSpec, base: Any) -> dict[str, Any]:
        about = {"app_label": APP_LABEL, "apps": self.registry, "abstract": spec.is_abstract}
        names = {"verbose_name": spec.doctype}
        return {
            "__module__": __name__,
            "__doc__": spec.description or spec.doctype,
            "site": self.alias,
            "_place": (self.alias, self.names),
            "Meta": type("Meta", (base.Meta,), {**about, **names}),
            **{each.name: self.field(spec, each) for each in spec.fields},
        }

    def field(self, spec: ModelSpec, each: FieldSpec) -> Any:
        module, _, kind = each.kind.partition(".")
        make = getattr({"models": models, "fields": fields}[module], kind)
        to: Any = each.to
        if isinstance(to, LinkTo):
            to = "self" if to.doctype == spec.doctype else f"{APP_LABEL}.{self.classes[to.doctype]}"
        return make(*([] if to is None else [to]), **each.options)
