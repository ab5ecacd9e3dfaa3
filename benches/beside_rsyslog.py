"""A log file read by rsyslog and by Daybook, one after the other, three times: megabytes a second and CPU.

    tests/real/syslog.sh rsyslog                                    # once: unpacks Debian's rsyslog
    DAYBOOK=target/release/daybook python3 benches/beside_rsyslog.py target/real/syslog/rsyslog

rsyslog (imfile, mmjsonparse for JSON, omfile) writes the lines to another file, without an fsync. Daybook (type file, the
pipeline named in the row) has them in its journal, each batch fsynced, when the ledger says "accepted"; its CPU is that of
the index, too, which goes on meanwhile. Asserts nothing.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

TEXT_BYTES = 100_000_000
RSYSLOG = pathlib.Path(sys.argv[1]).resolve()
DAYBOOK = os.path.abspath(os.environ["DAYBOOK"])


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name, line, pipeline in [("lines", access_line, "none"), ("json", json_line, "json")]:
            log = folder / f"{name}.log"
            count = write(log, line)
            for _ in range(3):
                for peer in (rsyslog, daybook):
                    with tempfile.TemporaryDirectory(dir=folder) as work:
                        seconds, cpu = peer(pathlib.Path(work), log, count, pipeline)
                    print(f"{name:6} {peer.__name__:8} {TEXT_BYTES / 1e6 / seconds:6.1f} MB/s, {cpu:5.2f} s of CPU", flush=True)


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
    modules = next(RSYSLOG.glob("usr/lib/*/rsyslog"))
    libraries = ":".join(str(path) for path in RSYSLOG.glob("usr/lib/*") if path.is_dir())
    out = work / "out"
    parse = 'action(type="mmjsonparse" cookie="")' if pipeline == "json" else ""
    text = "%$!all-json%" if pipeline == "json" else "%rawmsg%"
    (work / "conf").write_text(f'''
global(workDirectory="{work}" maxMessageSize="64k")
main_queue(queue.type="LinkedList" queue.size="100000")
module(load="imfile")
module(load="mmjsonparse")
input(type="imfile" file="{log}" tag="bench" ruleset="all")
template(name="text" type="string" string="{text}\\n")
ruleset(name="all") {{ {parse} action(type="omfile" file="{out}" template="text" asyncWriting="on" ioBufferSize="64k" flushOnTXEnd="off") }}
''')
    command = [RSYSLOG / "usr/sbin/rsyslogd", "-n", "-f", work / "conf", "-i", work / "pid", "-M", modules]
    environment = {**os.environ, "LD_LIBRARY_PATH": libraries}

    def is_done(_):
        # What is in its buffer comes at the end; the last few kilobytes are waited for in vain.
        return lines_in(out) >= count - 1000

    return measure(command, is_done, env=environment)


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
    (work / "daybook.yaml").write_text(f'''
data_dir: {work}/data
listen: {{ http: "127.0.0.1:18365", otlp_grpc: off, otlp_http: off }}
sources: {{ file: {{ type: file, include: ["{log}"], pipeline: {pipeline} }} }}
pipelines: {{ json: {{ steps: [ {{ json: {{ remove: true }} }} ] }} }}
''')

    def is_done(_):
        try:
            with urllib.request.urlopen("http://127.0.0.1:18365/api/daybook/v1/ledger") as reply:
                return any(source["accepted"] >= count for source in json.load(reply)["sources"] if source["source"] == "file")
        except OSError:
            return False

    return measure([DAYBOOK, "serve", "--config", work / "daybook.yaml"], is_done)


def measure(command, is_done, **options):
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    try:
        while not is_done(process):
            assert process.poll() is None, f"{command[0]} has ended"
            time.sleep(0.02)
        seconds = time.monotonic() - started
        fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return seconds, (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    finally:
        process.kill()
        process.wait()


main()
