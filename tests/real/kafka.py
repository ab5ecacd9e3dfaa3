"""Messages go through a real broker into Daybooks that are killed, join and leave; then what was produced is compared with
what is stored.

Called by kafka.sh with the folder of the broker's jars and names of scenarios (all without). Most of them wait for the broker to
miss somebody: they run next to each other, on topics of their own.
"""

import collections
import functools
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from harness import BINARY, SEED, Daybook, beside_each_other, certificate, end_of, free_ports, scenario, spawn, wait_for, workplace

JARS = pathlib.Path(sys.argv[1])
RANDOM = random.Random(SEED)
MANY = int(os.environ.get("MESSAGES", 200_000))


class Broker:
    """Kafka in KRaft mode, broker and controller in one process."""

    def __init__(self, work):
        self.work, self.properties, self.log = work, work / "server.properties", work / "peer.log"
        self.port, self.sasl_port, self.tls_port, controller = free_ports(4)
        self.address = f"127.0.0.1:{self.port}"
        certificate(work)
        (work / "broker.pem").write_text((work / "tls.key").read_text() + (work / "tls.crt").read_text())
        self.properties.write_text(f"""
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
ssl.keystore.location={work}/broker.pem
log.dirs={work}/broker
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
group.consumer.heartbeat.interval.ms=1000
group.consumer.min.heartbeat.interval.ms=1000
group.min.session.timeout.ms=4000
group.consumer.session.timeout.ms=4000
group.consumer.min.session.timeout.ms=4000
auto.create.topics.enable=false
message.max.bytes=4000000
replica.fetch.max.bytes=4000000
""")
        subprocess.run(self.java("kafka.tools.StorageTool", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", self.properties,
                                 "--add-scram", "SCRAM-SHA-256=[name=ben,password=s3cr3t]"),
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def java(self, main, *arguments):
        return ["java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{JARS}/*", main, *arguments]

    def start(self):
        self.process = spawn(self.java("kafka.Kafka", self.properties), self.log)
        self.admin = AdminClient({"bootstrap.servers": self.address, "log_level": 0})

        def answers():
            assert self.process.poll() is None, end_of(self.log)
            try:
                return self.admin.list_topics(timeout=2).brokers
            except Exception:
                return None

        wait_for("the broker", answers)
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def create(self, **topics):
        wanted = [NewTopic(name.replace("_", "-"), partitions) for name, partitions in topics.items()]
        for future in self.admin.create_topics(wanted).values():
            future.result(30)
        wait_for("the topics", lambda: {topic.topic for topic in wanted} <= self.admin.list_topics(timeout=5).topics.keys(), 20)

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


def reader(broker, name, topics, group, options="", more="", port=None, **settings):
    """A Daybook that reads, and that the broker misses when it is silent for four seconds."""
    if "group.protocol: consumer" not in options:
        options += ", session.timeout.ms: 4000, heartbeat.interval.ms: 1000"
    others = "".join(f", {setting}: {value}" for setting, value in settings.items())
    return Daybook(broker.work / name, f"""
queue:
  {{ type: kafka, brokers: ["127.0.0.1:{port or broker.port}"], topics: {json.dumps(topics)}, group: {group}{others},
    options: {{ topic.metadata.refresh.interval.ms: 1000, reconnect.backoff.max.ms: 1000{options} }} }}
""", more=more)


def accepted(daybook):
    return daybook.books("queue")["accepted"]


def partitions(daybook):
    return daybook.metric("daybook_kafka_partitions")


def numbers(daybook):
    """How often each number is stored."""
    return collections.Counter(event["n"] for event in daybook.events(sort=["_doc"], fields=["n"]))


def message(number, pad=180):
    return json.dumps({"n": number, "message": f"order {number} {'x' * (number * 7919 % pad)}", "level": "info"}).encode()


def produce(broker, topics, numbers, per_second=None, pad=180):
    producer = Producer({"bootstrap.servers": broker.address, "linger.ms": 20, "acks": "all", "enable.idempotence": True,
                         "queue.buffering.max.messages": 500_000, "reconnect.backoff.max.ms": 1000,
                         "message.timeout.ms": 120_000, "log_level": 0})
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
        wait_for("all messages to be stored", lambda: daybook.count() >= count, seconds)
    except AssertionError as late:
        print(late, daybook.count(), "of", count, daybook.books("queue"))
    time.sleep(1)
    found = numbers(daybook)
    missing, doubled = count - len(found), found.total() - len(found)
    assert missing == 0 and doubled == 0, f"{missing} missing, {doubled} too many"
    assert daybook.books("queue")["balanced"], daybook.books("queue")


def check_commits(broker, daybook, group, topics):
    """Everything is committed, and the lag is told to be none."""
    ends = broker.ends(topics)
    wait_for("all offsets to be committed", lambda: ends == {key: broker.committed(group, topics).get(key, 0) for key in ends}, 30)
    wait_for("no lag", lambda: daybook.metric("daybook_kafka_lag") == 0, 30)


def pattern(broker):
    """Several topics by an expression, one of them made later."""
    broker.create(logs_a=3, logs_b=2, other=1)
    produce(broker, ["logs-a", "logs-b"], range(MANY))
    produce(broker, ["other"], range(10**9, 10**9 + 10))
    size = sum(len(message(number)) for number in range(MANY))
    started = time.monotonic()
    daybook = reader(broker, "pattern", ["^logs-.*"], "pattern").start()
    wait_for("all to be accepted", lambda: accepted(daybook) >= MANY, 300)
    took = time.monotonic() - started
    broker.create(logs_c=1)
    produce(broker, ["logs-c"], range(MANY, MANY + 1000))
    check_exactly_once(daybook, MANY + 1000)
    check_commits(broker, daybook, "pattern", ["logs-a", "logs-b", "logs-c"])
    assert partitions(daybook) == 6
    daybook.stop()
    print(f"  pattern: {MANY + 1000} messages of 3 topics exactly once; {MANY / took:.0f} messages/s, {size / took / 1e6:.1f} MB/s of "
          "values from the start of the process until durable")


def kills(broker):
    """kill -9 again and again; what is committed is stored."""
    broker.create(kills=4)
    count = 60_000
    producing = in_background(lambda: produce(broker, ["kills"], range(count), per_second=4000))
    daybook = reader(broker, "kills", ["kills"], "kills")
    killed = 0
    while producing.is_alive() or killed < 5:
        daybook.start()
        before = daybook.count()
        try:
            wait_for("it to read", lambda: accepted(daybook) > before + 500, 30)
        except AssertionError:
            if producing.is_alive():
                raise
        time.sleep(RANDOM.uniform(0, 1.5))
        daybook.kill()
        killed += 1
        committed = broker.committed("kills", ["kills"])
        # The same data without the source: what it holds now is what was durable.
        daybook.configure("{}")
        daybook.start()
        for (topic, partition), offset in committed.items():
            of_partition = {"bool": {"filter": [{"term": {"kafka.topic": topic}}, {"term": {"kafka.partition": partition}}]}}
            # Nothing comes in meanwhile; the index may still be reading the journal.
            wait_for(f"{offset} events of partition {partition}, as many as are committed",
                     lambda: daybook.count(of_partition) >= offset, 30)
        daybook.stop()
        daybook.configure(daybook.sources)
    daybook.start()
    check_exactly_once(daybook, count)
    check_commits(broker, daybook, "kills", ["kills"])
    daybook.stop()
    print(f"  kills: {count} messages exactly once over {killed} kills; never more committed than stored")


def group(broker, strategy, option):
    """Two Daybooks share a group; they are killed, join and leave."""
    topic = f"group-{strategy}"
    broker.create(**{topic: 6})
    count = 60_000
    producing = in_background(lambda: produce(broker, [topic], range(count), per_second=3000))
    one, two = (reader(broker, f"{name}-{strategy}", [topic], topic, options=f", {option}") for name in ["one", "two"])
    one.start()
    wait_for("one to read", lambda: accepted(one) > 1000)
    two.start()
    wait_for("two to read", lambda: accepted(two) > 1000)
    one.kill()
    wait_for("two to read what one had", lambda: partitions(two) == 6)
    one.start()
    wait_for("one to read again", lambda: partitions(one) > 0)
    time.sleep(RANDOM.uniform(0, 1))
    two.stop()
    wait_for("one to read all", lambda: partitions(one) == 6)
    two.start()
    wait_for("two to read again", lambda: partitions(two) > 0)
    producing.join()
    wait_for("all to be stored", lambda: one.books("queue")["stored"] + two.books("queue")["stored"] >= count)
    wait_for("all offsets to be committed", lambda: sum(broker.committed(topic, [topic]).values()) == count)
    time.sleep(2)
    alone = [numbers(daybook) for daybook in (one, two)]
    both = alone[0] + alone[1]
    doubled = both.total() - len(both)
    within = sum(found.total() - len(found) for found in alone)
    assert len(both) == count, f"{count - len(both)} missing"
    # The one kill: what came between two commits.
    assert doubled <= 3000 and within == 0, f"{doubled} twice, {within} of them in one Daybook"
    one.stop()
    two.stop()
    print(f"  {topic}: {count} messages over a kill, a stop and three joins, none missing, {doubled} stored by both "
          f"({alone[0].total()} and {alone[1].total()})")


def restart(broker):
    """The broker is killed and starts again."""
    broker.create(restart=3)
    count = 40_000
    producing = in_background(lambda: produce(broker, ["restart"], range(count), per_second=3000))
    daybook = reader(broker, "restart", ["restart"], "restart").start()
    for _ in range(2):
        time.sleep(RANDOM.uniform(2, 4))
        broker.kill()
        time.sleep(RANDOM.uniform(0, 3))
        broker.start()
    producing.join()
    check_exactly_once(daybook, count)
    check_commits(broker, daybook, "restart", ["restart"])
    daybook.stop()
    print(f"  restart: {count} messages exactly once over two kills of the broker")


def stalled(broker):
    """No room in Daybook: it waits as a member of the group, with little memory, and loses nothing."""
    broker.create(stalled=3)
    count = 100_000
    produce(broker, ["stalled"], range(count), pad=1500)
    daybook = reader(broker, "stalled", ["stalled"], "stalled", options=", max.poll.interval.ms: 10000",
                     more="limits: { disk: 20MiB }\njournal: { max_size: 8MiB }\n").start()
    wait_for("reading to be paused", lambda: daybook.metric("daybook_kafka_pauses_total") > 0)
    memory = 0
    # Longer than a member may be silent.
    for _ in range(30):
        time.sleep(0.5)
        memory = max(memory, daybook.memory_kib() // 1024)
    read = accepted(daybook)
    assert read < count, "it was never out of room"
    assert partitions(daybook) == 3
    lag = daybook.metric("daybook_kafka_lag")
    assert lag > 0
    committed = sum(broker.committed("stalled", ["stalled"]).values())
    assert committed <= accepted(daybook), (committed, daybook.books("queue"))
    stopping = time.monotonic()
    daybook.stop()
    stopping = time.monotonic() - stopping
    assert stopping < 10, stopping
    daybook.configure(daybook.sources)
    daybook.start()
    check_exactly_once(daybook, count)
    check_commits(broker, daybook, "stalled", ["stalled"])
    daybook.stop()
    print(f"  stalled: {count} messages exactly once; without room after {read}, lag {lag:.0f}, {memory} MiB at most, "
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
    daybook = reader(broker, "shapes", ["shapes"], "shapes", options=", check.crcs: true").start()
    wait_for("all to be stored", lambda: daybook.books("queue")["stored"] >= 8 and daybook.count() >= 8, 60)
    rows = daybook.events()
    by_message = {row.get("message", row.get("a") and "object"): row for row in rows}
    assert by_message["object"]["a"] == {"b": 1.5} and by_message["object"]["@timestamp"] == yesterday, rows
    text = by_message["plain text \u00fc"]
    assert text["kafka.key"] == "k1" and text["kafka.headers"] == {"trace": "1", "tag": ["a", "b"]}, text
    assert text["kafka.topic"] == "shapes" and text["kafka.partition"] == 0, text
    written = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when // 1000))
    assert text["@timestamp"].startswith(written), (text, written)
    assert by_message["\ufffd\ufffd binary"]["kafka.key"] == "\ufffd" and "" in by_message, rows
    assert {row.get("codec") for row in rows} >= {"gzip", "snappy", "lz4", "zstd"}, rows
    books = daybook.books("queue")
    assert books["rejected"] == {"too_large": 1} and books["dropped"] == {"tombstone": 1} and books["balanced"], books
    check_commits(broker, daybook, "shapes", ["shapes"])
    daybook.stop()
    print("  shapes: text, objects, headers, keys, tombstones, too large ones, four codecs")


def places(broker):
    """Where a group begins, and what an operator wishes."""
    broker.create(places=1)
    produce(broker, ["places"], range(10))
    daybook = reader(broker, "places", ["places"], "places", start_at="end").start()
    wait_for("it to have the partition", lambda: broker.committed("places", ["places"]) == {("places", 0): 10}, 30)
    daybook.kill()
    produce(broker, ["places"], range(10, 15))
    daybook.start()
    wait_for("what came meanwhile to be stored", lambda: daybook.count() == 5, 60)
    wait_for("it to be committed", lambda: broker.committed("places", ["places"]) == {("places", 0): 15}, 10)
    daybook.stop()
    wish = ConsumerGroupTopicPartitions("places", [TopicPartition("places", 0, 3)])
    broker.admin.alter_consumer_group_offsets([wish])["places"].result(20)
    daybook.start()
    wait_for("them to be read again", lambda: daybook.count() == 5 + 12, 60)
    assert set(numbers(daybook)) == set(range(3, 15))
    daybook.stop()
    print("  places: a new group begins at the end and stays there; an offset that is reset is where it goes on")


def quiet(broker):
    """Killed when all is durable, and nothing comes afterwards: the group learns of it all the same."""
    broker.create(quiet=2)
    daybook, turns, each = reader(broker, "quiet", ["quiet"], "quiet").start(), 3, 2000
    for turn in range(turns):
        before = accepted(daybook)
        produce(broker, ["quiet"], range(turn * each, (turn + 1) * each))
        # Sooner than offsets are committed, mostly.
        wait_for("all to be accepted", lambda: accepted(daybook) >= before + each, pause=0.002)
        daybook.kill()
        daybook.start()
        check_commits(broker, daybook, "quiet", ["quiet"])
    check_exactly_once(daybook, turns * each)
    daybook.stop()
    print(f"  quiet: {turns * each} messages exactly once, all of them committed after each of {turns} kills")


def sasl(broker):
    """Names and passwords reach the broker; wrong ones are told."""
    broker.create(sasl=1)
    produce(broker, ["sasl"], range(10))
    password = broker.work / "password"
    options = f", sasl.mechanisms: PLAIN, sasl.username: ann, sasl.password: \"file:{password}\", security.protocol: sasl_plaintext"
    daybook = reader(broker, "sasl", ["sasl"], "sasl", options, port=broker.sasl_port)
    password.write_text("wrong\n")
    daybook.start()
    wait_for("the mistake to be told", lambda: "Authentication failed" in daybook.log(), 30)
    assert "wrong" not in daybook.log()
    daybook.stop()
    password.write_text("s3cr3t\n")
    daybook.start()
    check_exactly_once(daybook, 10, 60)
    shown = subprocess.run([BINARY, "config", "print", "--config", daybook.folder / "daybook.yaml"], capture_output=True, text=True)
    assert "s3cr3t" not in shown.stdout and "***" in shown.stdout, shown
    daybook.stop()


def tls(broker):
    """SCRAM over TLS, with a broker nobody vouches for refused."""
    broker.create(tls=1)
    produce(broker, ["tls"], range(10))
    (broker.work / "bens-password").write_text("s3cr3t\n")
    options = (f", security.protocol: sasl_ssl, sasl.mechanisms: SCRAM-SHA-256, sasl.username: ben, "
               f"sasl.password: \"file:{broker.work}/bens-password\"")
    daybook = reader(broker, "tls", ["tls"], "tls", options, port=broker.tls_port).start()
    wait_for("the mistake to be told", lambda: "certificate verify failed" in daybook.log(), 30)
    daybook.stop()
    daybook.configure(daybook.sources.replace("sasl_ssl", f"sasl_ssl, ssl.ca.location: \"{broker.work}/tls.crt\""))
    daybook.start()
    check_exactly_once(daybook, 10, 60)
    daybook.stop()


# Which nothing may disturb: one is measured, one kills the broker.
ALONE = {"pattern": pattern, "restart": restart}
BESIDE = {
    "kills": kills,
    "group_sticky": functools.partial(group, strategy="sticky", option="partition.assignment.strategy: cooperative-sticky"),
    "group_range": functools.partial(group, strategy="range", option="partition.assignment.strategy: range"),
    "group_broker": functools.partial(group, strategy="broker", option="group.protocol: consumer"),
    "stalled": stalled,
    "quiet": quiet,
    "places": places,
    "sasl": sasl,
    "shapes": shapes,
    "tls": tls,
}
if JARS.name.startswith("3."):
    # Since Kafka 4 the broker can do it (KIP-848).
    del BESIDE["group_broker"]


def main(work, chosen):
    broker = Broker(work)
    with scenario("the broker's start"):
        broker.start()
    beside_each_other(6, {name: functools.partial(run, broker) for name, run in BESIDE.items() if name in chosen})
    for name in ALONE.keys() & chosen:
        with scenario(name):
            ALONE[name](broker)


with workplace() as work:
    main(work, set(sys.argv[2:]) or BESIDE.keys() | ALONE.keys())
