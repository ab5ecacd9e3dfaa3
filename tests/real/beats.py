"""Elastic's lumberjack client against a real daybook. Started by beats.sh.

What is acknowledged must be stored, also when daybook is killed under the sender; only windows whose answer was lost may
come twice.
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

DAYBOOK, SENDER = sys.argv[1:3]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def wait_for(what, condition, seconds=120):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.1)
    raise SystemExit(f"FAILED: waited {seconds} s for {what}")


class Daybook:
    def __init__(self, work, tls=""):
        self.work = work
        self.http, self.beats = free_ports(2)
        (work / "daybook.yaml").write_text(f"""
data_dir: {work}/data
listen: {{ http: 127.0.0.1:{self.http}, otlp_grpc: off, otlp_http: off, beats: 127.0.0.1:{self.beats} }}
sources: {{ beats: {{ type: beats {tls} }} }}
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
        return next(s for s in self.get("/api/daybook/v1/ledger")["sources"] if s["source"] == "beats")

    def count(self, tag):
        return self.get("/logs*/_count", {"query": {"term": {"tag": tag}}})["count"]

    def numbers(self, tag):
        numbers, after = [], None
        while True:
            body = {"size": 10000, "query": {"term": {"tag": tag}}, "_source": ["message"],
                    "sort": [{"@timestamp": "asc"}, {"_doc": "asc"}]}
            if after:
                body["search_after"] = after
            hits = self.get("/logs*/_search", body)["hits"]["hits"]
            if not hits:
                return numbers
            numbers += [int(hit["_source"]["message"].split()[1]) for hit in hits]
            after = hits[-1]["sort"]

    def kill(self):
        self.process.kill()
        self.process.wait()


def send(daybook, tag, *arguments):
    return subprocess.Popen([SENDER, "-address", f"127.0.0.1:{daybook.beats}", "-tag", tag, *arguments],
                            stdout=subprocess.PIPE, text=True)


def compare(daybook, tag, count, sender, doubles_allowed=0):
    said = sender.communicate(timeout=180)[0].strip()
    if sender.returncode != 0:
        raise SystemExit(f"FAILED: {tag}: the sender ended with {sender.returncode}")
    # Acknowledged means durable: after a refresh it is found.
    daybook.get("/_refresh", {})
    numbers = daybook.numbers(tag)
    missing, doubled = set(range(count)) - set(numbers), len(numbers) - len(set(numbers))
    if missing or doubled > doubles_allowed:
        raise SystemExit(f"FAILED: {tag}: {said}; {len(numbers)} stored, {doubled} doubled, missing {sorted(missing)[:5]}")
    print(f"  {tag}: {said}, {len(numbers)} stored, {doubled} doubled")


def main():
    work = pathlib.Path(tempfile.mkdtemp())
    started = []
    try:
        daybook = Daybook(work)
        started.append(daybook)
        for tag, arguments in {
            "compressed": ["-count", "20000", "-window", "2048"],
            "plain": ["-count", "20000", "-window", "2048", "-level", "0"],
            "single": ["-count", "300", "-window", "1"],
        }.items():
            compare(daybook, tag, int(arguments[1]), send(daybook, tag, *arguments))

        print("kill -9 under the sender")
        count, window = 40_000, 500
        sender = send(daybook, "killed", "-count", str(count), "-window", str(window))
        for step in (1, 2, 3):
            wait_for("some progress", lambda: daybook.count("killed") > count * step // 5)
            daybook.kill()
            daybook.start()
        compare(daybook, "killed", count, sender, doubles_allowed=3 * window)
        books = daybook.books()
        assert books["balanced"] and not books["dropped"] and not books["rejected"], books
        print("books:", json.dumps(books))

        secured = work / "secured"
        secured.mkdir()
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-keyout", secured / "key", "-out", secured / "crt"], check=True, capture_output=True)
        daybook = Daybook(secured, f", tls: {{ certificate: {secured}/crt, key: {secured}/key }}")
        started.append(daybook)
        compare(daybook, "tls", 20_000, send(daybook, "tls", "-count", "20000", "-tls"))
    finally:
        for daybook in started:
            daybook.kill()
        if "KEEP" in os.environ:
            print(work)
        else:
            shutil.rmtree(work, ignore_errors=True)


main()
