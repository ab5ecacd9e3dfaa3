"""Containers print numbered lines through Docker's log drivers gelf, fluentd and syslog; what is stored is compared.

Called by docker_log_drivers.sh. Lines longer than Docker's 16 KiB come in parts, whose number differs between drivers: they
are not part of this.
"""

from docker_engine import Engine
from harness import Daybook, wait_for, workplace

LINES = 2000
PRINT = 'for n in $(seq %d); do echo "line $n \\"quoted\\" naïve"; done; sleep 1'
SOURCES = """
gelf: { type: gelf }
forward: { type: fluent_forward }
syslog: { type: syslog }
"""


def check(engine, daybook, field, driver, *options, name, lines=LINES, also=("on stderr",)):
    """Runs a container under a name that is its tag too, which the driver puts into `field`."""
    program = "; ".join([PRINT % lines] + [f"echo {line} >&2" for line in also])
    options = [part for option in options for part in ("--log-opt", option)]
    engine.run(name, program, "--rm", "--log-driver", driver, "--log-opt", f"tag={name}", *options)
    sent = {f'line {n} "quoted" naïve' for n in range(1, lines + 1)} | set(also)

    def stored():
        # A field may be searched by its words; only the whole name counts.
        return [event for event in daybook.events({"term": {field: name}}) if event[field] == name]

    wait_for(f"{len(sent)} events of {name}", lambda: len(stored()) >= len(sent), 30)
    texts = [event["message"] for event in stored()]
    missing = sorted(sent - set(texts))[:3]
    assert set(texts) == sent and len(texts) == len(sent), f"{name}: {len(sent)} sent, {len(texts)} stored, missing {missing}"
    if field != "process.name":
        assert stored()[0]["container.name"].lstrip("/") == name, stored()[0]
    print(f"  {name}: {len(sent)} sent, {len(texts)} stored")


def main(work):
    with Engine(work).running() as engine:
        daybook = Daybook(work / "daybook", SOURCES, ["gelf_udp", "gelf_tcp", "fluent_forward", "syslog_udp", "syslog_tcp"]).start()
        ports = daybook.ports
        gelf_udp, gelf_tcp = f"gelf-address=udp://127.0.0.1:{ports.gelf_udp}", f"gelf-address=tcp://127.0.0.1:{ports.gelf_tcp}"
        check(engine, daybook, "tag", "gelf", gelf_udp, name="gelf-udp")
        check(engine, daybook, "tag", "gelf", gelf_udp, "gelf-compression-type=zlib", name="gelf-udp-zlib")
        check(engine, daybook, "tag", "gelf", gelf_tcp, name="gelf-tcp")
        fluentd = f"fluentd-address=127.0.0.1:{ports.fluent_forward}"
        check(engine, daybook, "fluent.tag", "fluentd", fluentd, name="fluentd")
        # The engine throws away what it could not send 10 s after the end, and one line is under way at a time. Its older
        # versions mix up the answers when both streams send at once, and send again what was answered.
        check(engine, daybook, "fluent.tag", "fluentd", fluentd, "fluentd-request-ack=true", "fluentd-sub-second-precision=true",
              name="fluentd-ack", lines=LINES // 10, also=())
        check(engine, daybook, "process.name", "syslog", f"syslog-address=tcp://127.0.0.1:{ports.syslog_tcp}", "syslog-format=rfc5424micro",
              name="syslog-rfc5424")
        check(engine, daybook, "process.name", "syslog", f"syslog-address=udp://127.0.0.1:{ports.syslog_udp}", name="syslog-rfc3164")
        for source in ("gelf", "forward", "syslog"):
            daybook.settled_books(source)


with workplace() as work:
    main(work)
