"""
The module of a site's DocTypes: what `erpnext_inspect` writes.

It says nothing of the day, the site's address or the user who read it, so that an unchanged site gives the same module.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from django.utils.text import camel_case_to_spaces

from erpnext_bridge.client import FrappeClient
from erpnext_bridge.doctypes import DocType, read_doctypes
from erpnext_bridge.errors import DocumentDoesNotExist, PermissionRefused, ValidationRefused
from erpnext_bridge.modelling import FieldSpec, LinkTo, Modelling, ModelSpec
from erpnext_bridge.source import STEP, WIDTH, Call, Name, docstring, statement

UNREADABLE = (DocumentDoesNotExist, PermissionRefused, ValidationRefused)
"""
What a site answers about a DocType of an app that is gone: 404, on Frappe 16 also 403, and 417 about one that links to such
a DocType (frappe/desk/form/meta.py).
"""


def read(
    client: FrappeClient, doctypes: Sequence[str], *, all_links: bool = False
) -> tuple[Modelling, list[str]]:
    """
    Return the models of these DocTypes and their tables, and the names of linked DocTypes that could not be read.

    With `all_links`, those that they link to are read as well. Raises the client's errors for a DocType that was named.
    """
    known: dict[str, DocType] = {}
    for name in dict.fromkeys(doctypes):
        known |= {each.name: each for each in read_doctypes(client.doctype(name))}
    wanted, unread = set(doctypes), []
    if all_links:
        for name in sorted({target for each in known.values() for target in each.linked} - wanted):
            try:
                found = read_doctypes(client.doctype(name))
            except UNREADABLE:
                unread.append(name)
                continue
            known |= {each.name: each for each in found if each.name not in known}
            wanted.add(name)
    return Modelling([known[name] for name in sorted(wanted)], known.values()), unread


def module(modelling: Modelling, *, command: Sequence[str], app: str = "", width: int = WIDTH) -> str:
    """Return the module's text; `app` is the label of the app that it is for, `command` what writes it again."""
    models = modelling.models()
    blocks = ["\n".join(_head(command, width)), "from __future__ import annotations"]
    blocks.append("\n".join(_imports(models)))
    writer = _Writer(models, app, width)
    classes = ["\n".join(writer.lines(model)) for model in models]
    notes = [
        f"# Left out, as ERPNext keeps no table of it: {_on_one_line(name)} (a virtual DocType)."
        for name in modelling.virtual
    ]
    text = "\n\n".join(blocks) + "".join(f"\n\n\n{each}" for each in [*classes, *notes])
    return f"{text}\n"


def _head(command: Sequence[str], width: int) -> list[str]:
    # No line may end inside of a quoted word.
    words = " ".join(shlex.quote(word).replace(" ", "\N{SYMBOL FOR SPACE}") for word in command)
    lines = docstring(f"DocTypes of ERPNext as Django models.\n\nWritten by: {words}", width=width)
    return [line.replace("\N{SYMBOL FOR SPACE}", " ") for line in lines]


def _imports(models: Sequence[ModelSpec]) -> Iterator[str]:
    kinds = {each.kind.partition(".")[0] for model in models for each in model.fields}
    if "models" in kinds:
        yield "from django.db import models"
        yield ""
    if "fields" in kinds:
        yield "from erpnext_bridge import fields"
    bases = {_base(model) for model in models if not model.base}
    yield f"from erpnext_bridge.documents import {', '.join(sorted(bases) or ['Document'])}"


def _on_one_line(name: str) -> str:
    """Return a name that ends no comment."""
    return " ".join(name.split())


def _base(model: ModelSpec) -> str:
    return model.base or ("ChildDocument" if model.is_child else "Document")


class _Writer:
    def __init__(self, models: Sequence[ModelSpec], app: str, width: int) -> None:
        self.app = app
        self.width = width
        self.classes = {model.doctype: model.name for model in models if not model.is_child}
        self.written: set[str] = set()

    def lines(self, model: ModelSpec) -> Iterator[str]:
        """Yield the lines of a class."""
        header = Call(model.name, [Name(_base(model))], self.keywords(model))
        *first, last = statement("class ", header, width=self.width - 1)
        yield from first
        yield f"{last}:"
        body = list(self.body(model))
        yield from body or [f"{STEP}pass"]
        self.written.add(model.doctype)

    def keywords(self, model: ModelSpec) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        if model.parent:
            keywords = {"parent": Name(model.parent), "fieldname": model.fieldname}
        if model.related_name:
            keywords["related_name"] = model.related_name
        if model.names_doctype:
            keywords["doctype"] = model.doctype
        if model.is_single:
            keywords["single"] = True
        return keywords

    def body(self, model: ModelSpec) -> Iterator[str]:
        parts = [
            docstring(model.description, indent=STEP, width=self.width) if model.description else [],
            [line for each in model.fields for line in self.field(model, each)],
            self.notes(model),
            list(self.meta(model)),
        ]
        filled = [part for part in parts if part]
        for part in filled:
            if part is not filled[0]:
                yield ""
            yield from part

    def field(self, model: ModelSpec, each: FieldSpec) -> list[str]:
        call = Call(*self.link(model, each), each.options)
        return statement(f"{each.name} = ", call, indent=STEP, width=self.width)

    def link(self, model: ModelSpec, each: FieldSpec) -> tuple[str, list[Any]]:
        """Return what makes the field, and where it leads to."""
        if not isinstance(each.to, LinkTo):
            return each.kind, [] if each.to is None else [each.to]
        name = self.classes[each.to.doctype]
        if each.to.doctype == model.doctype:
            return each.kind, ["self"]
        if each.to.doctype in self.written:
            return each.kind, [Name(name)]
        # A class further down: Django finds it by its name, Link() would take that for a DocType's.
        return (each.kind, [f"{self.app}.{name}"]) if self.app else ("fields.LinkField", [name])

    def notes(self, model: ModelSpec) -> list[str]:
        return [
            f"{STEP}# Left out, as ERPNext stores no value: {_on_one_line(name)} (virtual)."
            for name in model.left_out
        ]

    def meta(self, model: ModelSpec) -> Iterator[str]:
        names = {} if model.base else verbose_names(model)
        if not names and not model.is_abstract:
            return
        yield f"{STEP}class Meta(ChildDocument.Meta):" if model.is_child else f"{STEP}class Meta:"
        if model.is_abstract:
            yield f"{STEP * 2}abstract = True"
        for key, value in names.items():
            yield from statement(f"{key} = ", value, indent=STEP * 2, width=self.width)


def verbose_names(model: ModelSpec) -> dict[str, str]:
    """Return what Django would not make of the class name by itself."""
    single = model.doctype
    words = camel_case_to_spaces(model.name)
    names = {} if single.lower() == words else {"verbose_name": single}
    plural = _plural(single)
    if plural != f"{single}s":
        names["verbose_name_plural"] = plural if names else plural.lower()
    return names


def _plural(name: str) -> str:
    if name.endswith("s") and not name.endswith("ss"):
        return name
    if name.endswith(("ss", "x", "ch", "sh")):
        return f"{name}es"
    return f"{name[:-1]}ies" if name.endswith("y") and name[-2:-1] not in "aeiou" else f"{name}s"
