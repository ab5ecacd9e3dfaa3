"""A writer of numbered lines at 50 MB/s, logrotate beside it every two or three seconds, and a Daybook that is killed
meanwhile; then what stands in the files is compared with what Daybook stored.

Called by logrotate.sh with the modes, create and copytruncate without any. Called with `writer` it is the writer.
"""

import collections
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

from harness import SEED, Daybook, scenario, spawn, wait_for, workplace

RANDOM = random.Random(SEED)
LINE_BYTES = 2000
BYTES_A_SECOND = 50_000_000
LINES_A_WRITE = 32
SECONDS = int(os.environ.get("SECONDS_TO_WRITE", 12))
KILLS = 5

# The number is what counts; 2000 dots in each event would only be weight.
SOURCE = "rotated: {{ type: file, include: [\"{logs}/app.log\", \"{logs}/app.log.*\"], pipeline: numbers }}"
PIPELINE = f"""
pipelines:
  numbers:
    steps:
      - regex: {{ pattern: '^(?<n>[0-9]{{10}}) [.]{{{LINE_BYTES - 23}}} (?<end>[0-9]{{10}})$', types: {{ n: int, end: int }} }}
      - remove: [message]
        when: {{ field: end, exists: true }}
"""


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


class Rotation:
    """logrotate, again and again."""

    def __init__(self, mode, folder, logs, writer):
        self.settings, self.state, self.count = folder / "logrotate.conf", folder / "logrotate.state", 0
        how = "copytruncate" if mode == "copytruncate" else (
            f"create 0644\n    compress\n    delaycompress\n    postrotate\n        kill -HUP {writer.pid}\n    endscript")
        self.settings.write_text(f"{logs}/app.log {{\n    rotate 1000\n    size 1\n    {how}\n}}\n")
        self.settings.chmod(0o644)

    def run(self, is_written):
        while not is_written.wait(RANDOM.uniform(1.5, 3)):
            subprocess.run(["logrotate", "--force", "--state", self.state, self.settings], check=True)
            self.count += 1


def on_disk(logs):
    """The numbers of the whole lines in all files, and what stands in them besides."""
    numbers, fragments = collections.Counter(), []
    for path in logs.glob("app.log*"):
        text = subprocess.run(["zcat" if path.suffix == ".gz" else "cat", path], capture_output=True, check=True).stdout
        for row in text.split(b"\n"):
            if len(row) == LINE_BYTES - 1 and row[:10] == row[-10:]:
                numbers[int(row[:10])] += 1
            elif row:
                fragments.append(row.decode())
    return numbers, fragments


def stored(daybook):
    """How often each number was stored, and the messages of events without one."""
    numbers, fragments = collections.Counter(), []
    for event in daybook.events(sort=["_doc"], fields=["n", "end", "message"]):
        if "n" in event:
            assert event["n"] == event["end"], event
            numbers[event["n"]] += 1
        else:
            fragments.append(event["message"])
    return numbers, fragments


def rotate(mode, folder):
    logs = folder / "logs"
    logs.mkdir(parents=True)
    lines = SECONDS * BYTES_A_SECOND // LINE_BYTES
    said = folder / "writer.log"
    writer = spawn([sys.executable, __file__, "writer", logs / "app.log", str(lines)], said)
    wait_for("the writer", lambda: said.read_text().startswith("writing\n"))
    is_written = threading.Event()
    rotation = Rotation(mode, folder, logs, writer)
    rotating = threading.Thread(target=rotation.run, args=(is_written,), daemon=True)
    rotating.start()
    daybook, kills = Daybook(folder / "daybook", SOURCE.format(logs=logs), more=PIPELINE).start(), 0
    while kills < KILLS or said.read_text().count("\n") < 2:
        time.sleep(RANDOM.uniform(0.5, 2))
        daybook.kill()
        kills += 1
        # Long enough, sometimes, for a rotation that nobody sees.
        time.sleep(RANDOM.choice([0, 0, 2.5]))
        daybook.start()
    rate = said.read_text().split()[1]
    is_written.set()
    rotating.join()
    writer.kill()
    last = [daybook.count(), time.monotonic()]
    numbers, fragments = on_disk(logs)
    assert max(numbers.values()) == 1, "the files themselves have a line twice"

    def is_through():
        """All is stored, and for longer than a copy is waited for nothing more came."""
        if daybook.count() != last[0]:
            last[:] = daybook.count(), time.monotonic()
        return last[0] >= len(numbers) and time.monotonic() - last[1] > 7

    wait_for("all lines to be stored", is_through, 600)
    found, odd = stored(daybook)
    twice = [number for number, times in found.items() if times > 1]
    missing = sorted(numbers.keys() - found.keys())
    assert not missing, f"{len(missing)} lines are on disk and not stored: {missing[:3]} to {missing[-3:]}"
    count = daybook.count()
    assert not twice and count == len(found) + len(odd), f"{count} events, {len(found)} lines, twice {twice[:5]}"
    strange = [text[:60] for text in odd if text not in fragments]
    assert not strange, f"{strange[:3]} is in no file"
    lost = lines - len(numbers)
    if mode == "create":
        assert lost == 0 and not fragments and len(found) == lines, (lost, len(found), fragments[:1])
    assert daybook.settled_books("rotated")["stored"] == count
    daybook.stop()
    print(f"  {mode}: {lines} lines at {rate} MB/s, {rotation.count} rotations, {kills} kills: every line that is on disk is stored "
          "exactly once")
    if mode == "copytruncate":
        print(f"  {mode}: between copy and truncation logrotate destroyed {lost} of the {lines} lines; daybook had read "
              f"{len(found) - len(numbers)} of them before; {len(odd)} of {len(fragments)} broken lines at the ends of copies are events")


def main(work):
    for mode in sys.argv[1:] or ["create", "copytruncate"]:
        with scenario(mode):
            rotate(mode, work / mode)
        shutil.rmtree(work / mode)


if sys.argv[1:2] == ["writer"]:
    write(sys.argv[2], int(sys.argv[3]))
else:
    with workplace() as work:
        main(work)
