#!/usr/bin/env bash
# The official Python clients of Elasticsearch 7, 8 and 9 against a real daybook.
#
#   DAYBOOK=target/release/daybook tests/real/elasticsearch_clients.sh

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
VERSIONS=(7.17.12 8.19.3 9.5.1)
VENVS="${CARGO_TARGET_DIR:-target}/real/elasticsearch"

[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

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
sources: {}
YAML
"$DAYBOOK" serve --config "$work/daybook.yaml" > "$work/out" 2> "$work/log" &
server=$!

for _ in $(seq 300); do
    [ -s "$work/data/listeners.json" ] && break
    kill -0 "$server" 2>/dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
address="$(python3 -c 'import json,sys; print(json.load(open(sys.argv[1]))["http"])' "$work/data/listeners.json")"

for version in "${VERSIONS[@]}"; do
    venv="$VENVS/$version"
    if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import elasticsearch' 2>/dev/null; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "elasticsearch==$version"
    fi
    echo "elasticsearch $version"
    "$venv/bin/python" \
        tests/real/elasticsearch_clients.py "http://$address" || { tail -20 "$work/log" >&2; exit 1; }
done
