"""
What a module of documents says otherwise than its site: fields that are new, gone or changed there.

The module is read, not imported: it may be edited by hand, and belong to any project. What a hand has made of an argument
that is no constant is taken for wanted.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from erpnext_bridge.client import FrappeClient
from erpnext_bridge.doctypes import DocType, read_doctypes
from erpnext_bridge.documents import doctype_of_class
from erpnext_bridge.inspecting import UNREADABLE
from erpnext_bridge.modelling import ROW_COLUMNS, FieldSpec, LinkTo, Modelling, ModelSpec
from erpnext_bridge.source import Call, flat

_SAME_KIND = {
    **dict.fromkeys(("EmailField", "URLField", "SlugField"), "CharField"),
    **dict.fromkeys(("LinkField", "NameField", "ForeignKey"), "Link"),
    "SmallIntegerField": "IntegerField",
    "PositiveIntegerField": "IntegerField",
}
"""Fields that hold the values of another one; a hand may prefer them."""

_LEADING = frozenset({"Link", "DynamicLink"})

_LABELS = {
    "choices": "choices",
    "max_length": "length",
    "blank": "may be empty",
    "editable": "editable",
    "verbose_name": "label",
    "help_text": "help text",
    "default": "default",
}


@dataclass
class Declared:
    """A document class as its source tells it."""

    name: str
    doctype: str
    is_child: bool
    bases: list[str] = field(default_factory=list)
    parent: str = ""
    fieldname: str = ""
    fields: dict[str, ast.Call] = field(default_factory=dict)
    """Fieldname at ERPNext → the call that makes the field."""


def declared_in(source: str) -> list[Declared]:
    """Return the document classes of a module. SyntaxError when it is no Python."""
    found: dict[str, Declared] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            bases = [_last_name(base) for base in node.bases]
            kin = [name for name in bases if name in found]
            if kin or {"Document", "ChildDocument"} & set(bases):
                found[node.name] = _declared(node, bases, [found[name] for name in kin])
    return list(found.values())


def compare(client: FrappeClient, source: str, *, ignore_new: bool = False) -> list[str]:
    """Return what is otherwise at the site, a line for each difference; nothing when the module is up to date."""
    declared = declared_in(source)
    classes = {each.name for each in declared}
    # Rows come along with the DocType that they are in.
    wanted = [each.doctype for each in declared if each.doctype and each.parent not in classes]
    known, gone = _read(client, list(dict.fromkeys(wanted)))
    comparison = _Comparison(declared, known, ignore_new=ignore_new)
    return [
        *(f"{name}: the site does not have or not show this DocType." for name in gone),
        *comparison.lines(),
    ]


def _read(client: FrappeClient, names: list[str]) -> tuple[dict[str, DocType], list[str]]:
    known: dict[str, DocType] = {}
    gone = []
    for name in names:
        if name in known:
            continue
        try:
            known |= {each.name: each for each in read_doctypes(client.doctype(name))}
        except UNREADABLE:
            gone.append(name)
    return known, gone


class _Comparison:
    def __init__(self, declared: list[Declared], known: Mapping[str, DocType], *, ignore_new: bool) -> None:
        self.declared = declared
        self.classes = {each.name: each for each in declared}
        self.known = known
        self.ignore_new = ignore_new
        own = {each.doctype for each in declared}
        self.models = Modelling(
            [each for each in known.values() if each.name in own], known.values()
        ).models()

    def lines(self) -> Iterator[str]:
        seen: set[str] = set()
        for each in self.declared:
            there = self.model_of(each.doctype)
            if there is None or each.doctype in seen:
                continue
            seen.add(each.doctype)
            yield from self.fields(each.doctype, there)
            if not each.is_child:
                yield from self.tables(each)

    def model_of(self, doctype: str) -> ModelSpec | None:
        """Return the model that a DocType's fields are in."""
        return next((each for each in self.models if each.doctype == doctype and not each.base), None)

    def fields(self, doctype: str, there: ModelSpec) -> Iterator[str]:
        here = {
            name: (owner, call)
            for owner in self.declared
            if owner.doctype == doctype
            for name, call in owner.fields.items()
        }
        specs = {each.column: each for each in there.fields}
        for column, (owner, call) in here.items():
            if column in specs:
                yield from self.field(doctype, owner, call, specs[column])
            elif column not in ROW_COLUMNS:
                yield f"{doctype}.{column}: the site stores no such field."
        for column, spec in specs.items():
            if column not in here and not self.ignore_new:
                yield f"{doctype}.{column}: new at the site: {_source(spec)}"

    def field(self, doctype: str, owner: Declared, call: ast.Call, spec: FieldSpec) -> Iterator[str]:
        where = f"{doctype}.{spec.column}"
        kind = _last_name(call.func)
        if _kind(kind) != _kind(spec.kind.rpartition(".")[2]):
            yield f"{where}: {kind} here, {spec.kind.rpartition('.')[2]} at the site."
            return
        here, there = self.target(owner, call), _target(spec)
        if _kind(kind) in _LEADING and here is not None and here != there:
            yield f"{where}: leads to {here} here, to {there} at the site."
        same = kind == spec.kind.rpartition(".")[2]
        for option, label in _LABELS.items():
            given = option in _constants(call)
            if option in _variables(call) or not (given or (same and not self.ignore_new)):
                continue
            usual = _usual(option, spec)
            before, after = _constants(call).get(option, usual), spec.options.get(option, usual)
            if before != after:
                yield f"{where}: {_told(option, label, before, after)}"

    def target(self, owner: Declared, call: ast.Call) -> str | None:
        """Return the DocType, or for a Dynamic Link the field, that a field leads to; None where it leads nowhere."""
        keywords = _constants(call)
        if not call.args:
            return keywords.get("doctype", keywords.get("doctype_field"))
        to = call.args[0]
        if isinstance(to, ast.Constant) and isinstance(to.value, str):
            return self.named(owner, _last_name(call.func), to.value)
        name = _last_name(to)
        return self.classes[name].doctype if name in self.classes else doctype_of_class(name)

    def named(self, owner: Declared, kind: str, text: str) -> str:
        if text == "self":
            return owner.doctype
        if "." not in text and kind != "LinkField":
            return text
        name = text.rpartition(".")[2]
        return self.classes[name].doctype if name in self.classes else doctype_of_class(name)

    def tables(self, parent: Declared) -> Iterator[str]:
        """Yield the tables that are new or gone, or have other rows."""
        here = {
            each.fieldname: each.doctype
            for each in self.declared
            if each.parent in self.classes and self.classes[each.parent].doctype == parent.doctype
        }
        there = {each.fieldname: each.options for each in self.known[parent.doctype].tables}
        for name, rows in here.items():
            if there.get(name) != rows:
                told = f"of {there[name]}" if name in there else "gone"
                yield f"{parent.doctype}.{name}: a table of {rows} here, {told} at the site."
        for model in self.models:
            is_its = model.parent and model.fieldname not in here
            if is_its and not self.ignore_new and self.parent_of(model) == parent.doctype:
                yield f"{parent.doctype}.{model.fieldname}: new at the site: a table of {model.doctype}"

    def parent_of(self, model: ModelSpec) -> str:
        return next(each.doctype for each in self.models if each.name == model.parent)


# What the source says.


def _declared(node: ast.ClassDef, bases: list[str], kin: list[Declared]) -> Declared:
    keywords = {each.arg: each.value for each in node.keywords if each.arg}
    doctype = _constant(keywords.get("doctype")) or next((each.doctype for each in kin if each.doctype), "")
    if not doctype and not _is_abstract(node):
        doctype = doctype_of_class(node.name)
    return Declared(
        name=node.name,
        doctype=str(doctype),
        is_child="ChildDocument" in bases or any(each.is_child for each in kin),
        bases=bases,
        parent=_last_name(keywords["parent"]) if "parent" in keywords else "",
        fieldname=str(_constant(keywords.get("fieldname")) or ""),
        fields={name: call for each in kin for name, call in each.fields.items()} | dict(_fields(node)),
    )


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, ast.Call]]:
    for statement in node.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else []
        if isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        value = getattr(statement, "value", None)
        if len(targets) == 1 and isinstance(targets[0], ast.Name) and isinstance(value, ast.Call):
            kind = _kind(_last_name(value.func))
            if kind.endswith("Field") or kind in _OWN_KINDS:
                yield str(_constants(value).get("db_column", targets[0].id)), value


_OWN_KINDS = frozenset({"Link", "DynamicLink", "Attach", "Currency", "Percent", "Rating"})


def _is_abstract(node: ast.ClassDef) -> bool:
    metas = (each for each in node.body if isinstance(each, ast.ClassDef) and each.name == "Meta")
    lines = (line for meta in metas for line in meta.body if isinstance(line, ast.Assign))
    return any(_last_name(line.targets[0]) == "abstract" and _constant(line.value) for line in lines)


def _last_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    return node.id if isinstance(node, ast.Name) else ""


def _constant(node: ast.expr | None) -> Any:
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def _options(call: ast.Call) -> dict[str, ast.expr]:
    """Return the options of a field; Django's fields take their label as the first argument, too."""
    given = {each.arg: each.value for each in call.keywords if each.arg}
    kind = _last_name(call.func)
    if call.args and kind.endswith("Field") and _kind(kind) not in _LEADING:
        given.setdefault("verbose_name", call.args[0])
    return given


def _constants(call: ast.Call) -> dict[str, Any]:
    """Return the options that are constants."""
    given = {name: (node, _constant(node)) for name, node in _options(call).items()}
    return {name: value for name, (node, value) in given.items() if value is not None or _is_none(node)}


def _variables(call: ast.Call) -> set[str]:
    """Return the options that a hand computes."""
    return _options(call).keys() - _constants(call).keys()


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


# What the site says.


def _kind(name: str) -> str:
    return _SAME_KIND.get(name, name)


def _target(spec: FieldSpec) -> str | None:
    if spec.to is None:
        return spec.options.get("doctype")
    return spec.to.doctype if isinstance(spec.to, LinkTo) else spec.to


def _usual(option: str, spec: FieldSpec) -> Any:
    """Return what an option is where it is not given."""
    if option == "blank":
        return spec.kind in ("fields.Link", "fields.NameField", "fields.DynamicLink")
    return True if option == "editable" else None


def _told(option: str, label: str, here: Any, there: Any) -> str:
    if option != "choices":
        return f"{label} {here!r} here, {there!r} at the site."
    before, after = ([value for value, _ in pairs or ()] for pairs in (here, there))
    if set(before) == set(after):
        return "the choices have another order at the site."
    more = [f"+ {value!r}" for value in after if value not in before]
    less = [f"- {value!r}" for value in before if value not in after]
    return f"choices at the site: {', '.join([*more, *less])}"


def _source(spec: FieldSpec) -> str:
    to = spec.to.doctype if isinstance(spec.to, LinkTo) else spec.to
    return flat(Call(spec.kind, [] if to is None else [to], spec.options))
