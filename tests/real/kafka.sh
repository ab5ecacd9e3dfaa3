#!/usr/bin/env bash
# A real Apache Kafka broker in KRaft mode, read by real daybooks as a consumer group: who is killed, given partitions or
# out of room meanwhile, each message is stored, exactly once where kafka.py says so.
#
#   DAYBOOK=target/release/daybook tests/real/kafka.sh [SCENARIO...]
#
# SCENARIOS, all without one: pattern shapes places sasl quiet kills group_sticky group_range group_broker stalled restart. The broker
# comes from Maven Central, in version KAFKA_VERSION.

source "$(dirname "$0")/prepare.bash"

KAFKA_VERSION="${KAFKA_VERSION:-4.1.0}"

command -v openssl > /dev/null || skip "there is no openssl to make a certificate with"
install_packages java default-jre-headless
install_packages mvn maven
maven_jars "$PEERS/$KAFKA_VERSION" "org.apache.kafka:kafka_2.13:$KAFKA_VERSION"
python_packages "$PEERS/venv" confluent-kafka==2.16.1

exec "$PEERS/venv/bin/python" tests/real/kafka.py "$PEERS/$KAFKA_VERSION" "$@"
