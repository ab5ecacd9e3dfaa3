"""Containers that write in every way, an engine and a Daybook that are stopped and killed meanwhile; then what the
engine's own files hold is compared with what Daybook stored: stream, time and text of every line, each exactly once.

Called by docker.sh with the binary and a working directory that holds image.tar.
"""

import collections
import glob
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request

BINARY, WORK = sys.argv[1], sys.argv[2]
SOCKET = f"{WORK}/docker.sock"
# The command of the distribution, which is as old as its engine; others may be in the way.
DOCKER = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
IMAGE = "daybook-test:1"
SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
RANDOM = random.Random(SEED)


def wait_for(what, seconds, condition):
    """The first true answer of condition."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s (seed {SEED})")
        time.sleep(0.1)


def docker(*arguments, check=True):
    done = subprocess.run([DOCKER, "-H", f"unix://{SOCKET}", *arguments], capture_output=True, text=True)
    if check and done.returncode != 0:
        raise AssertionError(f"docker {' '.join(arguments[:6])}: {done.stderr}")
    return done.stdout.strip()


class Engine:
    def __init__(self):
        # A process of its own, as on a real machine: it and the containers outlive an engine that is killed.
        self.containerd = subprocess.Popen(
            ["containerd", "--address", f"{WORK}/containerd.sock", "--root", f"{WORK}/containerd", "--state", f"{WORK}/containerd-state"],
            stdout=open(f"{WORK}/containerd.log", "ab"), stderr=subprocess.STDOUT, start_new_session=True)
        with open(f"{WORK}/containerd.pid", "w") as file:
            file.write(str(self.containerd.pid))

    def start(self):
        # What a killed engine leaves behind keeps the next one from starting.
        for stale in (f"{WORK}/docker.pid", SOCKET):
            if os.path.exists(stale):
                os.remove(stale)
        self.process = subprocess.Popen(
            ["dockerd", "--containerd", f"{WORK}/containerd.sock", "-H", f"unix://{SOCKET}", "--data-root", f"{WORK}/docker", "--exec-root", f"{WORK}/exec",
             "--pidfile", f"{WORK}/docker.pid", "--bridge=none", "--iptables=false", "--ip6tables=false",
             "--ip-forward=false", "--storage-driver=vfs"],
            stdout=open(f"{WORK}/dockerd.log", "ab"), stderr=subprocess.STDOUT, start_new_session=True)
        def is_up():
            if self.process.poll() is not None:
                print(open(f"{WORK}/dockerd.log").read()[-2000:])
                raise ChildProcessError("dockerd ended")
            return docker("version", "--format", "{{.Server.Version}}", check=False)
        wait_for("dockerd", 60, is_up)

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(60)


class Daybook:
    def __init__(self, data, sources):
        self.data = f"{WORK}/{data}"
        self.process = None
        self.configure(sources)

    def configure(self, sources):
        with open(f"{self.data}.yaml", "w") as file:
            file.write(f"""
data_dir: {self.data}
listen: {{ http: 127.0.0.1:0, otlp_grpc: off, otlp_http: off }}
sources:
{sources}
""")

    def start(self):
        # A killed one leaves its addresses behind.
        if os.path.exists(f"{self.data}/listeners.json"):
            os.remove(f"{self.data}/listeners.json")
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", f"{self.data}.yaml"],
            stdout=subprocess.DEVNULL, stderr=open(f"{self.data}.log", "ab"))
        with open(f"{self.data}.pid", "w") as file:
            file.write(str(self.process.pid))
        def address():
            assert self.process.poll() is None, open(f"{self.data}.log").read()[-2000:]
            try:
                return json.load(open(f"{self.data}/listeners.json"))["http"]
            except (FileNotFoundError, ValueError):
                return None
        self.address = wait_for("daybook", 30, address)
        wait_for("ready", 30, lambda: self.get("/ready", text=True))

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(30)

    def get(self, path, body=None, text=False):
        request = urllib.request.Request(f"http://{self.address}{path}", data=json.dumps(body).encode() if body else None,
                                         headers={"content-type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                answer = reply.read()
        except urllib.error.URLError:
            if text:
                return None
            raise
        return answer.decode() if text else json.loads(answer)

    def count(self, index="logs"):
        try:
            return self.get(f"/{index}/_count")["count"]
        except urllib.error.HTTPError:
            return 0

    def lines_of(self, container, index="logs"):
        """Every stored line of one container: (stream, time, text)."""
        found, after = [], None
        while True:
            body = {"size": 5000, "query": {"term": {"container.id": container}}, "sort": [{"@timestamp": "asc"}, {"_doc": "asc"}]}
            if after:
                body["search_after"] = after
            hits = self.get(f"/{index}/_search", body)["hits"]["hits"]
            for hit in hits:
                source = hit["_source"]
                found.append((source["stream"], source["@timestamp"], source["message"]))
            if len(hits) < 5000:
                return found
            after = hits[-1]["sort"]

    def ledger(self):
        return {row["source"]: row for row in self.get("/api/daybook/v1/ledger")["sources"]}


def run(name, command, *options):
    docker("run", "-d", "--name", name, "--network", "none", *options, IMAGE, "sh", "-c", command)


def engine_lines(container):
    """What the engine's own files hold: (stream, time, text), pieces joined as they belong together."""
    found, open_pieces = [], {}
    path = f"{WORK}/docker/containers/{container}/{container}-json.log"
    files = sorted(glob.glob(path + ".*"), key=lambda name: -int(name.rsplit(".", 1)[1])) + [path]
    for file in files:
        for line in open(file, encoding="utf-8"):
            entry = json.loads(line)
            stream, moment, text = entry["stream"], entry["time"], entry["log"]
            if stream in open_pieces and open_pieces[stream][0] != moment:
                begun, piece = open_pieces.pop(stream)
                found.append((stream, begun, piece))
            _, before = open_pieces.pop(stream, (moment, ""))
            if text.endswith("\n"):
                text = (before + text)[:-1]
                found.append((stream, moment, text[:-1] if text.endswith("\r") else text))
            else:
                open_pieces[stream] = (moment, before + text)
    found.extend((stream, begun, piece) for stream, (begun, piece) in open_pieces.items())
    return found


def nanos(moment):
    """A time as text that compares: nine digits of fraction."""
    seconds, _, fraction = moment.rstrip("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"


def compare(name, expected, found):
    """Each line exactly once, with its stream and time; and each stream in its order."""
    expected = [(stream, nanos(moment), text) for stream, moment, text in expected]
    found = [(stream, nanos(moment), text) for stream, moment, text in found]
    missing = collections.Counter(expected) - collections.Counter(found)
    doubled = collections.Counter(found) - collections.Counter(expected)
    def few(lines):
        return [(stream, moment, text[:40], len(text), count) for (stream, moment, text), count in list(lines.items())[:5]]
    assert not missing and not doubled, (
        f"{name}: of {len(expected)} lines {sum(missing.values())} are missing {few(missing)}, "
        f"{sum(doubled.values())} too many {few(doubled)} (seed {SEED})")
    return len(expected)


# Numbered lines on both streams, a hundred at a time, so that many share a moment.
BOTH = "i=0; while [ $i -lt %d ]; do seq $i $((i+99)); seq $i $((i+99)) >&2; i=$((i+100)); done"
STEADY = "i=0; while true; do echo line $i; [ $((i %% 3)) = 0 ] && echo trouble $i >&2; i=$((i+1)); usleep %d; done"
LONG = "for n in 16383 16384 16385 32768 40000 100001 300000; do head -c $n /dev/zero | tr '\\0' o; echo; head -c $n /dev/zero | tr '\\0' e >&2; echo >&2; done; printf 'no end'"


THROUGH_API = f"""
  docker:
    type: docker
    socket: {SOCKET}
    exclude: {{ containers: ["joined"], labels: ["secret=yes"] }}
  joined:
    type: docker
    socket: {SOCKET}
    include: {{ containers: ["joined"] }}
    index: joined
    multiline: {{ start: '^[A-Z]' }}
"""
BOTH_WAYS = "  docker: {{ type: docker, socket: {socket}, data_root: {data_root}, exclude: {{ containers: [rotated] }} }}"


def main():
    engine, daybook = Engine(), Daybook("api", THROUGH_API)
    files = Daybook("files", BOTH_WAYS.format(socket=f"{WORK}/none.sock", data_root=f"{WORK}/docker"))
    try:
        engine.start()
    except ChildProcessError:
        sys.exit(77)
    try:
        docker("import", "-c", "ENV PATH=/bin", f"{WORK}/image.tar", IMAGE)
        print("engine", docker("version", "--format", "{{.Server.Version}}"), "seed", SEED)
        story(engine, daybook)
        daybook.stop()
        story_of_files(files)
    finally:
        for running in (daybook, files):
            if running.process and running.process.poll() is None:
                running.stop()
        for container in docker("ps", "-q", check=False).split():
            docker("kill", container, check=False)
        engine.stop()
        engine.containerd.terminate()
        engine.containerd.wait(30)


def story(engine, daybook):
    run("before", BOTH % 500)
    run("secret", "echo nobody may read this", "--label", "secret=yes")
    daybook.start()
    run("steady", STEADY % 3000)
    run("tty", "seq 400; head -c 40000 /dev/zero | tr '\\0' t; echo; echo trouble >&2; seq 400", "-t")
    run("long", LONG)
    run("both", BOTH % 3000, "--label", "tier=front")
    run("joined", "for i in $(seq 50); do echo Error $i; echo ' at a'; echo ' at b'; done")
    run("rotated", "i=0; while [ $i -lt 4000 ]; do echo rotated line $i with some text behind it; i=$((i+1)); usleep 1000; done",
        "--log-opt", "max-size=64k", "--log-opt", "max-file=3")
    for number in range(20):
        run(f"short-{number}", f"echo short {number}; echo gone {number} >&2")

    print("killing daybook")
    for number in range(6):
        time.sleep(RANDOM.uniform(0.3, 2.5))
        daybook.stop(signal.SIGKILL)
        if number == 2:
            run("while-down", BOTH % 1000)
            run("long-while-down", LONG)
            wait_for("a container ends", 60, lambda: not docker("ps", "-q", "--filter", "name=while-down"))
        daybook.start()

    print("restarting the engine")
    engine.stop()
    time.sleep(1)
    engine.start()
    docker("start", "steady")
    run("after-restart", BOTH % 1000)
    time.sleep(2)
    print("killing the engine")
    engine.stop(signal.SIGKILL)
    time.sleep(1)
    engine.start()
    docker("start", "steady", check=False)
    time.sleep(1)
    daybook.stop(signal.SIGKILL)
    docker("restart", "-t", "0", "steady")
    daybook.start()
    run("last", "echo last line")
    time.sleep(2)
    docker("kill", "steady", check=False)
    wait_for("the containers end", 120, lambda: not docker("ps", "-q"))

    names = [line.split() for line in docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}").splitlines()]
    expected = {name: engine_lines(container) for container, name in names}
    ids = {name: container for container, name in names}
    total = sum(len(lines) for name, lines in expected.items() if name not in ("secret", "joined", "rotated")) + 4000
    try:
        wait_for("all lines are stored", 60, lambda: daybook.count() >= total and daybook.count("joined") >= 50)
    except AssertionError as late:
        print(late, daybook.count(), "of", total)
    compared = 0
    for name, lines in sorted(expected.items()):
        if name == "secret":
            assert daybook.lines_of(ids[name]) == [], "an excluded container was read"
        elif name == "joined":
            found = daybook.lines_of(ids[name], "joined")
            texts = sorted(text for _, _, text in found)
            assert texts == sorted(f"Error {i}\n at a\n at b" for i in range(1, 51)), texts[:5]
        elif name == "rotated":
            # Its files hold the end only; what it wrote is known.
            texts = [text for _, _, text in daybook.lines_of(ids[name])]
            wanted = collections.Counter(f"rotated line {i} with some text behind it" for i in range(4000))
            missing, doubled = wanted - collections.Counter(texts), collections.Counter(texts) - wanted
            print(f"rotated: {sum(missing.values())} missing, {sum(doubled.values())} doubled of 4000")
            assert not doubled, list(doubled)[:5]
        else:
            compared += compare(name, lines, daybook.lines_of(ids[name]))
    hit = daybook.get("/logs/_search", {"query": {"term": {"container.name": "both"}}, "size": 1})["hits"]["hits"][0]["_source"]
    wanted = {"container.id": ids["both"], "container.name": "both", "container.image.name": IMAGE, "container.labels.tier": "front"}
    assert wanted.items() <= hit.items(), hit
    for source, row in daybook.ledger().items():
        print(source, row)
    print(f"{compared} lines of {len(expected)} containers are stored exactly once")


def text_by_time(lines):
    """How many characters each moment of each stream brought."""
    characters = collections.Counter()
    for stream, moment, text in lines:
        characters[(stream, nanos(moment))] += len(text)
    return characters


def story_of_files(daybook):
    """The same containers through the engine's files, then through its API, then through its files again."""
    compared = 0
    for name, socket in [("files", f"{WORK}/none.sock"), ("api", SOCKET), ("files-again", f"{WORK}/none.sock")]:
        daybook.configure(BOTH_WAYS.format(socket=socket, data_root=f"{WORK}/docker"))
        daybook.start()
        run(f"new-{name}", BOTH % 500)
        run(f"long-{name}", LONG.replace("; printf 'no end'", ""))
        wait_for("the containers end", 60, lambda: not docker("ps", "-q"))
        rows = [line.split() for line in docker("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}").splitlines()]
        expected = {name: (container, engine_lines(container)) for container, name in rows if name != "rotated"}
        total = sum(len(lines) for _, lines in expected.values())
        wait_for("all lines are stored", 60, lambda: daybook.count() >= total)
        daybook.stop(signal.SIGKILL)
        daybook.start()
        # A last line without an end is waited for a minute, in files.
        for container, (id, lines) in expected.items():
            wanted = text_by_time(lines)
            try:
                wait_for("its text is stored", 80, lambda: text_by_time(daybook.lines_of(id)) == wanted)
            except AssertionError:
                compare(f"{name}: {container}", lines, daybook.lines_of(id))
                raise
            # In files a long line is stored in pieces when the other stream writes into it.
            if not container.startswith("long"):
                compare(f"{name}: {container}", lines, daybook.lines_of(id))
        compared = total
        daybook.stop(signal.SIGKILL)
    print(f"{compared} lines are stored exactly once, going over from files to the API and back")


main()
