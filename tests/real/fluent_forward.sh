#!/usr/bin/env bash
# The Fluent loggers for Python and Node and Fluentd's own protocol options against a real daybook.
#
#   DAYBOOK=target/release/daybook tests/real/fluent_forward.sh

source "$(dirname "$0")/prepare.bash"

python_packages "$PEERS/venv" fluent-logger==0.11.1
node_packages "$PEERS" fluent-logger@3.4.1 @fluent-org/logger@1.0.10

exec python3 tests/real/fluent_forward.py "$PEERS"
