#!/usr/bin/env bash
# Every source at overload: kill -9 and broken connections, a stalled index, hostile input. What was acknowledged is stored.
#
#   DAYBOOK=target/release/daybook tests/real/conservation.sh [PART...]
#
# PARTS, all without one: conservation backpressure hostile. Longer runs by hand: CONSERVATION_KILLS=50 (3),
# CONSERVATION_EVENTS=100000 (20000; of one sender between two kills), BACKPRESSURE_SECONDS=120 (12). The senders are our own,
# in senders.py; only gRPC comes from its library.
#
# It compares what a client waits alone and beside a crowd: run nothing else on the machine meanwhile.

source "$(dirname "$0")/prepare.bash"

python_packages "$PEERS/venv" grpcio==1.85.3
# Thousands of connections, on both sides of them.
ulimit -n 16384 2> /dev/null || skip "16,384 open files are not allowed here (ulimit -n)"

[ "$#" -gt 0 ] || set -- conservation backpressure hostile
for part in "$@"; do
    echo "--- $part"
    "$PEERS/venv/bin/python" "tests/real/$part.py"
done
