"""Pages that are not counted: one row more than the page tells whether there is a next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.paginator import EmptyPage, PageNotAnInteger, Paginator
from django.core.paginator import Page as DjangoPage

if TYPE_CHECKING:
    Base = Paginator[Any]
    BasePage = DjangoPage[Any]
else:
    Base, BasePage = Paginator, DjangoPage


class Page(BasePage):
    """A page that knows whether another one follows."""

    follows = False

    def has_next(self) -> bool:
        return self.follows

    def next_page_number(self) -> int:
        if not self.follows:
            raise EmptyPage("That page contains no results")
        return int(self.number) + 1

    def end_index(self) -> int:
        return self.start_index() + len(self.object_list) - 1

    def start_index(self) -> int:
        return (int(self.number) - 1) * self.paginator.per_page + 1 if self.object_list else 0

    def __repr__(self) -> str:
        return f"<Page {self.number}>"


class UncountedPaginator(Base):
    """
    Django's Paginator with one request for each page: `paginator_class = UncountedPaginator`.

    What asks for `count`, `num_pages` or `page_range` (also `?page=last`) has them counted after all.
    """

    def validate_number(self, number: Any) -> int:
        try:
            if isinstance(number, float) and not number.is_integer():
                raise ValueError
            number = int(number)
        except (TypeError, ValueError):
            raise PageNotAnInteger("That page number is not an integer") from None
        if number < 1:
            raise EmptyPage("That page number is less than 1")
        return int(number)

    def page(self, number: Any) -> Page:
        number = self.validate_number(number)
        bottom = (number - 1) * self.per_page
        enough = self.per_page + self.orphans
        rows = list(self.object_list[bottom : bottom + enough + 1])
        # A few rows behind the last page, the orphans, are on it.
        is_behind = number > 1 and len(rows) <= self.orphans
        if is_behind or not (rows or self.allow_empty_first_page):
            raise EmptyPage("That page contains no results")
        follows = len(rows) > enough
        page = Page(rows[: self.per_page] if follows else rows, number, self)
        page.follows = follows
        return page

    def get_page(self, number: Any) -> Page:
        """Return a page, the first one for a number that makes no sense and the last one for one behind the end."""
        try:
            return self.page(number)
        except PageNotAnInteger:
            return self.page(1)
        except EmptyPage:
            return self.page(self.num_pages)
