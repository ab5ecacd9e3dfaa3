"""Every source at overload, under kill -9 of daybook and of its senders' connections. Started by conservation.sh.

Several senders of one protocol send numbered events as fast as they can and send again what was not acknowledged, as shippers do.
Daybook is killed at random moments and started again, connections are reset. Afterwards every event is looked for:

- what was acknowledged is stored; nothing is stored twice but what was sent twice, and not that where the protocol has ids;
- what must be refused is refused, and its neighbours are stored;
- received = stored + rejected + dropped in the ledger, and its "stored" is what is found;
- without acknowledgement, losses are stretches around a kill or a reset. Datagrams are first sent without a kill: sent = stored +
  dropped, counted by the ledger.
"""

import functools
import os
import random
import signal
import sys
import threading
import time

import senders
from harness import SEED, Daybook, beside_each_other, fail, wait_for, workplace
from senders import LISTENERS, NUMBERS_OF_A_SENDER, Line

SOURCES = sys.argv[1:] or list(senders.ALL)
KILLS = int(os.environ.get("CONSERVATION_KILLS", "3"))
# No more than this many events from one sender between two kills: reading them all back takes its time, too.
EVENTS_MAX = int(os.environ.get("CONSERVATION_EVENTS", "20000"))
SENDERS = 4
# Messages that are too long must not take long to send.
LIMITS = "limits: { event: 64KiB }\n"
COLUMNS = ("source", "sent", "acked", "again", "stored", "twice", "halves", "refused", "dropped", "lost", "kills", "cuts", "s")


class Run:
    """One source."""

    def __init__(self, name, work):
        self.name, self.kind, self.work = name, senders.ALL[name], work
        self.random = random.Random(f"{SEED} {name}")
        self.stop = threading.Event()
        self.kills = self.cuts = 0
        self.open("accounted" if issubclass(self.kind, senders.Datagrams) else "killed")

    def open(self, folder):
        """A fresh daybook: with books of its own."""
        folder = self.work / folder
        settings = self.kind.settings.replace("FOLDER", str(folder)) or "{}"
        self.daybook = Daybook(folder, settings, LISTENERS, LIMITS).start()

    def begin(self):
        self.lines = [Line(self.kind, self.daybook, place, self.stop, EVENTS_MAX) for place in range(SENDERS)]
        for line in self.lines:
            line.start()

    def harass(self):
        """Cuts connections all the time, and kills daybook at random moments."""
        for _ in range(KILLS):
            self.wait_cutting(self.random.uniform(0.3, 1.2))
            self.daybook.kill()
            self.kills += 1
            time.sleep(self.random.uniform(0, 0.3))
            self.daybook.start()
            for line in self.lines:
                line.budget = EVENTS_MAX
        self.wait_cutting(1)

    def wait_cutting(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(self.random.uniform(0.05, 0.2))
            self.cuts += 1
            self.random.choice(self.lines).sender.cut()

    def end(self):
        self.stop.set()
        for line in self.lines:
            line.join(60)
            if line.is_alive():
                self.fail("a sender waits for its acknowledgement for ever")
            if line.problem:
                raise line.problem
        self.stop.clear()

    def fail(self, what):
        fail(f"{self.name}: {what}")

    def check(self):
        """Looks for every event; answers the row of the table."""
        sent = {number for line in self.lines for number in range(line.first, line.next)}
        acknowledged = {number for line in self.lines for number in line.acknowledged if self.kind.acknowledges}
        again = {number for line in self.lines for number in line.again}
        bad = sum(line.bad for line in self.lines)
        if self.kind is senders.File:
            wait_for("the files to be read", lambda: self.daybook.books("file")["stored"] >= len(sent))
        books, = self.daybook.quiet_books(self.kind.source)
        counts, halves = self.found()
        stored, twice = set(counts), {number for number, count in counts.items() if count > 1}
        lost = sent - stored
        if strangers := stored - sent:
            self.fail(f"stored and never sent: {sorted(strangers)[:5]}")
        if missing := acknowledged - stored:
            self.fail(f"{len(missing)} acknowledged and not stored: {sorted(missing)[:5]}")
        if doubled := twice - (again if self.kind.repeats else set()):
            self.fail(f"{len(doubled)} stored more than once without need: {sorted(doubled)[:5]}")
        if not self.kind.acknowledges and not issubclass(self.kind, senders.Datagrams):
            # In stretches: one for each moment that broke a connection.
            stretches = sum(number - 1 not in lost for number in lost)
            if stretches > self.kills * SENDERS + self.cuts:
                self.fail(f"losses in {stretches} stretches, {self.kills} kills, {self.cuts} cuts: {sorted(lost)[:5]}")
        if halves > (0 if self.kind.acknowledges else self.kills * SENDERS + self.cuts):
            self.fail(f"{halves} messages are no whole ones")
        total = sum(counts.values()) + halves
        if books["stored"] != total:
            self.fail(f"the ledger says that {books['stored']} were stored, {total} are found: {books}")
        if books["received"] != books["stored"] + books["refused"] + books["lost"]:
            self.fail(f"the ledger does not balance: {books}")
        if unexpected := set(books["rejected"]) - {self.kind.bad_reason, "conflict", "broken_off", "stopping"}:
            self.fail(f"refused for {unexpected}: {books}")
        if self.kind.bad_reason and not books["rejected"].get(self.kind.bad_reason):
            self.fail(f"{bad} bad items were sent and none was refused: {books}")
        return [self.name, len(sent), len(acknowledged) if self.kind.acknowledges else "-", len(again), total,
                total - halves - len(stored), halves, said(books["rejected"]), said(books["dropped"]), len(lost)]

    def check_datagrams(self):
        """Without a kill every datagram is accounted for."""
        sent = sum(line.next - line.first for line in self.lines)
        bad = sum(line.bad for line in self.lines)
        books = wait_for(f"the books of {sent + bad} datagrams", lambda: self.full_books(sent + bad), 30)
        refused = books["rejected"].get(self.kind.bad_reason, 0)
        if books["stored"] + books["lost"] + books["refused"] != sent + bad or refused > bad:
            self.fail(f"{sent} datagrams sent and {bad} bad ones: {books}")
        counts, halves = self.found()
        if len(counts) != books["stored"] or max(counts.values()) > 1 or halves:
            self.fail(f"{len(counts)} numbers found: {books}")
        return [self.name, sent + bad, "-", 0, books["stored"], 0, 0, said(books["rejected"]), said(books["dropped"]), 0]

    def check_refusals(self):
        """Bad items among good ones, without a kill: each is counted, with the reason, and costs its neighbours nothing."""
        before = self.daybook.books(self.kind.source)
        sender, batches = self.kind(self.daybook), 5
        for batch in range(batches):
            first = SENDERS * NUMBERS_OF_A_SENDER + batch * self.kind.batch
            sender.send(range(first, first + self.kind.batch), 3)
        sender.close()
        sent = batches * self.kind.batch

        def are_counted():
            books = self.daybook.books(self.kind.source)
            refused = books["rejected"].get(self.kind.bad_reason, 0) - before["rejected"].get(self.kind.bad_reason, 0)
            return (books["stored"] - before["stored"], refused) == (sent, 3 * batches)

        wait_for(f"{sent} events of {self.name} to be stored and {3 * batches} refused", are_counted, 30)

    def found(self):
        """How often each event is stored, and how many halves of messages are."""
        counts, halves = {}, 0
        for message in self.daybook.messages(self.kind.index):
            number = senders.number_of(message)
            if number is None:
                halves += 1
            else:
                counts[number] = counts.get(number, 0) + 1
        return counts, halves

    def full_books(self, sent):
        books, = self.daybook.quiet_books(self.kind.source, seconds=30)
        return books if books["received"] >= sent else None


def said(reasons):
    return " ".join(f"{reason}:{count}" for reason, count in reasons.items()) or "0"


def show(row):
    widths = (17, 8, 8, 7, 8, 7, 7, 40, 26, 7, 5, 5, 5)
    print(" ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip(), flush=True)


def take(name, work):
    work.mkdir()
    begun, run = time.monotonic(), Run(name, work)
    try:
        if issubclass(run.kind, senders.Datagrams):
            run.begin()
            time.sleep(0.5)
            # Nobody reads: the kernel has to drop.
            run.daybook.process.send_signal(signal.SIGSTOP)
            time.sleep(1)
            run.daybook.process.send_signal(signal.SIGCONT)
            time.sleep(0.5)
            run.end()
            row = run.check_datagrams()
            show(row + [0, 0, round(time.monotonic() - begun)])
            run.daybook.kill()
            begun = time.monotonic()
            run.open("killed")
        run.begin()
        run.harass()
        run.end()
        row = run.check()
        if run.kind.bad_reason:
            run.check_refusals()
        show(row + [run.kills, run.cuts, round(time.monotonic() - begun)])
    finally:
        run.daybook.kill()


def main(work):
    print(f"{KILLS} kills, {SENDERS} senders of each source")
    show(COLUMNS)
    beside_each_other(3, {name: functools.partial(take, name, work / name) for name in SOURCES})


with workplace() as work:
    main(work)
