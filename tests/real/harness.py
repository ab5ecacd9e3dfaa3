"""What all scripts here share: a folder that is gone afterwards, a Daybook in it that is asked, killed and started again, and
scenarios that tell how long they took.

The binary is the one that DAYBOOK names. KEEP=1 keeps the folder, with the settings and logs of everything in it. SEED repeats
the random moments of a run, though not its timing.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import types
import urllib.request

# What threads say comes line by line.
sys.stdout.reconfigure(line_buffering=True)

BINARY = os.path.abspath(os.environ["DAYBOOK"])
SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
PAGE = 10_000
# Of a source that has not seen anything yet.
EMPTY_BOOKS = {"received": 0, "accepted": 0, "stored": 0, "rejected": {}, "dropped": {}, "in_flight": 0, "balanced": True}
# Below the ports that the kernel gives away, so that nobody takes one while its daybook is down.
PORT_RANGES = [range(first, first + 500) for first in range(10_000, 32_000, 500)]

processes = []


@contextlib.contextmanager
def workplace():
    """A folder for the time of a test. What was spawned and still runs at its end is killed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = pathlib.Path(tempfile.mkdtemp())
    # Peers may give up root.
    folder.chmod(0o755)
    print("seed", SEED, flush=True)
    try:
        yield folder
    except BaseException:
        for log in [*folder.rglob("peer.log"), *folder.rglob("daybook.log")]:
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


@contextlib.contextmanager
def scenario(name):
    """Tells how long its part of a script took."""
    print(name, flush=True)
    begun = time.monotonic()
    yield
    print(f"  {name}: fine after {time.monotonic() - begun:.1f} s", flush=True)


def beside_each_other(count, scenarios):
    """Runs functions by name, `count` of them at a time: most wait most of the time. The first that fails ends it."""
    waiting, problems = list(scenarios.items()), []

    def work():
        try:
            while waiting and not problems:
                name, function = waiting.pop(0)
                with scenario(name):
                    function()
        except BaseException as problem:
            problems.append(problem)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not problems:
        time.sleep(0.05)
    if problems:
        raise problems[0]


def fail(what):
    raise SystemExit(f"FAILED: {what}")


def equal(what, found, expected):
    if found != expected:
        fail(f"{what}: found {found!r}, expected {expected!r}")


def skip(why):
    """As in prepare.bash: what cannot be had here is told; where the test is required, that is a failure."""
    print(f"skipped: {why}")
    sys.exit(1 if os.environ.get("CI") or os.environ.get("DAYBOOK_REQUIRE_REAL") else 0)


def spawn(arguments, log, **options):
    """Starts a program whose output is added to a file."""
    with open(log, "ab") as output:
        process = subprocess.Popen(arguments, stdout=output, stderr=output, **options)
    processes.append(process)
    return process


def spawn_unpacked(root, program, arguments, folder):
    """Starts a program of packages that were unpacked below `root`, in a folder where peer.log will be."""
    # Of loggen's folder of plugins not all can be loaded.
    libraries = sorted({str(library.parent) for library in root.rglob("*.so*") if library.parent.name != "loggen"})
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "SYSLOGNG_PREFIX": str(root / "usr")}
    return spawn([root / program, *arguments], folder / "peer.log", env=environment, cwd=folder)


def spawn_rsyslog(root, folder):
    """Starts rsyslog with folder/rsyslog.conf."""
    modules, = root.glob("usr/lib/*/rsyslog")
    return spawn_unpacked(root, "usr/sbin/rsyslogd", ["-n", "-f", folder / "rsyslog.conf", "-i", folder / "pid", "-M", modules], folder)


def stop(process):
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end_of(log):
    return pathlib.Path(log).read_text(errors="replace")[-3000:]


def wait_for(what, condition, seconds=120, pause=0.1):
    """The first true answer of `condition`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = condition()
        if answer:
            return answer
        time.sleep(pause)
    raise AssertionError(f"waited {seconds} s for {what}")


def each_free_port():
    """A script has a range of ports to itself, as long as it holds the first of them."""
    for ports in PORT_RANGES:
        with contextlib.suppress(OSError):
            held = socket.create_server(("127.0.0.1", ports[0]))
            break
    for port in ports[1:]:
        with contextlib.suppress(OSError):
            socket.create_server(("127.0.0.1", port)).close()
            yield port
    held.close()


free_port = each_free_port()
taking_ports = threading.Lock()


def free_ports(count):
    with taking_ports:
        return [next(free_port) for _ in range(count)]


def certificate(folder):
    """Makes tls.crt and tls.key for localhost; the answer is the setting `tls` with them."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "tls.key",
                    "-out", folder / "tls.crt"], check=True, capture_output=True)
    return f"tls: {{ certificate: {folder}/tls.crt, key: {folder}/tls.key }}"


class Daybook:
    """A server on ports that stay the same, so that senders find it again after a restart.

    `sources` is the text below that key of the settings, `listen` names the listeners to open beside http; `ports` has
    the port of each. `more` are other settings.
    """

    def __init__(self, folder, sources="{}", listen=(), more=""):
        self.folder, self.sources = folder, sources
        folder.mkdir(exist_ok=True)
        names = ("http", *listen)
        self.ports = types.SimpleNamespace(**dict(zip(names, free_ports(len(names)))))
        self.address = f"http://127.0.0.1:{self.ports.http}"
        self.configure(sources, more)

    def configure(self, sources, more=""):
        open_ones = {name: f"127.0.0.1:{port}" for name, port in vars(self.ports).items()}
        listen = "".join(f"  {name}: {at}\n" for name, at in {"otlp_grpc": "off", "otlp_http": "off", **open_ones}.items())
        (self.folder / "daybook.yaml").write_text(
            f"data_dir: {self.folder}/data\nlisten:\n{listen}"
            f"sources:\n{textwrap.indent(textwrap.dedent(sources), '  ')}\n{textwrap.dedent(more)}")

    def start(self):
        """Returns itself, once it is ready."""
        self.process = spawn([BINARY, "serve", "--config", self.folder / "daybook.yaml"], self.folder / "daybook.log")

        def is_ready():
            assert self.process.poll() is None, f"daybook ended: {self.log()[-3000:]}"
            with contextlib.suppress(OSError):
                return self.get("/ready") is not None

        wait_for("daybook to be ready", is_ready, pause=0.02)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0, "daybook did not end well"

    def log(self):
        return (self.folder / "daybook.log").read_text(errors="replace")

    def ask(self, path, body=None):
        """What is answered, as bytes; with a body it is a POST."""
        request = urllib.request.Request(self.address + path, data=None if body is None else json.dumps(body).encode(),
                                         headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.read()

    def get(self, path, body=None):
        return json.loads(self.ask(path, body))

    def count(self, query=None, index="logs*"):
        return self.complete(f"/{index}/_count?ignore_unavailable=true", {"query": query or {"match_all": {}}})["count"]

    def events(self, query=None, index="logs*", sort=({"@timestamp": "asc"}, {"_doc": "asc"}), fields=True):
        """All events that match, page by page in the order of `sort`, which must tell any two apart; of each the fields named."""
        return list(self.each_event({"query": query or {"match_all": {}}, "sort": sort, "_source": fields}, index))

    def each_event(self, question, index):
        body = {"size": PAGE, "track_total_hits": False, **question}
        while True:
            hits = self.complete(f"/{index}/_search?ignore_unavailable=true", body)["hits"]["hits"]
            yield from (hit["_source"] for hit in hits)
            if len(hits) < PAGE:
                return
            body["search_after"] = hits[-1]["sort"]

    def complete(self, path, body):
        """An answer out of everything: just started, daybook may know a part only, and says so."""
        def answer():
            reply = self.get(path, body)
            return not reply.get("timed_out") and reply

        return wait_for("a complete answer", answer)

    def messages(self, index):
        """The messages of all events that were accepted, in no order."""
        self.get("/_refresh", {})
        question = {"_source": ["message"], "sort": ["_doc"]}
        return (event["message"] for event in self.each_event(question, index))

    def books(self, source):
        """The ledger's row of a source, with what was rejected and dropped also as sums."""
        rows = self.get("/api/daybook/v1/ledger")["sources"]
        row = next((row for row in rows if row["source"] == source), EMPTY_BOOKS)
        return row | {"refused": sum(row["rejected"].values()), "lost": sum(row["dropped"].values())}

    def settled_books(self, source):
        """The books once they balance and nothing is in flight any more."""
        def books():
            row = self.books(source)
            return row["balanced"] and row["in_flight"] == 0 and row

        row = wait_for(f"the books of {source}", books)
        print("books:", json.dumps(row))
        return row

    def quiet_books(self, *sources, seconds=120):
        """The books of each source once nothing is under way and nothing new comes."""
        last = {}

        def are_quiet():
            books = [self.books(source) for source in sources]
            is_still = books == last.get("books") and not any(row["in_flight"] for row in books)
            last["books"] = books
            return is_still and books

        try:
            # What the kernel drops is read once a second.
            return wait_for(f"the books of {sources}", are_quiet, seconds, pause=1.2)
        except AssertionError as late:
            raise AssertionError(f"{late}: {last['books']}") from None

    def metric(self, name):
        """The sum of all its series."""
        lines = self.ask("/metrics").decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(name + r"[{ ]", line))

    def memory_kib(self, figure="VmRSS"):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith(figure + ":")).split()[1])

    def forget_peak(self):
        """Puts the peak of memory (VmHWM) back to what is used now."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
