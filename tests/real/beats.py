"""Elastic's lumberjack client against a real daybook. Started by beats.sh.

What is acknowledged must be stored, also when daybook is killed under the sender; only windows whose answer was lost may
come twice.
"""

import subprocess
import sys

from harness import Daybook, certificate, fail, scenario, wait_for, workplace

SENDER = sys.argv[1]


def send(daybook, tag, *arguments):
    return subprocess.Popen([SENDER, "-address", f"127.0.0.1:{daybook.ports.beats}", "-tag", tag, *arguments],
                            stdout=subprocess.PIPE, text=True)


def compare(daybook, tag, count, sender, doubles_allowed=0):
    said = sender.communicate(timeout=180)[0].strip()
    if sender.returncode != 0:
        fail(f"{tag}: the sender ended with {sender.returncode}")
    # Acknowledged means durable: after a refresh it is found.
    daybook.get("/_refresh", {})
    numbers = [int(event["message"].split()[1]) for event in daybook.events({"term": {"tag": tag}})]
    missing, doubled = set(range(count)) - set(numbers), len(numbers) - len(set(numbers))
    if missing or doubled > doubles_allowed:
        fail(f"{tag}: {said}; {len(numbers)} stored, {doubled} doubled, missing {sorted(missing)[:5]}")
    print(f"  {tag}: {said}, {len(numbers)} stored, {doubled} doubled")


def main(work):
    daybook = Daybook(work / "open", "beats: { type: beats }", ["beats"]).start()
    for tag, arguments in {
        "compressed": ["-count", "20000", "-window", "2048"],
        "plain": ["-count", "20000", "-window", "2048", "-level", "0"],
        "single": ["-count", "300", "-window", "1"],
    }.items():
        with scenario(tag):
            compare(daybook, tag, int(arguments[1]), send(daybook, tag, *arguments))

    with scenario("killed"):
        count, window = 40_000, 500
        sender = send(daybook, "killed", "-count", str(count), "-window", str(window))
        for step in (1, 2, 3):
            wait_for("some progress", lambda: daybook.count({"term": {"tag": "killed"}}) > count * step // 5)
            daybook.kill()
            daybook.start()
        compare(daybook, "killed", count, sender, doubles_allowed=3 * window)
        books = daybook.settled_books("beats")
        assert not books["dropped"] and not books["rejected"]

    with scenario("tls"):
        daybook = Daybook(work / "secured", f"beats: {{ type: beats, {certificate(work)} }}", ["beats"]).start()
        compare(daybook, "tls", 20_000, send(daybook, "tls", "-count", "20000", "-tls"))


with workplace() as work:
    main(work)
