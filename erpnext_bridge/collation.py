"""How MariaDB's utf8mb4_unicode_ci compares, sorts and matches text.

Primary weights of the Unicode Collation Algorithm 4.0.0 only: case, accents and the two Japanese syllabaries
do not count, invisible characters weigh nothing, characters beyond the basic plane all weigh the same, and the
shorter text is padded with blanks (PAD SPACE). LIKE compares character by character and does not pad.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

# The order of ASCII that is not a letter or digit, from the table of the standard (allkeys 4.0.0).
_BEFORE_DIGITS = "\t\n\x0b\x0c\r\x85\u2028\u2029 `^_-,;:!?.'\"()[]{}@*/\\&#%+<=>|~$"
# Letters that weigh less than another one only by a stroke, and still are letters of their own there.
_AFTER_LETTER = {"đ": "d", "ħ": "h", "ı": "i", "ĸ": "k", "ł": "l", "ŋ": "n", "ø": "o", "ŧ": "t", "ð": "d"}
_AS_LETTERS = {"æ": "ae", "œ": "oe", "ß": "ss", "þ": "zþ"}

# Where each class of characters begins in the keys.
_SIGNS, _DIGITS, _LETTERS, _SCRIPTS = 0x100, 0x18000, 0x18100, 0x20000
_SUPPLEMENTARY = "\U0010fffd"
_INVISIBLE = frozenset({"Mn", "Me", "Cc", "Cf", "Cs"})


class _Weights(dict[int, str]):
    """Character code -> its weights as text that sorts by code point; filled as characters come."""

    def __missing__(self, code: int) -> str:
        weights = self[code] = _weights_of(chr(code))
        return weights


def _weights_of(character: str) -> str:
    if ord(character) > 0xFFFF:
        return _SUPPLEMENTARY
    parts = unicodedata.normalize("NFKD", character)
    if len(parts) > 1:
        return "".join(_weights_of(part) if part != character else "" for part in parts)
    return _weight_of_one(parts)


def _weight_of_one(character: str) -> str:
    if (position := _BEFORE_DIGITS.find(character)) >= 0:
        return chr(position + 1)
    if unicodedata.category(character) in _INVISIBLE:
        return ""
    digit = unicodedata.digit(character, None)
    if digit is not None:
        return chr(_DIGITS + digit)
    return _letter_weight(character)


def _letter_weight(character: str) -> str:
    lower = character.lower()
    if len(lower) == 1 and lower != character:
        return _weights_of(lower)
    if lower in _AS_LETTERS:
        spelled = _AS_LETTERS[lower]
        first, rest = spelled[0], spelled[1]
        return _latin(first) + (_latin(rest) if rest.isascii() else chr(_LETTERS + 200))
    if lower in _AFTER_LETTER:
        return chr(ord(_latin(_AFTER_LETTER[lower])) + 1)
    if lower.isascii():
        return _latin(lower)
    return _other_script(lower)


def _latin(letter: str) -> str:
    return chr(_LETTERS + 4 * (ord(letter) - ord("a")))


def _other_script(character: str) -> str:
    if unicodedata.category(character)[0] in "PSZ":
        # Signs of every script come before the digits.
        return chr(_SIGNS + ord(character))
    code = ord(character)
    if 0x30A1 <= code <= 0x30F6:
        code -= 0x60
    name = unicodedata.name(character, "")
    if name.startswith("HIRAGANA LETTER SMALL") and code + 1 <= 0x3096:
        code = ord(unicodedata.lookup("HIRAGANA LETTER " + name.removeprefix("HIRAGANA LETTER SMALL ")))
    elif character == "ς":
        code = ord("σ")
    return chr(_SCRIPTS + code)


_WEIGHTS = _Weights()


@lru_cache(maxsize=65536)
def sort_key(text: str) -> str:
    """Two texts are equal, or sort before one another, as their keys do."""
    return text.rstrip(" ").translate(_WEIGHTS).rstrip(_BLANK) + _BLANK


_BLANK = chr(_BEFORE_DIGITS.index(" ") + 1)


def equal(left: str, right: str) -> bool:
    return left == right or sort_key(left) == sort_key(right)


def compare(left: str, right: str) -> int:
    """-1, 0 or 1, as a database collation wants it."""
    if left == right:
        return 0
    one, other = sort_key(left), sort_key(right)
    return (one > other) - (one < other)


class _Faces(dict[int, str]):
    """Character code -> one character that stands for all of the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self._by_weights: dict[str, str] = {}

    def __missing__(self, code: int) -> str:
        character = chr(code)
        # LIKE does not know weights beyond the basic plane, so there each character is only itself.
        weights = character if code > 0xFFFF else _WEIGHTS[code]
        face = self[code] = self._by_weights.setdefault(weights or "\0", character)
        return face


_FACES = _Faces()


@lru_cache(maxsize=1024)
def _pattern(pattern: str, escape: bool) -> re.Pattern[str]:
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == "\\" and escape:
            parts.append(re.escape(next(characters, "\\").translate(_FACES)))
        elif character == "%":
            parts.append(".*")
        elif character == "_":
            parts.append(".")
        else:
            parts.append(re.escape(character.translate(_FACES)))
    return re.compile("".join(parts), re.DOTALL)


def like(pattern: str, text: str, escape: bool = True) -> bool:
    """SQL's LIKE: `%` any text, `_` one character; `escape` makes a backslash take the next one literally."""
    return _pattern(pattern, escape).fullmatch(text.translate(_FACES)) is not None
