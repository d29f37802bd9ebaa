"""Frappe's conversions of single values: numbers out of anything, and HTML made harmless."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from typing import Any

from .meta import DocField

FLOATS = frozenset({"Float", "Currency", "Percent"})
DATES = frozenset({"Date", "Datetime", "Time"})
# utils/html_utils.py: what survives sanitize_html, in short.
_TAGS = frozenset(
    [
        "a",
        "abbr",
        "acronym",
        "address",
        "b",
        "big",
        "blockquote",
        "br",
        "caption",
        "center",
        "cite",
        "code",
        "col",
        "colgroup",
        "dd",
        "del",
        "details",
        "dfn",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "font",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "ins",
        "kbd",
        "label",
        "li",
        "mark",
        "ol",
        "p",
        "pre",
        "q",
        "s",
        "samp",
        "section",
        "small",
        "span",
        "strike",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "tt",
        "u",
        "ul",
        "var",
        "video",
    ]
)
_ATTRIBUTES = frozenset(
    [
        "align",
        "alt",
        "bgcolor",
        "border",
        "cellpadding",
        "cellspacing",
        "class",
        "cite",
        "color",
        "colspan",
        "data-value",
        "dir",
        "height",
        "href",
        "id",
        "lang",
        "name",
        "rel",
        "rowspan",
        "size",
        "src",
        "start",
        "style",
        "target",
        "title",
        "type",
        "valign",
        "value",
        "width",
    ]
)


def cint(value: Any) -> int:
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 0


def flt(value: Any) -> float:
    if isinstance(value, str):
        value = value.replace(",", "")
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def cstr(value: Any) -> str:
    return "" if value is None else str(value)


def valid(df: DocField, value: Any) -> Any:
    """A field's value as BaseDocument.get_valid_dict gives it out."""
    kind = df.fieldtype
    if kind == "Check":
        return 1 if cint(value) else 0
    if kind in ("Int", "Long Int"):
        return value if isinstance(value, int) else cint(value)
    if kind == "JSON" and isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    if kind in FLOATS:
        return value if isinstance(value, float) else flt(value)
    if (kind in DATES and value == "") or (df.unique and not cstr(value).strip()):
        return None
    return value


def strip_html(text: str) -> str:
    return re.sub(r"<.*?>", "", text, flags=re.DOTALL)


class _Cleaner(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.parts: list[str] = []
        self.open: list[str] = []
        self.found = False
        """Whether there was an element at all."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found = True
        if tag not in _TAGS:
            self.parts.append(html.escape(self.get_starttag_text() or "", quote=False))
            return
        kept = [(name, _styled(name, value)) for name, value in attrs if _keeps(name, value)]
        shown = "".join(f' {name}="{html.escape(value)}"' for name, value in kept)
        self.parts.append(f"<{tag}{shown}>")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _TAGS:
            self.parts.append(html.escape(f"</{tag}>"))
        elif tag in self.open:
            while self.open[-1] != tag:
                self.parts.append(f"</{self.open.pop()}>")
            self.parts.append(f"</{self.open.pop()}>")

    def finish(self) -> str:
        self.close()
        self.parts += [f"</{tag}>" for tag in reversed(self.open)]
        return "".join(self.parts)

    def handle_data(self, data: str) -> None:
        self.parts.append(html.escape(data, quote=False))

    def handle_entityref(self, name: str) -> None:
        self.parts.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.parts.append(f"&#{name};")


_VOID = frozenset({"br", "col", "hr", "img"})


def _keeps(name: str, value: str | None) -> bool:
    harmless = not (value or "").strip().lower().startswith("javascript:")
    return harmless and (name in _ATTRIBUTES or name.startswith("data-"))


def _styled(name: str, value: str | None) -> str:
    """Every declaration of a style ends in a semicolon."""
    text = value or ""
    if name != "style" or not text.strip():
        return text
    return text.strip().rstrip(";") + ";"


def sanitize(text: str) -> str:
    """Allowed tags stay, others are escaped, attributes that could run code go (utils/html_utils.py, sanitize_html).

    JSON, and text without a single tag, stay as they are.
    """
    if _is_json(text):
        return text
    cleaner = _Cleaner()
    # html.parser swallows the inside of script and style as raw text; it is escaped like all else.
    cleaner.feed(text)
    clean = cleaner.finish()
    return clean if cleaner.found else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
