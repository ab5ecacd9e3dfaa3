"""Shippers that speak Elasticsearch's _bulk against a real daybook. Started by elastic_bulk_shippers.sh with
the paths of rsyslog's files and of a program that sends with the client for Go; Node's clients are on NODE_PATH.

Every event must arrive once, also when daybook is killed under a shipper that waits for its answers.
"""

import gzip
import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

from harness import Daybook, end_of, equal, fail, scenario, spawn, spawn_rsyslog, stop, wait_for, workplace

RSYSLOG, GO_SENDER = pathlib.Path(sys.argv[1]), sys.argv[2]
COUNT = 2000
# Of rsyslog, as maxbytes of 2 kB makes them.
BATCH_MAX = 40


def ask(daybook, method, path, body=None, headers=None):
    """Status, headers, and what is in the answer."""
    if isinstance(body, dict):
        body, headers = json.dumps(body).encode(), {"content-type": "application/json", **(headers or {})}
    request = urllib.request.Request(daybook.address + path, body, headers or {}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:
            text = reply.read()
            return reply.status, reply.headers, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read()
        return error.code, error.headers, json.loads(text) if text else None


def documents_of(daybook, index):
    """All of an index, after a refresh: what was acknowledged must be among them."""
    daybook.get("/_refresh", {})
    return daybook.events(index=f"{index}*")


def check_numbers(what, numbers, count, losses_allowed=0):
    missing, doubled = set(range(count)) - set(numbers), len(numbers) - len(set(numbers))
    if len(missing) > losses_allowed or doubled:
        fail(f"{what}: {len(numbers)} stored, {doubled} doubled, {len(missing)} missing, first {sorted(missing)[:5]}")
    print(f"  {what}: {len(numbers)} stored, {doubled} doubled")


# rsyslog


def rsyslog(work, daybook, name, parameters):
    """omelasticsearch behind a queue, fed from a file; answers are looked at, and what is not taken is sent again."""
    folder = work / name
    (folder / "spool").mkdir(parents=True)
    (folder / "in.log").write_text("".join(f"no money {number}\n" for number in range(COUNT)))
    (folder / "rsyslog.conf").write_text(f"""
global(workDirectory="{folder}/spool" localHostname="peer-host")
module(load="imfile" mode="inotify")
module(load="omelasticsearch")
template(name="document" type="list" option.json="on") {{
  constant(value="{{\\"@timestamp\\":\\"") property(name="timereported" dateFormat="rfc3339" date.inUTC="on")
  constant(value="\\",\\"message\\":\\"") property(name="msg")
  constant(value="\\",\\"service.name\\":\\"") property(name="programname")
  constant(value="\\",\\"host.name\\":\\"") property(name="hostname")
  constant(value="\\",\\"log.level\\":\\"") property(name="syslogseverity-text") constant(value="\\"}}")
}}
template(name="id" type="string" string="%msg%")
template(name="day" type="string" string="{name}-%$year%.%$month%.%$day%")
input(type="imfile" file="{folder}/in.log" tag="shop" severity="warning" facility="local3" ruleset="out")
ruleset(name="out") {{
  action(type="omelasticsearch" server="127.0.0.1" serverport="{daybook.ports.http}" template="document" errorFile="{folder}/errors"
         action.resumeRetryCount="-1" action.resumeInterval="1" queue.type="linkedlist" queue.size="10000" {parameters})
}}
""")
    return spawn_rsyslog(RSYSLOG, folder)


def numbers_of(documents):
    return [int(document["message"].split()[-1]) for document in documents]


def check_rsyslog(daybook, work):
    for name, parameters in {
        "rsyslog-bulk": 'searchIndex="day" dynSearchIndex="on" searchType="" bulkmode="on" maxbytes="64k"',
        "rsyslog-create": 'searchIndex="day" dynSearchIndex="on" searchType="" bulkmode="on" writeoperation="create" '
                          'bulkid="id" dynbulkid="on" pipelineName="shop"',
        "rsyslog-single": 'searchIndex="rsyslog-single" searchType="_doc"',
    }.items():
        process = rsyslog(work, daybook, name, parameters)
        wait_for(f"all of {name}", lambda: len(set(numbers_of(documents_of(daybook, name)))) == COUNT)
        stop(process)
        documents = documents_of(daybook, name)
        check_numbers(name, numbers_of(documents), COUNT)
        found = {key: documents[0].get(key) for key in ("service.name", "host.name", "log.level")}
        equal(name, found, {"service.name": "shop", "host.name": "peer-host", "log.level": "warning"})
        errors = work / name / "errors"
        if errors.exists() and errors.read_text():
            fail(f"{name}: rsyslog tells of errors: {errors.read_text()[:500]}")


def check_rsyslog_while_daybook_is_killed(daybook, work):
    """With ids nothing is doubled, whatever answers are lost.

    rsyslog takes a connection that breaks for an answer: the batch it waits for at a kill is not sent again.
    """
    name, count = "rsyslog-killed", COUNT
    process = rsyslog(work, daybook, name, 'searchIndex="day" dynSearchIndex="on" searchType="" bulkmode="on" maxbytes="2k" '
                      'writeoperation="create" bulkid="id" dynbulkid="on"')
    for _ in range(3):
        time.sleep(0.3)
        daybook.kill()
        with open(work / name / "in.log", "a") as lines:
            lines.writelines(f"no money {number}\n" for number in range(count, count + 500))
        count += 500
        time.sleep(0.3)
        daybook.start()
    # They are sent in order.
    wait_for(f"the last of {name}", lambda: count - 1 in numbers_of(documents_of(daybook, name)))
    stop(process)
    numbers = numbers_of(documents_of(daybook, name))
    check_numbers(f"{name} three times", numbers, count, losses_allowed=3 * BATCH_MAX)


# The official clients


def check_node(daybook):
    script = pathlib.Path(__file__).with_suffix(".js")
    ran = subprocess.run(["node", script, daybook.address, str(COUNT)], capture_output=True, text=True, timeout=120)
    if ran.returncode != 0:
        fail(f"Node: {ran.stderr[-2000:]}")
    for version, reply in json.loads(ran.stdout).items():
        name = f"js-{version}"
        equal(f"{name}, verbs", [verb for verb, _ in reply["verbs"]], ["update", "delete", "delete", "index"])
        statuses = [status for _, status in reply["verbs"]]
        equal(f"{name}, delete, delete of nothing, index", statuses[1:], [200, 404, 200])
        documents = documents_of(daybook, name)
        # Deleted, and replaced.
        numbers = sorted(document["number"] for document in documents)
        equal(f"{name}, numbers", numbers, [number for number in range(COUNT) if number != 2])
        replaced = [document["message"] for document in documents if document["number"] == 3]
        equal(f"{name}, replaced", replaced, ["replaced"])
        print(f"  {name}: {len(documents)} stored after update ({statuses[0]}), delete and index")
    for name, level, number_of in [
        ("winston", "error", lambda document: document["fields"]["number"]),
        ("pino", "error", lambda document: document["number"]),
    ]:
        documents = documents_of(daybook, name)
        check_numbers(name, [number_of(document) for document in documents], COUNT)


def check_go(daybook, work):
    count, log = 20 * COUNT, work / "go.log"
    sender = spawn([GO_SENDER, daybook.address, "go", str(count)], log)
    for _ in range(2):
        time.sleep(0.2)
        daybook.kill()
        time.sleep(0.2)
        daybook.start()
    if sender.wait(timeout=120) != 0:
        fail(f"Go: {end_of(log)}")
    numbers = [document["number"] for document in documents_of(daybook, "go")]
    check_numbers(f"go, killed twice ({end_of(log).strip()})", numbers, count)


# What cannot be had, by hand


def check_handshakes(daybook):
    """What Filebeat and Logstash ask before they send, in their order, and what they look at in the answers."""
    beat = {"user-agent": "Elastic-filebeat/8.15.0 (linux; amd64)", "accept": "application/json"}
    status, headers, reply = ask(daybook, "GET", "/", headers=beat)
    equal("product", (status, headers["x-elastic-product"]), (200, "Elasticsearch"))
    if reply["version"]["number"].split(".")[0] < "8":
        fail(f"version: {reply['version']}")
    status, _, reply = ask(daybook, "GET", "/_license?human=false", headers=beat)
    equal("licence", (status, reply["license"]["status"]), (200, "active"))
    status, _, _ = ask(daybook, "HEAD", "/", headers={"user-agent": "Manticore 0.9.1"})
    equal("Logstash's HEAD /", status, 200)

    policy = {"policy": {"phases": {"hot": {"actions": {"rollover": {"max_age": "30d"}}}}}}
    template = {"index_patterns": ["filebeat-*"], "data_stream": {}, "priority": 150,
                "template": {"mappings": {"properties": {"host": {"type": "object"}}}, "settings": {"number_of_shards": 1}}}
    pipeline = {"description": "nginx", "processors": [{"set": {"field": "a", "value": "b"}}]}
    for path, body in [("/_ilm/policy/filebeat", policy), ("/_index_template/filebeat-8.15.0", template),
                       ("/_template/logstash", {"index_patterns": ["logstash-*"], "mappings": {}}),
                       ("/_ingest/pipeline/filebeat-8.15.0-nginx", pipeline)]:
        status, headers, _ = ask(daybook, "GET", path, headers=beat)
        if status not in (200, 404) or headers["x-elastic-product"] != "Elasticsearch":
            fail(f"GET {path}: {status}")
        status, _, reply = ask(daybook, "PUT", path, body, headers=beat)
        equal(f"PUT {path}", (status, (reply or {}).get("acknowledged")), (200, True))
    status, _, reply = ask(daybook, "PUT", "/_data_stream/filebeat-8.15.0", headers=beat)
    equal("PUT /_data_stream", (status, (reply or {}).get("acknowledged")), (200, True))

    lines = [json.dumps(line) for number in range(COUNT) for line in (
        {"create": {"_index": "filebeat-8.15.0", "pipeline": "filebeat-8.15.0-nginx"}},
        {"@timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "message": f"no money {number}",
         "ecs": {"version": "8.0.0"}, "agent": {"type": "filebeat"}, "host": {"name": "web-1"}})]
    body = gzip.compress(("\n".join(lines) + "\n").encode())
    status, _, reply = ask(daybook, "POST", "/_bulk?filter_path=errors%2Citems.%2A.error%2Citems.%2A.status", body, {
        **beat, "content-encoding": "gzip", "content-type": "application/vnd.elasticsearch+json; compatible-with=8"})
    equal("Filebeat's _bulk", (status, reply["errors"], {json.dumps(item) for item in reply["items"]}),
          (200, False, {'{"create": {"status": 201}}'}))
    check_numbers("filebeat's requests", numbers_of(documents_of(daybook, "filebeat-8.15.0")), COUNT)

    # Fluent Bit: with the blank path and pipeline it writes, and one wrong item among good ones.
    lines = ['{"create":{"_index":"fluent-bit","_type":"_doc"}}', '{"@timestamp":"2026-01-01T00:00:00.000Z"', *[
        line for number in range(10) for line in (
            '{"create":{"_index":"fluent-bit"}}',
            json.dumps({"@timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime()), "log": f"no money {number}"}))]]
    status, _, reply = ask(daybook, "POST", "/_bulk/?pipeline=shop", ("\n".join(lines) + "\n").encode(),
                                   {"content-type": "application/x-ndjson", "user-agent": "Fluent-Bit"})
    statuses = [item["create"]["status"] for item in reply["items"]]
    equal("Fluent Bit's _bulk", (status, reply["errors"], statuses), (200, True, [400] + [201] * 10))
    equal("its neighbours", len(documents_of(daybook, "fluent-bit")), 10)
    print("  filebeat, logstash, fluent-bit: what they ask is answered as they want it")


def main(work):
    daybook = Daybook(work / "daybook").start()
    with scenario("what Filebeat and Logstash ask"):
        check_handshakes(daybook)
    with scenario("Node"):
        check_node(daybook)
    with scenario("rsyslog"):
        check_rsyslog(daybook, work)
    with scenario("rsyslog, daybook killed under it"):
        check_rsyslog_while_daybook_is_killed(daybook, work)
    with scenario("Go, daybook killed under it"):
        check_go(daybook, work)
    daybook.settled_books("elastic_bulk")
    daybook.stop()


with workplace() as work:
    main(work)
