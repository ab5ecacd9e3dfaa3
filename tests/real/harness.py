"""What all scripts here share: a folder that is gone afterwards, and a Daybook in it that is asked, killed and started again.

The binary is the one that DAYBOOK names. KEEP=1 keeps the folder, with the settings and logs of everything in it.
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import types
import urllib.request

BINARY = os.path.abspath(os.environ["DAYBOOK"])
PAGE = 10_000
# Of a source that has not seen anything yet.
EMPTY_BOOKS = {"received": 0, "accepted": 0, "stored": 0, "rejected": {}, "dropped": {}, "in_flight": 0, "balanced": True}

processes = []


@contextlib.contextmanager
def workplace():
    """A folder for the time of a test. What was spawned and still runs at its end is killed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = pathlib.Path(tempfile.mkdtemp())
    # Peers may give up root.
    folder.chmod(0o755)
    try:
        yield folder
    except BaseException:
        for log in folder.rglob("daybook.log"):
            print(f"--- the end of {log}\n{end_of(log)}", file=sys.stderr)
        raise
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        if "KEEP" in os.environ:
            print(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def spawn(arguments, log, **options):
    """Starts a program whose output is added to a file."""
    with open(log, "ab") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, **options)
    processes.append(process)
    return process


def end_of(log):
    return pathlib.Path(log).read_text(errors="replace")[-3000:]


def wait_for(what, condition, seconds=120):
    """The first true answer of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s for {what}")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def certificate(folder):
    """Makes tls.crt and tls.key for localhost; the answer is the setting `tls` with them."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "tls.key",
                    "-out", folder / "tls.crt"], check=True, capture_output=True)
    return f"tls: {{ certificate: {folder}/tls.crt, key: {folder}/tls.key }}"


class Daybook:
    """A server on ports that stay the same, so that senders find it again after a restart.

    `sources` is the text below that key of the settings, `listen` names the listeners to open beside http; `ports` has
    the port of each.
    """

    def __init__(self, folder, sources="{}", listen=()):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        names = ("http", *listen)
        self.ports = types.SimpleNamespace(**dict(zip(names, free_ports(len(names)))))
        self.address = f"http://127.0.0.1:{self.ports.http}"
        self.configure(sources)

    def configure(self, sources):
        open_ones = {name: f"127.0.0.1:{port}" for name, port in vars(self.ports).items()}
        listen = "".join(f"  {name}: {at}\n" for name, at in {"otlp_grpc": "off", "otlp_http": "off", **open_ones}.items())
        (self.folder / "daybook.yaml").write_text(
            f"data_dir: {self.folder}/data\nlisten:\n{listen}"
            f"sources:\n{textwrap.indent(textwrap.dedent(sources), '  ')}\n")

    def start(self):
        """Returns itself, once it is ready."""
        log = self.folder / "daybook.log"
        self.process = spawn([BINARY, "serve", "--config", self.folder / "daybook.yaml"], log)

        def is_ready():
            assert self.process.poll() is None, f"daybook ended: {end_of(log)}"
            with contextlib.suppress(OSError):
                return self.get("/ready") is not None

        wait_for("daybook to be ready", is_ready)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0, "daybook did not end well"

    def get(self, path, body=None):
        """The answer as JSON; with a body it is a POST."""
        request = urllib.request.Request(self.address + path, data=None if body is None else json.dumps(body).encode(),
                                         headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return json.load(reply)

    def count(self, query=None, index="logs*"):
        return self.get(f"/{index}/_count", {"query": query or {"match_all": {}}})["count"]

    def events(self, query=None, index="logs*", sort=({"@timestamp": "asc"}, {"_doc": "asc"})):
        """All events that match, page by page in the order of `sort`, which must tell any two apart."""
        found, body = [], {"size": PAGE, "query": query or {"match_all": {}}, "sort": sort}
        while True:
            hits = self.get(f"/{index}/_search", body)["hits"]["hits"]
            found += [hit["_source"] for hit in hits]
            if len(hits) < PAGE:
                return found
            body["search_after"] = hits[-1]["sort"]

    def books(self, source):
        """The ledger's row of a source."""
        rows = self.get("/api/daybook/v1/ledger")["sources"]
        return next((row for row in rows if row["source"] == source), EMPTY_BOOKS)

    def settled_books(self, source):
        """The books once they balance and nothing is in flight any more."""
        def books():
            row = self.books(source)
            return row["balanced"] and row["in_flight"] == 0 and row

        row = wait_for(f"the books of {source}", books)
        print("books:", json.dumps(row))
        return row
