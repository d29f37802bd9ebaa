"""Who sees and changes what in the sandbox."""

from __future__ import annotations

import pytest

from erpnext_bridge.sandbox import errors
from tests.sandbox_calls import ALICE, BOB, Data, clerk_rule, doctype, field, small_world

AREA = doctype("Area", field("title"), autoname="prompt", permissions=[clerk_rule(read=1)])
CASE = doctype(
    "Case",
    field("title"),
    field("area", "Link", options="Area"),
    field("secret", permlevel=1),
    autoname="prompt",
    permissions=[clerk_rule(read=1, write=1, create=1)],
)
NOTE = doctype(
    "Own Note",
    field("title"),
    autoname="prompt",
    permissions=[clerk_rule(read=1, write=1, create=1, delete=1, if_owner=1)],
)
CLOSED = doctype("Closed", field("title"), autoname="prompt")
ROWS = {
    "Area": [{"name": "North"}, {"name": "South"}],
    "Case": [
        {"name": "C1", "title": "one", "area": "North", "secret": "s1"},
        {"name": "C2", "title": "two", "area": "South", "secret": "s2"},
        {"name": "C3", "title": "three", "secret": "s3"},
    ],
    "Own Note": [{"name": "N1", "owner": ALICE}, {"name": "N2", "owner": BOB}],
    "Closed": [{"name": "X"}],
}


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def data(request):
    only_north = {"user": BOB, "allow": "Area", "for_value": "North", "apply_to_all_doctypes": 1}
    world = small_world(AREA, CASE, NOTE, CLOSED, rows=ROWS, user_permissions=[only_north])
    with Data(request.param, world) as data:
        yield data


def test_user_permissions_limit_the_rows(data):
    assert data.names("Case", user=BOB, order_by="name asc") == ["C1", "C3"]
    assert data.names("Area", user=BOB) == ["North"]
    assert len(data.names("Case", user=ALICE)) == 3


def test_user_permissions_limit_single_documents(data):
    assert data.get("Case", "C1", user=BOB)["title"] == "one"
    with pytest.raises(errors.PermissionError):
        data.get("Case", "C2", user=BOB)
    with pytest.raises(errors.PermissionError):
        data.put("Case", "C1", user=BOB, area="South")


def test_roles_decide_on_verbs(data):
    data.put("Case", "C1", user=BOB, title="changed")
    with pytest.raises(errors.PermissionError):
        data.delete("Case", "C1", user=BOB)
    with pytest.raises(errors.PermissionError):
        data.names("Closed", user=BOB)


def test_owners_keep_their_documents_to_themselves(data):
    assert data.names("Own Note", user=BOB) == ["N2"]
    with pytest.raises(errors.PermissionError):
        data.get("Own Note", "N1", user=BOB)
    data.delete("Own Note", "N2", user=BOB)


def test_fields_above_the_level_are_left_out_and_not_written(data):
    assert data.get("Case", "C1", user=BOB).get("secret") is None
    data.put("Case", "C1", user=BOB, secret="mine")
    assert data.get("Case", "C1")["secret"] == "s1"


def test_a_share_opens_one_document(data):
    data.call("frappe.share.add", doctype="Closed", name="X", user=BOB, read=1)
    assert data.names("Closed", user=BOB) == ["X"]
    assert data.get("Closed", "X", user=BOB)["name"] == "X"


def test_guests_see_nothing(data):
    with pytest.raises(errors.PermissionError):
        data.names("Case", user="Guest")
