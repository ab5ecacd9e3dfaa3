#!/usr/bin/env bash
# Elastic's own lumberjack client (the Go module go-lumber) against a real daybook.
#
#   DAYBOOK=target/release/daybook tests/real/beats.sh

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
PEERS="${CARGO_TARGET_DIR:-target}/real/beats"

[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

skip() {
    echo "skipped: $1"
    if [ -n "${CI:-}${DAYBOOK_REQUIRE_REAL:-}" ]; then exit 1; fi
    exit 0
}

command -v go > /dev/null || skip "there is no go"
command -v openssl > /dev/null || skip "there is no openssl to make a certificate with"
mkdir -p "$PEERS/sender"
cp tests/real/beats_sender.go.txt "$PEERS/sender/main.go"
[ -f "$PEERS/sender/go.mod" ] || (cd "$PEERS/sender" && go mod init sender 2> /dev/null)
(cd "$PEERS/sender" && go get github.com/elastic/go-lumber@v0.1.1 2> /dev/null && go mod tidy 2> /dev/null && go build -o ../beats_sender .) \
    || skip "go-lumber cannot be had"

exec python3 tests/real/beats.py "$DAYBOOK" "$(realpath "$PEERS")/beats_sender"
