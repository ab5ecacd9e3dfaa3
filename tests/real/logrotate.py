"""A writer of numbered lines at 50 MB/s, logrotate beside it every two or three seconds, and a Daybook that is killed
meanwhile; then what stands in the files is compared with what Daybook stored.

Called by logrotate.sh with the binary, a working directory and the mode: create or copytruncate. Called with `writer` it
is the writer.
"""

import collections
import glob
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

LINE_BYTES = 2000
BYTES_A_SECOND = 50_000_000
LINES_A_WRITE = 32
SECONDS = int(os.environ.get("SECONDS_TO_WRITE", 16))
KILLS = 5


def line(number):
    """Whole only when the number stands at both ends."""
    return f"{number:010d} {'.' * (LINE_BYTES - 23)} {number:010d}\n"


def write(path, lines):
    """Writes whole lines at a steady rate; opens the file again on SIGHUP, as daemons do that logrotate tells."""
    is_told = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: is_told.set())
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    print("writing", flush=True)
    begin, number = time.monotonic(), 0
    while number < lines:
        if is_told.is_set():
            is_told.clear()
            os.close(file)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        count = min(LINES_A_WRITE, lines - number)
        text = "".join(line(n) for n in range(number, number + count)).encode()
        assert os.write(file, text) == len(text)
        number += count
        ahead = number * LINE_BYTES / BYTES_A_SECOND - (time.monotonic() - begin)
        if ahead > 0:
            time.sleep(ahead)
    print(f"{number * LINE_BYTES / 1e6 / (time.monotonic() - begin):.1f}", flush=True)
    # logrotate goes on telling it until it is killed.
    while True:
        signal.pause()


if sys.argv[1] == "writer":
    write(sys.argv[2], int(sys.argv[3]))
    sys.exit(0)

BINARY, WORK, MODE = sys.argv[1:4]
SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
RANDOM = random.Random(SEED)
LOGS = f"{WORK}/{MODE}/logs"


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
        self.data = f"{WORK}/{MODE}/data"
        self.log = f"{WORK}/{MODE}/daybook.log"
        # The number is what counts; 2000 dots in each event would only be weight.
        with open(f"{WORK}/{MODE}/daybook.yaml", "w") as file:
            file.write(f"""
data_dir: {self.data}
listen: {{ http: 127.0.0.1:0, otlp_grpc: off, otlp_http: off, syslog_udp: off, syslog_tcp: off }}
sources:
  rotated: {{ type: file, include: ["{LOGS}/app.log", "{LOGS}/app.log.*"], pipeline: numbers }}
pipelines:
  numbers:
    steps:
      - regex: {{ pattern: '^(?<n>[0-9]{{10}}) [.]{{{LINE_BYTES - 23}}} (?<end>[0-9]{{10}})$', types: {{ n: int, end: int }} }}
      - remove: [message]
        when: {{ field: end, exists: true }}
""")

    def start(self):
        if os.path.exists(f"{self.data}/listeners.json"):
            os.remove(f"{self.data}/listeners.json")
        self.process = subprocess.Popen([BINARY, "serve", "--config", f"{WORK}/{MODE}/daybook.yaml"],
                                        stdout=subprocess.DEVNULL, stderr=open(self.log, "ab"))
        with open(f"{WORK}/daybook.pid", "w") as file:
            file.write(str(self.process.pid))
        def address():
            assert self.process.poll() is None, open(self.log).read()[-2000:]
            try:
                return json.load(open(f"{self.data}/listeners.json"))["http"]
            except (FileNotFoundError, ValueError):
                return None
        self.address = wait_for("daybook", 60, address)

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait(60)

    def get(self, path, body=None):
        request = urllib.request.Request(f"http://{self.address}{path}", data=json.dumps(body).encode() if body else None,
                                         headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as reply:
            return json.load(reply)

    def count(self):
        try:
            reply = self.get("/logs/_count")
            return -1 if reply.get("timed_out") else reply["count"]
        except urllib.error.HTTPError:
            return 0

    def numbers(self):
        """All numbers that were stored, in order. One that was stored twice shows in the count, at the latest."""
        found, after = [], None
        while True:
            body = {"size": 10_000, "query": {"exists": {"field": "n"}}, "sort": [{"n": "asc"}], "_source": ["n", "end"]}
            if after:
                body["search_after"] = after
            hits = self.get("/logs/_search", body)["hits"]["hits"]
            for hit in hits:
                assert hit["_source"]["n"] == hit["_source"]["end"], hit
                found.append(hit["_source"]["n"])
            if len(hits) < 10_000:
                return found
            after = hits[-1]["sort"]

    def fragments(self):
        body = {"size": 1000, "query": {"bool": {"must_not": [{"exists": {"field": "n"}}]}}}
        return [hit["_source"]["message"] for hit in self.get("/logs/_search", body)["hits"]["hits"]]


class Rotation:
    """logrotate, again and again."""

    def __init__(self, writer):
        self.settings, self.state = f"{WORK}/{MODE}/logrotate.conf", f"{WORK}/{MODE}/logrotate.state"
        how = "copytruncate" if MODE == "copytruncate" else (
            f"create 0644\n    compress\n    delaycompress\n    postrotate\n        kill -HUP {writer}\n    endscript")
        with open(self.settings, "w") as file:
            file.write(f"{LOGS}/app.log {{\n    rotate 1000\n    size 1\n    {how}\n}}\n")
        os.chmod(self.settings, 0o644)
        self.count = 0

    def rotate(self):
        subprocess.run(["logrotate", "--force", "--state", self.state, self.settings], check=True)
        self.count += 1

    def run(self, is_written):
        while not is_written.wait(RANDOM.uniform(1.5, 3)):
            self.rotate()


def on_disk():
    """The numbers of the whole lines in all files, and what stands in them besides."""
    numbers, fragments = collections.Counter(), []
    for path in glob.glob(f"{LOGS}/app.log*"):
        command = ["zcat", path] if path.endswith(".gz") else ["cat", path]
        text = subprocess.run(command, capture_output=True, check=True).stdout
        for row in text.split(b"\n"):
            if len(row) == LINE_BYTES - 1 and row[:10] == row[-10:]:
                numbers[int(row[:10])] += 1
            elif row:
                fragments.append(row.decode())
    return numbers, fragments


def main():
    os.mkdir(LOGS)
    lines = SECONDS * BYTES_A_SECOND // LINE_BYTES
    writer = subprocess.Popen([sys.executable, __file__, "writer", f"{LOGS}/app.log", str(lines)], stdout=subprocess.PIPE, text=True)
    with open(f"{WORK}/writer.pid", "w") as file:
        file.write(str(writer.pid))
    assert writer.stdout.readline() == "writing\n"
    is_written, rates = threading.Event(), []
    threading.Thread(target=lambda: rates.append(float(writer.stdout.readline())), daemon=True).start()
    rotation = Rotation(writer.pid)
    rotating = threading.Thread(target=rotation.run, args=(is_written,))
    rotating.start()
    daybook, kills = Daybook(), 0
    try:
        daybook.start()
        while kills < KILLS or not rates:
            time.sleep(RANDOM.uniform(0.5, 2))
            daybook.stop(signal.SIGKILL)
            kills += 1
            # Long enough, sometimes, for a rotation that nobody sees.
            time.sleep(RANDOM.choice([0, 0, 2.5]))
            daybook.start()
        is_written.set()
        rotating.join()
        numbers, fragments = on_disk()
        assert max(numbers.values()) == 1, "the files themselves have a line twice"
        def is_through():
            before = daybook.count()
            time.sleep(7)
            return before >= len(numbers) and daybook.count() == before
        wait_for("all lines are stored", 600, is_through)
        count, found, odd = daybook.count(), daybook.numbers(), daybook.fragments()
        stored, twice = set(found), [n for n, times in collections.Counter(found).items() if times > 1]
        missing = sorted(numbers.keys() - stored)
        assert not missing, f"{len(missing)} lines are on disk and not stored: {missing[:3]} to {missing[-3:]} (seed {SEED})"
        assert not twice and count == len(stored) + len(odd), f"{count} events, {len(stored)} lines, twice {twice[:5]} (seed {SEED})"
        strange = [text[:60] for text in odd if text not in fragments]
        assert not strange, f"{strange[:3]} is in no file (seed {SEED})"
        lost = lines - len(numbers)
        if MODE == "create":
            assert lost == 0 and not fragments and len(stored) == lines, (lost, len(stored), fragments[:1])
        row = next(row for row in daybook.get("/api/daybook/v1/ledger")["sources"] if row["source"] == "rotated")
        assert row["balanced"] and row["stored"] == count, row
        print(f"{MODE}: {lines} lines at {rates[0]} MB/s, {rotation.count} rotations, {kills} kills: every line that is on disk is stored "
              f"exactly once (seed {SEED})")
        if MODE == "copytruncate":
            print(f"{MODE}: between copy and truncation logrotate destroyed {lost} of the {lines} lines; daybook had read "
                  f"{len(stored) - len(numbers)} of them before; {len(odd)} of {len(fragments)} broken lines at the ends of copies are events")
    finally:
        is_written.set()
        writer.kill()
        if daybook.process and daybook.process.poll() is None:
            daybook.stop(signal.SIGTERM)


main()
