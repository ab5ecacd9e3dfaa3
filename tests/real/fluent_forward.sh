#!/usr/bin/env bash
# The Fluent loggers for Python and Node and Fluentd's own protocol options against a real daybook.
#
#   DAYBOOK=target/release/daybook tests/real/fluent_forward.sh

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
PEERS="${CARGO_TARGET_DIR:-target}/real/fluent_forward"

[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

skip() {
    echo "skipped: $1"
    if [ -n "${CI:-}${DAYBOOK_REQUIRE_REAL:-}" ]; then exit 1; fi
    exit 0
}

mkdir -p "$PEERS"
if ! "$PEERS/venv/bin/python" -c 'import fluent' 2> /dev/null; then
    python3 -m venv "$PEERS/venv" || skip "python cannot make a virtual environment"
    "$PEERS/venv/bin/pip" install --quiet --disable-pip-version-check fluent-logger==0.11.1 || skip "fluent-logger cannot be had"
fi
command -v npm > /dev/null || skip "there is no npm"
[ -d "$PEERS/node_modules/@fluent-org/logger" ] && [ -d "$PEERS/node_modules/fluent-logger" ] \
    || npm install --silent --no-fund --no-audit --prefix "$PEERS" fluent-logger@3.4.1 @fluent-org/logger@1.0.10 \
    || skip "the Fluent loggers for Node cannot be had"

exec python3 tests/real/fluent_forward.py "$DAYBOOK" "$(realpath "$PEERS")"
