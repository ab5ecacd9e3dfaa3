"""What Python applications do with their handlers for Loki and Splunk, and what must be there afterwards.

Called by push_clients.sh, with Node's clients on NODE_PATH and the path of a program that pushes with Promtail's client.
"""

import logging
import subprocess
import sys
import time

import logging_loki
import splunk_handler

from harness import Daybook, end_of, scenario, spawn, wait_for, workplace

COUNT = 50
PROMTAIL_COUNT = 30_000
# Lines of about 15 bytes in a batch of 20 kB, each with its time.
PROMTAIL_BATCH = 2000


def send(address):
    loki = logging_loki.LokiHandler(
        url=f"{address}/loki/api/v1/push", tags={"application": "python-shop"}, version="1"
    )
    failures = []
    loki.handleError = lambda record: failures.append(record)
    logger = logging.getLogger("loki")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(loki)
    for number in range(COUNT):
        logger.warning("no money %s", number, extra={"tags": {"order": str(number)}})
    assert not failures, f"{len(failures)} of {COUNT} pushes to Loki failed"

    host, port = address.removeprefix("http://").split(":")
    splunk = splunk_handler.SplunkHandler(
        host=host, port=port, token="s3cret", index="splunk", protocol="http", verify=False,
        flush_interval=0.2, sourcetype="python", hostname="web-1",
    )
    logger = logging.getLogger("splunk")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(splunk)
    for number in range(COUNT):
        logger.error("ERROR cannot pay %s", number)
    splunk.shutdown()


def check(daybook):
    expected = [
        ("logs", "application:python-shop AND log.level:warn", COUNT),
        ("splunk", "sourcetype:python AND log.level:error AND host.name:web\\-1", COUNT),
        ("logs", "app:node-shop AND log.level:error", COUNT),
        ("splunk", "source:node AND message.order:*", COUNT),
        ("curl", "*", 2),
    ]
    for index, text, wanted in expected:
        query = {"query_string": {"query": text}}
        wait_for(f"{wanted} events of {index}: {text}", lambda: daybook.count(query, f"{index}*") >= wanted, 20)
        assert daybook.count(query, f"{index}*") == wanted, f"more than {wanted} events of {index}: {text}"


def promtail(daybook, work):
    """Every line at least once; twice only what was under way when daybook was killed."""
    sender = spawn([sys.argv[1], daybook.address, str(PROMTAIL_COUNT)], work / "promtail.log")
    for _ in range(3):
        time.sleep(0.4)
        assert sender.poll() is None, f"it ended before daybook was killed: {end_of(work / 'promtail.log')}"
        daybook.kill()
        daybook.start()
    assert sender.wait(timeout=120) == 0, end_of(work / "promtail.log")
    daybook.get("/_refresh", {})
    events = daybook.events({"term": {"job": "promtail"}})
    numbers = [int(event["message"].split()[2]) for event in events]
    missing, doubled = set(range(PROMTAIL_COUNT)) - set(numbers), len(numbers) - len(set(numbers))
    assert not missing, f"{len(missing)} lines are missing, first {sorted(missing)[:5]}"
    assert doubled <= 3 * PROMTAIL_BATCH, f"{doubled} lines are doubled"
    assert {event["filename"] for event in events} == {f"/var/log/shop-{n}.log" for n in range(3)}
    print(f"  {len(numbers)} lines stored, {doubled} doubled")


def main(work):
    daybook = Daybook(work, "hec: { type: splunk_hec, index: splunk, tokens: [s3cret] }").start()
    with scenario("Python"):
        send(daybook.address)
    with scenario("Node"):
        subprocess.run(["node", "tests/real/push_clients.js", daybook.address], check=True)
    with scenario("curl"):
        said = subprocess.run(["curl", "-sf", "--data-binary", "@-", "-H", "content-type: text/plain",
                               f"{daybook.address}/api/daybook/v1/ingest/curl"], input=b"one\nERROR two\n", check=True, capture_output=True)
        assert b'"accepted":2' in said.stdout, said
        check(daybook)
    with scenario("Promtail's client, daybook killed under it"):
        promtail(daybook, work)
    daybook.stop()


with workplace() as work:
    main(work)
