#!/usr/bin/env bash
# A real Apache Kafka broker in KRaft mode, read by real daybooks as a consumer group: who is killed, given partitions or
# out of room meanwhile, each message is stored, exactly once where kafka.py says so.
#
#   DAYBOOK=target/release/daybook tests/real/kafka.sh [SCENARIO...]
#
# Installs a Java runtime and Maven from Debian where they are missing, takes the broker from Maven Central and the
# producer from PyPI; where something is not to be had, says so and passes, unless CI or DAYBOOK_REQUIRE_REAL is set.
# KAFKA_JARS names a folder to keep the broker's jars in.

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
KAFKA_VERSION="${KAFKA_VERSION:-4.1.0}"
[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

cannot() {
    echo "skipped: $1"
    [ -z "${CI:-}${DAYBOOK_REQUIRE_REAL:-}" ] || exit 1
    exit 0
}

work="$(mktemp -d)"
cleanup() {
    for file in "$work"/*.pid; do
        [ ! -f "$file" ] || kill -9 "$(cat "$file")" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT

if ! command -v java >/dev/null || ! command -v mvn >/dev/null; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends openjdk-17-jre-headless maven; } \
        >/dev/null 2>&1 || cannot "Java and Maven cannot be installed"
fi
jars="${KAFKA_JARS:-$work/jars}"
if ! ls "$jars"/kafka_2.13-"$KAFKA_VERSION".jar >/dev/null 2>&1; then
    cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>daybook</groupId><artifactId>broker</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA_VERSION</version></dependency>
  </dependencies>
</project>
POM
    mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars" >"$work/maven.log" 2>&1 \
        || cannot "Kafka $KAFKA_VERSION cannot be had from Maven Central: $(tail -1 "$work/maven.log")"
fi
{ python3 -m venv "$work/venv" && "$work/venv/bin/pip" install -q "confluent-kafka==2.*"; } >/dev/null 2>&1 \
    || cannot "confluent-kafka cannot be installed from PyPI"
"$work/venv/bin/python" tests/real/kafka.py "$DAYBOOK" "$work" "$jars" "$@"
