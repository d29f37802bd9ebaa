"""The main job as a person does it, in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PHONE

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def fill_lead(visitor, first_name):
    visitor.open("/leads/new/")
    visitor.page.get_by_label("First name").fill(first_name)
    visitor.page.get_by_label("Organization").fill("Analytical Engines")
    visitor.page.get_by_role("button", name="Create lead").click()
    visitor.page.wait_for_url(re.compile("/erpnext/writes/"))


def test_connect_read_write_and_disconnect(visitor):
    page = visitor.page
    visitor.open("/")
    visitor.picture("home")
    visitor.sign_in()
    visitor.go_to_consent()
    visitor.picture("allow")
    visitor.allow()
    expect(page.get_by_role("heading", name="Customers")).to_be_visible()
    expect(page.locator("tbody tr")).to_have_count(20)
    visitor.picture("customers")

    page.locator("tbody a").first.click()
    page.wait_for_url(re.compile("/customers/.+"))
    expect(page.get_by_role("heading", name="Sales orders")).to_be_visible()
    visitor.picture("customer")

    fill_lead(visitor, "Ada")
    page.evaluate("window.notReloaded = true")
    page.get_by_text("ERPNext has it.").wait_for()
    assert page.evaluate("window.notReloaded") is True
    expect(page.get_by_role("link", name="Look again")).to_be_hidden()
    visitor.picture("write-done")
    name = page.locator("[data-bridge=document]").inner_text()
    visitor.open("/erpnext/writes/")
    expect(page.get_by_role("link", name=name)).to_be_visible()
    visitor.picture("writes")

    visitor.disconnect()
    visitor.open("/customers/")
    assert page.url.startswith(f"{visitor.demo.url}/erpnext/connect/")


def test_deny_comes_back_and_connects_nothing(visitor):
    visitor.sign_in("guest")
    visitor.go_to_consent()
    visitor.page.locator("#deny").click()
    visitor.page.get_by_role("heading", name="Cancelled").wait_for()
    visitor.open("/")
    expect(visitor.page.get_by_text("Not connected")).to_be_visible()


def test_search_filters_order_and_pages_keep_each_other(visitor):
    page = visitor.page
    visitor.connect()
    page.get_by_label("State").select_option("active")
    page.get_by_role("button", name="Search").click()
    # Each click is on the page that the one before has led to.
    page.wait_for_url(re.compile("state=active"))
    page.get_by_role("link", name="Territory").click()
    page.wait_for_url(re.compile("order=territory"))
    page.get_by_role("link", name="Next", exact=True).click()
    page.wait_for_url(re.compile("page=2"))
    assert {"state=active", "order=territory"} <= set(page.url.partition("?")[2].split("&"))
    territories = page.locator("td[data-label=Territory]").all_inner_texts()
    assert territories == sorted(territories)
    page.get_by_label("Search").fill("no such customer anywhere")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_text("No customer matches.")).to_be_visible()
    visitor.disconnect()


def test_works_without_javascript(visitor_with):
    visitor = visitor_with(java_script_enabled=False)
    visitor.connect()
    fill_lead(visitor, "Grace")
    visitor.page.get_by_text("ERPNext has it.").wait_for()
    expect(visitor.page.locator("[data-bridge=document]")).to_be_visible()
    visitor.disconnect()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(visitor_with, scheme):
    visitor = visitor_with(viewport=PHONE, color_scheme=scheme, device_scale_factor=2)
    visitor.connect()
    for path, name in PAGES.items():
        visitor.open(path)
        if name == "customer":
            visitor.page.locator("tbody a").first.click()
            visitor.page.wait_for_url(re.compile("/customers/.+"))
        width = visitor.page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], name
        visitor.picture(f"{name}-phone-{scheme}")
    visitor.disconnect()


PAGES = {
    "/": "home",
    "/customers/": "customers",
    "/customers/?order=customer_name": "customer",
    "/leads/new/": "lead",
    "/erpnext/writes/": "writes",
    "/erpnext/": "connections",
}
