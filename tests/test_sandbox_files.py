"""Files in the sandbox: uploaded, shared by content, private or public, served and deleted."""

from __future__ import annotations

import base64
import hashlib

import pytest
import requests

from erpnext_bridge.sandbox import Sandbox, User, World

ALICE, NOBODY, WENDY = "alice@example.com", "nobody@example.com", "wendy@example.com"


@pytest.fixture(params=[15, 16], ids=["v15", "v16"])
def site(request):
    world = World()
    world.add_user(User(ALICE, full_name="Alice", roles=["System Manager"]))
    world.add_user(User(NOBODY, full_name="Nobody", roles=[]))
    world.add_user(User(WENDY, full_name="Wendy", user_type="Website User"))
    with Sandbox(request.param, world) as sandbox:
        yield sandbox


def headers(site, user=ALICE):
    return {"Authorization": "token {}:{}".format(*site.api_key(user))}


def upload(site, name="note.txt", content=b"hello\n", user=ALICE, **form):
    parts = {"file": (name, content)}
    url = f"{site.url}/api/method/upload_file"
    return requests.post(url, files=parts, data=form, headers=headers(site, user), timeout=60)


def get(site, path, user=ALICE, **more):
    return requests.get(
        site.url + path, headers={**(headers(site, user) if user else {}), **more}, timeout=60
    )


def test_an_upload_becomes_a_file_document(site):
    said = upload(site, is_private=1).json()["message"]
    assert (said["file_name"], said["file_url"]) == ("note.txt", "/private/files/note.txt")
    assert (said["file_size"], said["file_type"], said["folder"]) == (6, "TXT", "Home")
    assert said["content_hash"] == hashlib.md5(b"hello\n").hexdigest()
    assert site.document("File", said["name"])["owner"] == ALICE


def test_files_are_public_unless_told_otherwise(site):
    said = upload(site).json()["message"]
    assert (said["is_private"], said["file_url"]) == (0, "/files/note.txt")
    answer = get(site, "/files/note.txt", user=None)
    assert (answer.content, answer.cookies.get_dict()) == (b"hello\n", {})
    again = get(site, "/files/note.txt", user=None, **{"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_private_files_are_for_those_who_may_read_them(site):
    upload(site, is_private=1)
    assert get(site, "/private/files/note.txt").content == b"hello\n"
    for user in (NOBODY, None):
        answer = get(site, "/private/files/note.txt", user=user)
        assert (answer.status_code, answer.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert get(site, "/private/files/nothing.txt").status_code == 403


def test_only_v16_serves_parts_and_tags(site):
    upload(site, is_private=1)
    answer = get(site, "/private/files/note.txt", Range="bytes=0-1")
    assert (answer.status_code, answer.content) == ((200, b"hello\n") if site.version == 15 else (206, b"he"))
    assert ("ETag" in answer.headers) is (site.version == 16)


def test_pages_are_downloaded_and_not_shown(site):
    upload(site, "page.html", b"<b>x</b>", is_private=1)
    disposition = get(site, "/private/files/page.html").headers["Content-Disposition"]
    assert disposition.startswith("attachment")


def test_equal_content_is_stored_once_and_equal_names_are_kept_apart(site):
    first = upload(site, is_private=1).json()["message"]
    same = upload(site, "copy.txt", is_private=1).json()["message"]
    other = upload(site, content=b"other\n", is_private=1).json()["message"]
    assert same["name"] != first["name"]
    assert same["file_url"] == first["file_url"]
    suffix = hashlib.md5(b"other\n").hexdigest()[-6:]
    assert other["file_url"] == f"/private/files/note{suffix}.txt"


def test_content_goes_with_the_last_document_that_has_it(site):
    names = [upload(site, is_private=1).json()["message"]["name"] for _ in range(2)]
    for name, status in zip(names, (200, 403), strict=True):
        requests.delete(f"{site.url}/api/resource/File/{name}", headers=headers(site), timeout=60)
        assert get(site, "/private/files/note.txt").status_code == status


def test_a_public_file_can_be_made_private(site):
    name = upload(site).json()["message"]["name"]
    change = {"is_private": 1}
    requests.put(f"{site.url}/api/resource/File/{name}", json=change, headers=headers(site), timeout=60)
    assert get(site, "/private/files/note.txt").content == b"hello\n"
    assert get(site, "/files/note.txt", user=None).status_code == 500


def test_a_file_is_attached_through_json_too(site):
    note = site.insert("Note", title="A note")
    body = {
        "filename": "x.txt",
        "filedata": base64.b64encode(b"x\n").decode(),
        "decode_base64": 1,
        "is_private": 1,
    }
    url = f"{site.url}/api/method/frappe.client.attach_file"
    target = {"doctype": "Note", "docname": note["name"]}
    said = requests.post(url, json={**body, **target}, headers=headers(site), timeout=60).json()["message"]
    assert (said["attached_to_doctype"], said["attached_to_name"]) == ("Note", note["name"])
    assert said["folder"] == "Home/Attachments"
    assert get(site, said["file_url"]).content == b"x\n"


@pytest.mark.parametrize("path", ["download_file", "frappe.core.doctype.file.file.download_file"])
def test_the_download_method_names_the_file(site, path):
    upload(site, is_private=1)
    answer = get(site, f"/api/method/{path}?file_url=/private/files/note.txt")
    assert answer.content == b"hello\n"
    assert answer.headers["Content-Disposition"] == "attachment; filename=note.txt"


@pytest.mark.parametrize(
    ("form", "status", "exc_type"),
    [
        ({"folder": "Home/Nope"}, 417, "LinkValidationError"),
        ({"doctype": "Note"}, 417, "ValidationError"),
        ({"doctype": "Nope", "docname": "x"}, 500, "ImportError"),
    ],
)
def test_bad_targets_are_refused(site, form, status, exc_type):
    answer = upload(site, **form)
    assert (answer.status_code, answer.json()["exc_type"]) == (status, exc_type)


def test_website_users_upload_harmless_types_only(site):
    assert upload(site, "x.sh", user=WENDY).status_code == 417
    assert upload(site, "x.txt", user=WENDY).status_code == 200


def test_guests_upload_nothing(site):
    answer = requests.post(f"{site.url}/api/method/upload_file", files={"file": ("x.txt", b"x")}, timeout=60)
    assert answer.status_code == 403


def test_a_name_cannot_leave_its_folder(site):
    said = upload(site, "../../x.txt", is_private=1).json()["message"]
    assert said["file_url"] == "/private/files/....x.txt"


def test_a_print_is_a_real_pdf(site):
    note = site.insert("Note", title="Ein (kleiner) Test")
    query = f"doctype=Note&name={note['name']}"
    answer = get(site, f"/api/method/frappe.utils.print_format.download_pdf?{query}")
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-1.4")
    assert b"Ein \\(kleiner\\) Test" in answer.content
    table = int(answer.content.rpartition(b"startxref\n")[2].split()[0])
    assert answer.content[table:].startswith(b"xref\n0 6\n")
