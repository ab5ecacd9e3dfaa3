"""The Fluent loggers against a real daybook. Started by fluent_forward.sh.

Every mode of the protocol sends numbered events under a tag of its own; what is stored is compared with what was sent. With
acknowledgements daybook is killed under the sender: everything must be there afterwards.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

DAYBOOK, PEERS = sys.argv[1], pathlib.Path(sys.argv[2])
EVENTS = 1000


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.1)
    raise SystemExit(f"FAILED: waited {seconds} s for {what}")


class Daybook:
    def __init__(self, work, settings=""):
        self.work = work
        work.mkdir()
        self.http, self.forward = free_ports(2)
        (work / "daybook.yaml").write_text(f"""
data_dir: {work}/data
listen: {{ http: 127.0.0.1:{self.http}, otlp_grpc: off, otlp_http: off, fluent_forward: 127.0.0.1:{self.forward} }}
sources:
  forward: {{ type: fluent_forward {settings} }}
""")
        self.start()

    def start(self):
        self.log = open(self.work / "daybook.log", "ab")
        self.process = subprocess.Popen([DAYBOOK, "serve", "--config", self.work / "daybook.yaml"],
                                        stdout=self.log, stderr=self.log)
        wait_for("daybook to be ready", self.is_ready)

    def is_ready(self):
        if self.process.poll() is not None:
            raise SystemExit("FAILED: daybook ended:\n" + (self.work / "daybook.log").read_text()[-3000:])
        try:
            return self.get("/ready") is not None
        except OSError:
            return False

    def get(self, path, body=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=body and json.dumps(body).encode(),
                                         headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return json.load(reply)

    def books(self):
        return next(s for s in self.get("/api/daybook/v1/ledger")["sources"] if s["source"] == "forward")

    def events(self, tag):
        query = {"term": {"fluent.tag": tag}}
        found = self.get("/logs*/_search", {"size": 10000, "query": query, "track_total_hits": True})
        return [hit["_source"] for hit in found["hits"]["hits"]]

    def kill(self):
        self.process.kill()
        self.process.wait()


def compare(daybook, tag, count, doubles_allowed=0):
    wait_for(f"{count} events of {tag}", lambda: len({e["message"] for e in daybook.events(tag)}) >= count)
    stored = [event["message"] for event in daybook.events(tag)]
    sent = {f"message {n} naïve \"quoted\"" for n in range(count)}
    if set(stored) != sent or len(stored) - len(sent) > doubles_allowed:
        raise SystemExit(f"FAILED: {tag}: {count} sent, {len(stored)} stored, missing {sorted(sent - set(stored))[:3]}")
    print(f"  {tag}: {count} sent, {len(stored)} stored")


def python_logger(daybook):
    program = """
import sys
from fluent import sender
port, count = int(sys.argv[1]), int(sys.argv[2])
for name, nanoseconds in (("seconds", False), ("nanoseconds", True)):
    logger = sender.FluentSender("python", host="127.0.0.1", port=port, nanosecond_precision=nanoseconds)
    for n in range(count):
        assert logger.emit(name, {"log": f'message {n} naïve "quoted"', "n": n, "nested": {"a": [1, 2.5, None]}}), logger.last_error
    logger.close()
"""
    subprocess.run([PEERS / "venv/bin/python", "-c", program, str(daybook.forward), str(EVENTS)], check=True)
    compare(daybook, "python.seconds", EVENTS)
    compare(daybook, "python.nanoseconds", EVENTS)
    event = daybook.events("python.seconds")[0]
    assert event["nested"] == {"a": [1, 2.5, None]}, event


NODE = """
const { FluentClient } = require('@fluent-org/logger');
const [port, count, mode, ack, tag, key, user, password] = process.argv.slice(2);
const client = new FluentClient('node', {
  eventMode: mode,
  ack: ack === 'ack' ? { ackTimeout: 3000 } : undefined,
  socket: { host: '127.0.0.1', port: +port, timeout: 5000 },
  eventRetry: { attempts: 30, backoff: 1, delay: 300, minDelay: 300, maxDelay: 1000 },
  security: key ? { clientHostname: 'client', sharedKey: key, username: user, password } : undefined,
  onSocketError: () => {},
});
(async () => {
  const all = [];
  for (let n = 0; n < +count; n++) {
    all.push(client.emit(tag, { message: `message ${n} naïve "quoted"`, n }));
    if (n % 50 === 49) await new Promise(resolve => setTimeout(resolve, 20));
  }
  await Promise.all(all);
  await client.shutdown();
  console.log('acknowledged');
  process.exit(0);
})().catch(error => { console.error(String(error)); process.exit(1); });
"""


def node_logger(daybook, mode, ack, tag, *keys, count=EVENTS):
    return subprocess.Popen(["node", "-e", NODE, "node", str(daybook.forward), str(count), mode, ack, tag, *keys],
                            cwd=PEERS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    if process.returncode != 0:
        raise SystemExit(f"FAILED: the sender said {out} {err}")


def main():
    work = pathlib.Path(tempfile.mkdtemp())
    started = []
    try:
        daybook = Daybook(work / "open")
        started.append(daybook)
        python_logger(daybook)
        for mode in ("Message", "Forward", "PackedForward", "CompressedPackedForward"):
            for ack in ("ack", "none"):
                tag = f"{mode.lower()}-{ack}"
                finished(node_logger(daybook, mode, ack, tag))
                compare(daybook, f"node.{tag}", EVENTS)

        print("kill -9 under a sender that wants acknowledgements")
        sender = node_logger(daybook, "PackedForward", "ack", "killed", count=3000)
        for at in (300, 1200):
            wait_for("some progress", lambda: len(daybook.events("node.killed")) > at)
            daybook.kill()
            daybook.start()
        finished(sender)
        # A chunk that was durable when its answer was lost comes again.
        compare(daybook, "node.killed", 3000, doubles_allowed=3000)
        books = wait_for("the books", lambda: daybook.books()["in_flight"] == 0 and daybook.books())
        assert books["balanced"] and not books["dropped"] and not books["rejected"], books
        print("books:", json.dumps(books))

        closed = Daybook(work / "closed", ", shared_key: k3y, users: { ann: pw }")
        started.append(closed)
        finished(node_logger(closed, "PackedForward", "ack", "known", "k3y", "ann", "pw"))
        compare(closed, "node.known", EVENTS)
        for keys in (("wrong", "ann", "pw"), ("k3y", "ann", "wrong"), ("k3y", "bob", "pw")):
            sender = node_logger(closed, "PackedForward", "ack", "unknown", *keys, count=1)
            time.sleep(2)
            sender.kill()
        assert not closed.events("node.unknown")
        print("  a wrong key, password or user brings nothing in")
    finally:
        for daybook in started:
            daybook.kill()
        if "KEEP" in os.environ:
            print(work)
        else:
            shutil.rmtree(work, ignore_errors=True)


main()
