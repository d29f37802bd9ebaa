"""The corner of Jinja and Python that webhooks use: conditions, `{{ }}`, `{% if %}` and `{% for %}`."""

from __future__ import annotations

import ast
import json
import operator
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

Names = Mapping[str, Any]

TAG = re.compile(r"\{\{-?(?P<value>.*?)-?\}\}|\{%-?(?P<statement>.*?)-?%\}|\{#.*?#\}", re.DOTALL)
LITERALS = {"true": True, "false": False, "none": None}
BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda item, box: item in box,
    ast.NotIn: lambda item, box: item not in box,
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


class Document:
    """A document in an expression: its fields are attributes."""

    def __init__(self, values: Mapping[str, Any], *, lenient: bool) -> None:
        self.values = values
        self.lenient = lenient
        """Whether an unknown field is None, as in Frappe's _dict, or an error, as in a Document."""

    def get(self, field: str, default: Any = None) -> Any:
        return self.values.get(field, default)

    def attribute(self, field: str) -> Any:
        if field == "get":
            return self.get
        if field in self.values or self.lenient:
            return self.values.get(field)
        raise AttributeError(f"'Document' object has no attribute '{field}'")


# -- expressions ---------------------------------------------------------------------------------------


def evaluate(expression: str, names: Names) -> Any:
    """The value of an expression; fails with the exception that Python would raise."""
    return value_of(ast.parse(expression.strip(), mode="eval").body, names)


def value_of(node: ast.AST, names: Names) -> Any:
    handler = NODES.get(type(node))
    if handler is None:
        raise SyntaxError(f"{type(node).__name__} is not allowed here")
    return handler(node, names)


def name(node: ast.Name, names: Names) -> Any:
    if node.id in names:
        return names[node.id]
    if node.id in LITERALS:
        return LITERALS[node.id]
    raise NameError(f"name '{node.id}' is not defined")


def attribute(node: ast.Attribute, names: Names) -> Any:
    owner = value_of(node.value, names)
    if isinstance(owner, Document):
        return owner.attribute(node.attr)
    if isinstance(owner, Mapping):
        return owner[node.attr] if node.attr in owner else missing(node.attr)
    if node.attr in TEXT_METHODS and isinstance(owner, str):
        return getattr(owner, node.attr)
    return missing(node.attr)


def missing(attr: str) -> Any:
    raise AttributeError(f"module has no attribute '{attr}'")


TEXT_METHODS = frozenset(
    {"endswith", "lower", "lstrip", "replace", "rstrip", "split", "startswith", "strip", "title", "upper"}
)


def boolean(node: ast.BoolOp, names: Names) -> Any:
    """`and` and `or`, which answer one of their operands."""
    stops_at = isinstance(node.op, ast.Or)
    value: Any = None
    for part in node.values:
        value = value_of(part, names)
        if bool(value) is stops_at:
            return value
    return value


def binary(node: ast.BinOp, names: Names) -> Any:
    if isinstance(node.op, ast.BitOr):
        return filtered(value_of(node.left, names), node.right, names)
    return BINARY[type(node.op)](value_of(node.left, names), value_of(node.right, names))


def filtered(value: Any, node: ast.AST, names: Names) -> Any:
    """Jinja's `value | filter(…)`, which Python's parser takes for a bitwise or."""
    call = node if isinstance(node, ast.Call) else None
    target = call.func if call else node
    if not isinstance(target, ast.Name) or target.id not in FILTERS:
        raise NameError(f"No filter named {getattr(target, 'id', '?')!r}.")
    arguments = [value_of(argument, names) for argument in call.args] if call else []
    return FILTERS[target.id](value, *arguments)


def comparison(node: ast.Compare, names: Names) -> Any:
    left = value_of(node.left, names)
    result: Any = True
    for op, comparator in zip(node.ops, node.comparators, strict=True):
        right = value_of(comparator, names)
        result = COMPARE[type(op)](left, right)
        if not result:
            return result
        left = right
    return result


def call(node: ast.Call, names: Names) -> Any:
    function = value_of(node.func, names)
    arguments = [value_of(argument, names) for argument in node.args]
    options = {keyword.arg: value_of(keyword.value, names) for keyword in node.keywords if keyword.arg}
    if not callable(function):
        raise TypeError(f"'{type(function).__name__}' object is not callable")
    return function(*arguments, **options)


def subscript(node: ast.Subscript, names: Names) -> Any:
    owner, key = value_of(node.value, names), value_of(node.slice, names)
    return owner.attribute(key) if isinstance(owner, Document) else owner[key]


def conditional(node: ast.IfExp, names: Names) -> Any:
    return value_of(node.body if value_of(node.test, names) else node.orelse, names)


NODES: dict[type[ast.AST], Callable[[Any, Names], Any]] = {
    ast.Constant: lambda node, names: node.value,
    ast.Name: name,
    ast.Attribute: attribute,
    ast.BoolOp: boolean,
    ast.BinOp: binary,
    ast.UnaryOp: lambda node, names: UNARY[type(node.op)](value_of(node.operand, names)),
    ast.Compare: comparison,
    ast.Call: call,
    ast.Subscript: subscript,
    ast.IfExp: conditional,
    ast.List: lambda node, names: [value_of(item, names) for item in node.elts],
    ast.Tuple: lambda node, names: tuple(value_of(item, names) for item in node.elts),
    ast.Dict: lambda node, names: {
        value_of(key, names): value_of(value, names)
        for key, value in zip(node.keys, node.values, strict=True)
    },
}


# -- filters and functions -----------------------------------------------------------------------------


def plain(value: Any) -> Any:
    return dict(value.values) if isinstance(value, Document) else value


def tojson(value: Any) -> str:
    """Jinja's own: safe inside HTML."""
    text = json.dumps(plain(value))
    for character, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"), ("'", "\\u0027")):
        text = text.replace(character, escape)
    return text


def as_json(value: Any, indent: int = 1) -> str:
    """Frappe's: sorted keys, one blank of indentation."""
    return json.dumps(plain(value), indent=indent, sort_keys=True, default=str, separators=(",", ": "))


def flt(value: Any) -> float:
    try:
        return float(str(value).replace(",", ""))
    except ValueError:
        return 0.0


def cint(value: Any) -> int:
    return int(flt(value))


FILTERS: dict[str, Callable[..., Any]] = {
    "tojson": tojson,
    "json": as_json,
    "urlencode": lambda value: quote(str(value), safe="/"),
    "default": lambda value, other="", empty=False: (
        other if value is None or (empty and not value) else value
    ),
    "int": cint,
    "float": flt,
    "string": str,
    "upper": lambda value: str(value).upper(),
    "lower": lambda value: str(value).lower(),
    "title": lambda value: str(value).title(),
    "trim": lambda value: str(value).strip(),
    "length": len,
    "abs": abs,
    "round": lambda value, digits=0: round(float(value), digits),
    "join": lambda value, mark="": str(mark).join(map(str, value)),
    "first": lambda value: next(iter(value), None),
    "last": lambda value: list(value)[-1] if value else None,
}


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


UTILS = {"flt": flt, "cint": cint, "cstr": str, "today": today, "nowdate": today}
# safe_exec.get_safe_globals, as far as webhooks are likely to use it.
FUNCTIONS: dict[str, Any] = {
    "as_json": as_json,
    "json": {"dumps": lambda value: json.dumps(plain(value)), "loads": json.loads},
    "frappe": {"utils": UTILS},
    "len": len,
    "str": str,
    "int": int,
}


# -- templates -----------------------------------------------------------------------------------------


def render(template: str, names: Names) -> str:
    """The text of a template with its tags filled in."""
    parts = list(tokens(template))
    out: list[str] = []
    end = block(parts, 0, {**FUNCTIONS, **names}, out, live=True)
    if end < len(parts):
        raise SyntaxError(f"Encountered unknown tag {parts[end][1]!r}.")
    return "".join(out)


def tokens(template: str) -> Any:
    """Pairs of kind and text: `text`, `value`, `statement`."""
    position = 0
    for tag in TAG.finditer(template):
        if tag.start() > position:
            yield "text", template[position : tag.start()]
        if tag["value"] is not None:
            yield "value", tag["value"].strip()
        elif tag["statement"] is not None:
            yield "statement", tag["statement"].strip()
        position = tag.end()
    if position < len(template):
        yield "text", template[position:]


Parts = list[tuple[str, str]]


def block(parts: Parts, start: int, names: dict[str, Any], out: list[str], *, live: bool) -> int:
    """Write parts until a tag that ends a block; answers where that is."""
    index = start
    while index < len(parts):
        kind, text = parts[index]
        if kind == "statement":
            word = text.split(None, 1)[0]
            if word in ENDINGS:
                return index
            if word not in STATEMENTS:
                raise SyntaxError(f"Encountered unknown tag {word!r}.")
            index = STATEMENTS[word](parts, index, names, out, live)
            continue
        if live:
            out.append(text if kind == "text" else shown(evaluate(text, names)))
        index += 1
    return index


def shown(value: Any) -> str:
    return str(plain(value))


ENDINGS = frozenset({"elif", "else", "endif", "endfor"})


def if_statement(parts: Parts, index: int, names: dict[str, Any], out: list[str], live: bool) -> int:
    done = False
    while True:
        word, _, condition = parts[index][1].partition(" ")
        if word == "endif":
            return index + 1
        chosen = live and not done and (word == "else" or bool(evaluate(condition, names)))
        index = block(parts, index + 1, names, out, live=chosen)
        done = done or chosen
        if index >= len(parts):
            raise SyntaxError("Unexpected end of template.")


def for_statement(parts: Parts, index: int, names: dict[str, Any], out: list[str], live: bool) -> int:
    target, _, source = parts[index][1].removeprefix("for").partition(" in ")
    items = list(evaluate(source, names)) if live else []
    for item in items:
        block(parts, index + 1, {**names, target.strip(): wrapped(item)}, out, live=True)
    end = block(parts, index + 1, names, [], live=False)
    return end + 1


def wrapped(item: Any) -> Any:
    return Document(item, lenient=True) if isinstance(item, dict) else item


def set_statement(parts: Parts, index: int, names: dict[str, Any], out: list[str], live: bool) -> int:
    target, _, source = parts[index][1].removeprefix("set").partition("=")
    if live:
        names[target.strip()] = evaluate(source, names)
    return index + 1


STATEMENTS: dict[str, Callable[[Parts, int, dict[str, Any], list[str], bool], int]] = {
    "if": if_statement,
    "for": for_statement,
    "set": set_statement,
}
