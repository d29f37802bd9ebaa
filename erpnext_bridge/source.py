"""
Python source, laid out as `ruff format` leaves it: calls, lists and texts broken where a line is full.

It writes what generated modules need, and no more.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH = 88
STEP = "    "


@dataclass(frozen=True)
class Name:
    """A name, written as it is."""

    text: str


@dataclass(frozen=True)
class Call:
    """A call of what has this name."""

    name: str
    args: Sequence[Any] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> list[tuple[str, Any]]:
        """What stands between the parentheses: (`name=` or nothing, value)."""
        return [("", each) for each in self.args] + [(f"{key}=", each) for key, each in self.options.items()]


def statement(prefix: str, value: Any, *, indent: str = "", width: int = WIDTH) -> list[str]:
    """Return the lines of `prefix` followed by a value."""
    return list(_laid_out(indent, prefix, value, "", width))


def docstring(text: str, *, indent: str = "", width: int = WIDTH) -> list[str]:
    """Return the lines of a text as a docstring; paragraphs are parted by empty lines."""
    safe = "".join(char if char in "'\"" else repr(char)[1:-1] if char != "\n" else char for char in text)
    safe = safe.replace('"""', r"\"\"\"")
    if "\n" not in safe and len(indent) + len(safe) + 6 <= width and not safe.endswith('"'):
        return [f'{indent}"""{safe}"""']
    lines = []
    for paragraph in safe.split("\n\n"):
        wrapped = textwrap.wrap(
            paragraph, width - len(indent), break_long_words=False, break_on_hyphens=False
        )
        lines += ["", *(f"{indent}{line}" for line in wrapped)]
    return [f'{indent}"""', *lines[1:], f'{indent}"""']


def flat(value: Any) -> str:
    """Return the source of a value on one line."""
    if isinstance(value, Name):
        return value.text
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, Call):
        return f"{value.name}({', '.join(key + flat(each) for key, each in value.arguments)})"
    if isinstance(value, list | tuple):
        opening, closing = _brackets(value)
        comma = "," if isinstance(value, tuple) and len(value) == 1 else ""
        return f"{opening}{', '.join(map(flat, value))}{comma}{closing}"
    return repr(value)


def quoted(text: str) -> str:
    """Return a text in double quotes, or in single ones where that takes fewer backslashes."""
    body = "".join(char if char in "'\"" else repr(char)[1:-1] for char in text)
    quote = "'" if body.count('"') > body.count("'") else '"'
    return f"{quote}{body.replace(quote, chr(92) + quote)}{quote}"


def _laid_out(indent: str, prefix: str, value: Any, suffix: str, width: int) -> Iterator[str]:
    line = f"{indent}{prefix}{flat(value)}{suffix}"
    parts = _parts(value)
    if len(line) <= width or not parts:
        yield line
        return
    inner = indent + STEP
    opening, closing = (f"{value.name}(", ")") if isinstance(value, Call) else _brackets(value)
    yield f"{indent}{prefix}{opening}"
    together = inner + ", ".join(key + flat(each) for key, each in parts)
    if isinstance(value, Call) and len(together) <= width:
        yield together
    else:
        for key, each in parts:
            yield from _laid_out(inner, key, each, ",", width)
    yield f"{indent}{closing}{suffix}"


def _parts(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Call):
        return value.arguments
    return [("", each) for each in value] if isinstance(value, list | tuple) else []


def _brackets(value: Any) -> tuple[str, str]:
    return ("(", ")") if isinstance(value, tuple) else ("[", "]")
