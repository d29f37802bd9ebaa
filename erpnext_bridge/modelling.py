"""
Which models DocTypes become: classes with their fields, told as data.

Both the module that `erpnext_inspect` writes and the classes that `site.doctype()` makes are made of it, so they say the
same. The same DocTypes become the same models, in the same order.
"""

from __future__ import annotations

import html
import keyword
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from django.utils.html import escape, strip_tags

from erpnext_bridge.doctypes import DocField, DocType
from erpnext_bridge.documents import ChildDocument, Document, doctype_of_class

TEXT_LENGTH = 140
"""Characters of a varchar column, where a field says nothing else (frappe/database/mariadb/database.py)."""

COLUMNS = frozenset(field.name for field in Document._meta.local_fields)
"""Fields that every document has."""

ROW_COLUMNS = COLUMNS | {"parent"} | {field.name for field in ChildDocument._meta.local_fields}
"""Fields that every child row has."""

RESERVED = frozenset({*dir(Document), *dir(ChildDocument), "Meta", "fields", "models", "pk"}) | ROW_COLUMNS
"""Names that a model's attribute cannot have: Django and Document use them, or the module that defines it."""

TAKEN_CLASSES = frozenset({"ChildDocument", "Document", "annotations", "fields", "models"})
"""Names that the generated module imports."""

# Defaults that ERPNext works out for each user and day (frappe/model/create_new.py).
COMPUTED = re.compile(r"^(:|eval:|__user$|user$|today$|now$|now_date$)", re.IGNORECASE)

_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class LinkTo:
    """Where a link leads to: a model of the same set, by its DocType."""

    doctype: str


@dataclass(frozen=True)
class FieldSpec:
    """A field of a model: `name = kind(to, **options)`."""

    name: str
    kind: str
    """What makes it, such as `models.CharField`."""
    options: dict[str, Any] = field(default_factory=dict)
    to: LinkTo | str | None = None
    """Target of a link: a model, or the name of a DocType or field."""

    @property
    def column(self) -> str:
        """The fieldname at ERPNext."""
        return str(self.options.get("db_column", self.name))


@dataclass(frozen=True)
class ModelSpec:
    """A class."""

    name: str
    doctype: str
    fields: tuple[FieldSpec, ...] = ()
    description: str = ""
    left_out: tuple[str, ...] = ()
    """Fieldnames of virtual fields."""
    is_single: bool = False
    is_child: bool = False
    is_abstract: bool = False
    base: str = ""
    """Name of the abstract class that it takes its fields from."""
    parent: str = ""
    """Name of the class whose rows it is."""
    fieldname: str = ""
    """Table field of that class."""
    related_name: str = ""
    """Accessor of the rows, where the fieldname cannot be it."""

    @property
    def names_doctype(self) -> bool:
        """Whether the class has to say which DocType it is of."""
        return self.is_abstract or (not self.base and doctype_of_class(self.name) != self.doctype)


class Modelling:
    """The models of some DocTypes, and of the tables in them."""

    def __init__(self, wanted: Iterable[DocType], known: Iterable[DocType] = ()) -> None:
        """`known` holds the DocTypes of the tables."""
        chosen = {doctype.name: doctype for doctype in sorted(wanted, key=lambda each: each.name)}
        self.known = {doctype.name: doctype for doctype in known} | chosen
        self.virtual = tuple(name for name, doctype in chosen.items() if doctype.is_virtual)
        """DocTypes that are left out: nothing can be said about what their lists answer."""
        real = {name: doctype for name, doctype in chosen.items() if not doctype.is_virtual}
        self.documents = {name: doctype for name, doctype in real.items() if not doctype.is_child}
        self.alone = [doctype for doctype in real.values() if doctype.is_child]
        """Child DocTypes that were asked for."""

    def models(self) -> list[ModelSpec]:
        """Return the classes in an order in which each parent and each base comes before what needs it."""
        found: list[ModelSpec] = []
        shared: set[str] = set()
        for doctype in self._ordered():
            found.append(self._document(doctype))
            for table, rows in self._tables(doctype):
                if self._is_shared(rows.name) and rows.name not in shared:
                    shared.add(rows.name)
                    found.append(self._abstract(rows))
                found.append(self._rows(doctype, table, rows))
        in_tables = {rows.name for doctype in self.documents.values() for _, rows in self._tables(doctype)}
        found += [self._abstract(rows) for rows in self.alone if rows.name not in in_tables]
        return _with_reverse_names(found)

    # Classes.

    def _document(self, doctype: DocType) -> ModelSpec:
        return replace(self._fields_of(doctype), name=self.names[doctype.name], is_single=doctype.is_single)

    def _abstract(self, rows: DocType) -> ModelSpec:
        return replace(self._fields_of(rows), name=self.names[rows.name], is_child=True, is_abstract=True)

    def _rows(self, parent: DocType, table: DocField, rows: DocType) -> ModelSpec:
        place: dict[str, Any] = {
            "parent": self.names[parent.name],
            "fieldname": table.fieldname,
            "is_child": True,
        }
        accessor = self._attributes(parent)[table.fieldname]
        place["related_name"] = "" if accessor == table.fieldname else accessor
        if self._is_shared(rows.name):
            name = self.names[f"{parent.name}\n{table.fieldname}"]
            return ModelSpec(name=name, doctype=rows.name, base=self.names[rows.name], **place)
        return replace(self._fields_of(rows), name=self.names[rows.name], **place)

    def _fields_of(self, doctype: DocType) -> ModelSpec:
        attributes = self._attributes(doctype)
        columns = ROW_COLUMNS if doctype.is_child else COLUMNS
        stored = [each for each in doctype.fields if not each.is_table and each.fieldname not in columns]
        return ModelSpec(
            name="",
            doctype=doctype.name,
            description=_plain(doctype.description),
            fields=tuple(
                self._field(each, attributes[each.fieldname]) for each in stored if not each.is_virtual
            ),
            left_out=tuple(each.fieldname for each in doctype.fields if each.is_virtual),
        )

    # Names.

    @cached_property
    def names(self) -> dict[str, str]:
        """DocType, or DocType and table of a shared child, → name of its class."""
        wanted: dict[str, str] = {}
        for doctype in (*self.documents.values(), *self.alone):
            wanted[doctype.name] = class_name(doctype.name)
        for doctype in self.documents.values():
            for table, rows in self._tables(doctype):
                wanted.setdefault(rows.name, class_name(rows.name))
                if self._is_shared(rows.name):
                    place = f"{doctype.name}\n{table.fieldname}"
                    wanted[place] = class_name(f"{doctype.name} {table.fieldname}")
        taken = {name.lower() for name in TAKEN_CLASSES}
        return {key: _free(name, taken) for key, name in wanted.items()}

    def _attributes(self, doctype: DocType) -> dict[str, str]:
        """Return fieldname → attribute, each another one."""
        taken = set(self.names.values())
        # A link to a model has two attributes: `customer` and `customer_id`.
        links = {each.fieldname for each in doctype.fields if self._is_modelled(each)}
        names = {each.fieldname: _attribute(each.fieldname) for each in doctype.fields}
        # Who can keep their name do.
        order = sorted(names, key=lambda fieldname: (names[fieldname] != fieldname, fieldname not in links))
        return {
            fieldname: _free(names[fieldname], taken, "_id" if fieldname in links else "")
            for fieldname in order
        }

    # Tables and links.

    def _tables(self, doctype: DocType) -> Iterator[tuple[DocField, DocType]]:
        for table in doctype.tables:
            rows = self.known.get(table.options)
            if rows is not None and not rows.is_virtual and not table.is_virtual:
                yield table, rows

    @cached_property
    def _uses(self) -> dict[str, int]:
        uses: dict[str, int] = {}
        for doctype in self.documents.values():
            for _, rows in self._tables(doctype):
                uses[rows.name] = uses.get(rows.name, 0) + 1
        return uses

    def _is_shared(self, rows: str) -> bool:
        return self._uses.get(rows, 0) > 1

    def _is_modelled(self, each: DocField) -> bool:
        """Whether a field is a link to a DocType that has a class and a list."""
        target = self.documents.get(each.options)
        return each.fieldtype == "Link" and target is not None and not target.is_single

    def _ordered(self) -> list[DocType]:
        """Return the documents, those that others link to first, as far as they do not link to one another."""
        found: list[DocType] = []
        seen: set[str] = set()
        for name in self.documents:
            # A stack, as chains of links may be longer than Python's.
            under_way = [] if name in seen else [(name, self._targets(name))]
            seen.add(name)
            while under_way:
                current, targets = under_way[-1]
                target = next((each for each in targets if each not in seen), None)
                if target is None:
                    found.append(self.documents[current])
                    under_way.pop()
                else:
                    seen.add(target)
                    under_way.append((target, self._targets(target)))
        return found

    def _targets(self, name: str) -> list[str]:
        doctype = self.documents[name]
        rows = (rows for _, rows in self._tables(doctype))
        targets = {each.options for one in (doctype, *rows) for each in one.fields if self._is_modelled(each)}
        return sorted(targets)

    # Fields.

    def _field(self, each: DocField, name: str) -> FieldSpec:
        if each.fieldtype == "Link":
            spec = self._link(each, name)
        elif each.fieldtype == "Dynamic Link":
            spec = FieldSpec(name, "fields.DynamicLink", {}, each.options)
        else:
            make = _KINDS.get(each.fieldtype, _text)
            spec = FieldSpec(name, *make(each))
        options = {**_names(each, name), **spec.options, **_rules(each, spec.kind), **_help(each)}
        column = {} if name == each.fieldname else {"db_column": each.fieldname}
        return replace(spec, options=options | column)

    def _link(self, each: DocField, name: str) -> FieldSpec:
        if self._is_modelled(each):
            return FieldSpec(name, "fields.Link", {}, LinkTo(each.options))
        if "." in each.options or not each.options:
            # Link() would take it for a model's label.
            return FieldSpec(name, "fields.NameField", {"doctype": each.options})
        return FieldSpec(name, "fields.Link", {}, each.options)


def class_name(doctype: str) -> str:
    """Return the name of a DocType's class: SalesOrder for "Sales Order"."""
    words = _WORDS.findall(unicodedata.normalize("NFKC", doctype))
    name = "".join(word[0].upper() + word[1:] for word in words)
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"DocType{name}"


def _attribute(fieldname: str) -> str:
    # As Python reads identifiers.
    name = unicodedata.normalize("NFKC", fieldname)
    name = re.sub(r"__+", "_", re.sub(r"\W", "_", name)).strip("_")
    if not name.isidentifier():
        name = f"field_{name}".rstrip("_")
    return f"{name}_field" if keyword.iskeyword(name) or name in RESERVED else name


def _free(name: str, taken: set[str], suffix: str = "") -> str:
    """
    Return the name, or the first of name2, name3… that nothing is called by, whatever its case; and take it.

    With a suffix, the name that has it must be free too.
    """
    number, free = 1, name
    while {free, free.lower(), free.lower() + suffix} & taken:
        number += 1
        free = f"{name}_{number}" if name[-1:].isdigit() else f"{name}{number}"
    taken |= {free.lower(), free.lower() + suffix}
    return free


# What a field says.

_Made = tuple[str, dict[str, Any]]


def _text(each: DocField) -> _Made:
    options: dict[str, Any] = {"max_length": each.length or TEXT_LENGTH}
    if each.choices:
        options["choices"] = [(choice, choice) for choice in each.choices]
    return "models.CharField", options | _text_default(each)


def _long_text(each: DocField) -> _Made:
    return "models.TextField", _text_default(each)


def _text_default(each: DocField) -> dict[str, Any]:
    computed = not each.default or each.read_only or COMPUTED.match(each.default)
    unknown = each.choices and each.default not in each.choices
    return {} if computed or unknown else {"default": each.default}


def _whole_number(each: DocField) -> _Made:
    kind = "models.BigIntegerField" if each.fieldtype == "Long Int" else "models.IntegerField"
    return kind, {"default": int(_number(each))}


def _check(each: DocField) -> _Made:
    return "models.BooleanField", {"default": _number(each) != 0}


def _float(each: DocField) -> _Made:
    return "models.FloatField", {"default": _number(each)}


def _decimal(kind: str) -> Any:
    def make(each: DocField) -> _Made:
        # Zero is the field's own default.
        return kind, ({"default": _number(each)} if _number(each) else {})

    return make


def _number(each: DocField) -> int | float:
    """Return the default; what nobody can set gets ERPNext's own, which zero leaves to it."""
    if each.read_only:
        return 0
    try:
        number = float(each.default or 0)
    except ValueError:
        return 0
    return int(number) if number.is_integer() else number


def _plainly(kind: str) -> Any:
    return lambda each: (kind, {})


_KINDS: Mapping[str, Any] = {
    **dict.fromkeys(
        ("Small Text", "Text", "Long Text", "Code", "Text Editor", "HTML Editor", "Markdown Editor", "Signature",
         "Barcode", "Geolocation", "Password"),
        _long_text,
    ),
    **dict.fromkeys(("Int", "Long Int"), _whole_number),
    "Check": _check,
    "Float": _float,
    "Currency": _decimal("fields.Currency"),
    "Percent": _decimal("fields.Percent"),
    "Rating": _decimal("fields.Rating"),
    "Attach": _plainly("fields.Attach"),
    "Attach Image": _plainly("fields.Attach"),
    "Date": _plainly("models.DateField"),
    "Datetime": _plainly("models.DateTimeField"),
    "Time": _plainly("models.TimeField"),
    "Duration": _plainly("models.DurationField"),
    "JSON": _plainly("models.JSONField"),
}  # fmt: skip
"""Every other type is a varchar column."""

_NULLABLE = frozenset(
    {
        "models.DateField",
        "models.DateTimeField",
        "models.TimeField",
        "models.DurationField",
        "models.JSONField",
    }
)


def _names(each: DocField, name: str) -> dict[str, Any]:
    label = _plain(each.label)
    words = name.replace("_", " ")
    # Django makes the same of the name.
    same = label.lower() == words and label in (words.title(), words.capitalize())
    return {} if same or not label else {"verbose_name": label}


def _rules(each: DocField, kind: str) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    is_link = kind in ("fields.Link", "fields.DynamicLink", "fields.NameField")
    if each.reqd:
        rules = {"blank": False} if is_link else {}
    elif not is_link and kind != "models.BooleanField":
        rules = {"null": True, "blank": True} if kind in _NULLABLE else {"blank": True}
    if each.read_only or each.fieldtype == "Read Only":
        rules["editable"] = False
    return rules


def _help(each: DocField) -> dict[str, Any]:
    about = _plain(each.description)
    # Django's pages show help texts as they are.
    return {"help_text": escape(about) if "<" in about else about} if about else {}


def _plain(text: str) -> str:
    """Return a text without markup, on one line."""
    return html.unescape(" ".join(strip_tags(text).split()))


# Names by which linked documents lead back.


def _with_reverse_names(models: Sequence[ModelSpec]) -> list[ModelSpec]:
    """Return the models with a `related_name` on each link whose own would clash."""
    reverse = _Reverse(models)
    return [
        replace(model, fields=tuple(reverse.named(model, each) for each in model.fields)) for model in models
    ]


class _Reverse:
    def __init__(self, models: Sequence[ModelSpec]) -> None:
        self.models = models
        self.taken: dict[str, set[str]] = {}
        """DocType → names that its documents' attributes have."""
        by_name = {model.name: model for model in models}
        for model in models:
            own = {name for each in model.fields for name in (each.name, f"{each.name}_id")}
            self.taken.setdefault(model.doctype, set()).update(own)
            if model.parent:
                rows = model.related_name or model.fieldname
                self.taken.setdefault(by_name[model.parent].doctype, set()).add(rows)

    def named(self, model: ModelSpec, each: FieldSpec) -> FieldSpec:
        if not isinstance(each.to, LinkTo):
            return each
        heirs = [one.name.lower() for one in self.models if one.base == model.name] or [model.name.lower()]
        siblings = [one for one in model.fields if one.to == each.to]
        taken = self.taken.get(each.to.doctype, set()) | RESERVED
        if len(siblings) == 1 and not any({heir, f"{heir}_set"} & taken for heir in heirs):
            return each
        tail = f"_by_{each.name}"
        if any(f"{heir}{tail}" in taken for heir in heirs):
            return _told(each, "+")
        return _told(each, f"%(class)s{tail}" if model.is_abstract else f"{heirs[0]}{tail}")


def _told(each: FieldSpec, related_name: str) -> FieldSpec:
    return replace(each, options={"related_name": related_name, **each.options})
