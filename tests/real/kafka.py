"""Messages go through a real broker into Daybooks that are killed, join and leave; then what was produced is compared with
what is stored.

Called by kafka.sh with the binary, a working directory, the folder of the broker's jars, and names of scenarios (all
without).
"""

import collections
import glob
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

BINARY, WORK, JARS = sys.argv[1:4]
SEED = int(os.environ.get("SEED", time.time_ns() % 1_000_000))
RANDOM = random.Random(SEED)
MANY = int(os.environ.get("MESSAGES", 200_000))


def wait_for(what, seconds, condition):
    """The first true answer of condition."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s (seed {SEED})")
        time.sleep(0.1)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
    """Kafka in KRaft mode, broker and controller in one process."""

    def __init__(self):
        self.port, self.sasl_port, self.tls_port, controller = free_port(), free_port(), free_port(), free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.properties = f"{WORK}/server.properties"
        self.certificate = f"{WORK}/tls.crt"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", f"{WORK}/tls.key",
                        "-out", self.certificate], check=True, capture_output=True)
        with open(f"{WORK}/broker.pem", "w") as file:
            file.write(open(f"{WORK}/tls.key").read() + open(self.certificate).read())
        with open(self.properties, "w") as file:
            file.write(f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{self.port},SASL_PLAINTEXT://127.0.0.1:{self.sasl_port},SASL_SSL://127.0.0.1:{self.tls_port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_ann="s3cr3t";
listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-256
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={WORK}/broker.pem
log.dirs={WORK}/broker
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.session.timeout.ms=6000
auto.create.topics.enable=false
message.max.bytes=4000000
replica.fetch.max.bytes=4000000
""")
        subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", self.properties,
                                 "--add-scram", "SCRAM-SHA-256=[name=ben,password=s3cr3t]"),
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process = None

    def java(self, main, *arguments):
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*", main, *arguments]

    def start(self):
        self.process = subprocess.Popen(self.java("kafka.Kafka", self.properties), stdout=open(f"{WORK}/broker.log", "ab"),
                                        stderr=subprocess.STDOUT)
        with open(f"{WORK}/broker.pid", "w") as file:
            file.write(str(self.process.pid))
        self.admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

        def answers():
            assert self.process.poll() is None, open(f"{WORK}/broker.log").read()[-2000:]
            try:
                return self.admin.list_topics(timeout=2).brokers
            except Exception:
                return None
        wait_for("the broker", 60, answers)

    def stop(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(60)

    def create(self, **topics):
        wanted = [NewTopic(name.replace("_", "-"), partitions) for name, partitions in topics.items()]
        for future in self.admin.create_topics(wanted).values():
            future.result(30)
        known = lambda: all(topic.topic in self.admin.list_topics(timeout=5).topics for topic in wanted)
        wait_for("the topics", 20, known)

    def committed(self, group, topics):
        """Offset and metadata of each partition the group has committed."""
        found = self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(20)
        return {(row.topic, row.partition): row.offset for row in found.topic_partitions
                if row.topic in topics and row.offset >= 0}

    def ends(self, topics):
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "watch"})
        names = self.admin.list_topics(timeout=10).topics
        ends = {(topic, number): consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
                for topic in topics for number in names[topic].partitions}
        consumer.close()
        return ends


class Daybook:
    def __init__(self, broker, name, topics, group, settings="", options="", more=""):
        if "group.protocol: consumer" not in options:
            options += ", session.timeout.ms: 6000"
        self.home, self.process = f"{WORK}/{name}", None
        self.name, self.more = name, more
        os.makedirs(self.home, exist_ok=True)
        self.source = f"""
sources:
  queue:
    type: kafka
    brokers: ["127.0.0.1:{broker.port}"]
    topics: {json.dumps(topics)}
    group: {group}
    {settings}
    options: {{ topic.metadata.refresh.interval.ms: 1000{options} }}
"""
        self.write(self.source + more)

    def write(self, rest):
        with open(f"{self.home}/daybook.yaml", "w") as file:
            file.write(f"""
data_dir: {self.home}/data
listen: {{ http: 127.0.0.1:0, otlp_grpc: off, otlp_http: off, syslog_udp: off, syslog_tcp: off }}
{rest}""")

    def start(self):
        if os.path.exists(f"{self.home}/data/listeners.json"):
            os.remove(f"{self.home}/data/listeners.json")
        self.process = subprocess.Popen([BINARY, "serve", "--config", f"{self.home}/daybook.yaml"],
                                        stdout=subprocess.DEVNULL, stderr=open(f"{self.home}/log", "ab"))
        with open(f"{WORK}/{self.name}.pid", "w") as file:
            file.write(str(self.process.pid))

        def address():
            assert self.process.poll() is None, self.log()[-2000:]
            try:
                return json.load(open(f"{self.home}/data/listeners.json"))["http"]
            except (FileNotFoundError, ValueError):
                return None
        self.address = wait_for("daybook", 30, address)
        return self

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        self.process.wait(30)

    def log(self):
        return open(f"{self.home}/log").read()

    def request(self, path, body=None):
        request = urllib.request.Request(f"http://{self.address}{path}", data=json.dumps(body).encode() if body else None,
                                         headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as reply:
            return reply.read()

    def count(self, query=None):
        try:
            return json.loads(self.request("/logs/_count", query and {"query": query}))["count"]
        except urllib.error.HTTPError:
            return 0

    def search(self, query, size=100):
        return [hit["_source"] for hit in
                json.loads(self.request("/logs/_search", {"size": size, "query": query}))["hits"]["hits"]]

    def numbers(self):
        """How often each number is stored."""
        found, after = collections.Counter(), None
        while True:
            body = {"size": 10_000, "sort": [{"n": "asc"}], "_source": ["n"]}
            if after is not None:
                body["query"] = {"range": {"n": {"gt": after}}}
            hits = json.loads(self.request("/logs/_search", body))["hits"]["hits"]
            if len(hits) < 10_000:
                found.update(hit["_source"]["n"] for hit in hits)
                return found
            # The last number may go on behind the page: it is read again.
            last = hits[-1]["_source"]["n"]
            found.update(hit["_source"]["n"] for hit in hits if hit["_source"]["n"] < last)
            after = last - 1

    def books(self):
        rows = json.loads(self.request("/api/daybook/v1/ledger"))["sources"]
        return next((row for row in rows if row["source"] == "queue"), {"accepted": 0, "stored": 0})

    def metric(self, name):
        lines = self.request("/metrics").decode().splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if re.match(name + r"[{ ]", line))

    def memory_mib(self):
        status = open(f"/proc/{self.process.pid}/status").read()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024


def message(number, pad=180):
    return json.dumps({"n": number, "message": f"order {number} {'x' * (number * 7919 % pad)}", "level": "info"}).encode()


def produce(broker, topics, numbers, per_second=None, pad=180):
    producer = Producer({"bootstrap.servers": broker.address, "linger.ms": 20, "acks": "all", "enable.idempotence": True,
                         "queue.buffering.max.messages": 500_000, "message.timeout.ms": 120_000, "log_level": 0})
    failed = []

    def delivered(error, _message):
        if error is not None:
            failed.append(error)
    for at, number in enumerate(numbers):
        while True:
            try:
                producer.produce(topics[number % len(topics)], message(number, pad), key=str(number), on_delivery=delivered)
                break
            except BufferError:
                producer.poll(0.1)
        if per_second and at % 100 == 0:
            producer.poll(0)
            time.sleep(100 / per_second)
    assert producer.flush(120) == 0 and not failed, failed[:1]


def in_background(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def check_exactly_once(daybook, count, seconds=240):
    try:
        wait_for("all messages are stored", seconds, lambda: daybook.count() >= count)
    except AssertionError as late:
        print(late, daybook.count(), "of", count, daybook.books())
    time.sleep(1)
    numbers = daybook.numbers()
    missing = count - len(numbers)
    doubled = sum(numbers.values()) - len(numbers)
    assert missing == 0 and doubled == 0, f"{missing} missing, {doubled} too many (seed {SEED})\n{daybook.log()[-1500:]}"
    books = daybook.books()
    assert books["balanced"], books


def settled(broker, daybook, group, topics):
    """Everything is committed, and the lag is told to be none."""
    ends = broker.ends(topics)
    wait_for("all offsets are committed", 30, lambda: {key: end for key, end in ends.items()} ==
             {key: broker.committed(group, topics).get(key, 0) for key in ends})
    wait_for("no lag", 30, lambda: daybook.metric("daybook_kafka_lag") == 0)


def pattern(broker):
    """Several topics by an expression, one of them made later."""
    broker.create(logs_a=3, logs_b=2, other=1)
    produce(broker, ["logs-a", "logs-b"], range(MANY))
    produce(broker, ["other"], range(10**9, 10**9 + 10))
    size = sum(len(message(number)) for number in range(MANY))
    started = time.monotonic()
    daybook = Daybook(broker, "pattern", ["^logs-.*"], "pattern").start()
    wait_for("all are accepted", 300, lambda: daybook.books()["accepted"] >= MANY)
    took = time.monotonic() - started
    broker.create(logs_c=1)
    produce(broker, ["logs-c"], range(MANY, MANY + 1000))
    check_exactly_once(daybook, MANY + 1000)
    settled(broker, daybook, "pattern", ["logs-a", "logs-b", "logs-c"])
    assert daybook.metric("daybook_kafka_partitions") == 6
    daybook.stop()
    print(f"  {MANY + 1000} messages of 3 topics exactly once; {MANY / took:.0f} messages/s, {size / took / 1e6:.1f} MB/s of values "
          "from the start of the process until durable")


def kills(broker):
    """kill -9 again and again; what is committed is stored."""
    broker.create(kills=4)
    count = 60_000
    producing = in_background(lambda: produce(broker, ["kills"], range(count), per_second=4000))
    daybook = Daybook(broker, "kills", ["kills"], "kills")
    killed = 0
    while producing.is_alive() or killed < 5:
        daybook.start()
        before = daybook.count()
        try:
            wait_for("it reads", 30, lambda: daybook.books()["accepted"] > before + 500)
        except AssertionError:
            if producing.is_alive():
                raise
        time.sleep(RANDOM.uniform(0, 1.5))
        daybook.stop(signal.SIGKILL)
        killed += 1
        committed = broker.committed("kills", ["kills"])
        # The same data without the source: what it holds now is what was durable.
        daybook.write("sources: {}")
        daybook.start()
        for (topic, partition), offset in committed.items():
            of_partition = {"bool": {"filter": [{"term": {"kafka.topic": topic}}, {"term": {"kafka.partition": partition}}]}}
            # Nothing comes in meanwhile; the index may still be reading the journal.
            wait_for(f"{offset} are committed of partition {partition}, as many are stored", 30,
                     lambda: daybook.count(of_partition) >= offset)
        daybook.stop()
        daybook.write(daybook.source)
    daybook.start()
    check_exactly_once(daybook, count)
    settled(broker, daybook, "kills", ["kills"])
    daybook.stop()
    print(f"  {count} messages exactly once over {killed} kills; never more committed than stored")


def group(broker):
    """Two Daybooks share a group; they are killed, join and leave."""
    ways = {"cooperative-sticky": ", partition.assignment.strategy: cooperative-sticky",
            "range": ", partition.assignment.strategy: range"}
    # Since Kafka 4 the broker can do it (KIP-848).
    if not glob.glob(f"{JARS}/kafka_2.13-3.*"):
        ways["broker"] = ", group.protocol: consumer"
    for strategy, option in ways.items():
        topic = f"group-{strategy}"
        broker.create(**{topic.replace("-", "_"): 6})
        count = 60_000
        producing = in_background(lambda: produce(broker, [topic], range(count), per_second=3000))
        one, two = (Daybook(broker, f"{name}-{strategy}", [topic], topic, options=option) for name in ["one", "two"])
        one.start()
        wait_for("one reads", 30, lambda: one.books()["accepted"] > 1000)
        two.start()
        wait_for("two reads", 40, lambda: two.books()["accepted"] > 1000)
        one.stop(signal.SIGKILL)
        wait_for("two reads what one had", 40, lambda: two.metric("daybook_kafka_partitions") == 6)
        one.start()
        wait_for("one reads again", 40, lambda: one.metric("daybook_kafka_partitions") > 0)
        time.sleep(RANDOM.uniform(0, 1))
        two.stop()
        wait_for("one reads all", 40, lambda: one.metric("daybook_kafka_partitions") == 6)
        two.start()
        wait_for("two reads again", 40, lambda: two.metric("daybook_kafka_partitions") > 0)
        producing.join()
        wait_for("all are stored", 120, lambda: one.books()["stored"] + two.books()["stored"] >= count)
        wait_for("all offsets are committed", 30, lambda: sum(broker.committed(topic, [topic]).values()) == count)
        time.sleep(2)
        numbers = one.numbers() + two.numbers()
        doubled = sum(numbers.values()) - len(numbers)
        alone = [daybook.numbers() for daybook in (one, two)]
        within = sum(sum(found.values()) - len(found) for found in alone)
        assert len(numbers) == count, f"{count - len(numbers)} missing (seed {SEED})"
        # The one kill: what came between two commits.
        assert doubled <= 3000 and within == 0, f"{doubled} twice, {within} of them in one Daybook (seed {SEED})"
        one.stop()
        two.stop()
        print(f"  {strategy}: {count} messages over a kill, a stop and three joins, none missing, {doubled} stored by both "
              f"({alone[0].total()} and {alone[1].total()})")


def restart(broker):
    """The broker is killed and starts again."""
    broker.create(restart=3)
    count = 40_000
    producing = in_background(lambda: produce(broker, ["restart"], range(count), per_second=3000))
    daybook = Daybook(broker, "restart", ["restart"], "restart").start()
    for _ in range(2):
        time.sleep(RANDOM.uniform(2, 4))
        broker.stop(signal.SIGKILL)
        time.sleep(RANDOM.uniform(0, 3))
        broker.start()
    producing.join()
    check_exactly_once(daybook, count)
    settled(broker, daybook, "restart", ["restart"])
    daybook.stop()
    print(f"  {count} messages exactly once over two kills of the broker")


def stalled(broker):
    """No room in Daybook: it waits as a member of the group, with little memory, and loses nothing."""
    broker.create(stalled=3)
    count = 100_000
    produce(broker, ["stalled"], range(count), pad=1500)
    daybook = Daybook(broker, "stalled", ["stalled"], "stalled", options=", max.poll.interval.ms: 10000",
                      more="limits: { disk: 20MiB }\njournal: { max_size: 8MiB }\n").start()
    wait_for("reading is paused", 120, lambda: daybook.metric("daybook_kafka_pauses_total") > 0)
    memory = 0
    # Longer than a member may be silent.
    for _ in range(30):
        time.sleep(0.5)
        memory = max(memory, daybook.memory_mib())
    accepted = daybook.books()["accepted"]
    assert accepted < count, "it was never out of room"
    assert daybook.metric("daybook_kafka_partitions") == 3, daybook.log()[-2000:]
    lag = daybook.metric("daybook_kafka_lag")
    assert lag > 0
    committed = sum(broker.committed("stalled", ["stalled"]).values())
    assert committed <= daybook.books()["accepted"], (committed, daybook.books())
    stopping = time.monotonic()
    daybook.stop()
    stopping = time.monotonic() - stopping
    assert stopping < 10, stopping
    daybook.write(daybook.source)
    daybook.start()
    check_exactly_once(daybook, count)
    settled(broker, daybook, "stalled", ["stalled"])
    daybook.stop()
    print(f"  {count} messages exactly once; without room after {accepted}, lag {lag:.0f}, {memory} MiB at most, "
          f"stopped in {stopping:.1f} s")


def shapes(broker):
    """What messages become."""
    broker.create(shapes=1)
    producer = Producer({"bootstrap.servers": broker.address, "message.max.bytes": 3_000_000})
    when = int(time.time() * 1000) - 60_000
    yesterday = time.strftime("%Y-%m-%dT00:00:00.123456789Z", time.gmtime(time.time() - 86_400))
    producer.produce("shapes", json.dumps({"a": {"b": 1.5}, "@timestamp": yesterday}), timestamp=when)
    producer.produce("shapes", "plain text \u00fc", key=b"k1", timestamp=when, headers=[("trace", b"1"), ("tag", b"a"), ("tag", b"b")])
    producer.produce("shapes", None, key=b"k1")
    producer.produce("shapes", b"x" * 2_000_000)
    producer.produce("shapes", b"\xff\xfe binary", key=b"\xff")
    producer.produce("shapes", b"")
    for codec in ["gzip", "snappy", "lz4", "zstd"]:
        compressing = Producer({"bootstrap.servers": broker.address, "compression.type": codec})
        compressing.produce("shapes", json.dumps({"codec": codec, "message": "y" * 5000}))
        compressing.flush(20)
    producer.flush(20)
    daybook = Daybook(broker, "shapes", ["shapes"], "shapes", options=", check.crcs: true").start()
    wait_for("all are stored", 60, lambda: daybook.books()["stored"] >= 8)
    rows = {row["kafka.offset"]: row for row in daybook.search({"match_all": {}})}
    by_message = {row.get("message", row.get("a") and "object"): row for row in rows.values()}
    assert by_message["object"]["a"] == {"b": 1.5} and by_message["object"]["@timestamp"] == yesterday, rows
    text = by_message["plain text \u00fc"]
    assert text["kafka.key"] == "k1" and text["kafka.headers"] == {"trace": "1", "tag": ["a", "b"]}, text
    assert text["kafka.topic"] == "shapes" and text["kafka.partition"] == 0, text
    written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when // 1000))
    assert text["@timestamp"].startswith(written), (text, written)
    assert by_message["\ufffd\ufffd binary"]["kafka.key"] == "\ufffd" and "" in by_message, rows
    assert {row.get("codec") for row in rows.values()} >= {"gzip", "snappy", "lz4", "zstd"}, rows
    books = daybook.books()
    assert books["rejected"] == {"too_large": 1} and books["dropped"] == {"tombstone": 1} and books["balanced"], books
    settled(broker, daybook, "shapes", ["shapes"])
    daybook.stop()
    print("  text, objects, headers, keys, tombstones, too large ones, four codecs")


def places(broker):
    """Where a group begins, and what an operator wishes."""
    broker.create(places=1)
    produce(broker, ["places"], range(10))
    daybook = Daybook(broker, "places", ["places"], "places", settings="start_at: end").start()
    wait_for("it has the partition", 30, lambda: broker.committed("places", ["places"]) == {("places", 0): 10})
    daybook.stop(signal.SIGKILL)
    produce(broker, ["places"], range(10, 15))
    daybook.start()
    wait_for("what came meanwhile is stored", 60, lambda: daybook.count() == 5)
    wait_for("it is committed", 10, lambda: broker.committed("places", ["places"]) == {("places", 0): 15})
    daybook.stop()
    wish = ConsumerGroupTopicPartitions("places", [TopicPartition("places", 0, 3)])
    broker.admin.alter_consumer_group_offsets([wish])["places"].result(20)
    daybook.start()
    wait_for("they are read again", 60, lambda: daybook.count() == 5 + 12)
    assert set(daybook.numbers()) == set(range(3, 15))
    daybook.stop()
    print("  a new group begins at the end and stays there; an offset that is reset is where it goes on")


def sasl(broker):
    """Names and passwords reach the broker; wrong ones are told."""
    broker.create(sasl=1)
    produce(broker, ["sasl"], range(10))
    daybook = Daybook(broker, "sasl", ["sasl"], "sasl",
                      options=", security.protocol: sasl_plaintext, sasl.mechanisms: PLAIN, sasl.username: ann, "
                              f"sasl.password: \"file:{WORK}/password\"")
    right = daybook.source.replace(f":{broker.port}\"", f":{broker.sasl_port}\"")
    daybook.write(right)
    with open(f"{WORK}/password", "w") as file:
        file.write("wrong\n")
    daybook.start()
    wait_for("the mistake is told", 30, lambda: "Authentication failed" in daybook.log())
    assert "wrong" not in daybook.log()
    daybook.stop()
    with open(f"{WORK}/password", "w") as file:
        file.write("s3cr3t\n")
    daybook.start()
    check_exactly_once(daybook, 10, 60)
    shown = subprocess.run([BINARY, "config", "print", "--config", f"{daybook.home}/daybook.yaml"], capture_output=True, text=True)
    assert "s3cr3t" not in shown.stdout and "***" in shown.stdout, shown
    daybook.stop()
    # Without TLS in the build the start says so; with it, it tries.
    daybook.write(right.replace("sasl_plaintext", "sasl_ssl"))
    checked = subprocess.run([BINARY, "config", "check", f"{daybook.home}/daybook.yaml"], capture_output=True, text=True)
    has_tls = checked.returncode == 0
    assert has_tls or "--features kafka-tls" in checked.stdout + checked.stderr, checked
    print(f"  SASL PLAIN; a wrong password is told; this build is {'with' if has_tls else 'without'} TLS and says so")
    if has_tls:
        over_tls(broker)


def over_tls(broker):
    broker.create(tls=1)
    produce(broker, ["tls"], range(10))
    daybook = Daybook(broker, "tls", ["tls"], "tls",
                      options=", security.protocol: sasl_ssl, sasl.mechanisms: SCRAM-SHA-256, sasl.username: ben, "
                              f"sasl.password: \"file:{WORK}/password\", ssl.ca.location: \"{broker.certificate}\"")
    daybook.write(daybook.source.replace(f":{broker.port}\"", f":{broker.tls_port}\""))
    daybook.start()
    check_exactly_once(daybook, 10, 60)
    daybook.stop()
    print("  SASL SCRAM-SHA-256 over TLS")


SCENARIOS = [shapes, places, sasl, pattern, kills, group, restart, stalled]


def main():
    chosen = [scenario for scenario in SCENARIOS if not sys.argv[4:] or scenario.__name__ in sys.argv[4:]]
    broker = Broker()
    broker.start()
    print("seed", SEED)
    try:
        for scenario in chosen:
            started = time.monotonic()
            print(f"{scenario.__name__}: {scenario.__doc__}", flush=True)
            try:
                scenario(broker)
            except BaseException:
                for log in glob.glob(f"{WORK}/*/log"):
                    print(f"--- {log}", open(log).read()[-3000:], sep="\n")
                raise
            print(f"  fine after {time.monotonic() - started:.0f} s", flush=True)
    finally:
        if broker.process.poll() is None:
            broker.stop()


main()
