"""What the sandbox answers to requests like those that real servers were asked besides the recorded ones."""

from __future__ import annotations

import json

import pytest

from erpnext_bridge.sandbox import errors, methods, resources
from erpnext_bridge.sandbox.context import Context
from tests.sandbox_calls import ALICE, BOB, Data, clerk_rule, doctype, field, small_world

ZONE = doctype("Zone", field("zone_name"), field("rank", "Int"), autoname="field:zone_name", is_tree=1)
THING = doctype(
    "Thing",
    field("title", reqd=1),
    field("kind", "Select", options="\nRed\nBlue"),
    field("count", "Int"),
    field("ratio", "Float", precision="4"),
    field("price", "Currency"),
    field("day", "Date"),
    field("moment", "Datetime"),
    field("clock", "Time"),
    field("span", "Duration"),
    field("zone", "Link", options="Zone"),
    field("mail", options="Email"),
    field("person", options="Name"),
    field("tel", "Phone"),
    field("small", "Small Text"),
    field("rich", "Text Editor"),
    field("extra", "JSON"),
    field("hidden", "Currency", permlevel=1),
    autoname="field:title",
    title_field="title",
    allow_rename=1,
    permissions=[clerk_rule(read=1)],
)
FORM = doctype("Form", field("label"), autoname="format:F-{label}-{##}")


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def data(request):
    with Data(request.param, small_world(ZONE, THING, FORM)) as data:
        data.post("Zone", zone_name="World", is_group=1)
        data.post("Zone", zone_name="North", parent_zone="World", rank=3)
        data.post("Thing", title="One", kind="Red", count=3, zone="North", day="2026-01-02")
        data.post("Thing", title="Two", kind="Blue", count=5)
        yield data


def stored(data, **values):
    name = data.post("Thing", title="New", **values)["name"]
    return data.get("Thing", name)


# Lists


@pytest.mark.parametrize("text", ["sum(count)", "max(day) as last"])
def test_a_keyword_is_no_column_inside_of_a_function(data, text):
    with pytest.raises(errors.IndexError, match="list index out of range"):
        data.get("Thing", fields=[text])


def test_a_keyword_in_backticks_is_a_column():
    with Data(15, small_world(THING)) as data:
        data.post("Thing", title="One", count=3)
        assert data.get("Thing", fields=["sum(`tabThing`.`count`) as total"]) == [{"total": 3}]


@pytest.mark.parametrize(
    ("fieldname", "value", "exc_type"),
    [("zone", "Nope", None), ("title", "North", "TypeError"), ("title", "", "TypeError")],
)
def test_tree_operators_on_what_is_no_tree_fail_as_in_15(fieldname, value, exc_type):
    with Data(15, small_world(ZONE, THING)) as data:
        filters = {fieldname: ["descendants of", value]}
        if exc_type is None:
            assert data.get("Thing", filters=filters) == []
            return
        with pytest.raises(errors.SandboxError) as refused:
            data.get("Thing", filters=filters)
        assert refused.value.exc_type == exc_type


def test_an_expanded_link_shows_what_the_user_may_see():
    with Data(16, small_world(ZONE, THING, doctype("Part", field("thing", "Link", options="Thing")))) as data:
        data.post("Thing", title="One", hidden=5)
        data.post("Part", thing="One")
        (row,) = data.get("Part", fields=["thing"], expand=["thing"])
        assert row["thing"]["title"] == "One"
        assert "hidden" not in row["thing"]


def test_a_link_is_expanded_where_the_fields_name_it(data):
    if data.site.version < 16:
        return
    (row,) = data.get("Thing", filters={"title": "One"}, fields='["name", "zone"]', expand=["zone"])
    assert row["zone"]["zone_name"] == "North"
    (row,) = data.get("Thing", filters={"title": "One"}, fields='["*"]', expand=["zone"])
    assert row["zone"]["zone_name"] == "North"
    assert data.get("Thing", fields='["name"]', expand=["zone"], as_dict=0, order_by="name") == [
        ["One"],
        ["Two"],
    ]
    with pytest.raises(errors.AttributeError, match="'tuple' object"):
        data.get("Thing", fields='["zone"]', expand=["zone"], as_dict=0)


@pytest.mark.parametrize(
    ("second", "names"),
    [
        # (3 and 5) between 0 and 3, and that compared with 1 or with a text
        (["count", ">", 0], ["One", "Two"]),
        (["ratio", "=", 1], []),
        (["kind", "in", ["Red"]], []),
        (["kind", "is", "set"], []),
        (["title", "like", "T%"], []),
    ],
)
def test_a_between_of_numbers_swallows_the_next_filter_in_15(second, names):
    with Data(15, small_world(ZONE, THING)) as data:
        data.post("Thing", title="One", kind="Red", count=3)
        data.post("Thing", title="Two", kind="Blue", count=5)
        with pytest.raises(errors.SQLProgrammingError, match="1064"):
            data.get("Thing", filters=[["count", "between", [1, 9]]])
        filters = [["count", "between", [1, 9]], second]
        assert data.names("Thing", filters=filters, order_by="name") == names


def test_a_timespan_of_a_name_is_the_days_as_python_shows_them_in_15():
    with Data(15, small_world(ZONE, THING)) as data:
        span = ["name", "timespan", "today"]
        with pytest.raises(errors.SQLProgrammingError, match="1064"):
            data.get("Thing", filters=[span])
        with pytest.raises(errors.SQLOperationalError, match=r"1370.*'datetime.date'"):
            data.get("Thing", filters=[span, ["title", "=", "One"]])


@pytest.mark.parametrize(
    ("ends", "names"), [([0, "5"], ["Three", "Two"]), (["0", 5], ["Three", "Two"]), (["0", "5"], ["Three"])]
)
def test_one_number_makes_a_between_one_of_numbers_in_16(ends, names):
    with Data(16, small_world(ZONE, THING)) as data:
        for title, small in (("One", "9"), ("Two", "text"), ("Three", "4")):
            data.post("Thing", title=title, small=small)
        assert data.names("Thing", filters=[["small", "between", ends]], order_by="name") == names


@pytest.mark.parametrize("fieldname", ["count", "nosuch"])
def test_a_count_looks_at_the_operator_first_in_15(fieldname):
    with Data(15, small_world(ZONE, THING)) as data, pytest.raises(errors.KeyError, match="has"):
        data.call("frappe.client.get_count", doctype="Thing", filters=[[fieldname, "has", None]])


def test_a_field_behind_one_that_may_not_be_selected_is_shown_in_15():
    with Data(15, small_world(doctype("Sheet", field("title"), permissions=[clerk_rule(select=1)]))) as data:
        data.post("Sheet", title="One")
        assert data.get("Sheet", user=BOB, fields=["docstatus"]) == []
        assert data.get("Sheet", user=BOB, fields=["docstatus", "idx"]) == [{"idx": 0}]
        assert data.get("Sheet", user=BOB, fields=["idx", "title", "docstatus"]) == [{"title": "One"}]
        assert data.get("Sheet", user=BOB, fields=["docstatus", "idx"], as_dict=0) == [[None, None]]


def test_a_report_is_sorted_as_its_doctype_says(data):
    rows = data.call("frappe.desk.reportview.get", doctype="Thing", fields=json.dumps(["name"]))
    assert rows["values"] == [["Two"], ["One"]]
    assert data.call(
        "frappe.desk.reportview.get", doctype="Thing", fields=json.dumps(["name"]), order_by="name"
    )["values"] == [["One"], ["Two"]]


def test_an_average_has_four_places_more(data):
    data.post("Thing", title="Three", count=8, price=1)
    average = ["avg(`tabThing`.`count`) as a"] if data.site.version < 16 else [{"AVG": "count", "as": "a"}]
    assert data.get("Thing", fields=average) == [{"a": 5.3333}]
    average = ["avg(price) as a"] if data.site.version < 16 else [{"AVG": "price", "as": "a"}]
    assert data.get("Thing", fields=average) == [{"a": 0.3333333333333}]


def test_an_order_by_what_two_results_are_called_is_ambiguous(data):
    fields = ["title as x", "count as x"]
    with pytest.raises(errors.SQLOperationalError, match="'x' in ORDER BY is ambiguous"):
        data.get("Thing", fields=fields, order_by="x asc")


@pytest.mark.parametrize(
    ("text", "is_date"), [("0", False), ("15", True), ("2 jan 2026", True), ("00", False)]
)
def test_one_number_is_a_day_of_this_month(text, is_date):
    with Data(15, small_world(ZONE, THING)) as data:
        filters = [["day", "<=", text]]
        if is_date:
            data.get("Thing", filters=filters)
            return
        with pytest.raises(errors.ValidationError, match="is not a valid date string"):
            data.get("Thing", filters=filters)


def test_no_list_is_the_empty_text_in_a_comparison(data):
    data.post("Thing", title="Three", kind="")
    assert data.call("frappe.client.get_count", doctype="Thing", filters=[["kind", "=", []]]) == 1
    assert data.call("frappe.client.get_count", doctype="Thing", filters=[["kind", "!=", []]]) == 2
    with pytest.raises(errors.SQLProgrammingError, match="1064"):
        data.call("frappe.client.get_count", doctype="Thing", filters=[["kind", "=", ["Red"]]])


def test_15_puts_the_main_table_before_functions_where_tables_are_joined():
    with Data(15, small_world(ZONE, THING)) as data:
        data.post("Thing", title="One")
        with pytest.raises(errors.SQLOperationalError, match=r"1370.*'tabThing.max'"):
            data.get("Thing", fields=["zone.zone_name", "max(title) as m"])
        assert data.get("Thing", fields=["max(title) as m"]) == [{"m": "One"}]


def test_comments_are_counted_where_asked_for(data):
    data.call("frappe.desk.form.utils.add_comment", **COMMENT)
    args = {"doctype": "Thing", "fields": json.dumps(["name", "_comments"]), "order_by": "name"}
    rows = data.call("frappe.desk.reportview.get_list", **args, with_comment_count="true")
    assert [row["_comment_count"] for row in rows] == [1, 0]


def test_a_search_gives_its_columns(data):
    assert data.call("frappe.desk.search.search_widget", doctype="Thing", txt="w")[0][0] == "Two"


def test_reserved_words_are_no_columns_in_an_order():
    with Data(15, small_world(doctype("Odd", field("on", "Check"), autoname="prompt"))) as data:
        with pytest.raises(errors.SQLProgrammingError, match="1064"):
            data.get("Odd", order_by="on")
        assert data.get("Odd", order_by="`on`") == []


# Values


def test_text_without_a_tag_is_no_markup(data):
    found = stored(data, small="a > b & c < d", rich="plain > text")
    assert (found["small"], found["rich"]) == ("a > b & c < d", "plain > text")


def test_markup_is_closed_and_made_harmless(data):
    found = stored(data, small="x <b>", rich='<p style="color:red" onclick="x">y</p><script>z</script>')
    assert found["small"] == "x <b></b>"
    assert found["rich"].startswith('<p style="color:red;">y</p>')
    assert "<script>" not in found["rich"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"price": 12345678901234567890}, "1264"),
        ({"moment": "2026-01-01 25:00:00"}, "1292"),
        ({"clock": "10:61:00"}, "1292"),
        ({"day": True}, "1292"),
        ({"span": "abc"}, "1366"),
        ({"span": "1m"}, "1265"),
    ],
)
def test_what_a_column_cannot_hold_is_the_databases_error(data, values, text):
    with pytest.raises(errors.DriverError) as refused:
        stored(data, **values)
    assert text in refused.value.text


@pytest.mark.parametrize(
    ("values", "exc_type"),
    [
        ({"mail": "no address"}, "InvalidEmailAddressError"),
        ({"person": "<x>"}, "InvalidNameError"),
        ({"tel": "123"}, "InvalidPhoneNumberError"),
    ],
)
def test_texts_with_a_form_are_checked(data, values, exc_type):
    with pytest.raises(errors.SandboxError) as refused:
        stored(data, **values)
    assert refused.value.exc_type == exc_type


def test_an_address_may_have_a_name_and_json_may_be_a_number(data):
    found = stored(data, mail="A B <a@b.example>", extra=5)
    assert (found["mail"], found["extra"]) == ("A B <a@b.example>", "5")


def test_16_keeps_as_many_digits_as_the_field_says(data):
    assert stored(data, ratio=1.23456789)["ratio"] == (1.23456789 if data.site.version == 15 else 1.2346)


def test_the_zero_date_comes_back_as_each_driver_has_it(data):
    assert stored(data, day=0).get("day") == ("0000-00-00" if data.site.version == 15 else None)


# Names, trees, renaming


def test_the_series_of_a_format_counts_by_prefix_in_15_and_for_all_in_16(data):
    names = [data.post("Form", label=label)["name"] for label in ("a", "a", "b", "")]
    assert names == (
        ["F-a-01", "F-a-02", "F-b-01", "F--01"]
        if data.site.version == 15
        else ["F-a-01", "F-a-02", "F-b-03", "F--04"]
    )


def test_a_node_with_children_stays_a_group(data):
    with pytest.raises(errors.ValidationError):
        data.put("Zone", "World", is_group=0)
    assert data.get("Zone", "World")["is_group"] == 1


def nodes(data):
    fields = ["name", "lft", "rgt", "parent_zone", "old_parent"]
    return data.get("Zone", fields=fields, filters=[["name", "!=", "World"]], order_by="lft", as_dict=0)


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def tree(request):
    with Data(request.param, small_world({**ZONE, "allow_rename": 1})) as data:
        for name, parent in (("World", ""), ("North", "World"), ("South", "World")):
            data.post("Zone", zone_name=name, parent_zone=parent, is_group=1)
        for name, parent in (("A", "North"), ("B", "North"), ("C", "South")):
            data.post("Zone", zone_name=name, parent_zone=parent)
        yield data


def test_nodes_of_a_merged_group_move_to_the_other_one(tree):
    tree.call("frappe.client.rename_doc", doctype="Zone", old_name="North", new_name="South", merge=1)
    assert nodes(tree) == [
        ["South", 2, 9, "World", "World"],
        ["A", 3, 4, "South", "South"],
        ["B", 5, 6, "South", "South"],
        ["C", 7, 8, "South", "South"],
    ]
    with pytest.raises(errors.NestedSetInvalidMergeError, match="Group-to-Group or Leaf Node-to-Leaf Node"):
        tree.call("frappe.client.rename_doc", doctype="Zone", old_name="A", new_name="South", merge=1)


def test_the_children_of_a_renamed_node_know_its_new_name(tree):
    tree.call("frappe.client.rename_doc", doctype="Zone", old_name="North", new_name="Arctic")
    assert [row[3:] for row in nodes(tree) if row[0] in ("A", "B")] == [["Arctic", "Arctic"]] * 2


def test_a_merge_needs_the_right_to_delete():
    title = field("title")
    rules = {"permissions": [clerk_rule(read=1, write=1)], "autoname": "field:title", "allow_rename": 1}
    with Data(15, small_world(doctype("Sheet", title, **rules))) as data:
        for name in ("One", "Two"):
            data.post("Sheet", title=name)
        names = {"doctype": "Sheet", "old_name": "One", "new_name": "Two"}
        with pytest.raises(errors.PermissionError):
            data.call_as(BOB, "frappe.client.rename_doc", **names, merge=1)
        assert data.names("Sheet", order_by="name") == ["One", "Two"]
        data.call("frappe.client.rename_doc", **names, merge=1)
        assert data.names("Sheet") == ["Two"]


def test_a_rename_needs_a_name_and_a_doctype(data):
    for params in (
        {"doctype": "Thing", "old_name": "One", "new_name": ""},
        {"doctype": "Nope", "old_name": "a", "new_name": "b"},
    ):
        with pytest.raises(errors.SandboxError):
            data.call("frappe.client.rename_doc", **params)
    assert data.get("Thing", "One")["name"] == "One"


def test_title_and_name_change_together(data):
    found = data.call(
        "frappe.model.rename_doc.update_document_title", doctype="Thing", docname="One", name="Uno"
    )
    assert found == "Uno"
    assert data.get("Thing", "Uno")["title"] == "Uno"


# Around documents

ABOUT = {"doctype": "Thing", "name": "One"}
COMMENT = {
    "reference_doctype": "Thing",
    "reference_name": "One",
    "content": "hello",
    "comment_email": ALICE,
    "comment_by": "Alice",
}
TAG = "frappe.desk.doctype.tag.tag."


def column(data, name):
    (row,) = data.get("Thing", fields=[name], filters={"name": "One"})
    return row[name]


def test_tags_come_and_go(data):
    for tag in ("urgent", "Urgent", "urgent"):
        data.call(f"{TAG}add_tag", tag=tag, dt="Thing", dn="One")
    assert column(data, "_user_tags").strip(",") == "urgent,Urgent"
    assert data.call(f"{TAG}get_tags", doctype="Thing", txt="urg") in (["Urgent", "urgent"], ["urgent"])
    data.call(f"{TAG}remove_tag", tag="URGENT", dt="Thing", dn="One")
    assert column(data, "_user_tags").strip(",") == ""


def test_a_tag_needs_the_right_to_write(data):
    with pytest.raises(errors.PermissionError):
        data.call_as(BOB, f"{TAG}add_tag", tag="mine", dt="Thing", dn="One")


def test_likes_and_assignments_are_columns_of_the_document(data):
    data.call("frappe.desk.like.toggle_like", **ABOUT, add="Yes")
    assert json.loads(column(data, "_liked_by")) == ["Administrator"]
    data.call("frappe.desk.like.toggle_like", **ABOUT, add="No")
    assert json.loads(column(data, "_liked_by")) == []
    assign = "frappe.desk.form.assign_to."
    for _ in range(2):
        assert len(data.call(f"{assign}add", **ABOUT, assign_to=json.dumps([BOB]))) == 1
    assert json.loads(column(data, "_assign")) == [BOB]
    assert data.call(f"{assign}remove", **ABOUT, assign_to=BOB) == []
    assert column(data, "_assign") == ""


def test_assignments_of_many_are_made_closed_and_taken_back(data):
    assign = "frappe.desk.form.assign_to."
    both = json.dumps(["One", "Two"])
    data.call(f"{assign}add_multiple", doctype="Thing", name=both, assign_to=json.dumps([BOB, ALICE]))
    assert sorted(json.loads(column(data, "_assign"))) == [ALICE, BOB]
    with pytest.raises(errors.ValidationError, match="Only the assignee can complete"):
        data.call(f"{assign}close", **ABOUT, assign_to=BOB)
    left = data.call_as(ALICE, f"{assign}close", **ABOUT, assign_to=ALICE)
    assert [one["owner"] for one in left] == [BOB]
    data.call(f"{assign}remove_multiple", doctype="Thing", names=both)
    assert column(data, "_assign") == ""
    done = data.get("ToDo", fields=["reference_name", "allocated_to", "status"])
    assert sorted(tuple(row.values()) for row in done) == [
        ("One", ALICE, "Closed"),
        ("One", BOB, "Cancelled"),
        ("Two", ALICE, "Cancelled"),
        ("Two", BOB, "Cancelled"),
    ]


def test_many_documents_get_many_tags_and_are_found_by_a_pattern(data):
    both = json.dumps(["One", "Two"])
    data.call(f"{TAG}add_tags", dt="Thing", docs=both, tags=json.dumps(["red", "round"]))
    data.call(f"{TAG}add_tags", dt="Thing", docs=["Two"], tags=["late"])
    found = data.call(f"{TAG}get_tagged_docs", doctype="Thing", tag="%LATE%")
    assert found == [["Two"]]
    assert data.call(f"{TAG}get_tagged_docs", doctype="Thing", tag="late") == []
    with pytest.raises(errors.DoesNotExistError):
        data.call(f"{TAG}add_tags", dt="Thing", docs=["Nope"], tags=["late"])


def test_who_a_document_is_shared_with(data):
    data.call("frappe.share.add", **ABOUT, user=BOB, write=1)
    (share,) = data.call("frappe.share.get_users", **ABOUT)
    assert (share["user"], share["write"], share["everyone"]) == (BOB, 1, 0)
    assert ("share_name" in share) == (data.site.version == 16)
    with pytest.raises(errors.PermissionError, match=r"frappe\.share\.remove</strong> is not whitelisted"):
        data.call("frappe.share.remove", **ABOUT, user=BOB)


def test_a_comment_is_changed_by_its_owner_alone_and_lists_show_it(data):
    made = data.call_as(ALICE, "frappe.desk.form.utils.add_comment", **COMMENT)
    change = {"name": made["name"], "content": "better"}
    with pytest.raises(errors.PermissionError, match="only be edited by the owner"):
        data.call_as(BOB, "frappe.desk.form.utils.update_comment", **change)
    data.call_as(ALICE, "frappe.desk.form.utils.update_comment", **change)
    assert data.get("Comment", made["name"])["content"] == "better"
    assert [note["comment"] for note in json.loads(column(data, "_comments"))] == ["better"]


def test_the_next_document_of_a_list_is_told(data):
    def after(name, **options):
        return data.call("frappe.desk.form.utils.get_next", doctype="Thing", value=name, **options)

    assert after("One", prev=0, sort_order="asc", sort_field="title") == "Two"
    assert after("Two", prev=1, sort_order="asc", sort_field="title") == "One"
    assert after("Two", prev=0, sort_order="asc", sort_field="title") is None
    assert after("One", prev=0, sort_order="asc", sort_field="title", filters=[["count", ">", 9]]) is None


def test_a_site_has_no_workflows_and_no_reports(data):
    doc = json.dumps({"doctype": "Thing", "name": "One"})
    workflow = "frappe.model.workflow."
    for path, given in (
        (f"{workflow}get_transitions", {"doc": doc}),
        (f"{workflow}apply_workflow", {"doc": doc, "action": "Approve"}),
        (f"{workflow}can_cancel_document", {"doctype": "Thing"}),
    ):
        with pytest.raises(errors.DoesNotExistError, match="Workflow  not found"):
            data.call(path, **given)
    with pytest.raises(errors.DoesNotExistError, match="Report Sales not found"):
        data.call("frappe.desk.query_report.run", report_name="Sales")


def test_a_share_needs_the_right_to_share(data):
    with pytest.raises(errors.PermissionError, match="No permission to share Thing One"):
        data.call_as(BOB, "frappe.share.add", **ABOUT, user=ALICE)
    assert data.call("frappe.share.add", **ABOUT, user=BOB, write=1)["write"] == 1


def test_a_form_shows_what_is_around_its_document(data):
    data.call("frappe.desk.form.utils.add_comment", **COMMENT)
    data.call(f"{TAG}add_tag", tag="urgent", dt="Thing", dn="One")
    data.call("frappe.share.add", **ABOUT, user=BOB)
    ctx = Context(data.site, user="Administrator", request_method="GET")
    methods.call(ctx, "frappe.desk.form.load.get_docinfo", dict(ABOUT))
    found = ctx.response["docinfo"]
    assert [comment["content"] for comment in found["comments"]] == ["<p>hello</p>\n"]
    assert [share["user"] for share in found["shared"]] == [BOB]
    assert (found["tags"], found["attachments"]) == ("urgent", [])


def test_files_are_listed_for_those_who_may_read_them(data):
    data.call(
        "frappe.client.attach_file",
        filename="a.txt",
        filedata="x",
        doctype="Thing",
        docname="One",
        is_private=1,
    )
    assert len(data.names("File", filters={"is_folder": 0})) == 1
    assert len(data.names("File", user=BOB, filters={"is_folder": 0})) == 1


def test_a_user_can_be_saved(data):
    assert data.put("User", ALICE, first_name="Alicia")["full_name"] == "Alicia Adams"


SHOP = doctype("Shop", field("disabled", "Check"), autoname="prompt")
SALE = doctype("Sale", field("shop", "Link", options="Shop"))


@pytest.mark.parametrize("version", [15, 16])
def test_who_could_be_disabled_is_told_so_after_what_stands_in_the_way(version):
    with Data(version, small_world(SHOP, SALE)) as data:
        data.post("Shop", name="Corner")
        sale = data.post("Sale", shop="Corner")["name"]
        ctx = Context(data.site, user="Administrator", request_method="DELETE")
        with pytest.raises(errors.LinkExistsError, match="You can disable this Shop instead of deleting it"):
            resources.handle_v1(ctx, "Shop", "Corner")
        reason, advice = (message["message"] for message in ctx.messages)
        assert "Cannot delete or cancel because Shop" in reason
        assert sale in reason
        assert advice == "You can disable this Shop instead of deleting it."


# Rows and rights


ROW = doctype("Row", field("item"), field("price", "Int", permlevel=1, default="7"), istable=1)
SHEET = doctype(
    "Sheet",
    field("title", reqd=1),
    field("thing", "Link", options="Sheet"),
    field("rows", "Table", options="Row"),
    permissions=[clerk_rule(read=1, write=1)],
)


@pytest.mark.parametrize("version", [15, 16])
def test_a_new_row_belongs_to_who_added_it_and_has_no_value_above_their_level(version):
    with Data(version, small_world(ROW, SHEET)) as data:
        sheet = data.post("Sheet", title="One", rows=[{"item": "a", "price": 3}])
        (old,) = sheet["rows"]
        data.put("Sheet", sheet["name"], user=BOB, rows=[{**old, "price": 4}, {"item": "b", "price": 5}])
        rows = data.get("Sheet", sheet["name"])["rows"]
        assert [(row["owner"], row["item"], row["price"]) for row in rows] == [
            ("Administrator", "a", 3),
            (BOB, "b", 7),
        ]


def test_16_asks_first_whether_the_user_may_create():
    for version, error in ((15, errors.LinkValidationError), (16, errors.PermissionError)):
        with Data(version, small_world(ROW, SHEET)) as data, pytest.raises(error):
            data.post("Sheet", user=BOB, title="One", thing="nothing")


def test_16_takes_no_number_with_a_fraction_for_a_link():
    with Data(16, small_world(ROW, SHEET)) as data, pytest.raises(errors.AssertionError, match="field thing"):
        data.post("Sheet", title="One", thing=1.5)


@pytest.mark.parametrize("version", [15, 16])
def test_an_empty_list_is_no_value(version):
    with Data(version, small_world(ROW, SHEET)) as data:
        with pytest.raises(errors.MandatoryError, match="title"):
            data.post("Sheet", title=[])
        with pytest.raises(errors.ValidationError, match="cannot be a list"):
            data.post("Sheet", title=["a"])


@pytest.mark.parametrize(
    ("fieldname", "value", "kept"),
    [
        ("day", "240115", "2024-01-15"),
        ("day", "71-1-5", "1971-01-05"),
        ("day", "0", None),
        ("day", "2024-01-15 25:00:00", None),
        ("moment", "24-1-5", "2024-01-05 00:00:00"),
        ("moment", "0", None),
        ("clock", "2024-01-15 10:00:00", "10:00:00"),
        ("clock", "2024-01-15 25:00:00", None),
        ("clock", "2024-01-15 10:00:00Z", None),
    ],
)
def test_dates_and_times_are_stored_as_mariadb_reads_them(data, fieldname, value, kept):
    if kept is None:
        with pytest.raises(errors.SQLOperationalError, match="1292"):
            stored(data, **{fieldname: value})
        return
    assert stored(data, **{fieldname: value})[fieldname] == kept
