"""The admin shows connections and ends them; it shows no token and changes nothing else."""

from __future__ import annotations

import pytest

from erpnext_bridge.models import Connection

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/erpnext_bridge/connection/"


@pytest.fixture
def admin(connection, admin_client):
    return admin_client


def test_connections_are_listed_and_shown_without_tokens(admin, connection):
    for url in (LIST, f"{LIST}{connection.pk}/change/", f"{LIST}?q=alice&health__exact=healthy"):
        page = admin.get(url).content.decode()
        assert "alice@example.com" in page
        for token in connection.tokens:
            assert token.open() not in page
            assert token.stored not in page


def test_connections_are_neither_added_nor_changed(admin, connection):
    assert admin.get(f"{LIST}add/").status_code == 403
    assert admin.post(f"{LIST}{connection.pk}/change/", {"erp_user": "Administrator"}).status_code == 403
    assert Connection.objects.get().erp_user == "alice@example.com"


def act(admin, connection):
    data = {"action": "disconnect", "_selected_action": [connection.pk]}
    return admin.post(LIST, data, follow=True).content.decode()


def test_disconnecting_revokes_and_says_so(admin, connection, site):
    assert "1 disconnected, 1 confirmed by ERPNext" in act(admin, connection)
    assert not Connection.objects.exists()
    assert [row["status"] for row in site.rows("OAuth Bearer Token")] == ["Revoked"]


def test_disconnecting_from_a_site_that_is_down_says_so(admin, connection, site):
    site.trouble("drop_before", times=None)
    page = act(admin, connection)
    assert "1 disconnected, 0 confirmed by ERPNext" in page
    assert "did not confirm the others" in page
    assert not Connection.objects.exists()


def test_deleting_in_the_admin_revokes_too(admin, connection, site):
    admin.post(f"{LIST}{connection.pk}/delete/", {"post": "yes"})
    assert not Connection.objects.exists()
    assert [row["status"] for row in site.rows("OAuth Bearer Token")] == ["Revoked"]


def test_staff_without_the_permission_may_not_disconnect(connection, client, django_user_model):
    from django.contrib.auth.models import Permission

    reader = django_user_model.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_connection"))
    client.force_login(reader)
    assert client.get(LIST).status_code == 200
    act(client, connection)
    assert Connection.objects.exists()
