"""Real syslog senders against a real daybook. Started by syslog.sh.

Every part sends numbered messages under a name of its own and compares what is stored with what was sent, text by text.
"""

import pathlib
import random
import socket
import subprocess
import sys
import threading
import time

from harness import Daybook, certificate, fail, scenario, spawn_rsyslog, spawn_unpacked, stop, wait_for, workplace

PEERS = pathlib.Path(sys.argv[1])
PARTS = sys.argv[2:] or ["rsyslog", "syslog_ng", "logger", "loggen", "kill", "hostile"]
MESSAGES = 5000


def named(name):
    return {"term": {"process.name": name}}


def text_of(number):
    """A message with what breaks careless parsers: quotes, brackets, braces, colons, umlauts, blanks."""
    words = ['"quoted"', "[brackets]", "{braces: 1}", "a=b", "100%", "naïve", "x" * (number % 300), "<13>", "\\back", "it's"]
    return f"n{number:07d} " + " ".join(random.Random(number).sample(words, 4)).strip() + " end"


def compare(daybook, name, sent, losses_allowed=0):
    """What is stored under a name is what was sent, each once."""
    wait_for(f"{len(sent)} events of {name}",
             lambda: daybook.count(named(name)) >= len(sent) - losses_allowed and settled(daybook))
    stored = [event["message"] for event in daybook.events(named(name))]
    missing, extra = set(sent) - set(stored), set(stored) - set(sent)
    doubled = len(stored) - len(set(stored))
    if len(missing) > losses_allowed or extra or doubled:
        fail(f"{name}: sent {len(sent)}, stored {len(stored)}, doubled {doubled}\n"
                         f" missing {sorted(missing)[:3]}\n not sent {sorted(extra)[:3]}")
    return stored


def settled(daybook):
    books = daybook.books("syslog")
    return books["in_flight"] == 0 and books["balanced"]


def check_fields(daybook, name, **expected):
    event = daybook.events(named(name))[0]
    for field, value in expected.items():
        field = field.replace("__", ".")
        found = event.get(field)
        if found != value:
            fail(f"{name}: {field} is {found!r}, expected {value!r}, in {event}")


def rsyslog(work, action, name, queue=""):
    """rsyslog with an input file and one action; `name` becomes the tag."""
    (work / "spool").mkdir(exist_ok=True)
    (work / "rsyslog.conf").write_text(f"""
global(workDirectory="{work}/spool" maxMessageSize="64k" preserveFQDN="on" localHostname="peer-host"
       defaultNetstreamDriverCAFile="{work}/../tls.crt")
main_queue(queue.workerThreads="1")
module(load="imfile" mode="inotify")
input(type="imfile" file="{work}/in.log" tag="{name}" severity="warning" facility="local3" ruleset="out")
ruleset(name="out") {{
  action(name="forward" type="omfwd" target="127.0.0.1" action.resumeRetryCount="-1" action.resumeInterval="1" {action} {queue})
}}
""")
    return spawn_rsyslog(PEERS / "rsyslog", work)


def part_rsyslog(daybook, work):
    tls = (f'port="{daybook.ports.syslog_tls}" protocol="tcp" StreamDriver="gtls" StreamDriverMode="1" '
           'StreamDriverAuthMode="x509/name" StreamDriverPermittedPeers="localhost"')
    tcp, udp = f'port="{daybook.ports.syslog_tcp}" protocol="tcp"', f'port="{daybook.ports.syslog_udp}" protocol="udp"'
    new, old, traditional = (f'template="RSYSLOG_{t}"' for t in (
        "SyslogProtocol23Format", "ForwardFormat", "TraditionalForwardFormat"))
    cases = {
        "rsyslog-tcp-counted": f'{tcp} TCP_Framing="octet-counted" {new}',
        "rsyslog-tcp-lines": f'{tcp} TCP_Framing="traditional" {traditional}',
        "rsyslog-tcp-lines-iso": f'{tcp} {old}',
        "rsyslog-tls-counted": f'{tls} TCP_Framing="octet-counted" {new}',
        "rsyslog-udp": f"{udp} {new}",
    }
    for name, action in cases.items():
        folder = work / name
        folder.mkdir()
        sent = [text_of(n) for n in range(MESSAGES)]
        (folder / "in.log").write_text("\n".join(sent) + "\n")
        tag = name if name.startswith("rsyslog-tcp-lines") else name
        sender = rsyslog(folder, action, f"{tag}:" if "lines" in name else tag)
        compare(daybook, name, sent)
        stop(sender)
        check_fields(daybook, name, host__name="peer-host", log__level="warn", log__syslog__facility__name="local3",
                     log__syslog__severity__name="warning", process__name=name)
        print(f"  {name}: {len(sent)} sent, {len(sent)} stored")


def part_syslog_ng(daybook, work):
    root = PEERS / "syslog_ng"
    modules = root / "usr/lib/syslog-ng"
    modules = next(folder for folder in modules.iterdir() if folder.is_dir())
    tls = f'tls(ca-file("{work}/tls.crt") peer-verify(required-trusted))'
    cases = {
        "ng-tcp-lines": f'network("127.0.0.1" port({daybook.ports.syslog_tcp}) transport("tcp"))',
        "ng-tcp-counted": f'syslog("127.0.0.1" port({daybook.ports.syslog_tcp}) transport("tcp"))',
        "ng-tls-counted": f'syslog("localhost" port({daybook.ports.syslog_tls}) transport("tls") {tls} ip-protocol(4))',
        "ng-udp": f'network("127.0.0.1" port({daybook.ports.syslog_udp}) transport("udp"))',
    }
    for name, destination in cases.items():
        folder = work / name
        folder.mkdir()
        sent = [text_of(n) for n in range(MESSAGES)]
        (folder / "in.log").write_text("\n".join(sent) + "\n")
        (folder / "syslog-ng.conf").write_text(f"""@version: 3.38
options {{ stats-freq(0); }};
source s {{ file("{folder}/in.log" flags(no-parse) follow-freq(1) log-msg-size(65536) program-override("{name}")); }};
destination d {{ {destination}; }};
log {{ source(s); rewrite {{ set("ng-host", value("HOST")); set-severity("err"); set-facility("local5"); }}; destination(d); flags(flow-control); }};
""")
        sender = spawn_unpacked(root, "usr/sbin/syslog-ng", [
            "-F", "-f", folder / "syslog-ng.conf", "-R", folder / "persist", "-c", folder / "control", "-p", folder / "pid",
            "--module-path", modules, "--no-caps"], folder)
        compare(daybook, name, sent)
        stop(sender)
        check_fields(daybook, name, host__name="ng-host", log__level="error", log__syslog__facility__name="local5")
        print(f"  {name}: {len(sent)} sent, {len(sent)} stored")


def part_logger(daybook, work):
    for transport, port in (("-T", daybook.ports.syslog_tcp), ("-d", daybook.ports.syslog_udp)):
        for form in (["--rfc3164"], ["--rfc5424"], ["--rfc5424", "--octet-count"], ["--rfc3164", "--octet-count"]):
            if transport == "-d" and "--octet-count" in form:
                continue
            name = "logger" + transport + "".join(form)
            name = name.replace("--", "-")
            sent = [text_of(n) for n in range(500)]
            (work / "logger.in").write_text("\n".join(sent) + "\n")
            subprocess.run(["logger", "-n", "127.0.0.1", "-P", str(port), transport, *form, "-t", name, "-p", "mail.crit",
                            "--id=4242", "-f", work / "logger.in"], check=True)
            compare(daybook, name, sent)
            check_fields(daybook, name, log__level="fatal", log__syslog__facility__name="mail",
                         process__pid=4242, process__name=name)
            print(f"  {name}: {len(sent)} sent, {len(sent)} stored")
    text = "structured"
    subprocess.run(["logger", "-n", "127.0.0.1", "-P", str(daybook.ports.syslog_tcp), "-T", "--rfc5424", "-t", "logger-sd",
                    "--msgid", "ID47", "--sd-id", "zoo@123", "--sd-param", 'tiger="hungry"', "--sd-param",
                    'zebra="ru\\]nning"', text], check=True)
    compare(daybook, "logger-sd", [text])
    check_fields(daybook, "logger-sd", log__syslog__msgid="ID47", **{
        "log__syslog__structured_data__zoo@123__tiger": "hungry",
        "log__syslog__structured_data__zoo@123__zebra": "ru]nning"})
    print("  logger-sd: structured data as fields")


def part_loggen(daybook, work):
    root = PEERS / "syslog_ng"
    cases = {
        "tcp lines": (["--inet", "--stream"], daybook.ports.syslog_tcp, 100_000, 100_000),
        "tcp counted": (["--inet", "--stream", "--syslog-proto"], daybook.ports.syslog_tcp, 100_000, 100_000),
        "tls counted": (["--use-ssl", "--syslog-proto"], daybook.ports.syslog_tls, 50_000, 50_000),
        "udp": (["--inet", "--dgram"], daybook.ports.syslog_udp, 50_000, 20_000),
    }
    for name, (flags, port, number, rate) in cases.items():
        before = daybook.books("syslog")
        folder = work / f"loggen {name}"
        folder.mkdir()
        spawn_unpacked(root, "usr/bin/loggen", [*flags, "--number", str(number), "--rate", str(rate), "--size", "200", "--quiet",
                                                "127.0.0.1", str(port)], folder).wait()
        output = (folder / "peer.log").read_text()
        count = [part for part in output.replace(",", " ").split() if part.startswith("count=")]
        if not count:
            fail(f"loggen said: {output[-1000:]}")
        sent = int(count[-1].removeprefix("count="))

        def news():
            books = daybook.books("syslog")
            return books["stored"] - before["stored"], books["lost"] - before["lost"]

        wait_for(f"{sent} messages of loggen ({name})", lambda: sum(news()) >= sent and settled(daybook), 120)
        stored, lost = news()
        if stored + lost != sent or (lost and name != "udp"):
            fail(f"loggen {name}: sent {sent}, stored {stored}, counted as lost {lost}")
        print(f"  loggen {name}: {sent} sent, {stored} stored, {lost} lost and counted")


def part_kill(daybook, work):
    """kill -9 of daybook under a sender with a disk queue."""
    folder = work / "kill"
    folder.mkdir()
    name, number = "rsyslog-kill", 100_000
    with open(folder / "in.log", "w") as lines:
        for n in range(number):
            lines.write(f"n{n:07d} {'x' * 100}\n")
    # At 20,000 messages a second at most: faster than a busy daybook reads, all of them would be on their way, and lost, at once.
    queue = ('queue.type="Disk" queue.fileName="forward" queue.maxDiskSpace="1g" queue.size="1000000" '
             'queue.saveOnShutdown="on" queue.dequeueBatchSize="100" queue.dequeueSlowdown="5000"')
    action = f'port="{daybook.ports.syslog_tcp}" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"'
    sender, stored_before = rsyslog(folder, action, name, queue), daybook.books("syslog")["stored"]
    for step in (1, 2, 3):
        wait_for("some progress", lambda: daybook.count(named(name)) > number * step // 5, 180)
        # What can be found was stored; it must survive.
        before_kill = daybook.count(named(name))
        daybook.kill()
        time.sleep(0.5)
        daybook.start()
        # The index reads what it had not yet from the journal.
        wait_for(f"the {before_kill} events that were stored before the kill", lambda: daybook.count(named(name)) >= before_kill)
    last = number - 1
    wait_for("the last message", lambda: has_message(daybook, name, last), 300)
    wait_for("the books", lambda: settled(daybook))
    stop(sender)
    stored = daybook.count(named(name))
    numbers = {int(event["message"][1:8]) for event in daybook.events(named(name))}
    doubled = stored - len(numbers)
    missing = sorted(set(range(number)) - numbers)
    gaps = []
    for n in missing:
        if gaps and gaps[-1][1] == n - 1:
            gaps[-1][1] = n
        else:
            gaps.append([n, n])
    # Plain TCP has no acknowledgement: what the sender's kernel had taken, or we had read and not made durable, is gone, in
    # one stretch per kill. Never anything else.
    if len(gaps) > 3:
        fail(f"more than one gap per kill: {gaps}")
    books = daybook.books("syslog")
    if stored != books["stored"] - stored_before:
        fail(f"the books say {books}, {stored} are found")
    print(f"  {name}: {number} sent, {stored} stored, {doubled} doubled, lost by three kills: "
          f"{[last - first + 1 for first, last in gaps] or 'nothing'}")


def has_message(daybook, name, number):
    return daybook.count({"bool": {"filter": [named(name), {"match": {"message": f"n{number:07d}"}}]}}) > 0


def part_hostile(daybook, work):
    """Thousands of silent and slow connections beside a healthy one."""

    def healthy(name, number=50_000):
        before = daybook.books("syslog")["accepted"]
        payload = "".join(f"<13>Nov 23 10:00:00 h {name}: n{n:07d} {'x' * 80}\n" for n in range(number)).encode()
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", daybook.ports.syslog_tcp)) as stream:
            stream.sendall(payload)
        wait_for("a healthy sender's messages", lambda: daybook.books("syslog")["accepted"] >= before + number, 120)
        return number / (time.monotonic() - start)

    alone = max(healthy(f"healthy-alone-{n}") for n in range(4))
    stop = threading.Event()
    idle, slow = [], []
    for at in range(5500):
        # Of many addresses, as they would come; 128 from each.
        source = f"127.0.{1 + at // 128}.1"
        stream = socket.socket()
        stream.bind((source, 0))
        try:
            stream.connect(("127.0.0.1", daybook.ports.syslog_tcp))
        except OSError:
            continue
        (slow if at % 11 == 10 else idle).append(stream)

    def drip():
        while not stop.wait(1):
            for stream in slow:
                try:
                    stream.send(b"x")
                except OSError:
                    pass

    threading.Thread(target=drip, daemon=True).start()
    time.sleep(6)
    memory = daybook.memory_kib() // 1024
    crowded = max(healthy(f"healthy-crowded-{n}") for n in range(4))
    stop.set()
    for stream in idle + slow:
        stream.close()
    print(f"  {len(idle)} silent and {len(slow)} slow connections: a healthy sender has {crowded:.0f} messages/s, "
          f"alone {alone:.0f}; daybook has {memory} MiB")
    if crowded < alone / 2:
        fail("the healthy sender is slowed down")


def main(work):
    daybook = Daybook(work / "daybook", f"syslog: {{ type: syslog, {certificate(work)} }}",
                      ["syslog_udp", "syslog_tcp", "syslog_tls"]).start()
    for part in PARTS:
        with scenario(part):
            globals()[f"part_{part}"](daybook, work)
    daybook.settled_books("syslog")
    daybook.stop()


with workplace() as work:
    main(work)
