#!/usr/bin/env bash
# Elastic's own lumberjack client (the Go module go-lumber) against a real daybook.
#
#   DAYBOOK=target/release/daybook tests/real/beats.sh

source "$(dirname "$0")/prepare.bash"

command -v go > /dev/null || skip "there is no go"
command -v openssl > /dev/null || skip "there is no openssl to make a certificate with"
mkdir -p "$PEERS/sender"
cp tests/real/beats_sender.go.txt "$PEERS/sender/main.go"
[ -f "$PEERS/sender/go.mod" ] || (cd "$PEERS/sender" && go mod init sender 2> /dev/null)
(cd "$PEERS/sender" && go get github.com/elastic/go-lumber@v0.1.1 2> /dev/null && go mod tidy 2> /dev/null && go build -o ../beats_sender .) \
    || skip "go-lumber cannot be had"

exec python3 tests/real/beats.py "$PEERS/beats_sender"
