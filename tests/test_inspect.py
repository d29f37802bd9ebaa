"""`erpnext_inspect`: the models of a site's DocTypes, as a module that can be imported, and what drifts from it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import models

from erpnext_bridge import drift
from erpnext_bridge.doctypes import read_doctype, read_doctypes
from erpnext_bridge.inspecting import module
from erpnext_bridge.modelling import Modelling
from erpnext_bridge.sandbox import User, World
from erpnext_bridge.testing import connect, open_erpnext_site
from tests import round_trips
from tests.odd_world import NAMES, doctype, field, odd_world

DATA = Path(__file__).parent / "data" / "inspect"
ODD = sorted(odd_world().doctypes)


def inspect(*doctypes, **options):
    """Return what the command writes, and what it says."""
    out, err = io.StringIO(), io.StringIO()
    call_command("erpnext_inspect", *doctypes, stdout=out, stderr=err, **{"service": True, **options})
    return out.getvalue(), err.getvalue()


def ruff(*arguments, source):
    line = [sys.executable, "-m", "ruff", *arguments, "--isolated", "--stdin-filename", "models.py", "-"]
    done = subprocess.run(line, input=source, capture_output=True, encoding="utf-8", check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module", params=[15, 16], ids=["v15", "v16"])
def odd(request):
    with open_erpnext_site(request.param, odd_world()) as site:
        yield site


@pytest.fixture(scope="module")
def source(odd):
    return inspect(*ODD)[0]


@pytest.fixture
def generated(source):
    with round_trips.imported(source) as imported:
        yield imported


# The text


@pytest.mark.parametrize("width", [60, 88, 110])
def test_it_is_formatted_as_ruff_does(odd, width):
    text = inspect(*ODD, "DocType", all_links=True, line_length=width)[0]
    assert ruff("format", "--line-length", str(width), source=text) == (0, text)
    assert ruff("check", "--select", "A,E4,E7,E9,F,I,D3,UP,N", "--ignore", "A003,N815", source=text)[0] == 0


def test_it_is_the_same_at_every_run_and_in_every_order(odd, source):
    assert inspect(*reversed(ODD), *ODD)[0] == source


def test_it_says_how_it_was_written(source):
    head = source.split('"""')[1]
    assert "manage.py erpnext_inspect 'Currency Odd' 'Odd Part' 'Odd Peer'\n'Odd Settings'" in head
    assert "127.0.0.1" not in source


def test_links_lead_to_doctypes_without_a_class_by_their_name(odd):
    text, _ = inspect("Odd Thing")
    assert 'peer = fields.Link("Odd Peer")' in text
    assert 'part_of = fields.Link(\n        "self"' in text
    assert 'territory = fields.NameField(doctype="Odd.Region")' in text
    assert 'kind_name = fields.DynamicLink("kind", verbose_name="Kind_Name")' in text


def test_classes_further_down_are_named_by_text(odd, source):
    assert 'peer = fields.LinkField("OddPeer"' in source
    assert 'peer = fields.Link("odd.OddPeer"' in inspect(*ODD, app="odd")[0]


def test_all_links_takes_one_step(odd):
    text, _ = inspect("Odd Peer", all_links=True)
    assert "class OddThing(Document)" in text
    assert "class OddTree" not in text


def test_chains_and_circles_of_links_may_be_long():
    size = 3000
    recorded = [
        read_doctype(doctype(f"Plan {at}", field("after", "Link", options=f"Plan {(at + 1) % size}")))
        for at in range(size)
    ]
    text = module(Modelling(recorded), command=["manage.py"])
    assert text.count("fields.Link(Plan") == size - 1
    assert text.count("fields.LinkField(") == 1


@pytest.mark.parametrize("version", [15, 16])
def test_links_to_doctypes_that_are_gone_stay_names(version, settings):
    with open_erpnext_site(version, plans(doctype("Plan", field("kind", "Link", options="Gone")))) as site:
        assert [inspect("Plan", all_links=True)[0].count(each) for each in ('Link("Gone")', "class ")] == [
            1,
            1,
        ]
        key, secret = site.api_key("tester@example.com")
        settings.ERPNEXT_BRIDGE["SITES"]["default"] |= {"API_KEY": key, "API_SECRET": secret}
        text, told = inspect("Plan", all_links=True)
        assert 'kind = fields.Link("Gone")' in text
        assert told == "Left as names, as the site does not have or not show these DocTypes: Gone.\n"


def test_doctypes_without_a_table_are_left_out(source):
    assert "# Left out, as ERPNext keeps no table of it: Odd Virtual" in source
    assert "# Left out, as ERPNext stores no value: computed (virtual)." in source


# The classes


def test_django_has_nothing_to_say_about_them(generated):
    found = [each for model in vars(generated).values() if hasattr(model, "_meta") for each in model.check()]
    assert found == []
    assert {model.__name__ for model in round_trips.documents_of(generated)} == {
        "CurrencyOdd", "OddPeer", "OddPeer2", "OddSettings", "OddThing", "OddTree",
    }  # fmt: skip


def test_each_fieldname_has_an_attribute_that_python_and_django_take(generated):
    columns = {each.column: each.name for each in generated.OddPeer._meta.concrete_fields}
    assert {name: columns[name] for name in NAMES} == {
        "from": "from_field",
        "class": "class_field",
        "save": "save_field",
        "delete": "delete_field",
        "check": "check_field",
        "pk": "pk_field",
        "objects": "objects_field",
        "fields": "fields_field",
        "models": "models_field",
        "changes": "changes_field",
        "site": "site_field",
        "a__b": "a_b2",
        "a_b": "a_b",
        "tail_": "tail2",
        "tail": "tail",
        "_user": "user",
        "2nd": "field_2nd",
        "email_id": "email_id",
        "Kunde": "Kunde",
    }
    names = {each.name: each.attname for each in generated.OddThing._meta.concrete_fields}
    assert (names["email"], names["email_id2"]) == ("email_id", "email_id2")


def test_fields_say_what_the_doctype_says(generated):
    meta = generated.OddThing._meta
    title, status, mood = (meta.get_field(name) for name in ("title", "status", "mood"))
    assert (title.verbose_name, title.help_text) == ("Title of the thing", "As printed & 'quoted' \\ \"so\".")
    assert (title.blank, title.max_length, meta.get_field("short").max_length) == (False, 140, 20)
    assert [value for value, _ in status.choices] == ["Open", "In Progress", 'It\'s "done"']
    assert (status.blank, status.default) == (True, "Open")
    assert (mood.blank, mood.default) == (False, "Good")
    assert (meta.get_field("is_on").default, meta.get_field("count").default) == (True, 3)
    assert not meta.get_field("total").editable
    assert (meta.get_field("wanted_on").null, meta.get_field("a_date").null) == (False, True)
    assert not meta.get_field("wanted_on").has_default()
    assert not meta.get_field("peer_again").blank
    assert generated.OddThing.__doc__.strip().startswith("A thing of many kinds. It goes on.")


def test_links_lead_back_by_names_that_are_free(generated):
    peer = generated.OddPeer._meta
    assert {each.get_accessor_name() for each in peer.related_objects} == {
        "oddthing_by_peer",
        "oddthing_by_peer_again",
        "oddthing_by_email",
        "oddtagrow_set",
    }
    thing = generated.OddThing
    assert thing.objects.filter(oddpeer__isnull=False).query is not None
    assert round_trips.documents_of(generated)
    assert {"parts", "call_field", "tags"} <= set(dir(thing))


def test_one_doctype_in_two_tables_has_a_class_for_each(odd, generated):
    thing = generated.OddThing.objects.as_service().get(pk="T-1")
    assert [row.qty for row in thing.parts.all()] == [0.0, 0.5]
    assert [row.qty for row in thing.call_field.all()] == [1.0]
    assert [row.tag_id for row in thing.tags.all()] == ["Ben"]
    things = generated.OddThing.objects.as_service()
    assert things.filter(call_field__qty=1).count() == 1
    assert things.filter(parts__qty=1).count() == 0


def test_links_are_followed_and_filtered(odd, generated):
    thing = generated.OddThing.objects.as_service().select_related("peer", "part_of").get(pk="T-1")
    assert (thing.peer.from_field, thing.part_of.title) == ("value of from", "First")
    assert thing.peer.oddthing_by_peer.get() == thing
    assert generated.OddPeer.objects.as_service().filter(from_field__startswith="value").get().pk == "Ann"


def test_every_document_goes_through_its_model_without_loss(odd, source):
    figures = round_trips.Figures()
    round_trips.go(ODD, figures)
    assert figures.losses == []
    assert not figures.refused
    assert figures.documents > 5
    assert figures.rows > 4
    assert (figures.unchanged, figures.changed) == (4, 4)


def test_one_change_sends_that_and_nothing_else(odd, generated):
    thing = generated.OddThing.objects.as_service().get(pk="T-2")
    odd.requests.clear()
    thing.save()
    assert odd.requests == []
    thing.a_data = "new"
    assert thing.changes() == {"a_data": "new"}
    thing.save()
    assert [(request.method, request.path) for request in odd.requests] == [
        ("PUT", "/api/resource/Odd Thing/T-2")
    ]
    assert odd.document("Odd Thing", "T-2")["a_data"] == "new"


def test_what_is_created_by_them_is_what_was_given(odd, generated):
    from erpnext_bridge.identity import Identity, acting_as

    with acting_as(Identity.service()):
        made = generated.OddThing.objects.create(
            name="T-9",
            title="Ninth",
            is_on=False,
            count=0,
            peer_again_id="Ann",
            wanted_on="2024-01-01",
            a_json={"a": 1},
            call_field=[generated.OddThingCall(qty=4)],
        )
    stored = odd.document("Odd Thing", "T-9")
    made.delete()
    assert (stored["is_on"], stored["count"], stored["mood"], stored["short"]) == (0, 0, "Good", "x")
    assert [row["qty"] for row in stored["call"]] == [4.0]


@pytest.mark.parametrize("version", [15, 16])
def test_the_demo_company_goes_through_its_models_without_loss(version):
    figures = round_trips.Figures()
    with open_erpnext_site(version):
        round_trips.go(["Customer", "Item", "Lead", "Sales Order", "ToDo"], figures, limit=10)
    assert figures.losses == []
    assert (figures.unchanged, figures.changed) == (50, 6)


def test_recorded_metadata_becomes_the_models_that_were_looked_at():
    """What Frappe 15 and 16 tell of these DocTypes is the same, as far as models need it."""
    recorded = read_doctypes(json.loads((DATA / "bridge.json").read_text("utf-8")))
    modelling = Modelling([each for each in recorded if not each.is_child], recorded)
    text = module(modelling, command=["manage.py", "erpnext_inspect"])
    assert text == (DATA / "bridge.py.txt").read_text("utf-8")
    with round_trips.imported(text) as imported:
        assert [each for model in round_trips.documents_of(imported) for each in model.check()] == []


@pytest.mark.live
@pytest.mark.skipif("ERPNEXT_URL" not in os.environ, reason="ERPNEXT_URL names no site")
def test_a_real_site_goes_through_its_models_without_loss(settings):
    settings.ERPNEXT_BRIDGE = round_trips.site_of_the_environment()
    figures = round_trips.go(round_trips.ASKED, round_trips.Figures(), limit=3)
    assert figures.losses == []
    assert figures.unchanged
    assert figures.changed


# Who reads


def test_the_service_account_is_not_used_in_silence(odd):
    assert inspect("Odd Tree")[1] == ""
    assert "Acting as the service account at site 'default'." in inspect("Odd Tree", service=False)[1]


def test_a_site_without_a_service_account_needs_a_user(odd, settings):
    entry = settings.ERPNEXT_BRIDGE["SITES"]["default"]
    bare = {key: value for key, value in entry.items() if not key.startswith("API")}
    settings.ERPNEXT_BRIDGE = {**settings.ERPNEXT_BRIDGE, "SITES": {"default": bare}}
    with pytest.raises(CommandError, match=r"no service account.*--user"):
        inspect("Odd Tree", service=False)


@pytest.mark.django_db
def test_a_user_reads_with_their_own_connection(odd, source, django_user_model):
    user = django_user_model.objects.create_user("vera")
    with pytest.raises(CommandError, match="'vera' is not connected"):
        inspect("Odd Tree", service=False, user="vera")
    with pytest.raises(CommandError, match="no user 'paul'"):
        inspect("Odd Tree", service=False, user="paul")
    connect(user, "Administrator")
    odd.requests.clear()
    text, told = inspect(*ODD, service=False, user="vera")
    assert (text, told) == (source, "")
    assert {request.user for request in odd.requests} == {"Administrator"}


def test_what_cannot_be_done_is_told(odd):
    with pytest.raises(CommandError, match="No Such Thing"):
        inspect("No Such Thing")
    with pytest.raises(CommandError, match="Name the DocTypes"):
        inspect()


# Drift


def check(tmp_path, text, **options):
    path = tmp_path / "models.py"
    path.write_text(text, "utf-8")
    out = io.StringIO()
    try:
        call_command("erpnext_inspect", check=path, service=True, stdout=out, **options)
    except CommandError as error:
        return error.returncode, out.getvalue().splitlines()
    return 0, out.getvalue().splitlines()


def test_a_fresh_module_has_not_drifted(odd, source, tmp_path):
    assert check(tmp_path, source) == (0, [f"{tmp_path / 'models.py'}: as the site has it."])


BEFORE = doctype(
    "Plan",
    field("title", length=40, description="In short"),
    field("gone"),
    field("state", "Select", options="Open\nDone"),
    field("order", "Select", options="A\nB"),
    field("kind", "Link", options="Odd Kind"),
    field("days", "Int"),
    field("note", "Small Text"),
    field("steps", "Table", options="Plan Step"),
    field("old_steps", "Table", options="Plan Step"),
)
AFTER = doctype(
    "Plan",
    field("title", length=60, label="Heading", reqd=1, description="In short"),
    field("state", "Select", options="Open\nHeld", default="Held"),
    field("order", "Select", options="B\nA"),
    field("kind", "Link", options="DocType"),
    field("days", "Float"),
    field("note", "Small Text", read_only=1),
    field("budget", "Currency"),
    field("steps", "Table", options="Plan Step"),
    field("ends", "Table", options="Plan Step"),
)
STEP = doctype("Plan Step", field("todo"), istable=1)


def plans(*doctypes):
    world = World(doctypes={each["name"]: each for each in (*doctypes, STEP)})
    world.add_user(User("tester@example.com", roles=["Desk User"]))
    return world


@pytest.fixture(scope="module")
def written():
    with open_erpnext_site(15, plans(BEFORE, doctype("Old", field("a")))):
        return inspect("Plan", "Old")[0]


CHANGES = [
    "Old: the site does not have or not show this DocType.",
    "Plan.title: label None here, 'Heading' at the site.",
    "Plan.title: length 40 here, 60 at the site.",
    "Plan.title: may be empty True here, False at the site.",
    "Plan.gone: the site stores no such field.",
    "Plan.state: choices at the site: + 'Held', - 'Done'",
    "Plan.state: default None here, 'Held' at the site.",
    "Plan.order: the choices have another order at the site.",
    "Plan.kind: leads to Odd Kind here, to DocType at the site.",
    "Plan.days: IntegerField here, FloatField at the site.",
    "Plan.note: editable True here, False at the site.",
    "Plan.budget: new at the site: fields.Currency(blank=True)",
    "Plan.old_steps: a table of Plan Step here, gone at the site.",
    "Plan.ends: new at the site: a table of Plan Step",
]


@pytest.mark.parametrize("version", [15, 16])
def test_what_drifted_is_listed_and_fails(written, tmp_path, version):
    with open_erpnext_site(version, plans(AFTER)):
        code, told = check(tmp_path, written)
    assert code == 1
    assert sorted(told) == sorted(CHANGES)


def test_new_fields_can_be_ignored(written, tmp_path):
    with open_erpnext_site(15, plans(AFTER)):
        code, told = check(tmp_path, written, ignore_new=True)
    assert code == 1
    assert not [line for line in told if "new at the site" in line or "None here" in line]


BY_HAND = """
from django.db import models
from django.utils.translation import gettext_lazy as _
from erpnext_bridge.documents import ChildDocument, Document
from erpnext_bridge.fields import Link

LENGTH = 40


class Titled(Document):
    headline = models.SlugField(_("headline"), max_length=LENGTH, db_column="title", help_text="In short")

    class Meta:
        abstract = True

    def shout(self) -> str:
        return self.headline.upper()


class MyPlan(Titled, doctype="Plan"):
    kind: models.Field = Link("Odd Kind")
    state = models.CharField(choices=tuple(["Open", "Done"]), max_length=140)


class Step(ChildDocument, parent=MyPlan, fieldname="steps", doctype="Plan Step"):
    todo = models.CharField(max_length=140, blank=True)
"""


def test_a_module_that_hands_have_edited_is_checked_for_what_it_declares(written, tmp_path):
    with open_erpnext_site(15, plans(BEFORE)):
        assert check(tmp_path, BY_HAND, ignore_new=True)[0] == 0
        code, told = check(tmp_path, BY_HAND)
        assert code == 1
        assert "Plan.old_steps: new at the site: a table of Plan Step" in told
        assert not [line for line in told if line.startswith(("Plan.title", "Plan Step"))]
    with open_erpnext_site(15, plans(AFTER)):
        assert check(tmp_path, BY_HAND, ignore_new=True) == (
            1,
            ["Plan.kind: leads to Odd Kind here, to DocType at the site."],
        )


def test_rows_of_a_document_in_another_module_are_checked_too(written, tmp_path):
    rows = BY_HAND[BY_HAND.index("class Step") :].replace("todo", "todone")
    imports = "from django.db import models\nfrom erpnext_bridge.documents import ChildDocument\n"
    with open_erpnext_site(15, plans(BEFORE)):
        assert check(tmp_path, imports + rows, ignore_new=True) == (
            1,
            ["Plan Step.todone: the site stores no such field."],
        )


def test_what_a_site_calls_things_cannot_become_code(tmp_path):
    evil = 'x"""\nimport os\n'
    world = plans(
        doctype(
            "Plan",
            field("title", label=evil, description=evil, default=evil),
            field("state", "Select", options=evil),
            field(f"a{evil}", is_virtual=1),
            description=evil,
        )
    )
    recorded = read_doctypes({"docs": [{"doctype": "DocType", **world.doctypes["Plan"]}]})
    text = module(Modelling(recorded), command=["manage.py"])
    compile(text, "models.py", "exec")
    assert not [line for line in text.splitlines() if line.startswith("import os")]


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("Set by <b>HR</b> &amp; IT", "Set by HR & IT"),
        ("&#60;script&#62;alert(1)&lt;/script&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("less < more", "less &lt; more"),
    ],
)
def test_help_texts_bring_no_markup_into_pages(told, shown):
    recorded = [read_doctype(doctype("Plan", field("title", description=told)))]
    ((title,),) = (model.fields for model in Modelling(recorded).models())
    assert title.options["help_text"] == shown


def test_a_file_that_is_no_python_is_told(odd, tmp_path):
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("erpnext_inspect", check=tmp_path / "nothing.py", service=True)
    assert check(tmp_path, "class (") == (1, [])
    with pytest.raises(CommandError, match="declares no documents"):
        call_command("erpnext_inspect", check=Path(__file__).parent / "settings.py", service=True)


def test_drift_reads_and_never_imports():
    declared = drift.declared_in("import nothing_of_that_name\n" + BY_HAND)
    assert [(each.name, each.doctype) for each in declared] == [
        ("Titled", ""),
        ("MyPlan", "Plan"),
        ("Step", "Plan Step"),
    ]
    assert issubclass(models.SlugField, models.CharField)
