"""Traces: a span of each part of a call leaves for a collector, and nothing that a client wrote is in it."""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from factories import free_port
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from structlog.testing import capture_logs

from service import create_app, tracing

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PATH = "/api/v1/generate"


@pytest.fixture
def collector():
    """An OTLP collector on loopback: `url`, and the bodies that came to /v1/traces."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            server.came.append((self.path, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.came, server.url = [], f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def spans_of(collector):
    """(service's name, span) of all that came."""
    found = []
    for path, body in collector.came:
        assert path == "/v1/traces"
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            (name,) = [a.value.string_value for a in resource.resource.attributes if a.key == "service.name"]
            found += [(name, span) for scope in resource.scope_spans for span in scope.spans]
    return found


def attributes(span):
    return {a.key: a.value.string_value or a.value.int_value for a in span.attributes}


@pytest.fixture(autouse=True)
def ended():
    """No test leaves traces on for the next one."""
    yield
    tracing.stop()


@pytest.fixture
def traced(collector, monkeypatch, make_client):
    """`traced()`: a client of a service that traces; `traced.spans()`: by name, once they have left."""
    monkeypatch.setenv(ENDPOINT, collector.url)
    client = make_client()

    def spans():
        tracing.stop()
        return {span.name: span for _, span in spans_of(collector)}

    client.spans = spans
    return client


def test_each_part_of_a_call_is_a_span_of_its_request(traced, collector, new_license):
    license = new_license()
    headers = license.headers | {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    response = traced.post(PATH, json={"prompt": "a secret prompt"}, headers=headers, buffered=True)
    assert response.status_code == 200

    spans = traced.spans()
    request = spans[f"POST {PATH}"]
    assert set(spans) == {f"POST {PATH}", "open_hold", "upstream", "settle_hold"}
    for name in ("open_hold", "upstream", "settle_hold"):
        assert (spans[name].trace_id, spans[name].parent_span_id) == (request.trace_id, request.span_id)
    assert request.parent_span_id == b""
    assert request.trace_id.hex() != "0af7651916cd43dd8448eb211c80319c"
    assert attributes(request) == {
        "http.request.method": "POST",
        "http.route": PATH,
        "http.response.status_code": 200,
        "obol.request_id": response.headers["request-id"],
    }
    assert attributes(spans["upstream"]) == {"obol.model": "*"}
    assert [name for name, _ in spans_of(collector)] == ["obol"] * 4
    sent = b"".join(body for _, body in collector.came)
    for secret in (license.raw_key, str(license.id), "a secret prompt", response.get_json()["text"], "test-upstream"):
        assert secret.encode() not in sent


def test_a_stream_s_spans_end_with_it(traced, new_license):
    body = {"prompt": "Hello", "stream": True}
    assert traced.post(PATH, json=body, headers=new_license().headers, buffered=True).status_code == 200

    spans = traced.spans()
    request, upstream, settle = (spans[name] for name in (f"POST {PATH}", "upstream", "settle_hold"))
    assert upstream.end_time_unix_nano <= settle.start_time_unix_nano
    assert settle.end_time_unix_nano <= request.end_time_unix_nano


def test_a_failure_is_told_by_its_code_alone(traced, collector, new_license):
    body = {"prompt": "[sandbox status=400] a secret prompt"}
    assert traced.post(PATH, json=body, headers=new_license().headers, buffered=True).status_code == 502

    spans = traced.spans()
    for name in ("upstream", f"POST {PATH}"):
        assert spans[name].status == Status(code=Status.STATUS_CODE_ERROR)
        assert attributes(spans[name])["obol.code"] == "upstream_error"
        assert list(spans[name].events) == []
    assert b"The prompt asked for" not in b"".join(body for _, body in collector.came)


def test_a_refusal_of_the_database_is_a_failed_span_and_a_good_request(traced, new_license):
    headers = new_license(credits=1).headers
    assert traced.post("/api/v1/holds", json={"amount": 2}, headers=headers, buffered=True).status_code == 402

    spans = traced.spans()
    assert attributes(spans["open_hold"])["obol.code"] == "insufficient_credits"
    assert spans["POST /api/v1/holds"].status == Status()


def test_a_client_s_hold_is_traced_too(traced, new_license):
    headers = new_license().headers
    hold = traced.post("/api/v1/holds", json={"amount": 9}, headers=headers, buffered=True).get_json()
    traced.post(f"/api/v1/holds/{hold['id']}/settle", json={"amount": 4}, headers=headers, buffered=True)

    assert {"open_hold", "settle_hold", "POST /api/v1/holds/<uuid:hold_id>/settle"} <= set(traced.spans())


def test_what_nobody_foresaw_is_told_by_its_kind(traced, collector):
    with pytest.raises(ZeroDivisionError), tracing.span("open_hold"):
        1 / 0  # noqa: B018

    assert attributes(traced.spans()["open_hold"]) == {"obol.code": "ZeroDivisionError"}


def test_the_service_s_name_is_the_operator_s_choice(collector, monkeypatch, make_client):
    monkeypatch.setenv(ENDPOINT, collector.url)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    make_client().get("/healthz", buffered=True)
    tracing.stop()

    assert [name for name, _ in spans_of(collector)] == ["shop"]


def test_nothing_of_a_trace_goes_upstream(traced, upstream, new_license):
    traced.post(PATH, json={"prompt": "Hello"}, headers=new_license().headers, buffered=True)

    (received,) = upstream.received
    assert not {"traceparent", "tracestate", "baggage"} & set(received.headers)


def test_a_worker_sends_what_it_has_before_it_ends(serve, collector, new_license):
    served = serve(**{ENDPOINT: collector.url})
    assert served.post(PATH, json.dumps({"prompt": "Hello"}).encode(), new_license().headers)[0] == 200
    served.process.terminate()
    served.process.wait(30)

    assert {"open_hold", "upstream", "settle_hold", f"POST {PATH}"} <= {span.name for _, span in spans_of(collector)}


def test_a_collector_that_is_not_there_keeps_nobody(monkeypatch, make_client, new_license):
    monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{free_port()}")
    client = make_client()

    assert client.post(PATH, json={"prompt": "Hello"}, headers=new_license().headers).status_code == 200
    began_at = time.monotonic()
    tracing.stop()
    assert time.monotonic() - began_at < 5


@pytest.mark.parametrize(
    "told",
    [
        {},
        {ENDPOINT: ""},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {ENDPOINT: "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_by_itself_it_is_off_and_loads_nothing(monkeypatch, told, config):
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as lines:
        create_app(config)

    assert tracing.begin_request("GET /") is None
    assert tracing.begin("upstream") is None
    assert tracing.span("open_hold") is tracing.span("settle_hold")
    assert lines == []


def test_an_endpoint_without_the_extra_is_a_warning(monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:1/v1/traces")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as lines:
        tracing.set_up()

    assert [(line["event"], line["log_level"]) for line in lines] == [("traces_not_installed", "warning")]
    assert tracing.begin("upstream") is None
