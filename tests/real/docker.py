"""Containers that write in every way, an engine and a Daybook that are stopped and killed meanwhile; then what the
engine's own files hold is compared with what Daybook stored: stream, time and text of every line, each exactly once.

Called by docker.sh.
"""

import collections
import glob
import json
import random
import signal
import time

from docker_engine import IMAGE, Engine, docker
from harness import SEED, Daybook, scenario, wait_for, workplace

RANDOM = random.Random(SEED)


def lines_of(daybook, container, index="logs*"):
    """Every stored line of one container: (stream, time, text)."""
    events = daybook.events({"term": {"container.id": container}}, index)
    return [(event["stream"], event["@timestamp"], event["message"]) for event in events]


def engine_lines(engine, container):
    """What the engine's own files hold: (stream, time, text), pieces joined as they belong together."""
    found, open_pieces = [], {}
    path = f"{engine.work}/docker/containers/{container}/{container}-json.log"
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
        f"{sum(doubled.values())} too many {few(doubled)}")
    return len(expected)


# Numbered lines on both streams, a hundred at a time, so that many share a moment.
BOTH = "i=0; while [ $i -lt %d ]; do seq $i $((i+99)); seq $i $((i+99)) >&2; i=$((i+100)); done"
STEADY = "i=0; while true; do echo line $i; [ $((i %% 3)) = 0 ] && echo trouble $i >&2; i=$((i+1)); usleep %d; done"
LONG = "for n in 16383 16384 16385 32768 40000 100001 300000; do head -c $n /dev/zero | tr '\\0' o; echo; head -c $n /dev/zero | tr '\\0' e >&2; echo >&2; done; printf 'no end'"


THROUGH_API = """
docker:
  type: docker
  socket: {socket}
  exclude: {{ containers: ["joined"], labels: ["secret=yes"] }}
joined:
  type: docker
  socket: {socket}
  include: {{ containers: ["joined"] }}
  index: joined
  multiline: {{ start: '^[A-Z]' }}
"""
BOTH_WAYS = "docker: {{ type: docker, socket: {socket}, data_root: {data_root}, exclude: {{ containers: [rotated] }} }}"


def main(work):
    with Engine(work).running() as engine:
        daybook, of_files = Daybook(work / "api", THROUGH_API.format(socket=engine.socket)), Daybook(work / "files")
        with scenario("through the API"):
            write(engine, daybook, of_files)
            compare_all(engine, daybook)
        with scenario("through files, the API, and files again"):
            change_over(engine, of_files)


def listed():
    """Of all containers there were: name and id."""
    return [line.split() for line in docker("ps", "-a", "--no-trunc", "--format", "{{.Names}} {{.ID}}").splitlines()]


def read_by(daybook, engine, socket):
    daybook.configure(BOTH_WAYS.format(socket=socket, data_root=engine.work / "docker"))
    daybook.start()


def write(engine, daybook, of_files):
    def start(name, command, *options):
        engine.run(name, command, "-d", *options)

    start("before", BOTH % 500)
    start("secret", "echo nobody may read this", "--label", "secret=yes")
    daybook.start()
    # A last line without an end is waited for a minute, in files: it begins now.
    read_by(of_files, engine, engine.work / "none.sock")
    start("steady", STEADY % 3000)
    start("tty", "seq 400; head -c 40000 /dev/zero | tr '\\0' t; echo; echo trouble >&2; seq 400", "-t")
    start("long", LONG)
    start("both", BOTH % 3000, "--label", "tier=front")
    start("joined", "for i in $(seq 50); do echo Error $i; echo ' at a'; echo ' at b'; done")
    start("rotated", "i=0; while [ $i -lt 4000 ]; do echo rotated line $i with some text behind it; i=$((i+1)); usleep 1000; done",
        "--log-opt", "max-size=64k", "--log-opt", "max-file=3")

    print("  daybook is killed")
    for number in range(6):
        time.sleep(RANDOM.uniform(0.3, 2.5))
        daybook.kill()
        if number == 0:
            start("while-down", BOTH % 1000)
            start("long-while-down", LONG)
            wait_for("a container to end", lambda: not docker("ps", "-q", "--filter", "name=while-down"), 60)
        for short in range(2):
            start(f"short-{number}-{short}", "echo short; echo gone >&2")
        daybook.start()
        for short in range(2, 4):
            start(f"short-{number}-{short}", "echo short; echo gone >&2")

    print("  the engine is restarted")
    engine.stop()
    time.sleep(1)
    engine.start()
    docker("start", "steady")
    start("after-restart", BOTH % 1000)
    time.sleep(2)
    print("  the engine is killed")
    engine.stop(signal.SIGKILL)
    time.sleep(1)
    engine.start()
    docker("start", "steady", check=False)
    time.sleep(1)
    daybook.kill()
    docker("restart", "-t", "0", "steady")
    daybook.start()
    start("last", "echo last line")
    time.sleep(2)
    docker("kill", "steady", check=False)
    wait_for("the containers to end", lambda: not docker("ps", "-q"), 120)


def compare_all(engine, daybook):
    ids = dict(listed())
    expected = {name: engine_lines(engine, container) for name, container in ids.items()}
    total = sum(len(lines) for name, lines in expected.items() if name not in ("secret", "joined", "rotated")) + 4000
    try:
        wait_for("all lines to be stored", lambda: daybook.count() >= total and daybook.count(index="joined*") >= 50, 60)
    except AssertionError as late:
        print(late, daybook.count(), "of", total)
    compared = 0
    for name, lines in sorted(expected.items()):
        if name == "secret":
            assert lines_of(daybook, ids[name]) == [], "an excluded container was read"
        elif name == "joined":
            found = lines_of(daybook, ids[name], "joined*")
            texts = sorted(text for _, _, text in found)
            assert texts == sorted(f"Error {i}\n at a\n at b" for i in range(1, 51)), texts[:5]
        elif name == "rotated":
            # Its files hold the end only; what it wrote is known.
            texts = [text for _, _, text in lines_of(daybook, ids[name])]
            wanted = collections.Counter(f"rotated line {i} with some text behind it" for i in range(4000))
            missing, doubled = wanted - collections.Counter(texts), collections.Counter(texts) - wanted
            print(f"  rotated: {sum(missing.values())} missing, {sum(doubled.values())} doubled of 4000")
            assert not doubled, list(doubled)[:5]
        else:
            compared += compare(name, lines, lines_of(daybook, ids[name]))
    hit = daybook.get("/logs/_search", {"query": {"term": {"container.name": "both"}}, "size": 1})["hits"]["hits"][0]["_source"]
    wanted = {"container.id": ids["both"], "container.name": "both", "container.image.name": IMAGE, "container.labels.tier": "front"}
    assert wanted.items() <= hit.items(), hit
    for source in ("docker", "joined"):
        daybook.settled_books(source)
    daybook.stop()
    print(f"  {compared} lines of {len(expected)} containers are stored exactly once")


def text_by_time(lines):
    """How many characters each moment of each stream brought."""
    characters = collections.Counter()
    for stream, moment, text in lines:
        characters[(stream, nanos(moment))] += len(text)
    return characters


def compare_texts(daybook, turn, expected):
    for name, (id, lines) in expected.items():
        wanted = text_by_time(lines)
        try:
            wait_for("its text to be stored", lambda: text_by_time(lines_of(daybook, id)) == wanted, 80)
        except AssertionError:
            compare(f"{turn}: {name}", lines, lines_of(daybook, id))
            raise
        # In files a long line is stored in pieces when the other stream writes into it.
        if not name.startswith("long"):
            compare(f"{turn}: {name}", lines, lines_of(daybook, id))


def change_over(engine, daybook):
    """The same containers through the engine's files, then through its API, then through its files again."""
    for turn, socket in [("files", None), ("api", engine.socket), ("files-again", engine.work / "none.sock")]:
        if socket:
            read_by(daybook, engine, socket)
        engine.run(f"new-{turn}", BOTH % 500, "-d")
        engine.run(f"long-{turn}", LONG.replace("; printf 'no end'", ""), "-d")
        wait_for("the containers to end", lambda: not docker("ps", "-q"), 60)
        expected = {name: (id, engine_lines(engine, id)) for name, id in listed() if name != "rotated"}
        total = sum(len(lines) for _, lines in expected.values())
        compare_texts(daybook, turn, expected)
        daybook.kill()
        daybook.start()
        compare_texts(daybook, turn, expected)
        daybook.kill()
    print(f"  {total} lines are stored exactly once, going over from files to the API and back")


with workplace() as work:
    main(work)
