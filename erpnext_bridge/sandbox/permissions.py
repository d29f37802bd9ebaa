"""Who may do what: roles, owners, user permissions, shares and permission levels (frappe/permissions.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from . import errors
from .meta import CHILD_FIELDS, PERMISSION_TYPES, STANDARD_FIELDS, DocType
from .store import quoted, table

if TYPE_CHECKING:
    from .context import Context

ADMINISTRATOR = "Administrator"
SHARABLE = frozenset({"read", "write", "share", "submit", "email", "print"})
# model/base_document.py: their columns are shown to whoever may list them.
CORE_DOCTYPES = frozenset(
    {
        "DocType",
        "DocField",
        "DocPerm",
        "DocType Action",
        "DocType Link",
        "DocType State",
        "Custom Field",
        "User",
    }
    | {
        "Role",
        "Has Role",
        "Page",
        "Module Def",
        "Print Format",
        "Report",
        "Customize Form",
        "Property Setter",
    }
    | {"Customize Form Field", "Custom Script", "Client Script"}
)


class Doc(Protocol):
    doctype: str
    meta: DocType

    @property
    def name(self) -> Any: ...

    def get(self, fieldname: str, default: Any = None, /) -> Any: ...

    def child_rows(self) -> Iterator[Doc]: ...


@dataclass
class RolePermissions:
    """What a user's roles give on a DocType; `if_owner` holds what they give only to owners."""

    rights: dict[str, int]
    if_owner: dict[str, int] = field(default_factory=dict)
    owner_rules: bool = False

    def get(self, ptype: str) -> int:
        return self.rights.get(ptype, 0)

    @property
    def owner_only(self) -> bool:
        """Whether even the list shows only the user's own documents."""
        if not self.owner_rules or not self.if_owner:
            return False
        return not any(self.get(ptype) and ptype not in self.if_owner for ptype in ("select", "read"))


ALL_RIGHTS = RolePermissions(dict.fromkeys(PERMISSION_TYPES, 1))


# -- roles ---------------------------------------------------------------------------------------------------


def roles_of(ctx: Context, user: str) -> tuple[str, ...]:
    cache = ctx.store.access_cache
    key = ("roles", user)
    if key not in cache:
        cache[key] = tuple(_roles(ctx, user))
    found: tuple[str, ...] = cache[key]
    return found


def _roles(ctx: Context, user: str) -> list[str]:
    store = ctx.store
    if user == "Guest":
        return ["Guest"]
    if user == ADMINISTRATOR:
        return [row["name"] for row in store.rows("Role")]
    own = store.rows("Has Role", {"parent": user, "parenttype": "User"}, order="idx")
    roles = [row["role"] for row in own if row["role"] not in ("All", "Guest")]
    roles += ["All", "Guest"]
    if is_system_user(ctx, user):
        roles.append("Desk User")
    return roles


def is_system_user(ctx: Context, user: str) -> bool:
    cache = ctx.store.access_cache
    key = ("user_type", user)
    if key not in cache:
        cache[key] = ctx.store.exists("User", user) and ctx.store.value("User", user, "user_type")
    return bool(cache[key] == "System User")


def role_permissions(ctx: Context, meta: DocType, user: str, is_owner: bool = False) -> RolePermissions:
    if user == ADMINISTRATOR:
        return ALL_RIGHTS
    cache = ctx.store.access_cache
    key = ("role permissions", meta.name, user, is_owner)
    if key not in cache:
        cache[key] = _role_permissions(meta, roles_of(ctx, user), is_owner)
    found: RolePermissions = cache[key]
    return found


def _role_permissions(meta: DocType, roles: Iterable[str], is_owner: bool) -> RolePermissions:
    held = set(roles)
    rules = [
        rule for rule in meta.permissions if rule["role"] in held and not int(rule.get("permlevel") or 0)
    ]
    result = RolePermissions({}, owner_rules=any(rule.get("if_owner") for rule in rules))
    for ptype in PERMISSION_TYPES:
        granting = [rule for rule in rules if rule.get(ptype)]
        result.rights[ptype] = int(bool(granting))
        if not granting or not result.owner_rules or ptype == "create":
            continue
        if all(rule.get("if_owner") for rule in granting):
            result.if_owner[ptype] = int(is_owner)
            # Lists stay reachable: their rows are then limited to the user's own.
            result.rights[ptype] = int(ptype in ("select", "read"))
    return result


def only_select(ctx: Context, doctype: str) -> bool:
    rights = role_permissions(ctx, meta_of(ctx, doctype), ctx.user)
    return bool(rights.get("select") and not rights.get("read"))


def meta_of(ctx: Context, doctype: Any) -> DocType:
    """A DocType by its name, or the error of frappe.get_meta."""
    meta = ctx.store.meta(doctype) if isinstance(doctype, str) else None
    if meta is None:
        raise not_found(ctx, "DocType", doctype)
    return meta


def not_found(ctx: Context, doctype: str, name: Any) -> errors.SandboxError:
    message = f"{doctype} {name} not found"
    error = errors.tied(ctx, errors.DoesNotExistError(message), message)
    return hidden(ctx, error, doctype)


def hidden(ctx: Context, error: errors.SandboxError, doctype: str) -> errors.SandboxError:
    """Since 16 a missing document is forbidden to those who may not read its DocType anyway.

    permissions.handle_does_not_exist_error; it drops the messages said so far.
    """
    if ctx.version < 16 or ctx.store.meta(doctype) is None:
        return error
    try:
        check_doctype(ctx, doctype, "read")
    except errors.PermissionError as refusal:
        return refusal
    return error


# -- user permissions and shares -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Allowed:
    doc: str
    applicable_for: str | None


def user_permissions(ctx: Context, user: str) -> dict[str, list[Allowed]]:
    """DocType -> the documents a user is restricted to; in trees their descendants count too."""
    cache = ctx.store.access_cache
    key = ("user permissions", user)
    if key not in cache:
        cache[key] = _user_permissions(ctx, user)
    found: dict[str, list[Allowed]] = cache[key]
    return found


def _user_permissions(ctx: Context, user: str) -> dict[str, list[Allowed]]:
    result: dict[str, list[Allowed]] = {}
    if user in (ADMINISTRATOR, "Guest"):
        return result
    for row in ctx.store.rows("User Permission", {"user": user}):
        doctype, applicable = row["allow"], row["applicable_for"] or None
        docs = [row["for_value"]]
        meta = ctx.store.meta(doctype)
        if meta is not None and meta.is_tree and not row["hide_descendants"]:
            docs += descendants(ctx, doctype, row["for_value"])
        result.setdefault(doctype, []).extend(Allowed(doc, applicable) for doc in docs)
    return result


def descendants(ctx: Context, doctype: str, name: str) -> list[str]:
    node = ctx.store.get(doctype, name)
    if node is None:
        return []
    found = ctx.store.execute(
        f"SELECT name FROM {table(doctype)} WHERE lft > ? AND rgt < ? ORDER BY lft",
        (node["lft"], node["rgt"]),
    )
    return [row[0] for row in found]


def allowed_docs(permissions: Iterable[Allowed], doctype: str) -> list[str]:
    return [one.doc for one in permissions if not one.applicable_for or one.applicable_for == doctype]


def shared_names(ctx: Context, doctype: str, right: str = "read") -> list[str]:
    return [
        row["share_name"]
        for row in ctx.store.rows("DocShare", {"share_doctype": doctype, right: 1})
        if row["user"] == ctx.user or row["everyone"]
    ]


# -- one check -----------------------------------------------------------------------------------------------


def has_permission(
    ctx: Context,
    doctype: str,
    ptype: str = "read",
    doc: Doc | None = None,
    *,
    show: bool = True,
    parent_doctype: str | None = None,
    shares: bool = True,
) -> bool:
    """Whether the user may; with `show` a refusal is explained in the messages."""
    if show:
        ctx.cache["why"] = []
    allowed = _allowed(ctx, doctype, ptype, doc, parent_doctype, shares, show)
    if show:
        reasons = ctx.cache.pop("why", [])
        if not allowed:
            errors.msgprint(ctx, "<br>".join(reasons))
    return allowed


def _because(ctx: Context, reason: str) -> None:
    reasons = ctx.cache.get("why")
    if reasons is not None:
        reasons.append(reason)


def _allowed(
    ctx: Context,
    doctype: str,
    ptype: str,
    doc: Doc | None,
    parent_doctype: str | None,
    shares: bool,
    show: bool,
) -> bool:
    if ctx.user == ADMINISTRATOR:
        return True
    meta = meta_of(ctx, doctype)
    if meta.is_child:
        return _child_allowed(ctx, meta, ptype, doc, parent_doctype, show)
    if doc is None and meta.is_single and ctx.version >= 16:
        from .documents import load

        doc = load(ctx, doctype, doctype)
    allowed = _document_allowed(ctx, ptype, doc) if doc is not None else _doctype_allowed(ctx, meta, ptype)
    if allowed is None:
        return False
    return allowed or (shares and _shared(ctx, doctype, ptype, doc))


DOCUMENT_RULES: dict[str, Callable[[Context, Any, str], bool]] = {}
"""What controllers ask besides roles: whether the user may do this to the document (hooks, has_permission)."""
LIST_RULES: dict[str, Callable[[Context, str], RowRule]] = {}
"""What controllers add to lists, over the columns of a table's alias (hooks, permission_query_conditions)."""


def _document_allowed(ctx: Context, ptype: str, doc: Doc) -> bool:
    rule = DOCUMENT_RULES.get(doc.doctype)
    if (rule is None or rule(ctx, doc, ptype)) and document_rights(ctx, doc).get(ptype):
        return True
    reason = f"User <strong>{ctx.user}</strong> does not have access to this document"
    if ctx.version >= 16 and doc.meta.is_single:
        reason += f": {doc.doctype}"
    elif has_permission(ctx, doc.doctype, show=ctx.version >= 16):
        # Since 16 this inner check ends the collecting of reasons, so this one is lost.
        reason += f": {doc.doctype} - {doc.name}"
    _because(ctx, reason)
    return False


def _doctype_allowed(ctx: Context, meta: DocType, ptype: str) -> bool | None:
    if ptype == "submit" and not meta.is_submittable:
        _because(ctx, "Document Type is not submittable")
        return None
    if role_permissions(ctx, meta, ctx.user).get(ptype):
        return True
    place = f"for document <strong>{meta.name}</strong>"
    _because(
        ctx, f"User <strong>{ctx.user}</strong> does not have doctype access via role permission {place}"
    )
    return False


def _shared(ctx: Context, doctype: str, ptype: str, doc: Doc | None) -> bool:
    if ptype not in SHARABLE:
        return False
    names = shared_names(ctx, doctype, "read" if ptype in ("email", "print") else ptype)
    return doc.name in names if doc is not None else bool(names)


def _child_allowed(
    ctx: Context, meta: DocType, ptype: str, doc: Doc | None, parent_doctype: str | None, show: bool
) -> bool:
    """A child row is what its parent is (permissions.has_child_permission)."""
    parent_doctype = (doc.get("parenttype") if doc is not None else None) or parent_doctype
    if not parent_doctype:
        _because(ctx, f"Please specify a valid parent DocType for <strong>{meta.name}</strong>")
        return False
    parent_meta = meta_of(ctx, parent_doctype)
    if parent_meta.is_child or meta.name not in [df.options for df in parent_meta.tables]:
        _because(
            ctx,
            f"<strong>{parent_doctype}</strong> is not a valid parent DocType for <strong>{meta.name}</strong>",
        )
        return False
    parent = getattr(doc, "parent_document", None)
    return has_permission(ctx, parent_doctype, ptype, parent, show=show)


def document_rights(ctx: Context, doc: Doc) -> dict[str, int]:
    """Every right on one document, after owner rules and user permissions."""
    is_owner = str(doc.get("owner") or "").lower() == ctx.user.lower()
    granted = role_permissions(ctx, doc.meta, ctx.user, is_owner)
    rights = dict(granted.rights)
    if not doc.meta.is_submittable:
        rights["submit"] = 0
    if not doc.meta.raw.get("allow_import"):
        rights["import"] = 0
    if granted.owner_rules:
        rights.update(granted.if_owner)
    if _within_user_permissions(ctx, doc):
        return rights
    return {**granted.if_owner, "create": 0} if is_owner else {}


def _within_user_permissions(ctx: Context, doc: Doc) -> bool:
    restrictions = user_permissions(ctx, ctx.user)
    if not restrictions:
        return True
    allowed = allowed_docs(restrictions.get(doc.doctype, ()), doc.doctype)
    if allowed and str(doc.name) not in allowed:
        _because(ctx, f"Not allowed for {doc.doctype}: {doc.name}")
        return False
    return all(_links_allowed(ctx, part, doc, restrictions) for part in (doc, *doc.child_rows()))


def _links_allowed(ctx: Context, part: Doc, doc: Doc, restrictions: dict[str, list[Allowed]]) -> bool:
    for df in part.meta.links:
        value = part.get(df.fieldname)
        if df.ignore_user_permissions or not value or df.options not in restrictions:
            continue
        allowed = allowed_docs(restrictions[df.options], doc.doctype)
        if allowed and str(value) not in allowed:
            row = f" in row {part.get('idx')}," if part.get("parentfield") else " in"
            kind = "DocType" if ctx.version < 16 else part.meta.name
            _because(
                ctx,
                f"You are not allowed to access this {kind} record because it is linked to "
                f"{df.options} '{value}'{row} field {df.label or df.fieldname}",
            )
            return False
    return True


# -- refusing ------------------------------------------------------------------------------------------------


def require(
    ctx: Context, doctype: str, ptype: str = "read", doc: Doc | None = None, parent_doctype: str | None = None
) -> None:
    """frappe.has_permission(throw=True)."""
    if has_permission(ctx, doctype, ptype, doc, parent_doctype=parent_doctype):
        return
    if doc is not None and ctx.version >= 16:
        check_doctype(ctx, doctype, ptype)
    refuse(
        ctx, f"No permission for {doctype} {doc.name}" if doc is not None else f"No permission for {doctype}"
    )


def check_doctype(ctx: Context, doctype: str, ptype: str) -> None:
    """Since 16: somebody without the right on the DocType itself is told only that, and sees no traceback."""
    said = list(ctx.messages)
    ctx.messages.clear()
    if not has_permission(ctx, doctype, ptype, shares=False):
        refuse(ctx, f"No permission for {doctype}", traceback=False)
    ctx.messages[:] = said


def check_document(ctx: Context, doc: Doc, ptype: str = "read") -> None:
    """Document.check_permission."""
    if has_permission(ctx, doc.doctype, ptype, doc):
        return
    if ctx.version >= 16:
        check_doctype(ctx, doc.doctype, ptype)
    refuse(
        ctx,
        f"You need the '{ptype}' permission on <strong>{doc.doctype}</strong> {doc.name or ''} "
        "to perform this action.",
    )


def refuse(ctx: Context, message: str, *, traceback: bool = True) -> NoReturn:
    if ctx.api_version == 1:
        ctx.response["_error_message"] = message
    raise errors.PermissionError(traceback=traceback)


# -- columns -------------------------------------------------------------------------------------------------


def permissions_for(ctx: Context, meta: DocType, parenttype: str | None) -> list[dict[str, Any]]:
    """Child tables live by the rules of their parent."""
    if meta.is_child and parenttype:
        return meta_of(ctx, parenttype).permissions
    return meta.permissions


def levels(ctx: Context, meta: DocType, parenttype: str | None = None, ptype: str = "read") -> set[int]:
    """Permission levels that the user's roles reach."""
    rules = permissions_for(ctx, meta, parenttype)
    if ctx.user == ADMINISTRATOR:
        return {int(rule.get("permlevel") or 0) for rule in rules if rule.get(ptype)} | {0}
    held = set(roles_of(ctx, ctx.user))
    return {int(rule.get("permlevel") or 0) for rule in rules if rule["role"] in held and rule.get(ptype)}


def permitted_fields(
    ctx: Context, doctype: str, parenttype: str | None = None, ptype: str | None = None
) -> list[str]:
    """Columns that a list may show (frappe.model.get_permitted_fields)."""
    key = ("permitted", doctype, parenttype, ptype, ctx.user)
    cache = ctx.store.access_cache
    if key not in cache:
        cache[key] = _permitted(ctx, doctype, parenttype, ptype)
    found: list[str] = cache[key]
    return found


def _permitted(ctx: Context, doctype: str, parenttype: str | None, ptype: str | None) -> list[str]:
    meta = meta_of(ctx, doctype)
    if doctype in CORE_DOCTYPES:
        return list(meta.columns)
    if ptype is None:
        ptype = "select" if only_select(ctx, doctype) else "read"
    if ptype == "select":
        return search_columns(meta)
    base = list(STANDARD_FIELDS)
    fields = _permitted_names(ctx, meta, parenttype)
    if not fields:
        return base
    return [*base, *(CHILD_FIELDS if meta.is_child else ()), *fields]


def _permitted_names(ctx: Context, meta: DocType, parenttype: str | None) -> list[str]:
    if meta.is_child and not parenttype:
        return []
    stored = [df for df in meta.fields if df.stored]
    if not permissions_for(ctx, meta, parenttype):
        return [df.fieldname for df in stored]
    reach = levels(ctx, meta, parenttype)
    if 0 not in reach and shared_names(ctx, meta.name):
        reach.add(0)
    return [df.fieldname for df in stored if df.permlevel in reach]


def search_columns(meta: DocType) -> list[str]:
    fields = meta.search_fields or ["name"]
    return fields if "name" in fields else [*fields, "name"]


# -- rows ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowRule:
    """A condition on the rows a user may list, over the columns of one table."""

    sql: str
    params: tuple[Any, ...] = ()


def row_rule(ctx: Context, meta: DocType, alias: str) -> RowRule | None:
    """What limits the user's list of a DocType; None where nothing does. The caller checked that it may be listed."""
    if ctx.user == ADMINISTRATOR:
        return None
    granted = role_permissions(ctx, meta, ctx.user)
    shared = shared_names(ctx, meta.name)
    if not (granted.get("read") or granted.get("select")):
        return _names_rule(alias, shared)
    if granted.owner_only:
        rule: RowRule | None = RowRule(f"{alias}.owner = ?", (ctx.user,))
    else:
        rule = _user_permission_rule(ctx, meta, alias)
    if meta.name in LIST_RULES:
        own = LIST_RULES[meta.name](ctx, alias)
        rule = own if rule is None else RowRule(f"({rule.sql}) AND ({own.sql})", rule.params + own.params)
    if rule is None or not shared:
        return rule
    also = _names_rule(alias, shared)
    return RowRule(f"(({rule.sql}) OR {also.sql})", rule.params + also.params)


def _names_rule(alias: str, names: list[str]) -> RowRule:
    return RowRule(f"{alias}.name IN ({', '.join('?' * len(names))})", tuple(names))


def _user_permission_rule(ctx: Context, meta: DocType, alias: str) -> RowRule | None:
    restrictions = user_permissions(ctx, ctx.user)
    parts, params = [], []
    links = [(df.options, df.fieldname) for df in meta.links if not df.ignore_user_permissions]
    for options, column in [*links, (meta.name, "name")]:
        docs = allowed_docs(restrictions.get(options, ()), meta.name)
        if not docs:
            continue
        place = f"{alias}.{quoted(column)}"
        parts.append(f"(ifnull({place}, '') = '' OR {place} IN ({', '.join('?' * len(docs))}))")
        params += docs
    return RowRule(" AND ".join(parts), tuple(params)) if parts else None
