"""Senders of OTLP against a real daybook: the Python and Rust SDKs, JSON by hand, and the OpenTelemetry Collector.

Started by otlp_clients.sh with the paths of the Rust sender and the Collector. Every log record must arrive once
with its fields. Metrics and traces must be refused with a partial success that says why, and the sender must be able to see it.
"""

import gzip
import json
import random
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import grpc
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from harness import SEED, Daybook, end_of, equal, fail, free_ports, scenario, spawn, wait_for, workplace

RUST_SENDER, COLLECTOR = sys.argv[1:3]
COUNT = 3000
TRACE, SPAN = 0x5B8EFFF798038103D269B633813FC60C, 0xEEE19B7EC3C1B174
METRICS_REFUSED = "does not store metrics yet"
TRACES_REFUSED = "does not store traces yet"


def refused(daybook):
    """How many data points and spans the books say were refused."""
    rejected = daybook.books("otlp")["rejected"]
    return rejected.get("metrics_not_supported", 0), rejected.get("traces_not_supported", 0)


def documents_of(daybook, tag):
    """All documents of a tag, after a refresh: what was acknowledged must be among them."""
    daybook.get("/_refresh", {})
    return daybook.events({"term": {"tag": tag}})


def check_numbers(tag, documents, count, doubles_allowed=0):
    numbers = [document["number"] for document in documents]
    missing, doubled = set(range(count)) - set(numbers), len(numbers) - len(set(numbers))
    if missing or doubled > doubles_allowed:
        fail(f"{tag}: {len(numbers)} stored, {doubled} doubled, {len(missing)} missing, first {sorted(missing)[:5]}")
    return f"{len(numbers)} stored, {doubled} doubled"


def check_fields(tag, document, expected):
    """A field is found under its dotted name or as objects within each other."""
    for name, value in expected.items():
        found = document.get(name)
        if found is None:
            found = document
            for part in name.split("."):
                found = found.get(part) if isinstance(found, dict) else None
        equal(f"{tag}: {name} in {document}", found, value)


def fields(number, service, tag, **others):
    return {
        "message": f"no money {number}", "log.level": "error", "severity_number": 17, "severity_text": "ERROR",
        "service.name": service, "service.instance.id": tag, "number": number, "price": 9.5, "is_paid": False,
        "goods": ["bread", "butter"], "customer.name": "Ada", "scope.name": "shop.till", "event.name": "shop.paid",
        "trace.id": f"{TRACE:032x}", "span.id": f"{SPAN:016x}", **others,
    }


# The Python SDK


def emit(exporter, tag, numbers, service="python-shop", pause=0.0):
    provider = LoggerProvider(resource=Resource.create({"service.name": service, "service.instance.id": tag}))
    # A queue that holds everything: the SDK drops what does not fit into it.
    provider.add_log_record_processor(BatchLogRecordProcessor(exporter, schedule_delay_millis=100, max_queue_size=100_000))
    logger = provider.get_logger("shop.till", "1.2")
    context = trace.set_span_in_context(trace.NonRecordingSpan(
        trace.SpanContext(TRACE, SPAN, is_remote=False, trace_flags=trace.TraceFlags(1))))
    start = time.time_ns() - 60 * 10**9
    for number in numbers:
        logger.emit(LogRecord(
            timestamp=start + number * 10**6, context=context, severity_number=SeverityNumber.ERROR, severity_text="ERROR",
            body=f"no money {number}", event_name="shop.paid",
            attributes={"tag": tag, "number": number, "price": 9.5, "is_paid": False, "goods": ["bread", "butter"],
                        "customer": {"name": "Ada"}}))
        time.sleep(pause)
    if not provider.force_flush(60_000):
        fail(f"{tag}: the exporter did not get rid of its records")
    provider.shutdown()


def sample_and_span():
    """What the SDK would send of a counter and a span."""
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    MeterProvider([reader]).get_meter("shop.till").create_counter("payments").add(1)
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    provider.get_tracer("shop.till").start_span("pay").end()
    return encode_metrics(reader.get_metrics_data()), encode_spans(spans.get_finished_spans())


def check_partial_success(what, reply, count_name, message):
    """The SDK's own reading of the answer; its exporters do not look at it."""
    equal(f"{what}: {count_name}", getattr(reply.partial_success, count_name), 1)
    if message not in reply.partial_success.error_message:
        fail(f"{what}: the partial success says {reply.partial_success.error_message!r}")


def post(url, body, headers):
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as reply:
        return reply.headers["content-type"], reply.read()


def python_sdk(daybook):
    http = f"http://127.0.0.1:{daybook.ports.otlp_http}"
    for name, exporter in {
        "python-grpc": GrpcLogExporter(f"127.0.0.1:{daybook.ports.otlp_grpc}", insecure=True),
        "python-grpc-gzip": GrpcLogExporter(f"127.0.0.1:{daybook.ports.otlp_grpc}", insecure=True, compression=grpc.Compression.Gzip),
        "python-http": HttpLogExporter(f"{http}/v1/logs"),
        "python-http-gzip": HttpLogExporter(f"{http}/v1/logs", compression=HttpCompression.Gzip),
    }.items():
        emit(exporter, name, range(COUNT))
        documents = documents_of(daybook, name)
        found = check_numbers(name, documents, COUNT)
        check_fields(name, documents[7], fields(7, "python-shop", name, **{"scope.version": "1.2"}))
        print(f"  {name}: {found}")

    metrics, spans = sample_and_span()
    before = refused(daybook)
    with grpc.insecure_channel(f"127.0.0.1:{daybook.ports.otlp_grpc}") as channel:
        reply = metrics_service_pb2_grpc.MetricsServiceStub(channel).Export(metrics)
        check_partial_success("gRPC", reply, "rejected_data_points", METRICS_REFUSED)
        reply = trace_service_pb2_grpc.TraceServiceStub(channel).Export(spans)
        check_partial_success("gRPC", reply, "rejected_spans", TRACES_REFUSED)
    binary = {"content-type": "application/x-protobuf"}
    _, reply = post(f"{http}/v1/metrics", metrics.SerializeToString(), binary)
    reply = metrics_service_pb2.ExportMetricsServiceResponse.FromString(reply)
    check_partial_success("HTTP", reply, "rejected_data_points", METRICS_REFUSED)
    _, reply = post(f"{http}/v1/traces", spans.SerializeToString(), binary)
    reply = trace_service_pb2.ExportTraceServiceResponse.FromString(reply)
    check_partial_success("HTTP", reply, "rejected_spans", TRACES_REFUSED)
    equal("refused after the Python SDK", refused(daybook), (before[0] + 2, before[1] + 2))
    print("  python: metrics and traces refused by a partial success over gRPC and HTTP")


# JSON by hand


def json_by_hand(daybook):
    tag, count = "json", 100
    start = time.time_ns() - 60 * 10**9
    records = [{
        # Numbers of 64 bits as text and as numbers, ids in capitals, a key nobody knows.
        "timeUnixNano": str(start + n) if n % 2 else start + n, "severityNumber": 17, "severityText": "ERROR",
        "body": {"stringValue": f"no money {n}"}, "eventName": "shop.paid", "fromTheFuture": {"x": [1]},
        "traceId": f"{TRACE:032X}", "spanId": f"{SPAN:016X}", "flags": 1,
        "attributes": [
            {"key": "tag", "value": {"stringValue": tag}}, {"key": "number", "value": {"intValue": str(n) if n % 2 else n}},
            {"key": "price", "value": {"doubleValue": 9.5}}, {"key": "is_paid", "value": {"boolValue": False}},
            {"key": "goods", "value": {"arrayValue": {"values": [{"stringValue": "bread"}, {"stringValue": "butter"}]}}},
            {"key": "customer",
             "value": {"kvlistValue": {"values": [{"key": "name", "value": {"stringValue": "Ada"}}]}}},
        ],
    } for n in range(count)]

    def request(records):
        return json.dumps({"resourceLogs": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "hand"}},
                                        {"key": "service.instance.id", "value": {"stringValue": tag}}]},
            "scopeLogs": [{"scope": {"name": "shop.till", "version": "1.2"}, "logRecords": records}]}]}).encode()

    http = f"http://127.0.0.1:{daybook.ports.otlp_http}"
    kind = {"content-type": "application/json; charset=utf-8"}
    equal("answer to JSON", post(f"{http}/v1/logs", request(records[:50]), kind), ("application/json", b"{}"))
    packed = gzip.compress(request(records[50:]))
    # The main listener takes it too, under Loki's path.
    main = f"http://127.0.0.1:{daybook.ports.http}/otlp/v1/logs"
    equal("answer to gzip", post(main, packed, {**kind, "content-encoding": "gzip"}), ("application/json", b"{}"))
    documents = documents_of(daybook, tag)
    found = check_numbers(tag, documents, count)
    for number in (7, 8, 77):
        check_fields(tag, documents[number], fields(number, "hand", tag))

    before = refused(daybook)
    metrics = {"resourceMetrics": [{"scopeMetrics": [{"metrics": [
        {"name": "payments", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [{"asInt": "1"}]}},
        {"name": "load", "gauge": {"dataPoints": [{"asDouble": 0.5}, {"asDouble": 0.25}]}}]}]}]}
    spans = {"resourceSpans": [{"scopeSpans": [{"spans": [{"name": "pay", "traceId": f"{TRACE:032x}"}]}]}]}
    for path, body, count_name, count, message in [
        ("metrics", metrics, "rejectedDataPoints", "3", METRICS_REFUSED),
        ("traces", spans, "rejectedSpans", "1", TRACES_REFUSED),
    ]:
        partial = json.loads(post(f"{http}/v1/{path}", json.dumps(body).encode(), kind)[1])["partialSuccess"]
        equal(f"JSON, {path}", partial[count_name], count)
        if message not in partial["errorMessage"]:
            fail(f"JSON, {path}: {partial}")
    equal("refused after JSON", refused(daybook), (before[0] + 3, before[1] + 1))
    try:
        post(f"{http}/v1/logs", b'{"resourceLogs": [{', kind)
        fail("broken JSON was taken")
    except urllib.error.HTTPError as error:
        status = json.load(error)
        equal("broken JSON", (error.code, status["code"], error.headers["content-type"]), (400, 3, "application/json"))
    print(f"  json: {found}; metrics and traces refused by a partial success")


# The Rust SDK


def rust_sdk(daybook):
    http, grpc_address = f"http://127.0.0.1:{daybook.ports.otlp_http}", f"http://127.0.0.1:{daybook.ports.otlp_grpc}"
    for transport, endpoint in [("grpc", grpc_address), ("http", http), ("json", http)]:
        for compression in ["none", "gzip", "zstd"]:
            tag = f"rust-{transport}-{compression}"
            before = refused(daybook)
            ran = subprocess.run([RUST_SENDER, transport, compression, endpoint, tag, str(COUNT)],
                                 capture_output=True, text=True, timeout=120)
            if ran.returncode != 0:
                fail(f"{tag}: the sender ended with {ran.returncode}: {ran.stderr[-2000:]}")
            documents = documents_of(daybook, tag)
            found = check_numbers(tag, documents, COUNT)
            check_fields(tag, documents[7], fields(7, "rust-shop", tag))
            equal(f"{tag}: refused", refused(daybook), (before[0] + 1, before[1] + 1))
            told = METRICS_REFUSED in ran.stderr and TRACES_REFUSED in ran.stderr
            if transport == "grpc" and not told:
                fail(f"{tag}: the SDK does not tell of the partial success: {ran.stderr!r}")
            print(f"  {tag}: {found}; metrics and traces refused{', which the SDK tells' if told else ''}")


# The Collector


class Collector:
    """Two pipelines of its own: what comes over OTLP goes on by gRPC, lines of a file go on by HTTP."""

    def __init__(self, work, daybook, name, compression):
        self.receiver, = free_ports(1)
        self.lines, self.log = work / f"{name}.log", work / f"{name}.collector.log"
        self.lines.touch()
        # Retries without end and a queue that holds all of it: what the sender must do so that nothing is lost.
        patience = ("sending_queue: { queue_size: 100000 }, "
                    "retry_on_failure: { initial_interval: 100ms, max_interval: 1s, max_elapsed_time: 0 }")
        (work / f"{name}.yaml").write_text(f"""
receivers:
  otlp: {{ protocols: {{ grpc: {{ endpoint: "127.0.0.1:{self.receiver}" }} }} }}
  file_log:
    include: ["{self.lines}"]
    start_at: beginning
    poll_interval: 50ms
    operators: [{{ type: json_parser, timestamp: {{ parse_from: attributes.time, layout_type: epoch, layout: s.us }} }}]
exporters:
  otlp_grpc: {{ endpoint: "127.0.0.1:{daybook.ports.otlp_grpc}", tls: {{ insecure: true }}, compression: {compression}, {patience} }}
  otlp_http: {{ endpoint: "http://127.0.0.1:{daybook.ports.otlp_http}", compression: {compression}, {patience} }}
service:
  telemetry: {{ metrics: {{ level: none }}, logs: {{ encoding: json }} }}
  pipelines:
    logs/otlp: {{ receivers: [otlp], exporters: [otlp_grpc] }}
    logs/file: {{ receivers: [file_log], exporters: [otlp_http] }}
    metrics: {{ receivers: [otlp], exporters: [otlp_grpc, otlp_http] }}
    traces: {{ receivers: [otlp], exporters: [otlp_grpc, otlp_http] }}
""")
        self.process = spawn([COLLECTOR, "--config", work / f"{name}.yaml"], self.log)
        wait_for("the Collector to be ready", lambda: "Everything is ready" in self.told())

    def told(self):
        if self.process.poll() is not None:
            fail(f"the Collector ended: {end_of(self.log)}")
        return self.log.read_text()

    def write(self, tag, numbers, pause=0.0):
        with open(self.lines, "a", buffering=1) as lines:
            for number in numbers:
                line = {"time": f"{time.time():.6f}", "tag": tag, "number": number, "text": f"no money {number}"}
                lines.write(json.dumps(line) + "\n")
                time.sleep(pause)


def collector_sends(daybook, collector, name):
    target = f"127.0.0.1:{collector.receiver}"
    over_grpc, over_http = f"{name}-otlp", f"{name}-file"
    emit(GrpcLogExporter(target, insecure=True), over_grpc, range(COUNT))
    collector.write(over_http, range(COUNT))
    for tag in (over_grpc, over_http):
        wait_for(f"all of {tag}", lambda: len(documents_of(daybook, tag)) >= COUNT)
    documents = documents_of(daybook, over_grpc)
    found = check_numbers(over_grpc, documents, COUNT)
    check_fields(over_grpc, documents[7], fields(7, "python-shop", over_grpc, **{"scope.version": "1.2"}))
    print(f"  {over_grpc}: {found}")
    documents = documents_of(daybook, over_http)
    found = check_numbers(over_http, documents, COUNT)
    check_fields(over_http, documents[7], {"number": 7, "text": "no money 7", "log.file.name": collector.lines.name})
    print(f"  {over_http}: {found}")


def collector_tells_of_refusals(daybook, collector):
    target, before = f"127.0.0.1:{collector.receiver}", refused(daybook)
    meters = MeterProvider([PeriodicExportingMetricReader(GrpcMetricExporter(target, insecure=True))])
    meters.get_meter("shop.till").create_counter("payments").add(1)
    meters.shutdown()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(GrpcSpanExporter(target, insecure=True)))
    tracers.get_tracer("shop.till").start_span("pay").end()
    tracers.shutdown()
    wait_for("the Collector's samples and spans", lambda: refused(daybook) == (before[0] + 2, before[1] + 2))
    for message in (METRICS_REFUSED, TRACES_REFUSED):
        # By both exporters.
        wait_for(f"the Collector to tell: {message}", lambda: collector.told().count(message) >= 2)
    if '"level":"error"' in collector.told():
        fail(f"the Collector tells of errors: {collector.told()[-3000:]}")
    print("  collector: metrics and traces refused, which both exporters tell")


def collector_while_daybook_restarts(daybook, collector):
    """Sending goes on while daybook is stopped and killed; only batches whose answer was lost may come twice."""
    chance, count = random.Random(SEED), 8000
    over_grpc, over_http = "restarts-otlp", "restarts-file"
    target = GrpcLogExporter(f"127.0.0.1:{collector.receiver}", insecure=True)
    senders = [
        threading.Thread(target=emit, args=(target, over_grpc, range(count)), kwargs={"pause": 0.001}),
        threading.Thread(target=collector.write, args=(over_http, range(count)), kwargs={"pause": 0.001}),
    ]
    for sender in senders:
        sender.start()
    ends = [daybook.stop, daybook.kill, daybook.stop, daybook.kill]
    for end in ends:
        time.sleep(chance.uniform(0.3, 1.2))
        end()
        time.sleep(chance.uniform(0.1, 0.5))
        daybook.start()
    were_sending = any(sender.is_alive() for sender in senders)
    for sender in senders:
        sender.join()
    for tag in (over_grpc, over_http):
        wait_for(f"all of {tag}", lambda: len({d["number"] for d in documents_of(daybook, tag)}) == count, seconds=90)
        # What was under way when daybook was killed: a few batches of some 100 records, twice.
        found = check_numbers(tag, documents_of(daybook, tag), count, doubles_allowed=1000)
        print(f"  {tag}: {found}; {len(ends)} restarts{'' if were_sending else ', the last after everything was sent'}")
    daybook.settled_books("otlp")


def main(work):
    daybook = Daybook(work / "daybook", listen=["otlp_grpc", "otlp_http"]).start()
    with scenario("the Python SDK"):
        python_sdk(daybook)
    with scenario("JSON by hand"):
        json_by_hand(daybook)
    with scenario("the Rust SDK"):
        rust_sdk(daybook)
    for compression in ("none", "gzip", "zstd"):
        with scenario(f"the Collector, compression {compression}"):
            collector = Collector(work, daybook, f"collector-{compression}", compression)
            collector_sends(daybook, collector, f"collector-{compression}")
            if compression == "gzip":
                collector_tells_of_refusals(daybook, collector)
    with scenario("the Collector, daybook restarted under it"):
        collector_while_daybook_restarts(daybook, collector)
    daybook.stop()


with workplace() as work:
    main(work)
