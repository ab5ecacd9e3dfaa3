"""All sources at overload while the index stands still. Started by conservation.sh.

The index cannot be written for a while (a file lies where its folder would be) and the journal is small, so it is full within a
second or two. Then memory must stay under the limit, senders must be made to wait and not be disconnected, what the kernel drops of
datagrams must be counted, and when the index goes on everything must be there.
"""

import os
import threading
import time

import senders
from harness import Daybook, fail, scenario, wait_for, workplace
from senders import LISTENERS, Line

STALL_SECONDS = int(os.environ.get("BACKPRESSURE_SECONDS", "12"))
MEMORY_MIB = 512
SENDERS_OF_A_SOURCE = 2


def stall(daybook):
    folder = daybook.folder / "data/logs"
    folder.mkdir(exist_ok=True)
    obstacles = [folder / "run", folder / "logs"]
    for obstacle in obstacles:
        obstacle.write_text("in the way")
    return obstacles


def main(work):
    settings = {kind.source: kind.settings for kind in senders.ALL.values() if kind.settings}
    # Each over both kinds of transport.
    settings |= {"syslog": "syslog: { type: syslog, index: run }", "gelf": "gelf: { type: gelf, index: run }"}
    settings = "\n".join(settings.values()).replace("FOLDER", str(work))
    more = f"limits: {{ event: 64KiB, memory: {MEMORY_MIB}MiB }}\njournal: {{ max_size: 32MiB }}\n"
    daybook = Daybook(work, settings, LISTENERS, more).start()
    stop = threading.Event()
    obstacles = stall(daybook)
    lines = {}
    for name, kind in senders.ALL.items():
        at = len(lines) * SENDERS_OF_A_SOURCE
        # Files are as patient as their disk; what is written to them is read later.
        budget = 20_000 if kind is senders.File else 10**9
        lines[name] = [Line(kind, daybook, place, stop, budget) for place in range(at, at + SENDERS_OF_A_SOURCE)]
    daybook.forget_peak()
    for line in sum(lines.values(), []):
        line.start()
    time.sleep(STALL_SECONDS / 2)
    halfway = {name: sent_by(of) for name, of in lines.items()}
    time.sleep(STALL_SECONDS / 2)
    meanwhile = {name: sent_by(of) - halfway[name] for name, of in lines.items()}
    peak = daybook.memory_kib("VmHWM") // 1024
    accepted = sum(daybook.books(source)["accepted"] for source in {kind.source for kind in senders.ALL.values()})
    for obstacle in obstacles:
        obstacle.unlink()
    freed = time.monotonic()
    stop.set()
    for line in sum(lines.values(), []):
        line.join(60)
        if line.problem or line.is_alive():
            raise line.problem or fail("a sender waits for ever")
    check(daybook, lines, meanwhile)
    print(f"index stalled for {STALL_SECONDS} s: {accepted} events accepted, memory at most {peak} MiB of "
          f"{MEMORY_MIB}; all there {time.monotonic() - freed:.0f} s after it went on")
    if peak > MEMORY_MIB:
        fail("more memory than the limit")


def sent_by(lines):
    return sum(line.next - line.first for line in lines)


def check(daybook, lines, meanwhile):
    sent_to_files = sent_by(lines["file"])
    wait_for("the files to be read", lambda: daybook.books("file")["stored"] >= sent_to_files)
    sources = {kind.source for kind in senders.ALL.values()}
    books = dict(zip(sources, daybook.quiet_books(*sources)))
    found = {}
    for index in ("run", "logs"):
        for message in daybook.messages(index):
            number = senders.number_of(message)
            found[number] = found.get(number, 0) + 1
    for source, of in books.items():
        if of["received"] != of["stored"] + of["refused"] + of["lost"]:
            fail(f"the books of {source} do not balance: {of}")
    row("source", "sent", "in 2nd half", "stored", "twice", "lost", "told later", "broken", "dropped, of the source")
    for name, of in lines.items():
        kind = senders.ALL[name]
        sent = {number for line in of for number in range(line.first, line.next)}
        again = {number for line in of for number in line.again}
        stored = sent & found.keys()
        twice = {number for number in stored if found[number] > 1}
        lost, breaks = len(sent) - len(stored), sum(line.breaks for line in of)
        dropped = books[kind.source]["dropped"]
        row(name, len(sent), meanwhile[name], len(stored), len(twice), lost, sum(line.refusals for line in of), breaks, dropped or 0)
        if breaks:
            why = [str(line.last_break) for line in of if line.last_break]
            fail(f"{name}: {breaks} connections were broken instead of made to wait: {why}")
        if twice - (again if kind.repeats else set()):
            fail(f"{name}: stored twice without need")
        allowed = dropped.get("kernel_buffer_full", 0) if issubclass(kind, senders.Datagrams) else 0
        if lost > allowed:
            fail(f"{name}: {lost} lost, {allowed} counted as dropped")
        if lost == 0 and allowed:
            fail(f"{name}: {allowed} counted as dropped, none is missing")
        # The buffers of the kernel still grow; unhindered it would be ten times as much.
        if kind is not senders.File and not issubclass(kind, senders.Datagrams) and meanwhile[name] > 20_000:
            fail(f"{name}: its senders were not slowed down")


def row(*cells):
    widths = (17, 9, 12, 9, 7, 9, 11, 7, 40)
    print(" ".join(str(cell).ljust(width) for cell, width in zip(cells, widths)).rstrip(), flush=True)


with workplace() as work, scenario("backpressure"):
    main(work)
