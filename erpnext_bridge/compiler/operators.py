"""
Frappe's own operators as lookups: trees, and spans of time that a site knows.

    Customer.objects.filter(territory__descendants_of="Europe")
    Territory.objects.filter(name__ancestors_of="Bavaria")
    ToDo.objects.filter(date__timespan="last week")

They are negated by `exclude()` and `~Q()`. Trees are of links, and of the name of a document in a tree. What they mean is
decided by the site: it has the tree, and on which day its weeks begin (frappe/utils/data.py, get_timespan_date_range).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.lookups import Lookup

from erpnext_bridge.errors import UnsupportedQuery

PERIODS = ("week", "month", "quarter", "year")
TIMESPANS = frozenset(
    {
        *(f"{which} {period}" for which in ("last", "this", "next") for period in PERIODS),
        *(f"{which} {days} days" for which in ("last", "next") for days in (7, 14, 30)),
        *(f"{which} 6 months" for which in ("last", "next")),
        *("yesterday", "today", "tomorrow"),
    }
)
"""What Frappe takes; anything else it reads as today."""


if TYPE_CHECKING:
    BaseLookup = Lookup[Any]
else:
    BaseLookup = Lookup


class FrappeLookup(BaseLookup):
    """A lookup that no database knows."""

    prepare_rhs = False

    def as_sql(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise UnsupportedQuery(f"Only ERPNext knows the lookup {self.lookup_name!r}: use it on documents.")


class TreeLookup(FrappeLookup):
    """A lookup of the names in a branch of a tree; takes a document, or its name."""

    def get_prep_lookup(self) -> str:
        given = self.rhs.pk if isinstance(self.rhs, models.Model) else self.rhs
        if not isinstance(given, str) or not given:
            raise ValidationError(f"{given!r} is no name of a document in a tree.")
        return given


class DescendantsOf(TreeLookup):
    """All that is below a document in its tree, without the document itself."""

    lookup_name = "descendants_of"


class DescendantsOfInclusive(TreeLookup):
    """All that is below a document in its tree, and the document itself."""

    lookup_name = "descendants_of_inclusive"


class AncestorsOf(TreeLookup):
    """All that is above a document in its tree."""

    lookup_name = "ancestors_of"


class Timespan(FrappeLookup):
    """The days, or moments, of a span: "last week", "this quarter", "next 30 days", "today"."""

    lookup_name = "timespan"

    def get_prep_lookup(self) -> str:
        if self.rhs not in TIMESPANS:
            raise ValidationError(f"{self.rhs!r} is no timespan. Known ones: {', '.join(sorted(TIMESPANS))}.")
        return str(self.rhs)


TREE_LOOKUPS = (DescendantsOf, DescendantsOfInclusive, AncestorsOf)

# Of DateTimeField as well, which is a DateField to Django.
models.DateField.register_lookup(Timespan)
