"""What Frappe's versions say differently in a list request, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How one major version of Frappe reads filters and fields of a v1 list."""

    version: int
    like_escapes: bool
    """Whether a backslash in `like` takes the meaning from `%`, `_` and itself; otherwise it is a literal."""
    null_equals: bool
    """Whether `= null` means IS NULL; v15 makes it mean every row, no row or today's, by field type."""
    empty_like: bool
    """Whether `like ""` finds the empty texts alone; on v15 it finds NULL as well."""
    trims_members: bool
    """Whether `in` strips the blanks around each member, so that a padded name is never found."""
    time_is_set: tuple[str, Any]
    """Operator and value that find every Time but NULL, midnight among them; neither version takes the other's."""
    functions_as_dicts: bool
    """Whether an aggregate in `fields` is a dict: v16 refuses the text, v15 fails over the dict."""
    quotes_names: bool
    """Whether a fieldname is quoted in `order_by`, `group_by` and functions; v15 puts it into the SQL as it is."""

    def name(self, fieldname: str) -> str:
        """Return a fieldname as `order_by` and `group_by` want it, also where SQL knows it as a word of its own."""
        return f"`{fieldname}`" if self.quotes_names else fieldname

    def filled(self, fieldname: str) -> tuple[str, tuple[Any, ...]]:
        """Return what `order_by` sorts by to take NULL for an empty text, and what `fields` needs for that."""
        if self.functions_as_dicts:
            # v16 refuses functions in `order_by`, and takes the alias of one (frappe/database/query.py).
            alias = f"filled_{fieldname}"
            return alias, ({"IFNULL": [fieldname, "''"], "as": alias},)
        return f"ifnull({self.name(fieldname)}, '')", ()

    def aggregate(self, function: str, fieldname: str, alias: str) -> Any:
        """Return the entry of `fields` that aggregates a column."""
        if self.functions_as_dicts:
            return {function.upper(): fieldname, "as": alias}
        return f"{function}({self.name(fieldname)}) as {alias}"


V15 = Dialect(
    version=15,
    like_escapes=False,
    null_equals=False,
    empty_like=False,
    trims_members=True,
    time_is_set=("not in", [""]),
    functions_as_dicts=False,
    quotes_names=True,
)
V16 = Dialect(
    version=16,
    like_escapes=True,
    null_equals=True,
    empty_like=True,
    trims_members=False,
    time_is_set=("like", "%"),
    functions_as_dicts=True,
    quotes_names=False,
)


def dialect_for(version: int) -> Dialect:
    """Return the dialect of a major version; older versions than 15 are read as 15, newer than 16 as 16."""
    return V15 if version <= 15 else V16
