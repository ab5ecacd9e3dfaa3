"""Entries of every shape go into a journal while a Daybook that follows it, and its journalctl, are killed; then what
journalctl says is compared with what Daybook stored.

Called by journald.sh with the binary, a working directory and systemd-journal-remote.
"""

import collections
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

BINARY, WORK, REMOTE = sys.argv[1:4]
SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
RANDOM = random.Random(SEED)
ENTRIES = 20_000


def wait_for(what, seconds, condition):
    """The first true answer of condition."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s (seed {SEED})")
        time.sleep(0.05)


class Daybook:
    def __init__(self):
        self.process = None
        with open(f"{WORK}/daybook.yaml", "w") as file:
            file.write(f"""
data_dir: {WORK}/data
listen: {{ http: 127.0.0.1:0, otlp_grpc: off, otlp_http: off }}
sources:
  journal: {{ type: journald, directory: {WORK}/journal }}
""")

    def start(self):
        if os.path.exists(f"{WORK}/data/listeners.json"):
            os.remove(f"{WORK}/data/listeners.json")
        self.process = subprocess.Popen([BINARY, "serve", "--config", f"{WORK}/daybook.yaml"],
                                        stdout=subprocess.DEVNULL, stderr=open(f"{WORK}/log", "ab"))
        with open(f"{WORK}/daybook.pid", "w") as file:
            file.write(str(self.process.pid))
        def address():
            assert self.process.poll() is None, open(f"{WORK}/log").read()[-2000:]
            try:
                return json.load(open(f"{WORK}/data/listeners.json"))["http"]
            except (FileNotFoundError, ValueError):
                return None
        self.address = wait_for("daybook", 30, address)

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait(30)

    def get(self, path, body=None):
        request = urllib.request.Request(f"http://{self.address}{path}", data=json.dumps(body).encode() if body else None,
                                         headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def count(self):
        try:
            return self.get("/logs/_count")["count"]
        except urllib.error.HTTPError:
            return 0

    def events(self):
        # By a number of its own for each: a sort by time answers milliseconds, of which several entries share one.
        found, after = [], None
        while True:
            body = {"size": 5000, "query": {"match_all": {}}, "sort": [{"process.pid": "asc"}]}
            if after:
                body["search_after"] = after
            hits = self.get("/logs/_search", body)["hits"]["hits"]
            found.extend(hit["_source"] for hit in hits)
            if len(hits) < 5000:
                return found
            after = hits[-1]["sort"]


def entry(number, micros):
    text = f"entry {number}"
    if number % 10 == 3:
        text += "\nsecond line\n\tthird"
    if number % 500 == 7:
        text += " " + "x" * 100_000
    fields = [("__REALTIME_TIMESTAMP", micros), ("__MONOTONIC_TIMESTAMP", number + 1), ("_BOOT_ID", "4f" * 16),
              ("_HOSTNAME", "web-1"), ("PRIORITY", number % 8), ("SYSLOG_IDENTIFIER", "app"), ("_PID", number + 1),
              ("_SYSTEMD_UNIT", "shop.service"), ("TAG", "a"), ("TAG", "b")]
    head = "".join(f"{name}={value}\n" for name, value in fields).encode()
    value = text.encode()
    return head + b"MESSAGE\n" + struct.pack("<Q", len(value)) + value + b"\n\n"


def write(pipe, written):
    start = time.time_ns() // 1000
    for number in range(ENTRIES):
        # A microsecond each, as the journal has it: all of them can be told apart.
        pipe.write(entry(number, start + number))
        if number % 50 == 0:
            pipe.flush()
            time.sleep(0.02)
    pipe.close()
    written.set()


def main():
    print("seed", SEED, "journalctl", subprocess.run(["journalctl", "--version"], capture_output=True, text=True).stdout.split("\n")[0])
    os.mkdir(f"{WORK}/journal")
    remote = subprocess.Popen([REMOTE, f"--output={WORK}/journal/remote.journal", "-"], stdin=subprocess.PIPE,
                              stderr=subprocess.DEVNULL)
    written = threading.Event()
    threading.Thread(target=write, args=(remote.stdin, written), daemon=True).start()
    daybook = Daybook()
    try:
        daybook.start()
        kills = 0
        while not written.is_set():
            time.sleep(RANDOM.uniform(0.3, 1.5))
            if kills % 3 == 2:
                subprocess.run(["pkill", "-9", "-P", str(daybook.process.pid), "journalctl"], check=False)
            else:
                daybook.stop(signal.SIGKILL)
                daybook.start()
            kills += 1
        remote.wait(60)
        truth = subprocess.run(["journalctl", f"--directory={WORK}/journal", "--output=json", "--all", "--no-pager"],
                               capture_output=True, text=True, check=True).stdout
        expected = [json.loads(line) for line in truth.splitlines()]
        assert len(expected) == ENTRIES, len(expected)
        try:
            wait_for("all entries are stored", 60, lambda: daybook.count() >= ENTRIES)
        except AssertionError as late:
            print(late, daybook.count(), "of", ENTRIES)
        events = daybook.events()
        wanted = collections.Counter((int(row["__REALTIME_TIMESTAMP"]) % 10**9, row["MESSAGE"]) for row in expected)
        def micros(moment):
            fraction = moment.rstrip("Z").partition(".")[2]
            seconds = int(time.mktime(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone)
            return (seconds * 10**6 + int(f"{fraction:0<6}"[:6])) % 10**9
        found = collections.Counter((micros(event["@timestamp"]), event["message"]) for event in events)
        missing, doubled = wanted - found, found - wanted
        assert not missing and not doubled, (
            f"{sum(missing.values())} missing {[text[:40] for _, text in list(missing)[:3]]}, "
            f"{sum(doubled.values())} too many {[text[:40] for _, text in list(doubled)[:3]]} (seed {SEED})")
        some = next(event for event in events if event["message"] == "entry 4")
        rest = {"log.level": "warn", "service.name": "shop", "host.name": "web-1", "process.pid": 5, "systemd.unit": "shop.service",
                "journald.custom.tag": ["a", "b"]}
        assert rest.items() <= some.items(), some
        row = next(row for row in daybook.get("/api/daybook/v1/ledger")["sources"] if row["source"] == "journal")
        assert row["balanced"] and row["stored"] == ENTRIES, row
        print(f"{ENTRIES} entries are stored exactly once after {kills} kills of daybook or its journalctl")
    finally:
        if daybook.process and daybook.process.poll() is None:
            daybook.stop(signal.SIGTERM)
        remote.kill()


main()
