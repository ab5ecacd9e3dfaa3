"""What Python applications do with their handlers for Loki and Splunk, and what must be there afterwards.

Called by push_clients.sh with the server's address; with --check once all clients are done.
"""

import json
import logging
import sys
import time
import urllib.request

COUNT = 50


def send(address):
    import logging_loki
    import splunk_handler

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


def count(address, index, query):
    url = f"{address}/{index}*/_count"
    body = json.dumps({"query": {"query_string": {"query": query}}}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["count"]


def check(address):
    expected = [
        ("logs", "application:python-shop AND log.level:warn", COUNT),
        ("splunk", "sourcetype:python AND log.level:error AND host.name:web\\-1", COUNT),
        ("logs", "app:node-shop AND log.level:error", COUNT),
        ("splunk", "source:node AND message.order:*", COUNT),
        ("curl", "*", 2),
    ]
    for index, query, wanted in expected:
        deadline = time.monotonic() + 20
        while (found := count(address, index, query)) != wanted and time.monotonic() < deadline:
            time.sleep(0.1)
        assert found == wanted, f"{index}: {query}: found {found}, expected {wanted}"


if sys.argv[1] == "--check":
    check(sys.argv[2])
else:
    send(sys.argv[1])
