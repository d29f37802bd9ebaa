"""The settings are frozen values, read each time, and refuse what they do not know."""

from __future__ import annotations

import dataclasses

import pytest
from django.core.exceptions import ImproperlyConfigured

from erpnext_bridge.conf import get_settings, get_site, site_from_url

URL = "https://erp.example.com"


def bridge(settings, **values):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": URL}}, **values}


def test_settings_are_read_each_time_they_are_used(settings):
    bridge(settings, PAGE_SIZE=7)
    assert get_settings().page_size == 7
    bridge(settings)
    assert get_settings().page_size == 500


def test_a_missing_setting_names_itself(settings):
    del settings.ERPNEXT_BRIDGE
    with pytest.raises(ImproperlyConfigured, match="The setting ERPNEXT_BRIDGE is missing"):
        get_settings()


@pytest.mark.parametrize("value", [None, [], "https://erp.example.com"])
def test_a_setting_that_is_no_dict_is_refused(settings, value):
    settings.ERPNEXT_BRIDGE = value
    with pytest.raises(ImproperlyConfigured, match="Set it to a dict"):
        get_settings()


def test_a_misspelled_key_is_refused_with_the_known_ones(settings):
    bridge(settings, TOKEN_KEY=["x"])
    with pytest.raises(
        ImproperlyConfigured, match=r"ERPNEXT_BRIDGE has no key 'TOKEN_KEY'\. Known keys:.*TOKEN_KEYS"
    ):
        get_settings()


def test_a_misspelled_key_of_a_site_names_the_site(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"erp": {"URL": URL, "CLIENTID": "x"}}}
    with pytest.raises(ImproperlyConfigured, match=r"\['SITES'\]\['erp'\] has no key 'CLIENTID'"):
        get_settings()


def test_a_site_that_is_no_dict_is_refused(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"erp": 3}}
    with pytest.raises(ImproperlyConfigured, match="must be a dict with 'URL', or a URL"):
        get_settings()


def test_an_unknown_site_is_refused_with_the_known_ones(settings):
    bridge(settings)
    with pytest.raises(ImproperlyConfigured, match=r"no site 'berlin' \(known: 'default'\)"):
        get_site("berlin")


def test_lists_become_tuples(settings):
    bridge(settings, TOKEN_KEYS=["a", "b"], TIMEOUT=[1, 2])
    assert (get_settings().token_keys, get_settings().timeout) == (("a", "b"), (1, 2))


def test_settings_and_sites_are_frozen(settings):
    bridge(settings)
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_site().url = "https://evil.example"


def test_a_trailing_slash_of_the_url_is_dropped(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": URL + "/"}}}
    assert get_site().url == URL


def test_secrets_are_in_no_repr(settings):
    settings.ERPNEXT_BRIDGE = {
        "SITES": {
            "default": {
                "URL": URL,
                "CLIENT_SECRET": "hush-1",
                "API_KEY": "hush-2",
                "API_SECRET": "hush-3",
                "PASSWORD": "hush-4",
            }
        },
        "TOKEN_KEYS": ["hush-5"],
    }
    assert "hush" not in repr(get_settings())


@pytest.mark.parametrize(
    ("given", "can_connect", "has_service_account"),
    [
        ({}, False, False),
        ({"CLIENT_ID": "c"}, True, False),
        ({"API_KEY": "k"}, False, False),
        ({"API_KEY": "k", "API_SECRET": "s"}, False, True),
        ({"USERNAME": "u", "PASSWORD": "p"}, False, True),
        ({"USERNAME": "u", "API_SECRET": "s"}, False, False),
    ],
)
def test_what_a_site_offers_follows_from_its_credentials(settings, given, can_connect, has_service_account):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": {"URL": URL, **given}}}
    site = get_site()
    assert (site.can_connect, site.has_service_account) == (can_connect, has_service_account)


def test_a_site_is_called_by_its_title_or_its_host(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"a": {"URL": URL, "TITLE": "Head office"}, "b": {"URL": URL}}}
    assert (get_site("a").label, get_site("b").label) == ("Head office", "erp.example.com")


def test_one_environment_value_holds_a_site():
    entry = site_from_url("https://client:s%40cret@erp.example.com/?scope=openid+all&version=16&title=ERP")
    assert entry == {
        "URL": URL,
        "CLIENT_ID": "client",
        "CLIENT_SECRET": "s@cret",
        "SCOPE": "openid all",
        "VERSION": 16,
        "TITLE": "ERP",
    }


def test_a_site_may_be_given_as_that_value(settings):
    settings.ERPNEXT_BRIDGE = {"SITES": {"default": "http://client:secret@localhost:8000"}}
    site = get_site()
    assert (site.url, site.client_id, site.client_secret) == ("http://localhost:8000", "client", "secret")
