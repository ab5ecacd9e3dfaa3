#!/usr/bin/env bash
# Clients people already run against a real daybook: Loki's push from Python (JSON), from Node's winston-loki (protobuf in
# snappy) and from Promtail's own client (a Go module; Daybook is killed under it), Splunk's collector from Python's splunk-handler and Node's splunk-logging, curl for the source http.
#
#   DAYBOOK=target/release/daybook tests/real/push_clients.sh

source "$(dirname "$0")/prepare.bash"

python_packages "$PEERS/venv" python-logging-loki==0.3.1 splunk-handler==3.0.0
node_packages "$PEERS" winston@3 winston-loki@6 splunk-logging@0.11
go_program "$PEERS/sender" tests/real/loki_sender.go.txt github.com/grafana/loki-client-go@v0.0.0-20240913122146-e119d400c3a5

NODE_PATH="$PEERS/node_modules" exec "$PEERS/venv/bin/python" tests/real/push_clients.py "$PEERS/sender/program"
