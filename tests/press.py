"""A publisher's DocTypes and documents, for tests that read like the pages on Django's querysets."""

from __future__ import annotations

import datetime as dt

from django.db import models

from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.fields import Link
from erpnext_bridge.sandbox import World
from tests.odd_world import doctype, field


class Journal(Document):
    title = models.CharField(max_length=100)
    motto = models.TextField(blank=True)

    class Meta:
        app_label = "erp"

    def __str__(self) -> str:
        return self.title


class Writer(Document):
    full_name = models.CharField(max_length=200)
    email = models.CharField(max_length=140, blank=True)

    class Meta:
        app_label = "erp"

    def __str__(self) -> str:
        return self.full_name


class Article(Document):
    journal = Link(Journal, blank=False)
    headline = models.CharField(max_length=140)
    body = models.TextField(blank=True)
    published_on = models.DateField(null=True, blank=True)
    edited_at = models.DateTimeField(null=True, blank=True)
    comments = models.IntegerField(default=0)
    stars = models.IntegerField(default=0)

    class Meta:
        app_label = "erp"
        ordering = ["headline"]

    def __str__(self) -> str:
        return self.headline


class ArticleWriter(ChildDocument, parent=Article, fieldname="writers"):
    writer = Link(Writer)
    share = models.IntegerField(default=0)

    class Meta(ChildDocument.Meta):
        app_label = "erp"


JOURNALS = {
    "Beat": ("Beatles Monthly", "All the latest on the four."),
    "Cheddar": ("Cheddar Talk", "Cheese, and what to drink with it."),
    "Pop": ("Pop Quarterly", ""),
}
WRITERS = {"Joe": "joe@example.com", "Paul": "paul@example.com", "Jean": ""}
ARTICLES = {
    # name: journal, headline, published, comments, stars, writers
    "A1": ("Beat", "New Lennon biography", dt.date(2008, 6, 1), 6, 5, ["Joe", "Paul"]),
    "A2": ("Beat", "Lennon would have loved hip hop", dt.date(2020, 4, 1), 2, 4, ["Jean"]),
    "A3": ("Cheddar", "Brie in 2008", dt.date(2008, 12, 31), 0, 3, ["Joe"]),
    "A4": ("Cheddar", "100% cheddar", dt.date(2006, 1, 1), 9, 5, []),
    "A5": ("Pop", "What's up", None, 0, 0, ["Jean", "Joe"]),
    "A6": ("Pop", "What was up", dt.date(2005, 5, 6), 3, 3, []),
}


def press_world() -> World:
    writers = [
        {"name": f"{name}-{idx}", "parent": name, "parenttype": "Article", "parentfield": "writers", "idx": idx,
         "writer": writer, "share": 10 * idx}
        for name, (*_, found) in ARTICLES.items()
        for idx, writer in enumerate(found, 1)
    ]  # fmt: skip
    made = (
        doctype("Journal", field("title"), field("motto", "Small Text")),
        doctype("Writer", field("full_name"), field("email")),
        doctype(
            "Article",
            field("journal", "Link", options="Journal", reqd=1),
            field("headline", reqd=1),
            field("body", "Long Text"),
            field("published_on", "Date"),
            field("edited_at", "Datetime"),
            field("comments", "Int"),
            field("stars", "Int"),
            field("writers", "Table", options="Article Writer"),
            autoname="hash",
        ),
        doctype(
            "Article Writer", field("writer", "Link", options="Writer"), field("share", "Int"), istable=1
        ),
    )
    return World(
        doctypes={each["name"]: each for each in made},
        rows={
            "Journal": [
                {"name": name, "title": title, "motto": motto} for name, (title, motto) in JOURNALS.items()
            ],
            "Writer": [
                {"name": name, "full_name": f"{name} Writer", "email": email} for name, email in WRITERS.items()
            ],
            "Article": [
                {"name": name, "journal": journal, "headline": headline, "comments": comments, "stars": stars,
                 "published_on": day and day.isoformat(), "body": f"All about: {headline}"}
                for name, (journal, headline, day, comments, stars, _) in ARTICLES.items()
            ],
            "Article Writer": writers,
        },
    )  # fmt: skip
