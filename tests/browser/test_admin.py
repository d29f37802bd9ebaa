"""Documents in the admin, in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


def test_an_order_in_the_admin(visitor):
    page = visitor.page
    visitor.sign_in()
    visitor.open("/admin/erp/salesorder/")
    assert "/erpnext/connect/?next=%2Fadmin%2Ferp%2Fsalesorder%2F" in page.url
    visitor.picture("admin-connect")
    page.get_by_role("button", name=re.compile("Continue")).click()
    page.get_by_label("Email").fill("alice@example.com")
    page.get_by_label("Password").fill("alice-sandbox")
    page.get_by_role("button", name="Login").click()
    page.locator("#allow").click()
    page.wait_for_url(re.compile("/admin/erp/salesorder/$"))
    expect(page.locator("#result_list tbody tr")).to_have_count(100)
    visitor.picture("admin-orders")

    page.get_by_role("link", name="Add sales order").click()
    page.get_by_label("Customer:").locator("xpath=following-sibling::span").first.click()
    page.locator(".select2-search__field").fill("Co")
    option = page.locator(".select2-results__option:not(.loading-results)").first
    option.wait_for()
    visitor.picture("admin-autocomplete")
    customer = option.inner_text()
    option.click()
    page.get_by_label("Transaction date:").fill("2026-01-02")
    page.get_by_label("Delivery date:").fill("2026-01-09")
    page.get_by_text("Add another Sales order item").click()
    page.locator("#id_items-0-item_code").fill("no such item")
    page.locator("#id_items-0-qty").fill("2")
    page.locator("#id_items-0-rate").fill("10")
    page.get_by_role("button", name="Save and continue editing").click()
    page.locator(".errornote").wait_for()
    visitor.picture("admin-refused")
    expect(page.get_by_text("Row #1").first).to_be_visible()
    expect(page.locator("#id_items-0-qty")).to_have_value(re.compile(r"^2(\.0)?$"))

    page.locator("#id_items-0-item_code").fill("ASSEMBLY-001")
    page.get_by_role("button", name="Save and continue editing").click()
    page.get_by_text("was added successfully").wait_for()
    expect(page.locator(".select2-selection__rendered").first).to_contain_text(customer)
    page.locator("#id_items-0-qty").fill("3")
    page.get_by_role("button", name="Save and submit").click()
    page.get_by_text("1 sales order submitted.").wait_for()
    visitor.picture("admin-submitted")
    expect(page.get_by_role("button", name="Save", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Cancel this document").click()
    page.get_by_text("1 sales order cancelled.").wait_for()
    page.get_by_role("button", name="Amend").click()
    page.wait_for_url(re.compile("-1/change/$"))
    page.get_by_role("link", name="History").click()
    page.get_by_role("heading", name="Change history").wait_for()
    visitor.disconnect()
