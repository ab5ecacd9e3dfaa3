#!/usr/bin/env bash
# Clients people already run against a real daybook: Loki's push from Python (JSON) and from Node's winston-loki (protobuf
# in snappy), Splunk's collector from Python's splunk-handler and Node's splunk-logging, curl for the source http.
#
#   DAYBOOK=target/release/daybook tests/real/push_clients.sh

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
TOOLS="${CARGO_TARGET_DIR:-target}/real/push_clients"

[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

# What cannot be had here is told; where the test is required, that is a failure.
missing() {
    echo "push_clients: $1" >&2
    [ -z "${CI:-}" ] && [ "${DAYBOOK_REQUIRE_REAL:-0}" != 1 ] || exit 1
    exit 0
}

mkdir -p "$TOOLS"
if [ ! -x "$TOOLS/venv/bin/python" ] || ! "$TOOLS/venv/bin/python" -c 'import logging_loki, splunk_handler' 2>/dev/null; then
    python3 -m venv "$TOOLS/venv" || missing "no Python with venv"
    "$TOOLS/venv/bin/pip" install --quiet --disable-pip-version-check \
        python-logging-loki==0.3.1 splunk-handler==3.0.0 || missing "the Python clients cannot be installed"
fi
if [ ! -d "$TOOLS/node_modules/winston-loki" ] || [ ! -d "$TOOLS/node_modules/splunk-logging" ]; then
    command -v npm > /dev/null || missing "no npm"
    (cd "$TOOLS" && npm install --silent --no-fund --no-audit winston@3 winston-loki@6 splunk-logging@0.11 > /dev/null) \
        || missing "the Node clients cannot be installed"
fi

work="$(mktemp -d)"
server=""
cleanup() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ -z "$server" ] || wait "$server" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

cat > "$work/daybook.yaml" <<YAML
data_dir: $work/data
listen: { http: 127.0.0.1:0, otlp_grpc: off, otlp_http: off }
sources:
  hec: { type: splunk_hec, index: splunk, tokens: [s3cret] }
YAML
"$DAYBOOK" serve --config "$work/daybook.yaml" > "$work/out" 2> "$work/log" &
server=$!

for _ in $(seq 300); do
    [ -s "$work/data/listeners.json" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
address="$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["http"])' "$work/data/listeners.json")"

fail() { echo "push_clients: $1" >&2; tail -20 "$work/log" >&2; exit 1; }

echo "Python"
"$TOOLS/venv/bin/python" tests/real/push_clients.py "http://$address" || fail "a Python client failed"

echo "Node"
NODE_PATH="$TOOLS/node_modules" node tests/real/push_clients.js "http://$address" || fail "a Node client failed"

echo "curl"
printf 'one\nERROR two\n' | curl -sf --data-binary @- -H 'content-type: text/plain' "http://$address/api/daybook/v1/ingest/curl" \
    | grep -q '"accepted":2' || fail "curl"

"$TOOLS/venv/bin/python" tests/real/push_clients.py --check "http://$address" || fail "not all events are there"
