#!/usr/bin/env bash
# Elastic's own lumberjack client (the Go module go-lumber) against a real daybook.
#
#   DAYBOOK=target/release/daybook tests/real/beats.sh

source "$(dirname "$0")/prepare.bash"

command -v openssl > /dev/null || skip "there is no openssl to make a certificate with"
go_program "$PEERS/sender" tests/real/beats_sender.go.txt github.com/elastic/go-lumber@v0.1.1

exec python3 tests/real/beats.py "$PEERS/sender/program"
