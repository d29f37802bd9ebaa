"""What a sandboxed site contains before the first request: DocTypes, rows, users and settings."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from .mariadb import INT
from .meta import DocType, scrub
from .store import Store, hash_name

HERE = Path(__file__).parent / "worlds"
ADMINISTRATOR = "Administrator"
APPS = {
    15: {"frappe": {"title": "Frappe Framework", "version": "15.55.1", "branch": "version-15"}},
    16: {"frappe": {"title": "Frappe Framework", "version": "16.4.1", "branch": "master"}},
}
# Roles that every site has; `desk_access` as in core/doctype/role and its install fixtures.
STANDARD_ROLES = {
    "Administrator": 1,
    "System Manager": 1,
    "Guest": 0,
    "All": 0,
    "Desk User": 1,
    "Script Manager": 1,
    "Report Manager": 1,
    "Website Manager": 1,
}
SYSTEM_SETTINGS = {
    # What the setup wizard of each version leaves behind.
    15: {"date_format": "mm-dd-yyyy", "float_precision": "3"},
    16: {"date_format": "yyyy-mm-dd", "float_precision": ""},
}
SETTINGS = {
    "country": "United States",
    "language": "en",
    "time_format": "HH:mm:ss",
    "number_format": "#,###.##",
    "session_expiry": "170:00",
    "allow_error_traceback": "1",
    "allow_consecutive_login_attempts": "10",
    "allow_login_after_fail": "60",
}
LANGUAGES = {"en": "English", "de": "Deutsch", "fr": "Français", "es": "Español", "nl": "Nederlands"}


@dataclass
class User:
    name: str
    full_name: str = ""
    roles: list[str] = field(default_factory=list)
    user_type: str = "System User"
    enabled: bool = True
    password: str = field(default="", repr=False)
    api_key: str = ""
    api_secret: str = field(default="", repr=False)


@dataclass
class World:
    """The content of a site, as plain data; a Store is made of it for each sandbox."""

    doctypes: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    singles: dict[str, dict[str, Any]] = field(default_factory=dict)
    series: dict[str, int] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)
    user_permissions: list[dict[str, Any]] = field(default_factory=list)
    time_zone: str = "America/New_York"
    today: str | None = None
    """The site's date, where it is not the machine's."""
    apps: dict[str, dict[str, str]] = field(default_factory=dict)
    """Installed apps with title, version and branch; Frappe's own where it is empty."""

    @classmethod
    def load(cls, source: str | Path | Mapping[str, Any]) -> World:
        """A world from a dict, or from a JSON file, of doctypes, rows, singles, series and users."""
        data = source if isinstance(source, Mapping) else json.loads(Path(source).read_text("utf-8"))
        users = [_user(user) for user in data.get("users", {}).values()]
        return cls(
            doctypes=dict(data["doctypes"]),
            rows={doctype: list(rows) for doctype, rows in data.get("rows", {}).items()},
            singles=dict(data.get("singles", {})),
            series=dict(data.get("series", {})),
            users={user.name: user for user in users},
            user_permissions=list(data.get("user_permissions", [])),
            time_zone=data.get("time_zone", "America/New_York"),
            today=data.get("today"),
            apps=dict(data.get("server", {})),
        )

    @classmethod
    def demo(cls) -> World:
        """An ERPNext-like company with customers, items and orders; the same at every start."""
        from .demo import demo_world

        return demo_world()

    def add_user(self, user: User) -> None:
        self.users[user.name] = user

    def installed_apps(self, version: int) -> dict[str, dict[str, str]]:
        return self.apps or APPS[version]

    def store(self, version: int, now: str) -> Store:
        """Tables filled with this world; `now` dates what the world does not."""
        builtin = builtin_doctypes(version)
        own = [_doctype(raw, version) for raw in self.doctypes.values()]
        store = Store([*builtin, *own])
        store.version = version
        describe(store, store.doctypes.values(), now)
        _Loader(self, store, version, now).load()
        store.commit()
        return store


def _user(data: Mapping[str, Any]) -> User:
    return User(
        name=data["user"],
        full_name=data.get("full_name", ""),
        roles=list(data.get("roles", [])),
        user_type=data.get("user_type", "System User"),
        enabled=bool(data.get("enabled", 1)),
        password=data.get("password", ""),
        api_key=data.get("api_key", ""),
        api_secret=data.get("api_secret", ""),
    )


@lru_cache(maxsize=4)
def builtin_doctypes(version: int) -> tuple[DocType, ...]:
    data = json.loads((HERE / f"frappe{version}.json").read_text("utf-8"))
    return tuple(_doctype({"allow_rename": 0, **raw}, version) for raw in data["doctypes"])


# -- DocTypes as Frappe completes them -------------------------------------------------------------------------

# core/doctype/doctype/doctype.py: what saving a DocType adds by itself.
_AMENDED_FROM = {
    "label": "Amended From",
    "fieldtype": "Link",
    "fieldname": "amended_from",
    "read_only": 1,
    "print_hide": 1,
    "no_copy": 1,
    "search_index": 1,
}
_HIDDEN_NUMBER = {"fieldtype": "Int", "read_only": 1, "hidden": 1, "no_copy": 1}
ADDED = "_added"
SORT_FIELD = {15: "modified", 16: "creation"}


def complete(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A DocType definition with the fields and flags that the server adds when it is saved."""
    result = dict(raw)
    fields = [dict(field) for field in raw.get("fields", ())]
    names = {field["fieldname"] for field in fields}
    if result.get("is_submittable") and "amended_from" not in names:
        fields.append({**_AMENDED_FROM, "options": result["name"], ADDED: True})
    if result.get("is_tree") and "lft" not in names:
        fields += [{**field, ADDED: True} for field in _tree_fields(result["name"])]
        result["nsm_parent_field"] = f"parent_{scrub(result['name'])}"
    if result.get("autoname") == "autoincrement":
        result["allow_rename"] = 0
    _show_mandatory_in_lists(fields)
    for each in fields:
        if each["fieldtype"] == "Check" and not each.get(ADDED):
            each.setdefault("default", "0")
    result["fields"] = fields
    return result


def _tree_fields(doctype: str) -> list[dict[str, Any]]:
    parent = {"label": f"Parent {doctype}", "fieldname": f"parent_{scrub(doctype)}"}
    link = {"fieldtype": "Link", "options": doctype}
    return [
        {"label": "Left", "fieldname": "lft", **_HIDDEN_NUMBER},
        {"label": "Right", "fieldname": "rgt", **_HIDDEN_NUMBER},
        {"label": "Is Group", "fieldname": "is_group", "fieldtype": "Check"},
        {"label": "Old Parent", "fieldname": "old_parent", **link},
        {**parent, **link, "ignore_user_permissions": 1},
    ]


def _show_mandatory_in_lists(fields: list[dict[str, Any]]) -> None:
    if any(field.get("in_list_view") for field in fields):
        return
    mandatory = [field for field in fields if field.get("reqd") and not field.get("hidden")]
    for each in mandatory[:4]:
        each["in_list_view"] = 1


def _doctype(raw: Mapping[str, Any], version: int) -> DocType:
    full = complete(raw)
    full.setdefault("sort_field", SORT_FIELD[version])
    fields, permissions = full.pop("fields"), full.pop("permissions", [])
    return DocType(full, fields, permissions)


def describe(store: Store, doctypes: Iterable[DocType], now: str) -> None:
    """Write DocTypes as the rows that make up their documents."""
    stamp: dict[str, Any] = {
        "creation": now,
        "modified": now,
        "owner": ADMINISTRATOR,
        "modified_by": ADMINISTRATOR,
    }
    stamp |= {"docstatus": 0, "idx": 0}
    rows: dict[str, list[dict[str, Any]]] = {"DocType": [], "DocField": [], "DocPerm": []}
    base = {part: defaults_of(store.doctypes[part]) for part in rows}
    for doctype in doctypes:
        rows["DocType"].append({**base["DocType"], **doctype.raw, **stamp})
        for index, docfield in enumerate(doctype.fields, 1):
            rows["DocField"].append(_part(doctype, "fields", index, docfield.raw, base["DocField"], stamp))
        for index, rule in enumerate(doctype.permissions, 1):
            rows["DocPerm"].append(_part(doctype, "permissions", index, rule, base["DocPerm"], stamp))
    for part, found in rows.items():
        store.fill(part, [_numbers(store, part, row) for row in found])


def _part(
    doctype: DocType,
    table: str,
    index: int,
    raw: Mapping[str, Any],
    defaults: Mapping[str, Any],
    stamp: Mapping[str, Any],
) -> dict[str, Any]:
    # Fields that saving the DocType appends are past the point where Selects get their first option.
    kept = {name: value for name, value in defaults.items() if value != "" or not raw.get(ADDED)}
    place = {"parent": doctype.name, "parentfield": table, "parenttype": "DocType", "idx": index}
    return {**kept, **raw, **stamp, **place, "name": hash_name(table, doctype.name, str(index))}


def _numbers(store: Store, doctype: str, row: dict[str, Any]) -> dict[str, Any]:
    """Defaults are texts in the definitions."""
    kinds = store.kinds(doctype)
    return {name: int(value) if kinds.get(name) == INT and value else value for name, value in row.items()}


def defaults_of(meta: DocType) -> dict[str, Any]:
    """Static defaults of a new document: those of the fields, and a Select's first option."""
    values: dict[str, Any] = {}
    for df in meta.fields:
        if not df.stored:
            continue
        if df.default not in (None, ""):
            values[df.fieldname] = df.default
        elif df.fieldtype == "Select" and df.options:
            values[df.fieldname] = df.options.split("\n", 1)[0]
    return values


# -- rows ----------------------------------------------------------------------------------------------------------


class _Loader:
    def __init__(self, world: World, store: Store, version: int, now: str) -> None:
        self.world, self.store, self.version, self.now = world, store, version, now
        self.templates: dict[str, tuple[dict[str, Any], list[str]]] = {}

    def load(self) -> None:
        self.roles()
        self.users()
        self.settings()
        for doctype, rows in self.world.rows.items():
            for row in rows:
                self.insert(doctype, row)
        for name, current in self.world.series.items():
            self.store.set_series(name, current)
        for permission in self.world.user_permissions:
            self.insert("User Permission", permission)

    def insert(self, doctype: str, row: Mapping[str, Any]) -> None:
        template, secrets = self.templates.get(doctype) or self.template(doctype)
        values = {**template, **row}
        if "name" not in values:
            values["name"] = hash_name(doctype, *map(str, row.values()))
        self.store.insert(doctype, values)
        for fieldname in secrets:
            if row.get(fieldname):
                self.store.set_secret(doctype, str(values["name"]), fieldname, str(row[fieldname]))

    def template(self, doctype: str) -> tuple[dict[str, Any], list[str]]:
        """What every row of a DocType starts with, and which of its fields are kept apart."""
        stamp = {"creation": self.now, "modified": self.now, "docstatus": 0, "idx": 0}
        stamp |= {"owner": ADMINISTRATOR, "modified_by": ADMINISTRATOR}
        meta = self.store.doctypes[doctype]
        secrets = [df.fieldname for df in meta.fields if df.fieldtype == "Password"]
        self.templates[doctype] = ({**stamp, **defaults_of(meta)}, secrets)
        return self.templates[doctype]

    def roles(self) -> None:
        named = dict(STANDARD_ROLES)
        for doctype in self.store.doctypes.values():
            for permission in doctype.permissions:
                named.setdefault(permission["role"], 1)
        for user in self.world.users.values():
            for role in user.roles:
                named.setdefault(role, 1)
        for role, desk_access in named.items():
            self.insert("Role", {"name": role, "role_name": role, "desk_access": desk_access, "disabled": 0})

    def users(self) -> None:
        administrator = User(
            ADMINISTRATOR, ADMINISTRATOR, ["Administrator", "System Manager"], password="admin"
        )
        guest = User("Guest", "Guest", ["Guest"], user_type="Website User")
        for user in {ADMINISTRATOR: administrator, "Guest": guest, **self.world.users}.values():
            self.user(user)

    def user(self, user: User) -> None:
        first, _, last = (user.full_name or user.name).partition(" ")
        values = {
            **defaults_of(self.store.doctypes["User"]),
            "name": user.name,
            "email": {ADMINISTRATOR: "admin@example.com", "Guest": "guest@example.com"}.get(
                user.name, user.name
            ),
            "first_name": first,
            "last_name": last or None,
            "full_name": user.full_name or user.name,
            "enabled": int(user.enabled),
            "user_type": user.user_type,
            "api_key": user.api_key or None,
            "language": "en",
            "time_zone": self.world.time_zone,
            "send_welcome_email": 0,
            "new_password": "",
        }
        self.insert("User", values)
        for index, role in enumerate(user.roles, 1):
            place = {"parent": user.name, "parenttype": "User", "parentfield": "roles", "idx": index}
            self.insert("Has Role", {"name": hash_name("Has Role", user.name, role), "role": role, **place})
        self.store.set_secret("User", user.name, "password", user.password or None)
        self.store.set_secret("User", user.name, "api_secret", user.api_secret or None)
        social = {"provider": "frappe", "userid": hash_name("social", user.name)}
        place = {"parent": user.name, "parenttype": "User", "parentfield": "social_logins", "idx": 1}
        # Saving a user shares the document with that user (core/doctype/user).
        share = {"share_doctype": "User", "share_name": user.name, "user": user.name}
        share |= {"read": 1, "write": 1, "share": 1, "name": hash_name("share", user.name)}  # type: ignore[dict-item]
        if user.name not in (ADMINISTRATOR, "Guest"):
            self.insert("DocShare", share)
        if user.name != ADMINISTRATOR:
            self.insert("User Social Login", {"name": hash_name("login", user.name), **social, **place})

    def settings(self) -> None:
        system = {**SETTINGS, **SYSTEM_SETTINGS[self.version], "time_zone": self.world.time_zone}
        self.store.set_single("System Settings", system)
        saved = {"owner": ADMINISTRATOR, "modified_by": ADMINISTRATOR, "modified": self.now, "idx": "0"}
        for meta in builtin_doctypes(self.version):
            if meta.is_single and meta.name != "System Settings":
                self.store.set_single(meta.name, {**defaults_of(meta), **saved})
        for doctype, values in self.world.singles.items():
            kept = {key: value for key, value in values.items() if key not in ("doctype", "name")}
            self.store.set_single(doctype, kept)
        for code, name in LANGUAGES.items():
            row = {"name": code, "language_code": code, "language_name": name, "enabled": 1}
            self.insert("Language", row)
