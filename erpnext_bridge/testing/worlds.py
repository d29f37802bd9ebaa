"""Worlds that are read, and filled into tables, once in a process: a test gets a copy of them in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from os import PathLike, fspath, stat
from typing import Any

from erpnext_bridge.sandbox import World
from erpnext_bridge.sandbox.store import Store

WorldSource = World | Mapping[str, Any] | str | PathLike[str] | None


@dataclass
class ReadyWorld(World):
    """A world whose tables are filled already."""

    templates: dict[int, Store] = field(default_factory=dict, repr=False)
    """Frappe's version → tables that no sandbox writes to."""

    @classmethod
    def of(cls, world: World) -> ReadyWorld:
        return cls(**vars(world))

    def store(self, version: int, now: str) -> Store:
        if version not in self.templates:
            self.templates[version] = super().store(version, now)
        return _copied(self.templates[version])


def _copied(store: Store) -> Store:
    made = Store(store.doctypes.values())
    store.connection.backup(made.connection)
    vars(made).update({name: copy(value) for name, value in vars(store).items() if name != "connection"})
    return made


def ready(source: WorldSource) -> World:
    """Return the demo company for None, else what is given or what `World.load` makes of it."""
    if isinstance(source, World):
        return source
    if isinstance(source, Mapping):
        return World.load(source)
    kept = _demo() if source is None else _file(fspath(source), stat(source).st_mtime_ns)
    # Tests may add users to the world of their site.
    return replace(kept, users=dict(kept.users))


@lru_cache(maxsize=1)
def _demo() -> ReadyWorld:
    return ReadyWorld.of(World.demo())


@lru_cache(maxsize=8)
def _file(path: str, changed: int) -> ReadyWorld:
    return ReadyWorld.of(World.load(path))
