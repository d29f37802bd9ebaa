"""
Documents of a site through their generated models and back: nothing may be lost on the way.

    ERPNEXT_URL=… ERPNEXT_API_KEY=… ERPNEXT_API_SECRET=… python -m tests.round_trips [DOCTYPE …]

reads the site's DocTypes and those they link to, writes their module into a folder of its own, imports it, and takes up to
25 documents of each through it: a list, each document alone, its child rows. Then it saves documents, unchanged and with
one change, and puts back what it changed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib
import io
import json
import os
import sys
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

ASKED = (
    "Customer", "Item", "Lead", "Sales Order", "Sales Invoice", "Purchase Order", "Stock Entry", "Employee",
)  # fmt: skip
LIMIT = 25

MARK = "bridge round trip"

STAMPS = frozenset({"modified", "modified_by"})
"""What every save changes, in the document and in its rows."""

CLOCKS = frozenset({"last_active"})
"""Fields that every request changes."""

TRIED = 6
"""Fields that are tried before a document counts as one that nobody may change."""


@dataclass
class Figures:
    """What went through, and what did not come through whole."""

    doctypes: int = 0
    tables: int = 0
    fields: int = 0
    documents: int = 0
    rows: int = 0
    values: int = 0
    unchanged: int = 0
    """Documents that were saved without a change; nothing was sent."""
    changed: int = 0
    """Documents and rows that were saved with one change; only that was sent."""
    made: int = 0
    """Documents that were created for this, with their rows, and are deleted again."""
    computed: list[str] = field(default_factory=list)
    """What ERPNext itself changed along with the one change."""
    losses: list[str] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """DocTypes whose documents ERPNext lets nobody change, or read."""

    def __str__(self) -> str:
        read = f"{self.doctypes} DocTypes with {self.fields} fields and {self.tables} tables"
        through = f"{self.documents} documents with {self.rows} child rows, {self.values} values"
        saved = (
            f"{self.unchanged} saved unchanged, {self.changed} with one change, {self.made} created for it"
        )
        return f"{read}: {through}, {saved}; {len(self.losses)} lost"


# Reading


def read(model, identity, figures, limit=LIMIT):
    """Read documents as a list and one by one, and compare each value with what the site says."""
    from erpnext_bridge.access import open_site
    from erpnext_bridge.children import child_tables

    access = open_site(identity)
    zone = access.facts.time_zone
    tables = child_tables(model)
    figures.doctypes += 1
    figures.tables += len(tables)
    figures.fields += sum(len(each._meta.concrete_fields) for each in (model, *tables.values()))
    objects = model.objects.acting_as(identity)
    for listed in objects.order_by("-modified")[:limit] if not model.is_single else objects.all():
        raw = access.client.read(model.doctype, listed.pk)
        whole = objects.get(pk=listed.pk)
        figures.documents += 1
        compare(whole, raw, figures, zone)
        _compare_with_list(listed, whole, figures)
        if whole.changes():
            figures.losses.append(f"{model.doctype} {whole.pk} seems to be changed: {whole.changes()}")
        for accessor, child in tables.items():
            rows = {row["name"]: row for row in raw.get(child.parent_fieldname, ())}
            found = list(getattr(whole, accessor).all())
            if [row.pk for row in found] != list(rows):
                figures.losses.append(f"{model.doctype} {whole.pk}.{accessor}: other rows")
                continue
            figures.rows += len(found)
            for row in found:
                compare(row, rows[row.pk], figures, zone)


def compare(instance, raw, figures, zone):
    """Note each field whose value would not go back as it came."""
    from erpnext_bridge import values

    for each in _lasting(instance):
        got, value = raw.get(values.column_of(each)), getattr(instance, each.attname)
        figures.values += 1
        if not same(values.to_wire(each, value, zone), got):
            name = f"{instance.doctype} {raw.get('name')}.{values.column_of(each)}"
            figures.losses.append(f"{name}: {got!r} became {value!r}")


def _lasting(instance):
    return [each for each in instance._meta.concrete_fields if each.column not in CLOCKS]


def same(sent, got):
    """Whether two spellings on the wire are of the same value."""
    from erpnext_bridge import values

    if sent in (None, "") and got in (None, ""):
        return True
    if any(isinstance(each, int | float | Decimal) for each in (sent, got)):
        # A Single's columns are texts, numbers included.
        return Decimal(str(sent or 0)) == Decimal(str(got or 0))
    if isinstance(got, str) and isinstance(sent, str):
        return values.canonical(sent) == values.canonical(got) or _json(sent) == _json(got)
    return bool(sent == got)


def _json(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def _compare_with_list(listed, whole, figures):
    for each in _lasting(whole):
        name = each.attname
        if name in listed.__dict__ and getattr(listed, name) != getattr(whole, name):
            told = f"{getattr(listed, name)!r} in the list, {getattr(whole, name)!r} alone"
            figures.losses.append(f"{whole.doctype} {whole.pk}.{name}: {told}")


# Saving


def save(model, identity, figures, limit=LIMIT):
    """Save documents with their rows unchanged, then one with one change, and a row of each table, and put that back."""
    from erpnext_bridge.access import open_site
    from erpnext_bridge.children import child_tables

    client = open_site(identity).client
    objects = model.objects.acting_as(identity)
    found = [
        objects.get(pk=name)
        for name in objects.order_by("docstatus", "name").values_list("pk", flat=True)[:limit]
    ]
    for document in found:
        before = client.read(model.doctype, document.pk)
        document.save()
        # Frappe moves `modified` at every save, an empty one included.
        if client.read(model.doctype, document.pk)["modified"] == before["modified"]:
            figures.unchanged += 1
        else:
            figures.losses.append(f"{model.doctype} {document.pk}: saving it unchanged changed it")
    if found and not any(change(document, document, client, figures) for document in found[:3]):
        figures.refused[model.doctype] += 1
    for accessor in child_tables(model):
        rows = ((row, document) for document in found[:3] for row in getattr(document, accessor).all()[:1])
        any(change(row, document, client, figures) for row, document in rows)


def change(instance, document, client, figures):
    """Change one text of a document, or of a row in it, and put it back; tell whether ERPNext took it."""
    from erpnext_bridge.errors import RefusedError

    for each in _texts(type(instance))[:TRIED]:
        document.refresh_from_db()
        before = client.read(document.doctype, document.pk)
        old = getattr(instance, each.attname)
        setattr(instance, each.attname, MARK)
        if instance.changes() != {each.column: MARK}:
            figures.losses.append(f"{instance.doctype} {instance.pk}: {instance.changes()} is not one change")
        try:
            instance.save()
        except RefusedError:
            setattr(instance, each.attname, old)
            continue
        after = client.read(document.doctype, document.pk)
        setattr(instance, each.attname, old)
        instance.save()
        if _compare_states(instance, each, _without_stamps(before), _without_stamps(after), figures):
            return True
    return False


def _compare_states(instance, each, before, after, figures):
    """Note what the one change changed besides; tell whether it is there at all."""
    before, after = _flat(before), _flat(after)
    changed = {place for place in before.keys() | after.keys() if before.get(place) != after.get(place)}
    meant = {(instance.pk, each.column)}
    if not meant <= changed:
        return False
    if before.keys() != after.keys() and any(before.get(place) for place in before.keys() - after.keys()):
        figures.losses.append(f"{instance.doctype} {instance.pk}: values or rows are gone")
    figures.changed += 1
    if changed - meant:
        computed = ", ".join(sorted({name for _, name in changed - meant}))
        figures.computed.append(f"{instance.doctype}: {computed} along with {each.column}")
    return True


def _flat(raw):
    """Return the values of a document and of its rows by the row's name and the fieldname."""
    found = {(raw["name"], name): value for name, value in raw.items() if not isinstance(value, list)}
    for rows in (value for value in raw.values() if isinstance(value, list)):
        for row in rows:
            found |= _flat(row)
    return found


def _without_stamps(raw):
    return {
        name: [_without_stamps(row) for row in value] if isinstance(value, list) else value
        for name, value in raw.items()
        if name not in STAMPS
    }


def _texts(model):
    from django.db import models

    return [
        each
        for each in model._meta.concrete_fields
        if isinstance(each, models.CharField | models.TextField)
        and each.editable
        and each.blank
        and not (
            each.choices or getattr(each, "blank_is_null", False) or each.column.endswith(("_url", "email"))
        )
    ]


# By hand


@contextmanager
def imported(source):
    """Import a module of models as the app `generated`, for the length of a block."""
    from django.apps import apps
    from django.test import override_settings

    with tempfile.TemporaryDirectory() as folder:
        app = Path(folder, "generated")
        app.mkdir()
        Path(app, "__init__.py").touch()
        Path(app, "models.py").write_text(source, "utf-8")
        sys.path.insert(0, folder)
        try:
            with override_settings(INSTALLED_APPS=[*_installed(), "generated"]):
                yield importlib.import_module("generated.models")
        finally:
            sys.path.remove(folder)
            for name in [name for name in sys.modules if name.partition(".")[0] == "generated"]:
                del sys.modules[name]
            apps.all_models.pop("generated", None)
            apps.clear_cache()


def _installed():
    from django.conf import settings

    return settings.INSTALLED_APPS


def documents_of(module):
    from erpnext_bridge.documents import Document

    classes = [
        each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Document)
    ]
    return [each for each in classes if not each._meta.abstract]


def inspected(doctypes, **options):
    """Return the text of the module of these DocTypes and all that they link to."""
    from django.core.management import call_command

    out = io.StringIO()
    call_command("erpnext_inspect", *doctypes, all_links=True, service=True, stdout=out, **options)
    return out.getvalue()


def go(doctypes, figures, limit=LIMIT):
    """Take a site's documents through their models; those of the DocTypes that were named are saved as well."""
    from erpnext_bridge.errors import RefusedError
    from erpnext_bridge.identity import Identity

    service = Identity.service()
    with imported(inspected(doctypes)) as module, created(module, service, figures):
        for model in documents_of(module):
            try:
                read(model, service, figures, limit)
                if model.doctype in doctypes and not model.is_single:
                    save(model, service, figures, limit)
            except RefusedError as error:
                figures.refused[f"{model.doctype}: {error}"] += 1
    return figures


@contextmanager
def created(module, identity, figures):
    """Create a document of those DocTypes that have none and are known here, and delete it afterwards."""
    from erpnext_bridge.identity import acting_as

    made = []
    with acting_as(identity):
        try:
            for name, make in MAKERS.items():
                model = getattr(module, name, None)
                if model is not None and not model.objects.exists():
                    made.append(make(module))
                    figures.made += 1
            yield
        finally:
            for document in made:
                document.delete()


def _employee(module):
    company = module.Company.objects.order_by("name")[0]
    return module.Employee.objects.create(
        first_name="Bridge Round Trip",
        company=company,
        gender_id="Female",
        date_of_birth=dt.date(1990, 2, 28),
        date_of_joining=dt.date(2020, 2, 29),
    )


def _stock_entry(module):
    company = module.Company.objects.order_by("name")[0]
    item = module.Item.objects.filter(is_stock_item=True, has_batch_no=False, has_serial_no=False).order_by(
        "name"
    )[0]
    warehouse = module.Warehouse.objects.filter(is_group=False, company=company).order_by("name")[0]
    return module.StockEntry.objects.create(
        stock_entry_type_id="Material Receipt",
        company=company,
        items=[module.StockEntryDetail(item_code=item, qty=2, basic_rate=7, t_warehouse=warehouse)],
    )


MAKERS = {"Employee": _employee, "StockEntry": _stock_entry}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("doctypes", nargs="*", default=ASKED, metavar="DOCTYPE")
    parser.add_argument("--limit", type=int, default=LIMIT)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django
    from django.conf import settings

    settings.ERPNEXT_BRIDGE = site_of_the_environment()
    django.setup()
    started = time.monotonic()
    figures = go(options.doctypes, Figures(), options.limit)
    lines = [
        *(f"lost: {told}" for told in figures.losses),
        *(f"computed by ERPNext: {told}" for told in figures.computed),
        *(f"refused: {told} ({count})" for told, count in figures.refused.items()),
        f"{figures}; {time.monotonic() - started:.0f} s",
    ]
    sys.stdout.write("\n".join([*lines, ""]))
    return bool(figures.losses)


def site_of_the_environment():
    """Return ERPNEXT_BRIDGE for the site that the environment names."""
    site = {
        "URL": os.environ["ERPNEXT_URL"],
        "API_KEY": os.environ["ERPNEXT_API_KEY"],
        "API_SECRET": os.environ["ERPNEXT_API_SECRET"],
    }
    return {"SITES": {"default": site}, "TOKEN_KEYS": ["a key that encrypts nothing of value"]}


if __name__ == "__main__":
    sys.exit(main())
