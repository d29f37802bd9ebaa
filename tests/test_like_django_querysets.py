"""What the pages of Django's documentation on making queries teach, done to documents: in their order, in our words."""

from __future__ import annotations

import asyncio
import datetime as dt
import pickle

import pytest
from django.core.exceptions import FieldError
from django.core.paginator import Paginator, UnorderedObjectListWarning
from django.db.models import Avg, Count, F, Max, Min, Prefetch, Q, Sum
from django.db.models.functions import Random
from django.shortcuts import get_list_or_404, get_object_or_404

from erpnext_bridge.errors import UnsupportedQuery
from erpnext_bridge.identity import Identity, acting_as
from erpnext_bridge.testing import open_erpnext_site
from tests.press import ARTICLES, Article, ArticleWriter, Journal, Writer, press_world


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def printed(request):
    with open_erpnext_site(request.param, press_world()) as site:
        yield site


@pytest.fixture
def press(printed):
    """A site that tests read, as its service account."""
    printed.requests.clear()
    with acting_as(Identity.service()):
        yield printed


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def desk(request):
    """A site of its own, to write at."""
    with open_erpnext_site(request.param, press_world()) as site, acting_as(Identity.service()):
        Journal.objects.exists()
        site.requests.clear()
        yield site


def names(queryset):
    return [each.pk for each in queryset]


# Creating objects, saving changes


def test_a_document_is_made_changed_and_saved(desk):
    journal = Journal(name="Daily", title="The Daily", motto="Every day.")
    assert not desk.requests
    journal.save()
    journal.title = "The New Daily"
    journal.save()
    assert desk.document("Journal", "Daily")["title"] == "The New Daily"
    assert Journal.objects.create(name="Weekly", title="The Weekly").pk == "Weekly"


def test_a_link_is_saved_by_assigning_a_document(desk):
    article = Article.objects.get(pk="A1")
    article.journal = Journal.objects.get(title="Cheddar Talk")
    article.save()
    assert desk.document("Article", "A1")["journal"] == "Cheddar"


def test_related_rows_are_added(desk):
    article = Article.objects.get(pk="A4")
    article.writers.create(writer=Writer.objects.get(pk="Paul"))
    article.writers.add(ArticleWriter(writer_id="Joe"), ArticleWriter(writer_id="Jean"))
    stored = desk.document("Article", "A4")["writers"]
    assert [row["writer"] for row in stored] == ["Paul", "Joe", "Jean"]


# Retrieving objects


def test_managers_belong_to_classes():
    with pytest.raises(AttributeError, match="instances"):
        Journal(title="x").objects  # noqa: B018


def test_all_filters_and_excludes(press):
    assert names(Journal.objects.all().order_by("pk")) == ["Beat", "Cheddar", "Pop"]
    assert names(Article.objects.filter(published_on__year=2008)) == ["A3", "A1"]
    found = (
        Article.objects.filter(headline__startswith="What")
        .exclude(published_on__gte=dt.date(2020, 1, 1))
        .filter(published_on__gte=dt.date(2005, 1, 30))
    )
    assert names(found) == ["A6"]


def test_refined_querysets_are_their_own(press):
    what = Article.objects.filter(headline__startswith="What")
    old, undated = what.exclude(published_on=None), what.filter(published_on__isnull=True)
    assert (names(what), names(old), names(undated)) == (["A6", "A5"], ["A6"], ["A5"])


def test_querysets_are_lazy(press):
    queryset = Article.objects.filter(headline__startswith="What")
    queryset = queryset.filter(published_on__lte=dt.date(2026, 1, 1))
    queryset = queryset.exclude(body__icontains="food")
    assert not press.requests
    assert len(queryset) == 1
    assert len(press.requests) == 1


def test_get_finds_one_or_says_what_it_found(press):
    assert Article.objects.get(pk="A1").headline == "New Lennon biography"
    with pytest.raises(Article.DoesNotExist):
        Article.objects.get(pk="A99")
    with pytest.raises(Article.MultipleObjectsReturned):
        Article.objects.get(journal="Beat")
    assert get_object_or_404(Article, headline__iexact="NEW LENNON BIOGRAPHY").pk == "A1"
    assert names(get_list_or_404(Article, stars=5)) == ["A4", "A1"]


def test_slices_limit(press):
    assert names(Article.objects.all()[:2]) == ["A4", "A3"]
    assert names(Article.objects.all()[2:4]) == ["A2", "A1"]
    assert names(Article.objects.all()[:6:2]) == ["A4", "A2", "A6"]
    assert Article.objects.order_by("headline")[0].pk == "A4"
    with pytest.raises(IndexError):
        Article.objects.filter(pk="A99")[0]
    with pytest.raises(TypeError, match="Cannot filter a query once a slice has been taken"):
        Article.objects.all()[:2].filter(stars=1)
    with pytest.raises(ValueError, match="Negative indexing"):
        Article.objects.all()[-1]


# Field lookups


@pytest.mark.parametrize(
    ("lookup", "found"),
    [
        ({"published_on__lte": dt.date(2006, 1, 1)}, ["A4", "A6"]),
        ({"journal_id": "Beat"}, ["A2", "A1"]),
        ({"headline__exact": "What's up"}, ["A5"]),
        ({"headline__iexact": "whAT'S up"}, ["A5"]),
        ({"headline__contains": "Lennon"}, ["A2", "A1"]),
        ({"headline__contains": "lennon"}, []),
        ({"headline__icontains": "lennon"}, ["A2", "A1"]),
        ({"headline__endswith": "up"}, ["A6", "A5"]),
        ({"headline__contains": "%"}, ["A4"]),
        ({"headline__contains": "_"}, []),
        ({"pk__in": ["A1", "A4"]}, ["A4", "A1"]),
        ({"comments__range": (2, 6)}, ["A2", "A1", "A6"]),
        ({"published_on__isnull": True}, ["A5"]),
        ({"published_on": None}, ["A5"]),
        ({"published_on__month": 12}, ["A3"]),
        ({"pk__gt": "A4"}, ["A6", "A5"]),
    ],
    ids=str,
)
def test_lookups(press, lookup, found):
    assert names(Article.objects.filter(**lookup)) == found


def test_an_unknown_field_is_named(press):
    with pytest.raises(FieldError, match="Cannot resolve keyword 'heading'"):
        Article.objects.filter(heading="x")


# Lookups that span relationships


def test_links_are_followed_forwards_and_backwards(press):
    assert names(Article.objects.filter(journal__title="Beatles Monthly")) == ["A2", "A1"]
    assert names(Journal.objects.filter(article__headline__contains="Lennon").order_by("pk")) == ["Beat"]
    assert names(
        Journal.objects.filter(article__writers__writer__full_name="Jean Writer").order_by("pk")
    ) == [
        "Beat",
        "Pop",
    ]
    assert names(Writer.objects.filter(articlewriter__parent__journal="Cheddar")) == ["Joe"]


def test_one_filter_is_about_one_row_and_two_are_about_any(press):
    both = Article.objects.filter(writers__writer="Joe", writers__share=20)
    any_two = Article.objects.filter(writers__writer="Joe").filter(writers__share=20)
    assert names(both) == ["A5"]
    assert names(any_two) == ["A1", "A5"]


def test_exclude_leaves_out_who_has_any_such_row(press):
    assert names(Article.objects.exclude(writers__writer="Joe")) == ["A4", "A2", "A6"]
    inner = Article.objects.filter(writers__writer="Joe", writers__share=20)
    assert names(Article.objects.exclude(pk__in=inner)) == ["A4", "A3", "A2", "A1", "A6"]


def test_pk_is_a_shortcut_anywhere(press):
    assert names(Journal.objects.filter(pk="Beat")) == names(Journal.objects.filter(name="Beat")) == ["Beat"]
    assert names(Article.objects.filter(journal__pk="Beat")) == names(Article.objects.filter(journal="Beat"))


# Caching


def test_a_queryset_is_read_once(press):
    queryset = Article.objects.all()
    assert [each.headline for each in queryset]
    assert [each.published_on for each in queryset]
    assert queryset[5].pk
    assert len(press.requests) == 1
    unread = Article.objects.all()
    assert (unread[5].pk, unread[5].pk) == ("A5", "A5")
    assert len(press.requests) == 3


def test_pages_are_warned_of_where_the_order_is_not_fixed(press):
    everything = Article.objects.order_by()
    for fixed in (
        Article.objects.all(),
        everything,
        everything.distinct(),
        everything.none(),
        Article.objects.order_by("-stars"),
        everything.values("stars").annotate(n=Count("pk")).order_by("stars"),
    ):
        assert Paginator(fixed, 2).get_page(1).object_list is not None
    for loose in (
        Article.objects.order_by("?"),
        Article.objects.order_by("stars", Random()),
        everything.values("stars").distinct(),
        everything.values("stars").annotate(n=Count("pk")),
    ):
        with pytest.warns(UnorderedObjectListWarning):
            Paginator(loose, 2).get_page(1)


def test_a_pickled_queryset_holds_its_documents(press):
    again = pickle.loads(pickle.dumps(Article.objects.filter(stars=5)))
    press.requests.clear()
    assert names(again) == ["A4", "A1"]
    assert not press.requests


# Asynchronous queries


def test_every_verb_has_an_asynchronous_form(press):
    async def read():
        found = [each.pk async for each in Article.objects.filter(journal="Beat")]
        first = await Article.objects.filter(journal="Cheddar").afirst()
        return found, first.pk, await Article.objects.acount(), (await Journal.objects.aget(pk="Pop")).title

    assert asyncio.run(read()) == (["A2", "A1"], "A4", 6, "Pop Quarterly")


# Complex lookups with Q objects


def test_q_objects_are_combined(press):
    what, who = Q(headline__startswith="What"), Q(headline__startswith="Who")
    assert names(Article.objects.filter(what | who)) == ["A6", "A5"]
    assert names(Article.objects.filter(what | ~Q(published_on__year=2005))) == [
        "A4",
        "A3",
        "A2",
        "A1",
        "A6",
        "A5",
    ]
    assert names(Article.objects.filter(~what & Q(stars__gte=4))) == ["A4", "A2", "A1"]
    assert names(Article.objects.filter(what ^ Q(stars=3))) == ["A3", "A5"]
    dates = Q(published_on=dt.date(2008, 6, 1)) | Q(published_on=dt.date(2005, 5, 6))
    assert Article.objects.get(dates, headline__startswith="What").pk == "A6"


# Comparing, deleting, copying


def test_documents_are_compared_by_their_names(press):
    assert Article.objects.get(pk="A1") == Article.objects.get(headline="New Lennon biography")
    assert Article.objects.get(pk="A1") != Article.objects.get(pk="A2")
    assert len({Article.objects.get(pk="A1"), Article.objects.get(pk="A1")}) == 1


def test_documents_and_querysets_are_deleted(desk):
    assert Article.objects.get(pk="A6").delete() == (1, {"erp.Article": 1})
    assert Article.objects.filter(published_on__year=2008).delete()[0] == 2
    assert names(Article.objects.all()) == ["A4", "A2", "A5"]


def test_a_document_is_copied_by_taking_its_name_away(desk):
    article = Article.objects.get(pk="A4")
    article.pk = None
    article._state.adding = True
    article.save()
    assert article.pk not in (None, "A4")
    assert Article.objects.filter(headline="100% cheddar").count() == 2


def test_many_are_updated_at_once(desk):
    assert Article.objects.filter(published_on__year=2008).update(stars=1) == 2
    assert {desk.document("Article", name)["stars"] for name in ("A1", "A3")} == {1}
    assert Article.objects.update(journal=Journal.objects.get(pk="Pop")) == 6
    assert {each.journal_id for each in Article.objects.all()} == {"Pop"}


# Related objects


def test_related_documents_are_reached_both_ways(press):
    article = Article.objects.select_related("journal").get(pk="A1")
    assert article.journal.title == "Beatles Monthly"
    journal = Journal.objects.get(pk="Beat")
    assert names(journal.article_set.all()) == ["A2", "A1"]
    assert names(journal.article_set.filter(headline__contains="hip")) == ["A2"]
    assert journal.article_set.count() == 2


def test_a_link_is_read_once_and_remembered(press):
    article = Article.objects.get(pk="A1")
    press.requests.clear()
    assert article.journal.title == article.journal.title.strip()
    assert len(press.requests) == 1


def test_related_documents_are_prefetched(press):
    lennon = Prefetch("article_set", Article.objects.filter(headline__contains="Lennon"), to_attr="lennon")
    journals = Journal.objects.prefetch_related("article_set__writers", lennon).order_by("pk")
    assert [[len(each.writers.all()) for each in one.article_set.all()] for one in journals] == [
        [1, 2],
        [0, 1],
        [0, 2],
    ]
    assert [len(each.lennon) for each in journals] == [2, 0, 0]
    assert len(press.requests) == 4


# The queryset's own page: values, order, aggregates


def test_values_and_values_list(press):
    assert list(Article.objects.values("headline", "stars")[:1]) == [{"headline": "100% cheddar", "stars": 5}]
    assert list(Article.objects.values_list("pk", "journal")[:2]) == [("A4", "Cheddar"), ("A3", "Cheddar")]
    assert list(Article.objects.values_list("stars", flat=True)) == [5, 3, 4, 5, 3, 0]
    assert Article.objects.values_list("pk", "stars", named=True)[0].stars == 5


def test_order_first_last_latest(press):
    assert names(Article.objects.order_by("-stars", "comments")) == ["A1", "A4", "A2", "A3", "A6", "A5"]
    assert names(Article.objects.order_by("headline").reverse()[:2]) == ["A5", "A6"]
    assert sorted(names(Article.objects.order_by("?"))) == sorted(ARTICLES)
    assert (Article.objects.first().pk, Article.objects.last().pk) == ("A4", "A5")
    dated = Article.objects.exclude(published_on=None)
    assert (dated.latest("published_on").pk, dated.earliest("published_on").pk) == ("A2", "A6")
    assert Article.objects.filter(pk="A99").first() is None


def test_only_and_defer(press):
    article = Article.objects.only("headline").get(pk="A1")
    assert article.get_deferred_fields() >= {"body", "stars"}
    assert article.stars == 5
    assert "body" in Article.objects.defer("body").get(pk="A1").get_deferred_fields()


def test_in_bulk_contains_exists_none(press):
    assert sorted(Article.objects.in_bulk(["A1", "A2", "A99"])) == ["A1", "A2"]
    assert Article.objects.filter(stars=5).contains(Article.objects.get(pk="A1"))
    assert not Article.objects.filter(stars=17).exists()
    assert list(Article.objects.none()) == []


def test_aggregates(press):
    assert Article.objects.aggregate(Max("stars"), least=Min("comments"), total=Sum("comments")) == {
        "stars__max": 5,
        "least": 0,
        "total": 20,
    }
    assert Article.objects.filter(journal="Beat").aggregate(Avg("stars"))["stars__avg"] == 4.5
    counted = Article.objects.order_by().values("journal").annotate(n=Count("pk")).order_by("journal")
    assert [(row["journal"], row["n"]) for row in counted] == [("Beat", 2), ("Cheddar", 2), ("Pop", 2)]


def test_get_or_create_and_update_or_create(desk):
    journal, made = Journal.objects.get_or_create(name="Beat", defaults={"title": "x"})
    assert (journal.title, made) == ("Beatles Monthly", False)
    assert Journal.objects.get_or_create(name="Daily", defaults={"title": "The Daily"})[1]
    journal, made = Journal.objects.update_or_create(name="Daily", defaults={"title": "Daily"})
    assert (made, desk.document("Journal", "Daily")["title"]) == (False, "Daily")


def test_many_are_created_at_once(desk):
    made = Article.objects.bulk_create(
        [Article(journal_id="Pop", headline=f"Number {number}") for number in range(3)]
    )
    assert all(each.pk for each in made)
    assert Article.objects.filter(headline__startswith="Number").count() == 3


# What a database can do and Frappe cannot


@pytest.mark.parametrize(
    "query",
    [
        lambda: Article.objects.raw("select 1"),
        lambda: Article.objects.extra(where=["1"]),
        lambda: Article.objects.select_for_update().first(),
        lambda: Article.objects.update(stars=F("stars") + 1),
    ],
    ids=["raw", "extra", "select_for_update", "F in update"],
)
def test_what_cannot_be_asked_is_refused_with_a_way_out(press, query):
    with pytest.raises(UnsupportedQuery, match=r"\. \w"):
        query()
