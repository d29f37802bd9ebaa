"""The e-mail about a connection that has ended, where a project wants it."""

from __future__ import annotations

import django
import pytest

from erpnext_bridge.conf import get_site
from erpnext_bridge.errors import NeedsReconnect
from erpnext_bridge.tokens import refreshing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def wanted(connection, settings, user):
    settings.ERPNEXT_BRIDGE["RECONNECT_EMAIL"] = True
    settings.ALLOWED_HOSTS = ["shop.example.com"]
    user.email = "alice@shop.example.com"
    user.save()
    return connection


def end(connection, site):
    site.revoke_tokens()
    with pytest.raises(NeedsReconnect):
        refreshing.refresh(connection, get_site())


def test_the_user_is_told_once_and_where_to_go(wanted, site, mailoutbox, settings):
    settings.ERPNEXT_BRIDGE["SITES"]["default"]["TITLE"] = "Our\nERPNext & Co"
    end(wanted, site)
    (mail,) = mailoutbox
    assert mail.to == ["alice@shop.example.com"]
    assert mail.subject == "Connect to Our ERPNext & Co again"
    assert "https://shop.example.com/erpnext/connect/" in mail.body
    assert "expired or were revoked" in mail.body
    with pytest.raises(NeedsReconnect):
        refreshing.refresh(wanted, get_site())
    assert len(mailoutbox) == 1


def test_the_address_is_that_of_the_redirect_uri_behind_a_proxy(wanted, site, mailoutbox, settings):
    settings.ERPNEXT_BRIDGE["SITES"]["default"]["REDIRECT_URI"] = "https://www.example.com/erpnext/callback/"
    end(wanted, site)
    assert "https://www.example.com/erpnext/connect/" in mailoutbox[0].body


def test_nobody_gets_one_unasked(connection, user, site, mailoutbox):
    user.email = "alice@shop.example.com"
    user.save()
    end(connection, site)
    assert mailoutbox == []


def test_a_user_without_an_address_gets_none(wanted, user, site, mailoutbox):
    user.email = ""
    user.save()
    end(wanted, site)
    assert mailoutbox == []


def test_a_mail_server_that_is_down_ends_nothing_else(wanted, site, settings, caplog):
    smtp = "django.core.mail.backends.smtp.EmailBackend"
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": smtp, "OPTIONS": {"host": "127.0.0.1", "port": 1}}}
    else:
        settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = smtp, "127.0.0.1", 1
    end(wanted, site)
    assert "No e-mail about alice@example.com" in caplog.text
