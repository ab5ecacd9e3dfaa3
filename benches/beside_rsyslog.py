"""A log file read by rsyslog and by Daybook, one after the other, three times: megabytes a second and CPU.

    tests/real/syslog.sh rsyslog                                    # once: unpacks Debian's rsyslog
    DAYBOOK=target/release/daybook python3 benches/beside_rsyslog.py target/real/syslog/rsyslog

rsyslog (imfile, mmjsonparse for JSON, omfile) writes the lines to another file, without an fsync. Daybook (type file, the
pipeline named in the row) has them in its journal, each batch fsynced, when the ledger says "accepted"; its CPU is that of
the index, too, which goes on meanwhile. Asserts nothing.
"""

import json
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "tests/real"))
from harness import Daybook, cpu_seconds, spawn_rsyslog, wait_for, workplace

TEXT_BYTES = 100_000_000
RSYSLOG = pathlib.Path(sys.argv[1]).resolve()


def main(work):
    for name, line, pipeline in [("lines", access_line, "none"), ("json", json_line, "json")]:
        log = work / f"{name}.log"
        count = write(log, line)
        for run in range(3):
            for peer in (rsyslog, daybook):
                folder = work / f"{name}-{peer.__name__}-{run}"
                folder.mkdir()
                seconds, cpu = peer(folder, log, count, pipeline)
                print(f"{name:6} {peer.__name__:8} {TEXT_BYTES / 1e6 / seconds:6.1f} MB/s, {cpu:5.2f} s of CPU")


def access_line(number):
    return (f'192.0.2.{number % 250} - - [26/Nov/2026:10:{number // 60 % 60:02}:{number % 60:02} +0000] '
            f'"GET /shop/item/{number} HTTP/1.1" {200 if number % 50 else 404} {number * 7 % 50_000} "-" "Mozilla/5.0 (X11; Linux x86_64)"\n')


def json_line(number):
    return json.dumps({"time": f"2026-11-26T10:{number // 60 % 60:02}:{number % 60:02}.{number % 1000:03}Z",
                       "level": "info" if number % 50 else "error", "service": "checkout", "order": number,
                       "message": f"order {number} of customer {number * 31 % 100_000} paid", "duration_ms": number % 700}) + "\n"


def write(log, line):
    size, number = 0, 0
    with open(log, "w", encoding="ascii") as out:
        while size < TEXT_BYTES:
            size += out.write(line(number))
            number += 1
    return number


def rsyslog(work, log, count, pipeline):
    out = work / "out"
    parse = 'action(type="mmjsonparse" cookie="")' if pipeline == "json" else ""
    text = "%$!all-json%" if pipeline == "json" else "%rawmsg%"
    (work / "rsyslog.conf").write_text(f'''
global(workDirectory="{work}" maxMessageSize="64k")
main_queue(queue.type="LinkedList" queue.size="100000")
module(load="imfile")
module(load="mmjsonparse")
input(type="imfile" file="{log}" tag="bench" ruleset="all")
template(name="text" type="string" string="{text}\\n")
ruleset(name="all") {{ {parse} action(type="omfile" file="{out}" template="text" asyncWriting="on" ioBufferSize="64k" flushOnTXEnd="off") }}
''')
    # What is in its buffer comes at the end; the last few kilobytes are waited for in vain.
    return measure(lambda: spawn_rsyslog(RSYSLOG, work), lambda: lines_in(out) >= count - 1000)


def lines_in(path, known={}):
    """Counts what was added since it was last asked."""
    try:
        with open(path, "rb") as file:
            at, count = known.get(path, (0, 0))
            file.seek(at)
            while piece := file.read(1 << 20):
                at, count = at + len(piece), count + piece.count(b"\n")
    except FileNotFoundError:
        return 0
    known[path] = (at, count)
    return count


def daybook(work, log, count, pipeline):
    reader = Daybook(work, f"file: {{ type: file, include: [\"{log}\"], pipeline: {pipeline} }}",
                     more="pipelines: { json: { steps: [ { json: { remove: true } } ] } }\n")
    return measure(lambda: reader.start().process, lambda: reader.books("file")["accepted"] >= count)


def measure(start, is_done):
    started = time.monotonic()
    process = start()
    wait_for("all lines", is_done, pause=0.02)
    seconds, cpu = time.monotonic() - started, cpu_seconds(process)
    process.kill()
    process.wait()
    return seconds, cpu


with workplace() as work:
    main(work)
