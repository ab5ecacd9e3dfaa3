#!/usr/bin/env bash
# The machine as a real daybook tells it, against Prometheus' own node exporter (built from its Go modules), free, df and ps.
#
#   DAYBOOK=target/release/daybook tests/real/host.sh

source "$(dirname "$0")/prepare.bash"

NODE_EXPORTER=v1.11.1

for program in free df ps; do
    command -v "$program" > /dev/null || skip "there is no $program"
done
command -v go > /dev/null || skip "there is no go"
if [ ! -x "$PEERS/$NODE_EXPORTER/node_exporter" ]; then
    GOBIN="$PEERS/$NODE_EXPORTER" go install "github.com/prometheus/node_exporter@$NODE_EXPORTER" 2> "$PEERS/log" \
        || { tail -3 "$PEERS/log" >&2; skip "the node exporter cannot be built"; }
fi

exec python3 tests/real/host.py "$PEERS/$NODE_EXPORTER/node_exporter"
