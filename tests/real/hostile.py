"""Input that means harm, for every source that takes it. Started by conservation.sh.

- bombs: what decompresses to far more than is allowed is refused with a clear error, and memory grows by less than 64 MiB;
- inflated: what decompresses to just as much as is allowed, a hundred times, costs less than 64 MiB beside what the index takes;
- swarms: as many events as a request can hold, the smallest there are: memory stays under the limit;
- crowds: 5,000 silent connections and 500 that send a byte a second beside a healthy client, which must not notice;
- greed: one peer does not get more connections than its share.
"""

import contextlib
import gzip
import itertools
import json
import resource
import shutil
import socket
import struct
import sys
import threading
import time
import zlib

import senders
from harness import Daybook, fail, scenario, wait_for, workplace
from senders import LISTENERS, field, msgpack_text, varint

PARTS = sys.argv[1:] or ["bombs", "inflated", "swarms", "crowds", "greed"]
MIB = 1 << 20
BOMB_BYTES = 256 * MIB
GROWTH_MIB_MAX = 64
MEMORY_MIB = 1024
# limits.request.
REQUEST_BYTES = 64 * MIB
# What the sources of connections take at most in one message, decompressed.
MESSAGE_BYTES = 32 * MIB


def repeated(unit, total, compressor, head=b"", end=b""):
    """`total` bytes of `unit` again and again between `head` and `end`, compressed."""
    block = unit * (MIB // len(unit))
    pieces = [compressor.compress(head)]
    pieces += [compressor.compress(block) for _ in range(total // len(block))]
    return b"".join(pieces) + compressor.compress(end) + compressor.flush()


def gzipped(unit, total, head=b"", end=b""):
    return repeated(unit, total, zlib.compressobj(6, zlib.DEFLATED, 31), head, end)


def deflated(unit, total):
    return repeated(unit, total, zlib.compressobj(6))


def zstd_of_zeros(total):
    """One frame with blocks of one repeated byte."""
    block = struct.pack("<I", (128 * 1024) << 3 | 1 << 1)[:3] + b"0"
    last = struct.pack("<I", 1 << 3 | 1 << 1 | 1)[:3] + b"0"
    return b"\x28\xb5\x2f\xfd" + b"\x00\x38" + block * (total // (128 * 1024)) + last


def snappy_copies(unit, total):
    """A block of `unit`, 60 bytes at most, and copies of it."""
    unit = unit * (60 // len(unit))
    length = len(unit)
    copies = (total - length) // length
    tag = bytes([(length - 1) << 2 | 2]) + struct.pack("<H", length)
    return varint(length * (copies + 1)) + bytes([(length - 1) << 2]) + unit + tag * copies


class Hostile:
    def __init__(self, work):
        kinds = {kind.source: kind.settings for kind in senders.ALL.values() if kind.settings and kind is not senders.File}
        kinds |= {"syslog": "syslog: { type: syslog, index: run }", "gelf": "gelf: { type: gelf, index: run }"}
        self.daybook = Daybook(work, "\n".join(kinds.values()), LISTENERS, f"limits: {{ memory: {MEMORY_MIB}MiB }}\n").start()

    def growth(self, attack):
        """What the attack says, and by how many MiB memory grew at its peak."""
        if self.daybook.memory_kib() > 200 * 1024:
            # What was freed and not given back yet would hide what is taken.
            self.daybook.kill()
            self.daybook.start()
        self.daybook.forget_peak()
        before = self.daybook.memory_kib()
        said = attack()
        return said, (self.daybook.memory_kib("VmHWM") - before) // 1024

    def post(self, path, body, content_type="application/json", encoding="identity", port="http"):
        sender = senders.Http(self.daybook)
        sender.port = port
        try:
            status, content = sender.post(path, body, content_type, Content_Encoding=encoding)
            return f"{status} {content[:100]}"
        except OSError as problem:
            return str(problem)
        finally:
            sender.close()

    def talk(self, kind, *messages):
        """What a sender of a stream hears."""
        sender = kind(self.daybook)
        try:
            for message in messages:
                sender.open().sendall(message)
            sender.connection.settimeout(60)
            return sender.connection.recv(100)
        except OSError as problem:
            return str(problem).encode()
        finally:
            sender.close()

    def reasons(self, source, before):
        """Why the ledger rejected something since then."""
        now = self.daybook.books(source)["rejected"]
        return {reason: count - before.get(reason, 0) for reason, count in now.items() if count > before.get(reason, 0)}

    def is_well(self):
        """An ordinary sender of each protocol is served."""
        for kind in senders.ALL.values():
            if kind is not senders.File:
                sender = kind(self.daybook)
                sender.send(range(10), 0)
                sender.close()


def http_targets():
    return [("elastic_bulk", "http", "/_bulk", "application/x-ndjson"),
            ("otlp protobuf", "otlp_http", "/v1/logs", "application/x-protobuf"),
            ("otlp json", "otlp_http", "/v1/logs", "application/json"),
            ("loki_push json", "http", "/loki/api/v1/push", "application/json"),
            ("splunk_hec", "http", "/services/collector/event", "application/json"),
            ("splunk_hec raw", "http", "/services/collector/raw", "text/plain"),
            ("http", "http", "/api/daybook/v1/ingest", "application/json")]


def part_bombs(hostile):
    zeros = {"gzip": gzipped(b"0", BOMB_BYTES), "deflate": deflated(b"0", BOMB_BYTES), "zstd": zstd_of_zeros(4 * BOMB_BYTES)}
    for name, port, path, content_type in http_targets():
        for encoding, bomb in zeros.items():
            said, grown = hostile.growth(lambda: hostile.post(path, bomb, content_type, encoding, port))
            judge(f"{name} {encoding}", len(bomb), said, grown, said.startswith("413"))
    snappy = {"snappy": snappy_copies(b"0", 4 * REQUEST_BYTES), "snappy that announces 4 GiB": varint(2**32 - 1) + b"\x00" * 1000,
              "snappy that announces less": varint(1000) + snappy_copies(b"0", 2 * MIB)[4:]}
    for name, bomb in snappy.items():
        said, grown = hostile.growth(lambda: hostile.post("/loki/api/v1/push", bomb, "application/x-protobuf", "snappy"))
        judge(f"loki_push {name}", len(bomb), said, grown, said[:3] in ("413", "400"))
    said, grown = hostile.growth(lambda: grpc_bomb(hostile.daybook))
    judge("otlp gRPC gzip", 0, said, grown, "RESOURCE_EXHAUSTED" in said)

    gelf = senders.GelfUdp(hostile.daybook)
    for encoding, bomb in {"gzip": gzipped(b"0", 48 * MIB), "zlib": deflated(b"0", 48 * MIB)}.items():
        before = hostile.daybook.books("gelf")["rejected"]

        def datagrams():
            for _ in range(20):
                gelf.open().sendto(bomb, ("127.0.0.1", hostile.daybook.ports.gelf_udp))
            return wait_for("bombs to be counted", lambda: hostile.reasons("gelf", before).get("too_large") == 20)
        said, grown = hostile.growth(datagrams)
        judge(f"gelf {encoding}, 20 datagrams", len(bomb), hostile.reasons("gelf", before), grown, said)
    for name, kind, source, messages in stream_bombs():
        before = hostile.daybook.books(source)["rejected"]
        said, grown = hostile.growth(lambda: hostile.talk(kind, *messages))
        reasons = hostile.reasons(source, before)
        judge(name, sum(map(len, messages)), f"{said[:40]} {reasons}", grown, bool(reasons))
    hostile.is_well()


def part_inflated(hostile):
    """Datagrams of 1 KiB that are valid events of almost 1 MiB each, a hundred at once: while the index, which has its own share of
    the memory for events, stands still, and while it works, beside the same events as they are.
    """
    daybook = hostile.daybook
    message = json.dumps({"version": "1.1", "host": "h", "short_message": "x" * (MIB - 2000)}).encode()
    small = zlib.compress(message, 9)
    gelf, plain = senders.GelfUdp(daybook), senders.GelfTcp(daybook)

    def hundred_more(send):
        had = daybook.books("gelf")["accepted"]
        for _ in range(100):
            send()
        return wait_for("them to be accepted", lambda: daybook.books("gelf")["accepted"] == had + 100)

    def inflated():
        return hundred_more(lambda: gelf.open().sendto(small, ("127.0.0.1", daybook.ports.gelf_udp)))

    def as_they_are():
        return hundred_more(lambda: plain.open().sendall(message + b"\0")) and daybook.quiet_books("gelf")[0]["in_flight"] == 0

    def begin_anew():
        daybook.kill()
        shutil.rmtree(daybook.folder / "data")
        daybook.start()

    begin_anew()
    obstacle = daybook.folder / "data/logs/run"
    obstacle.write_text("in the way")
    said, grown = hostile.growth(inflated)
    judge("gelf zlib, 100 of 1 MiB each, index stalled", len(small), said, grown, said)
    obstacle.unlink()
    stored = daybook.quiet_books("gelf")[0]["stored"]
    if stored != 100:
        fail(f"of 100 events {stored} are stored")

    growths = []
    for send in (as_they_are, lambda: inflated() and daybook.quiet_books("gelf")[0]["in_flight"] == 0):
        begin_anew()
        growths.append(hostile.growth(send))
    (_, of_events), (said, grown) = growths
    judge(f"gelf zlib, 100 of 1 MiB each, beside {of_events} MiB for the same over TCP", len(small), said, grown, said,
          of_events + GROWTH_MIB_MAX)
    plain.close()
    hostile.is_well()


def grpc_bomb(daybook):
    import grpc

    channel = grpc.insecure_channel(f"127.0.0.1:{daybook.ports.otlp_grpc}", options=[("grpc.max_send_message_length", -1)])
    export = channel.unary_unary("/opentelemetry.proto.collector.logs.v1.LogsService/Export")
    try:
        export(bytes(BOMB_BYTES), timeout=60, compression=grpc.Compression.Gzip)
        return "OK"
    except grpc.RpcError as problem:
        return f"{problem.code()} {problem.details()}"
    finally:
        channel.close()


def packed_forward(gzip_bytes):
    options = b"\x82" + msgpack_text("chunk") + msgpack_text("c") + msgpack_text("compressed") + msgpack_text("gzip")
    return b"\x93" + msgpack_text("t") + b"\xc6" + struct.pack(">I", len(gzip_bytes)) + gzip_bytes + options


def beats_window(count, zlib_bytes):
    return b"2W" + struct.pack(">I", count) + b"2C" + struct.pack(">I", len(zlib_bytes)) + zlib_bytes


def stream_bombs():
    """Those that must be refused."""
    inner = deflated(b"0", 16 * MIB)
    nested = zlib.compress(b"2C" + struct.pack(">I", len(inner)) + inner)
    yield "fluent_forward gzip", senders.FluentForward, "forward", [packed_forward(gzipped(b"\xc0", BOMB_BYTES))]
    yield "fluent_forward gzip of nothing", senders.FluentForward, "forward", [packed_forward(gzipped(b"\xc0", MESSAGE_BYTES))]
    yield "beats zlib", senders.Beats, "beats", [beats_window(10, deflated(b"0", BOMB_BYTES))]
    yield "beats zlib in zlib", senders.Beats, "beats", [beats_window(10, nested)]
    yield "beats zlib of bad events", senders.Beats, "beats", [
        beats_window(2**32 - 1, deflated(b"2J" + bytes(8), MESSAGE_BYTES - MIB)), b"3"]


def part_swarms(hostile):
    """Many small events in one request, and some requests at once."""
    def bulk():
        return "/_bulk", "application/x-ndjson", "gzip", gzipped(b'{"create":{"_index":"a"}}\n{}\n', REQUEST_BYTES - MIB)

    def ingest():
        return "/api/daybook/v1/ingest", "application/x-ndjson", "gzip", gzipped(b"{}\n", REQUEST_BYTES - MIB)

    def lines():
        return "/api/daybook/v1/ingest", "text/plain", "gzip", gzipped(b"x\n", REQUEST_BYTES - MIB)

    def array():
        return "/api/daybook/v1/ingest", "application/json", "gzip", gzipped(b"{},", REQUEST_BYTES - MIB, b"[", b"{}]")

    def wide_object():
        return "/api/daybook/v1/ingest", "application/json", "gzip", gzipped(b'"a":1,', REQUEST_BYTES - MIB, b"{", b'"b":1}')

    def splunk():
        return "/services/collector/event", "application/json", "gzip", gzipped(b'{"event":1}', REQUEST_BYTES - MIB)

    def splunk_raw():
        return "/services/collector/raw", "text/plain", "gzip", gzipped(b"x\n", REQUEST_BYTES - MIB)

    def otlp():
        records = b"\x12\x00" * ((REQUEST_BYTES - MIB) // 2)
        return "/v1/logs", "application/x-protobuf", "gzip", gzip.compress(field(1, field(2, records)), 6)

    def loki_json():
        head, end = b'{"streams":[{"stream":{"a":"b"},"values":[', b'["1","x"]]}]}'
        return "/loki/api/v1/push", "application/json", "gzip", gzipped(b'["1","x"],', REQUEST_BYTES - MIB, head, end)

    def loki_json_of_nothing():
        head, end = b'{"streams":[{"stream":{"a":"b"},"values":[', b'1]}]}'
        return "/loki/api/v1/push", "application/json", "gzip", gzipped(b'1,', REQUEST_BYTES - MIB, head, end)

    def loki():
        # Streams without a label are refused one by one, those with one are stored.
        labels = field(1, '{a="b"}')
        entries = 30 * 2**20
        head = b"\x0a" + varint(len(labels) + entries) + labels
        block = snappy_copies(b"\x12\x00", entries)
        announced = len(varint(entries))
        return ("/loki/api/v1/push", "application/x-protobuf", "snappy",
                varint(len(head) + entries) + bytes([(len(head) - 1) << 2]) + head + block[announced:])

    for request in (bulk, ingest, lines, array, wide_object, splunk, splunk_raw, otlp, loki, loki_json, loki_json_of_nothing):
        path, content_type, encoding, body = request()
        said, grown = hostile.growth(lambda: hostile.post(path, body, content_type, encoding))
        judge(f"{request.__name__} of small events", len(body), said, grown, said[:3] not in ("500", "502"), MEMORY_MIB // 2)
    streams = [
        # Twice as many take twice as long and no more memory.
        ("fluent_forward gzip of small events", senders.FluentForward,
         packed_forward(gzipped(b"\x92\x00\x80", MESSAGE_BYTES // 2))),
        ("beats zlib of small events", senders.Beats,
         beats_window((MESSAGE_BYTES - MIB) // MIB * (MIB // 12), deflated(b"2J" + struct.pack(">II", 1, 2) + b"{}", MESSAGE_BYTES - MIB))),
    ]
    for name, kind, message in streams:
        said, grown = hostile.growth(lambda: hostile.talk(kind, message))
        judge(name, len(message), said[:40], grown, True, MEMORY_MIB // 2)
    hostile.is_well()


def judge(name, sent_bytes, said, grown, is_right, growth_max=GROWTH_MIB_MAX):
    print(f"  {name}: {sent_bytes / 1024:.0f} KiB sent, {grown} MiB more at the peak: {str(said)[:140]}", flush=True)
    if not is_right:
        note(f"{name}: answered {said}")
    if grown >= growth_max:
        note(f"{name}: memory grew by {grown} MiB")


FAILURES = []


def note(what):
    """The others are tried all the same."""
    print(f"  FAILED: {what}", flush=True)
    FAILURES.append(what)


def part_crowds(hostile):
    # Two daybooks, one with a crowd, are asked by turns, so that what else the machine does slows both. It must still be quiet:
    # nothing else may run beside this part.
    alone = Hostile(hostile.daybook.folder / "alone").daybook
    for listener, kind in {"http": senders.HttpLines, "otlp_grpc": senders.OtlpGrpc, "otlp_http": senders.OtlpHttp,
                           "fluent_forward": senders.FluentForward, "beats": senders.Beats}.items():
        crowd = Crowd(getattr(hostile.daybook.ports, listener))
        # Longer than a silent connection is kept when others want its seat.
        time.sleep(6)
        taken = {alone: [], hostile.daybook: []}
        for _ in range(20):
            for daybook, milliseconds in taken.items():
                milliseconds += latencies(daybook, kind)
        memory = hostile.daybook.memory_kib() // 1024
        crowd.leave()
        (p50_alone, p99_alone), (p50, p99) = map(p50_and_p99, taken.values())
        print(f"  {listener}: {crowd.silent} silent and {crowd.slow} slow connections; p50 and p99 of a healthy client "
              f"{p50_alone:.1f} and {p99_alone:.1f} ms without, {p50:.1f} and {p99:.1f} ms beside them, {memory} MiB")
        if p50 > 1.5 * p50_alone + 2 or p99 > 2 * p99_alone + 20:
            note(f"{listener}: a healthy client is slowed down")
    alone.kill()


def latencies(daybook, kind):
    """Of thirty batches of ten events, until they are acknowledged, the connection included; milliseconds."""
    taken, sender = [], kind(daybook)
    for _ in range(30):
        begun = time.monotonic()
        sender.send(range(10), 0)
        taken.append((time.monotonic() - begun) * 1000)
    sender.close()
    return taken


def p50_and_p99(milliseconds):
    found = sorted(milliseconds)
    return found[len(found) // 2], found[len(found) * 99 // 100]


class Crowd:
    """5,000 silent connections and 500 slow ones, of 44 addresses, as they would come."""

    def __init__(self, port):
        self.connections, self.dripping, self.stop = [], [], threading.Event()
        for at in range(5500):
            connection = socket.socket()
            connection.bind((f"127.0.{1 + at // 128}.1", 0))
            connection.connect(("127.0.0.1", port))
            (self.dripping if at % 11 == 10 else self.connections).append(connection)
        self.silent, self.slow = len(self.connections), len(self.dripping)
        self.thread = threading.Thread(target=self.drip, daemon=True)
        self.thread.start()

    def drip(self):
        """A byte a second from each, a tenth of them at a time."""
        request = itertools.cycle(b"2W\x00\x00")
        while True:
            byte = bytes([next(request)])
            for tenth in range(10):
                if self.stop.wait(0.1):
                    return
                for connection in self.dripping[tenth::10]:
                    with contextlib.suppress(OSError):
                        connection.send(byte)

    def leave(self):
        self.stop.set()
        self.thread.join()
        for connection in self.connections + self.dripping:
            connection.close()


def part_greed(hostile):
    # Of HTTP a peer gets half of the connections there may be, and those take half of the open files.
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    of_http = min(16384, files // 2) // 2
    for listener, (kind, most) in {"beats": (senders.Beats, 1024), "fluent_forward": (senders.FluentForward, 1024),
                                   "syslog_tcp": (senders.SyslogTcp, 1024), "gelf_tcp": (senders.GelfTcp, 1024),
                                   "http": (senders.HttpLines, of_http)}.items():
        greedy = []
        for _ in range(most + 200):
            connection = socket.socket()
            connection.bind(("127.0.99.1", 0))
            connection.connect(("127.0.0.1", getattr(hostile.daybook.ports, listener)))
            greedy.append(connection)
        try:
            wait_for("some to be turned away", lambda: sum(map(is_turned_away, greedy)) >= len(greedy) - most, 20)
        except AssertionError:
            note(f"{listener}: more than {most} connections of one peer")
        away = sum(map(is_turned_away, greedy))
        sender = kind(hostile.daybook)
        sender.send(range(10), 0)
        sender.close()
        for connection in greedy:
            connection.close()
        print(f"  {listener}: {len(greedy)} connections of one peer, {away} turned away; another is served", flush=True)


def is_turned_away(connection):
    """Closed, over HTTP with some words before."""
    connection.setblocking(False)
    try:
        return connection.recv(20, socket.MSG_PEEK) in (b"", b"HTTP/1.1 503 Service")
    except BlockingIOError:
        return False
    except OSError:
        return True


def main(work):
    for part in PARTS:
        with scenario(part):
            hostile = Hostile(work / part)
            hostile.is_well()
            globals()[f"part_{part}"](hostile)
            hostile.daybook.kill()
    if FAILURES:
        fail("\n".join(FAILURES))


with workplace() as work:
    main(work)
