"""What may be said to a sandbox that runs: one line, one change, in words that `--trouble` knows as well."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sandbox import Sandbox

Answer = str
Command = Callable[["Sandbox", list[str]], Answer]

NUMBERS = {"times": int, "chance": float, "seconds": float, "retry_after": int, "size": int, "status": int}


def obey(sandbox: Sandbox, line: str) -> Answer:
    """Do what a line says; what went wrong is an answer, too."""
    try:
        words = shlex.split(line)
    except ValueError as problem:
        return f"? {problem}"
    if not words:
        return ""
    if words[0] not in COMMANDS:
        return f"? There is no {words[0]!r}. Say one of: {', '.join(COMMANDS)}."
    command, form = COMMANDS[words[0]]
    try:
        return command(sandbox, words[1:])
    except (IndexError, TypeError, ValueError) as problem:
        return f"? {problem}. Say: {words[0]} {form}".rstrip()


def listen(sandbox: Sandbox, lines: Iterable[str], write: Callable[[str], object]) -> None:
    """Obey until the lines end."""
    for line in lines:
        if answer := obey(sandbox, line):
            write(answer)


def options_of(words: Iterable[str]) -> dict[str, Any]:
    """`times=3 chance=0.2 match=/api/` as keyword arguments; `method` may name several, with commas."""
    options: dict[str, Any] = {}
    for word in words:
        name, found, value = word.partition("=")
        if not found:
            raise ValueError(f"{word!r} is not of the form name=value")
        options[name] = NUMBERS[name](value) if name in NUMBERS else value
    if "method" in options:
        options["method"] = options["method"].split(",")
    return options


# -- commands ------------------------------------------------------------------------------------------


def trouble(sandbox: Sandbox, words: list[str]) -> Answer:
    kind, *rest = words or [""]
    # Whoever types it wants to see it: it stays until `clear`.
    sandbox.trouble(kind, **{"times": None, **options_of(rest)})
    return f"trouble: {' '.join(words)}"


def clear(sandbox: Sandbox, words: list[str]) -> Answer:
    sandbox.trouble_clear()
    return "no trouble"


def seed(sandbox: Sandbox, words: list[str]) -> Answer:
    sandbox.seed_troubles(int(words[0]))
    return f"seed {words[0]}"


def expire(sandbox: Sandbox, words: list[str]) -> Answer:
    return f"{sandbox.expire_tokens(*words)} access tokens expired"


def revoke(sandbox: Sandbox, words: list[str]) -> Answer:
    return f"{sandbox.revoke_tokens(*words)} pairs of tokens revoked"


def rotate(sandbox: Sandbox, words: list[str]) -> Answer:
    if words[0] not in ("on", "off"):
        raise ValueError(f"{words[0]!r} is neither on nor off")
    sandbox.rotate_refresh_tokens = words[0] == "on"
    return f"a refresh {'revokes' if sandbox.rotate_refresh_tokens else 'leaves alive'} the pair it replaces"


def lifetime(sandbox: Sandbox, words: list[str]) -> Answer:
    sandbox.token_seconds = int(words[0])
    return f"new access tokens live {sandbox.token_seconds} s"


def skew(sandbox: Sandbox, words: list[str]) -> Answer:
    sandbox.clock_skew = float(words[0])
    return f"the clock is {sandbox.clock_skew:+g} s off"


def rate(sandbox: Sandbox, words: list[str]) -> Answer:
    if words[0] == "off":
        sandbox.limit_rate(None)
        return "no rate limit"
    limit, _, window = words[0].partition("/")
    sandbox.limit_rate(float(limit), int(window or 60))
    return f"{limit} requests in {window or 60} s"


def usage(sandbox: Sandbox, words: list[str]) -> Answer:
    return "\n".join(f"{name} {form}".rstrip() for name, (_, form) in COMMANDS.items())


OPTIONS = (
    "[times=N] [match=PATH] [method=POST,PUT] [chance=0.2] [seconds=S] [retry_after=S] [size=N] [status=N]"
)

COMMANDS: dict[str, tuple[Command, str]] = {
    "trouble": (trouble, f"KIND {OPTIONS}"),
    "clear": (clear, ""),
    "seed": (seed, "NUMBER"),
    "expire": (expire, "[USER]"),
    "revoke": (revoke, "[USER]"),
    "rotate": (rotate, "on|off"),
    "lifetime": (lifetime, "SECONDS"),
    "skew": (skew, "SECONDS"),
    "rate": (rate, "REQUESTS/SECONDS|off"),
    "help": (usage, ""),
}
