"""Spans for OpenTelemetry: each request, inside the delivery that it is for, and nothing secret in any."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from erpnext_bridge.access import open_site
from erpnext_bridge.telemetry import instrument, uninstrument
from erpnext_bridge.writes import enqueue, perform
from tests.write_site import SERVICE, open_write_site

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(settings):
    with open_write_site(settings) as running:
        yield running


@pytest.fixture
def spans():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    instrument(provider)
    yield exporter.get_finished_spans
    uninstrument()
    provider.shutdown()


def deliver(**payload):
    return perform(enqueue("create", SERVICE, "Ticket", payload=payload).pk)


def test_a_delivery_is_a_span_around_its_requests(site, spans):
    write = deliver(subject="confidential matter")
    *requests, delivery = spans()
    assert delivery.name == "create Ticket"
    assert delivery.attributes["erpnext_bridge.writes"] == (str(write.pk),)
    assert delivery.attributes["erpnext_bridge.states"] == ("done",)
    assert delivery.status.status_code == StatusCode.UNSET
    assert requests
    for span in requests:
        assert span.parent.span_id == delivery.context.span_id
        assert span.kind == SpanKind.CLIENT
        assert span.attributes["http.response.status_code"] == 200
        assert span.start_time <= span.end_time
    assert "confidential" not in str([(span.name, dict(span.attributes)) for span in spans()])


def test_what_went_wrong_is_told(site, spans):
    deliver()
    *requests, delivery = spans()
    assert delivery.status.status_code == StatusCode.ERROR
    assert delivery.status.description == "ValidationRefused"
    assert requests[-1].status.status_code == StatusCode.ERROR


def test_no_answer_is_an_error(site, spans):
    site.trouble("drop_before", match="/api/method/frappe.client.insert_many")
    deliver(subject="x")
    (lost,) = [span for span in spans() if span.status.description == "no answer"]
    assert "http.response.status_code" not in lost.attributes


def test_a_page_has_its_requests_as_children(site, spans):
    client = open_site(SERVICE).client
    provider = TracerProvider()
    with provider.get_tracer("tests").start_as_current_span("page") as page:
        client.list("Ticket", fields=["name"], filters=[["subject", "=", "confidential"]])
    (span,) = [span for span in spans() if span.name == "GET /api/resource/Ticket"]
    assert span.parent.span_id == page.get_span_context().span_id
    assert "confidential" not in str(dict(span.attributes))
    provider.shutdown()


def test_a_name_is_in_no_span_name(site, spans):
    name = deliver(subject="x").document_name
    open_site(SERVICE).client.read("Ticket", name)
    assert spans()[-1].name == "GET /api/resource/Ticket"


def test_instrumenting_twice_tells_each_once(site, spans):
    deliver(subject="x")
    once = len(spans())
    instrument(trace.get_tracer_provider())
    deliver(subject="y")
    assert len(spans()) == once
