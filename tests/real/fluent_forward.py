"""The Fluent loggers against a real daybook. Started by fluent_forward.sh.

Every mode of the protocol sends numbered events under a tag of its own; what is stored is compared with what was sent. With
acknowledgements daybook is killed under the sender: everything must be there afterwards.
"""

import pathlib
import subprocess
import sys
import time

from harness import Daybook, fail, scenario, wait_for, workplace

PEERS = pathlib.Path(sys.argv[1])
EVENTS = 1000


def events(daybook, tag):
    return daybook.events({"term": {"fluent.tag": tag}})


def compare(daybook, tag, count, doubles_allowed=0):
    wait_for(f"{count} events of {tag}", lambda: len({e["message"] for e in events(daybook, tag)}) >= count)
    stored = [event["message"] for event in events(daybook, tag)]
    sent = {f"message {n} naïve \"quoted\"" for n in range(count)}
    if set(stored) != sent or len(stored) - len(sent) > doubles_allowed:
        fail(f"{tag}: {count} sent, {len(stored)} stored, missing {sorted(sent - set(stored))[:3]}")
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
    subprocess.run([PEERS / "venv/bin/python", "-c", program, str(daybook.ports.fluent_forward), str(EVENTS)], check=True)
    compare(daybook, "python.seconds", EVENTS)
    compare(daybook, "python.nanoseconds", EVENTS)
    event = events(daybook, "python.seconds")[0]
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
    return subprocess.Popen(["node", "-e", NODE, "node", str(daybook.ports.fluent_forward), str(count), mode, ack, tag, *keys],
                            cwd=PEERS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process, seconds=120):
    out, err = process.communicate(timeout=seconds)
    if process.returncode != 0:
        fail(f"the sender said {out} {err}")


def main(work):
    daybook = Daybook(work / "open", "forward: { type: fluent_forward }", ["fluent_forward"]).start()
    with scenario("Python"):
        python_logger(daybook)
    for mode in ("Message", "Forward", "PackedForward", "CompressedPackedForward"):
        for ack in ("ack", "none"):
            tag = f"{mode.lower()}-{ack}"
            with scenario(tag):
                finished(node_logger(daybook, mode, ack, tag))
                compare(daybook, f"node.{tag}", EVENTS)

    with scenario("kill -9 under a sender that wants acknowledgements"):
        sender = node_logger(daybook, "PackedForward", "ack", "killed", count=3000)
        for at in (300, 1200):
            wait_for("some progress", lambda: len(events(daybook, "node.killed")) > at)
            daybook.kill()
            daybook.start()
        finished(sender)
        # A chunk that was durable when its answer was lost comes again.
        compare(daybook, "node.killed", 3000, doubles_allowed=3000)
        books = daybook.settled_books("forward")
        assert not books["dropped"] and not books["rejected"]

    with scenario("keys and users"):
        closed = Daybook(work / "closed", "forward: { type: fluent_forward, shared_key: k3y, users: { ann: pw } }",
                         ["fluent_forward"]).start()
        finished(node_logger(closed, "PackedForward", "ack", "known", "k3y", "ann", "pw"))
        compare(closed, "node.known", EVENTS)
        for keys in (("wrong", "ann", "pw"), ("k3y", "ann", "wrong"), ("k3y", "bob", "pw")):
            sender = node_logger(closed, "PackedForward", "ack", "unknown", *keys, count=1)
            time.sleep(2)
            sender.kill()
        assert not events(closed, "node.unknown")
        print("  a wrong key, password or user brings nothing in")


with workplace() as work:
    main(work)
