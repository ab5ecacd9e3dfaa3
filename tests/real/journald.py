"""Entries of every shape go into a journal while a Daybook that follows it, and its journalctl, are killed; then what
journalctl says is compared with what Daybook stored.

Called by journald.sh with systemd-journal-remote.
"""

import collections
import json
import random
import struct
import subprocess
import sys
import threading
import time

from harness import SEED, Daybook, scenario, spawn, wait_for, workplace

REMOTE = sys.argv[1]
RANDOM = random.Random(SEED)
ENTRIES = 20_000


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


def micros(moment):
    """The last digits of a time in microseconds, enough to tell all entries apart."""
    fraction = moment.rstrip("Z").partition(".")[2]
    seconds = int(time.mktime(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone)
    return (seconds * 10**6 + int(f"{fraction:0<6}"[:6])) % 10**9


def main(work):
    print("journalctl", subprocess.run(["journalctl", "--version"], capture_output=True, text=True).stdout.split("\n")[0])
    journal = work / "journal"
    journal.mkdir()
    remote = spawn([REMOTE, f"--output={journal}/remote.journal", "-"], work / "remote.log", stdin=subprocess.PIPE)
    written = threading.Event()
    threading.Thread(target=write, args=(remote.stdin, written), daemon=True).start()
    daybook = Daybook(work / "daybook", f"journal: {{ type: journald, directory: {journal} }}").start()
    kills = 0
    while not written.is_set():
        time.sleep(RANDOM.uniform(0.3, 1.5))
        if kills % 3 == 2:
            subprocess.run(["pkill", "-9", "-P", str(daybook.process.pid), "journalctl"], check=False)
        else:
            daybook.kill()
            daybook.start()
        kills += 1
    remote.wait(60)
    truth = subprocess.run(["journalctl", f"--directory={journal}", "--output=json", "--all", "--no-pager"],
                           capture_output=True, text=True, check=True).stdout
    expected = [json.loads(line) for line in truth.splitlines()]
    assert len(expected) == ENTRIES, len(expected)
    try:
        wait_for("all entries are stored", lambda: daybook.count() >= ENTRIES, 60)
    except AssertionError as late:
        print(late, daybook.count(), "of", ENTRIES)
    # By a number of its own for each: a sort by time answers milliseconds, of which several entries share one.
    events = daybook.events(sort=[{"process.pid": "asc"}])
    wanted = collections.Counter((int(row["__REALTIME_TIMESTAMP"]) % 10**9, row["MESSAGE"]) for row in expected)
    found = collections.Counter((micros(event["@timestamp"]), event["message"]) for event in events)
    missing, doubled = wanted - found, found - wanted
    assert not missing and not doubled, (
        f"{sum(missing.values())} missing {[text[:40] for _, text in list(missing)[:3]]}, "
        f"{sum(doubled.values())} too many {[text[:40] for _, text in list(doubled)[:3]]}")
    some = next(event for event in events if event["message"] == "entry 4")
    rest = {"log.level": "warn", "service.name": "shop", "host.name": "web-1", "process.pid": 5, "systemd.unit": "shop.service",
            "journald.custom.tag": ["a", "b"]}
    assert rest.items() <= some.items(), some
    assert daybook.settled_books("journal")["stored"] == ENTRIES
    print(f"  {ENTRIES} entries are stored exactly once after {kills} kills of daybook or its journalctl")


with workplace() as work, scenario("journald"):
    main(work)
