"""A daybook with all its listeners open, looked at closely: its books, its memory, every message. For conservation.py and its
siblings.
"""

import http.client
import json
import pathlib
import time

import harness
from harness import wait_for

LISTENERS = ("otlp_grpc", "otlp_http", "syslog_udp", "syslog_tcp", "gelf_udp", "gelf_tcp", "fluent_forward", "beats")


class Daybook(harness.Daybook):
    """`sources` and `more`, other settings, are YAML."""

    def __init__(self, folder, sources, more=""):
        self.more = more
        # For senders whose events have a time of their own, the same whenever they are sent.
        self.began = int(time.time())
        super().__init__(folder, sources, LISTENERS)

    def configure(self, sources):
        listen = ", ".join(f"{name}: 127.0.0.1:{port}" for name, port in vars(self.ports).items())
        (self.folder / "daybook.yaml").write_text(
            f"data_dir: {self.folder}/data\nlisten: {{ {listen} }}\nsources:\n  {sources}\n{self.more}")

    def port(self, listener):
        return getattr(self.ports, listener)

    def books(self, source):
        """One source's books, with what was rejected and dropped also as sums."""
        books = super().books(source)
        return books | {"refused": sum(books["rejected"].values()), "lost": sum(books["dropped"].values())}

    def quiet_books(self, source, seconds=120):
        """The books once nothing is under way and nothing new comes."""
        last = {}

        def are_quiet():
            books = self.books(source)
            is_still = books["in_flight"] == 0 and books == last.get("books")
            last["books"] = books
            # What the kernel drops is read once a second.
            time.sleep(1.2)
            return books if is_still else None

        try:
            return wait_for(f"the books of {source}", are_quiet, seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}: {last['books']}") from None

    def messages(self, index):
        """The messages of all events, some thousand at a time."""
        self.get("/_refresh", {})
        connection = http.client.HTTPConnection("127.0.0.1", self.ports.http, timeout=60)
        body = {"size": harness.PAGE, "_source": ["message"], "sort": ["_doc"], "track_total_hits": False}
        while True:
            connection.request("POST", f"/{index}*/_search?ignore_unavailable=true", json.dumps(body),
                               {"content-type": "application/json"})
            reply = connection.getresponse()
            hits = json.loads(reply.read())["hits"]["hits"]
            if not hits:
                return connection.close()
            yield from (hit["_source"]["message"] for hit in hits)
            body["search_after"] = hits[-1]["sort"]

    def memory_kib(self, figure="VmRSS"):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith(figure + ":")).split()[1])

    def forget_peak(self):
        """Puts the peak of memory (VmHWM) back to what is used now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
