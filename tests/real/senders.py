"""Senders of every push protocol, small and alike: one connection each, written as the protocols' pages say.

`send(numbers, bad)` sends one batch: an event for each number, with the number at the beginning of its message, and `bad` items
that must be refused while their neighbours are kept. It returns when the receiver has acknowledged the batch, or at once where the
protocol has no acknowledgement. Whatever goes wrong on the way is an `OSError`: then a shipper sends the batch again.
"""

import gzip
import http.client
import json
import os
import socket
import struct
import threading
import time
import zlib

from harness import fail

# Of a daybook that all of them can reach.
LISTENERS = ("otlp_grpc", "otlp_http", "syslog_udp", "syslog_tcp", "gelf_udp", "gelf_tcp", "fluent_forward", "beats")
# Of senders whose events have a time of their own, the same whenever they are sent.
BEGAN = int(time.time())
# A message is some 200 bytes long, as log lines are.
FILLER = "the quick brown fox jumps over the lazy dog " * 4
# Longer than limits.event of the runs.
TOO_LONG = "x" * 100_000

NUMBERS_OF_A_SENDER = 10_000_000


class Refused(OSError):
    """The receiver said: later."""


def text_of(number):
    return f"{number:09d} {FILLER}"


def cut(connection):
    """Breaks a socket off as a dying host does: with a reset, and without sending what waits."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def number_of(message):
    """The number of a whole message; `None` for half of one."""
    number = message[:9]
    return int(number) if number.isdigit() and message == text_of(int(number)) else None


class Sender:
    index = "run"
    # Whether `send` returns only after an acknowledgement.
    acknowledges = True
    # Whether a batch that is sent again may be stored again.
    repeats = True
    # Why the ledger rejects a bad item; `None`: the protocol has none.
    bad_reason = None
    batch = 250

    def __init__(self, daybook):
        self.daybook = daybook
        self.connection = None

    def cut(self):
        """Called by another thread."""
        connection = self.connection
        if connection is not None:
            cut(connection)

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Stream(Sender):
    """Over TCP without HTTP."""

    def open(self):
        if self.connection is None:
            self.connection = socket.create_connection(("127.0.0.1", getattr(self.daybook.ports, self.listener)), timeout=120)
            self.received = b""
        return self.connection

    def read(self, count):
        while len(self.received) < count:
            piece = self.open().recv(65536)
            if not piece:
                raise ConnectionError("closed by the receiver")
            self.received += piece
        taken, self.received = self.received[:count], self.received[count:]
        return taken


class Http(Sender):
    port = "http"

    def post(self, path, body, content_type="application/json", **headers):
        if self.connection is None:
            self.client = http.client.HTTPConnection("127.0.0.1", getattr(self.daybook.ports, self.port), timeout=30)
            self.client.connect()
            self.connection = self.client.sock
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self.client.request("POST", path, body, {"content-type": content_type, **headers})
            reply = self.client.getresponse()
            content = reply.read()
        except http.client.HTTPException as problem:
            raise ConnectionError(str(problem)) from problem
        if reply.status in (429, 502, 503, 504):
            # As polite shippers do.
            time.sleep(0.2)
            raise Refused(f"{reply.status} {content[:200]}")
        return reply.status, content

    def expect(self, status, content, expected):
        if status != expected:
            fail(f"{type(self).__name__}: {status} {content[:500]}")


class ElasticBulk(Http):
    source = "elastic_bulk"
    settings = ""
    bad_reason = "malformed"

    def action(self, _number):
        return b'{"create":{}}'

    def send(self, numbers, bad):
        lines = []
        for number in numbers:
            lines += [self.action(number), json.dumps({"message": text_of(number)}).encode()]
        for _ in range(bad):
            lines += [b'{"create":{}}', b'{"message":']
        status, content = self.post("/run/_bulk", gzip.compress(b"\n".join(lines) + b"\n", 1), "application/x-ndjson",
                                    content_encoding="gzip")
        self.expect(status, content, 200)
        said = [item["create"]["status"] for item in json.loads(content)["items"]]
        # 409: it is there already.
        if any(code not in (201, 409) for code in said[:len(numbers)]) or any(code != 400 for code in said[len(numbers):]):
            fail(f"_bulk answered {content[:500]}")


class ElasticBulkIds(ElasticBulk):
    repeats = False

    def action(self, number):
        return b'{"create":{"_id":"%d"}}' % number


class HttpLines(Http):
    source = "http"
    settings = "http: { type: http, index: run }"
    bad_reason = "malformed"

    def send(self, numbers, bad):
        lines = [json.dumps({"message": text_of(number)}) for number in numbers] + ["{broken"] * bad
        status, content = self.post("/api/daybook/v1/ingest", "\n".join(lines), "application/x-ndjson")
        self.expect(status, content, 200)
        said = json.loads(content)
        if (said["accepted"], said["rejected"]) != (len(numbers), bad):
            fail(f"http answered {said}")


class SplunkHec(Http):
    source = "splunk"
    settings = "splunk: { type: splunk_hec, index: run }"
    bad_reason = "malformed"

    def __init__(self, daybook):
        super().__init__(daybook)
        self.channel = os.urandom(8).hex()

    def send(self, numbers, bad):
        channel = {"X_Splunk_Request_Channel": self.channel, "Authorization": "Splunk x"}
        events = "".join(json.dumps({"event": text_of(number)}) for number in numbers)
        for _ in range(bad):
            status, content = self.post("/services/collector/event", '{"fields":{}}', **channel)
            self.expect(status, content, 400)
        status, content = self.post("/services/collector/event", events, **channel)
        self.expect(status, content, 200)
        ack_id = json.loads(content)["ackId"]
        status, content = self.post("/services/collector/ack", json.dumps({"acks": [ack_id]}), **channel)
        self.expect(status, content, 200)
        if not json.loads(content)["acks"][str(ack_id)]:
            raise Refused("the receiver does not know the acknowledgement any more")


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number, content):
    """Of protobuf: bytes, a text, or a message."""
    content = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(content)) + content


def snappy(plain):
    """A snappy block of literals."""
    out = [varint(len(plain))]
    for at in range(0, len(plain), 60_000):
        piece = plain[at:at + 60_000]
        out += [b"\xf4", struct.pack("<H", len(piece) - 1), piece]
    return b"".join(out)


class LokiPush(Http):
    source = "loki"
    settings = "loki: { type: loki_push, index: run }"
    repeats = False
    bad_reason = "malformed"

    def send(self, numbers, bad):
        def entry(number):
            # The time is the entry's own, the same whenever it is sent.
            time = varint(1 << 3) + varint(BEGAN) + varint(2 << 3) + varint(number)
            return field(2, field(1, time) + field(2, text_of(number)))
        entries = b"".join(map(entry, numbers)) + field(2, b"\x12\x7f") * bad
        body = field(1, field(1, '{app="conservation"}') + entries)
        status, content = self.post("/loki/api/v1/push", snappy(body), "application/x-protobuf", content_encoding="snappy")
        # With 400 the good entries are stored.
        self.expect(status, content, 400 if bad else 204)


def otlp_request(numbers, bad):
    def record(number):
        return field(2, field(5, field(1, text_of(number))))
    records = b"".join(map(record, numbers)) + field(2, b"\x2a\x7f") * bad
    return field(1, field(2, records))


class OtlpHttp(Http):
    source = "otlp"
    index = "logs"
    settings = ""
    port = "otlp_http"
    bad_reason = "malformed"

    def send(self, numbers, bad):
        body = gzip.compress(otlp_request(numbers, bad), 1)
        status, content = self.post("/v1/logs", body, "application/x-protobuf", content_encoding="gzip")
        self.expect(status, content, 200)


class OtlpGrpc(Sender):
    """With the gRPC library, but without generated code: requests are bytes."""

    source = "otlp"
    index = "logs"
    settings = ""
    bad_reason = "malformed"

    def send(self, numbers, bad):
        import grpc

        try:
            if self.connection is None:
                # Each a connection of its own.
                self.connection = grpc.insecure_channel(f"127.0.0.1:{self.daybook.ports.otlp_grpc}", options=[
                    ("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200),
                    ("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 10_000)])
                self.export = self.connection.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
            self.export(otlp_request(numbers, bad), timeout=30)
        except (grpc.RpcError, ValueError) as problem:
            # ValueError: the channel was closed meanwhile.
            code = problem.code() if isinstance(problem, grpc.RpcError) and hasattr(problem, "code") else None
            if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL):
                fail(f"otlp answered {problem}")
            time.sleep(0.1)
            if code == grpc.StatusCode.UNAVAILABLE and "journal" in (problem.details() or ""):
                raise Refused(problem.details()) from problem
            raise ConnectionError(str(problem)) from problem

    def cut(self):
        self.close()

    def close(self):
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()


def msgpack_text(text):
    text = text.encode()
    return b"\xdb" + struct.pack(">I", len(text)) + text


class FluentForward(Stream):
    """Packed forward, compressed every other time, with acknowledgement."""

    source = "forward"
    listener = "fluent_forward"
    settings = "forward: { type: fluent_forward, index: run }"
    bad_reason = "malformed"
    chunks = 0

    def send(self, numbers, bad):
        def entry(number):
            return b"\x92\xce" + struct.pack(">I", BEGAN) + b"\x81" + msgpack_text("log") + msgpack_text(text_of(number))
        entries = b"".join(map(entry, numbers)) + b"\x07" * bad
        self.chunks += 1
        chunk = f"{id(self)}-{self.chunks}"
        options = b"\x81" + msgpack_text("chunk") + msgpack_text(chunk)
        if self.chunks % 2:
            entries = gzip.compress(entries, 1)
            options = b"\x82" + options[1:] + msgpack_text("compressed") + msgpack_text("gzip")
        self.open().sendall(b"\x93" + msgpack_text("run") + b"\xc6" + struct.pack(">I", len(entries)) + entries + options)
        said = self.read(1), self.read_text(), self.read_text()
        if said != (b"\x81", b"ack", chunk.encode()):
            fail(f"fluent_forward answered {said}")

    def read_text(self):
        head = self.read(1)[0]
        length = {0xd9: ">B", 0xda: ">H", 0xdb: ">I"}.get(head)
        return self.read(struct.unpack(length, self.read(struct.calcsize(length)))[0] if length else head & 31)


class Beats(Stream):
    source = "beats"
    listener = "beats"
    settings = "beats: { type: beats, index: run }"
    bad_reason = "malformed"

    def send(self, numbers, bad):
        documents = [json.dumps({"message": text_of(number)}).encode() for number in numbers] + [b'{"message":'] * bad
        frames = b"".join(b"2J" + struct.pack(">II", sequence, len(document)) + document
                          for sequence, document in enumerate(documents, 1))
        packed = zlib.compress(frames, 1)
        self.open().sendall(b"2W" + struct.pack(">I", len(documents)) + b"2C" + struct.pack(">I", len(packed)) + packed)
        while True:
            said = self.read(6)
            if said[:2] != b"2A":
                fail(f"beats answered {said}")
            # 0: still here.
            if struct.unpack(">I", said[2:])[0] == len(documents):
                return


class SyslogTcp(Stream):
    source = "syslog"
    listener = "syslog_tcp"
    settings = "syslog: { type: syslog, listen: [syslog_tcp], index: run }"
    acknowledges = False

    def send(self, numbers, bad):
        messages = [f"<13>1 - h run - - - {text_of(number)}".encode() for number in numbers]
        self.open().sendall(b"".join(b"%d %b" % (len(message), message) for message in messages))


class GelfTcp(Stream):
    source = "gelf"
    listener = "gelf_tcp"
    settings = "gelf: { type: gelf, listen: [gelf_tcp], index: run }"
    acknowledges = False
    bad_reason = "too_large"

    def send(self, numbers, bad):
        texts = [text_of(number) for number in numbers] + [TOO_LONG] * bad
        messages = (json.dumps({"version": "1.1", "host": "h", "short_message": text}).encode() for text in texts)
        self.open().sendall(b"".join(message + b"\0" for message in messages))


class Datagrams(Sender):
    acknowledges = False
    batch = 50

    def open(self):
        if self.connection is None:
            self.connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        return self.connection

    def send(self, numbers, bad):
        sending = self.open()
        address = ("127.0.0.1", getattr(self.daybook.ports, self.listener))
        for datagram in self.datagrams(numbers, bad):
            sending.sendto(datagram, address)


class SyslogUdp(Datagrams):
    source = "syslog"
    listener = "syslog_udp"
    settings = "syslog: { type: syslog, listen: [syslog_udp], index: run }"

    def datagrams(self, numbers, bad):
        return [f"<13>1 - h run - - - {text_of(number)}".encode() for number in numbers]


class GelfUdp(Datagrams):
    """Whole messages and compressed ones by turns."""

    source = "gelf"
    listener = "gelf_udp"
    settings = "gelf: { type: gelf, listen: [gelf_udp], index: run }"
    bad_reason = "too_large"

    def datagrams(self, numbers, bad):
        texts = [text_of(number) for number in numbers] + [TOO_LONG] * bad
        for turn, text in enumerate(texts):
            message = json.dumps({"version": "1.1", "host": "h", "short_message": text}).encode()
            yield zlib.compress(message, 1) if turn % 2 or len(message) > 8192 else message


class File:
    """A program that writes its log as fast as it can, and logrotate beside it. Nothing is sent: `cut` rotates."""

    source = "file"
    index = "run"
    # FOLDER: that of daybook.
    settings = "file: { type: file, include: [\"FOLDER/app-*.log*\"], index: run }"
    acknowledges = True
    repeats = False
    bad_reason = None
    batch = 250
    made = 0

    def __init__(self, daybook):
        File.made += 1
        self.path = daybook.folder / f"app-{File.made}.log"
        self.log = open(self.path, "a")
        self.is_due = False
        self.rotations = 0

    def send(self, numbers, bad):
        self.log.write("".join(text_of(number) + "\n" for number in numbers))
        self.log.flush()
        if self.is_due:
            self.is_due = False
            self.rotations += 1
            self.path.rename(f"{self.path}.{self.rotations}")
            self.close()
            self.log = open(self.path, "a")

    def cut(self):
        self.is_due = True

    def close(self):
        self.log.close()


class Line(threading.Thread):
    """One sender and what it knows: what it sent, what was acknowledged, what it sent again. `budget` events, then it waits."""

    def __init__(self, kind, daybook, place, stop, budget):
        super().__init__(daemon=True)
        self.sender = kind(daybook)
        self.first = self.next = place * NUMBERS_OF_A_SENDER
        self.stop = stop
        self.acknowledged = range(self.first, self.first)
        self.again, self.bad, self.budget = set(), 0, budget
        self.problem = None
        # How often the receiver said: later; and how often the connection broke.
        self.refusals = self.breaks = 0
        self.last_break = None

    def run(self):
        try:
            turn = 0
            while not self.stop.is_set():
                if self.budget <= 0:
                    time.sleep(0.01)
                    continue
                turn += 1
                numbers = range(self.next, self.next + self.sender.batch)
                self.next = numbers.stop
                self.budget -= len(numbers)
                self.deliver(numbers, 1 if self.sender.bad_reason and turn % 10 == 1 else 0)
        except BaseException as problem:
            self.problem = problem
        self.sender.close()

    def deliver(self, numbers, bad):
        self.bad += bad
        while True:
            try:
                self.sender.send(numbers, bad)
            except OSError as problem:
                if not isinstance(problem, Refused):
                    self.sender.close()
                self.refusals += isinstance(problem, Refused)
                if not isinstance(problem, Refused):
                    self.breaks += 1
                    self.last_break = problem
                time.sleep(0.02)
                # Nothing of it was sent.
                is_early = isinstance(problem, ConnectionRefusedError)
                if self.sender.acknowledges or is_early and not self.stop.is_set():
                    if not is_early:
                        self.again.update(numbers)
                    continue
                return
            self.acknowledged = range(self.first, numbers.stop)
            return


ALL = {
    "file": File,
    "syslog_tcp": SyslogTcp,
    "syslog_udp": SyslogUdp,
    "gelf_tcp": GelfTcp,
    "gelf_udp": GelfUdp,
    "otlp_grpc": OtlpGrpc,
    "otlp_http": OtlpHttp,
    "elastic_bulk": ElasticBulk,
    "elastic_bulk_ids": ElasticBulkIds,
    "loki_push": LokiPush,
    "fluent_forward": FluentForward,
    "beats": Beats,
    "splunk_hec": SplunkHec,
    "http": HttpLines,
}
