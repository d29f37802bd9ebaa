"""A long list is read whole while others write: `make paging` does it at length."""

from __future__ import annotations

import pytest
from django.test.utils import isolate_apps

from tests.paging import documents, model, sandbox, walk_while_writing


@pytest.mark.parametrize("version", [15, 16])
@isolate_apps("tests.erp")
def test_no_document_that_stays_put_is_lost_or_repeated(settings, version):
    stay = {each["name"] for each in documents(400)}
    with sandbox(version, len(stay)) as (client, writes):
        site = {"URL": client.url, "API_KEY": client.credentials.key, "API_SECRET": client.credentials.secret}
        settings.ERPNEXT_BRIDGE = {"SITES": {"default": site}, "TOKEN_KEYS": ["k" * 40], "PAGE_SIZE": 25}
        queryset = model().objects.as_service()
        figures = walk_while_writing(queryset, stay, writes, lambda figures: figures.writes > 60)
    assert (figures.lost, figures.repeated) == ([], [])
    # The writer's documents came along, so that pages did move.
    assert figures.rows > figures.walks * len(stay)
