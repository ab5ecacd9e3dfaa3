#!/usr/bin/env bash
# Docker's own log drivers gelf, fluentd and syslog against a real daybook: what containers print is what is stored.
#
#   DAYBOOK=target/release/daybook tests/real/docker_log_drivers.sh
#
# Starts an engine of its own on a private socket. Needs root and a kernel that lets containers be made.

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
LINES=2000
[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

skip() {
    echo "skipped: $1"
    if [ -n "${CI:-}${DAYBOOK_REQUIRE_REAL:-}" ]; then exit 1; fi
    exit 0
}

[ "$(id -u)" = 0 ] || skip "a Docker engine needs root"
if ! command -v dockerd > /dev/null || [ ! -x /bin/busybox ]; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker.io busybox-static; } \
        > /dev/null 2>&1 || skip "docker.io and busybox-static cannot be installed"
fi

work="$(mktemp -d)"
pids=()
cleanup() {
    docker ps -aq 2> /dev/null | xargs -r docker rm -f > /dev/null 2>&1 || true
    local at
    for ((at = ${#pids[@]} - 1; at >= 0; at--)); do
        kill "${pids[at]}" 2> /dev/null || true
        wait "${pids[at]}" 2> /dev/null || true
    done
    rm -rf "$work" 2> /dev/null || true
}
trap cleanup EXIT
export DOCKER_HOST="unix://$work/docker.sock"

read -r http gelf forward syslog <<< "$(python3 - <<'PY'
import socket
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(4)]
print(*(s.getsockname()[1] for s in sockets))
PY
)"
cat > "$work/daybook.yaml" <<YAML
data_dir: $work/data
listen:
  http: 127.0.0.1:$http
  otlp_grpc: off
  otlp_http: off
  gelf_udp: 127.0.0.1:$gelf
  gelf_tcp: 127.0.0.1:$gelf
  fluent_forward: 127.0.0.1:$forward
  syslog_udp: 127.0.0.1:$syslog
  syslog_tcp: 127.0.0.1:$syslog
sources:
  gelf: { type: gelf }
  forward: { type: fluent_forward }
  syslog: { type: syslog }
YAML
"$DAYBOOK" serve --config "$work/daybook.yaml" > "$work/daybook.log" 2>&1 &
pids+=($!)
containerd --address "$work/containerd.sock" --root "$work/containerd" --state "$work/containerd-state" > "$work/containerd.log" 2>&1 &
pids+=($!)
dockerd --containerd "$work/containerd.sock" -H "$DOCKER_HOST" --data-root "$work/docker" --exec-root "$work/exec" \
    --pidfile "$work/docker.pid" --bridge=none --iptables=false --ip6tables=false --ip-forward=false \
    --storage-driver=vfs > "$work/dockerd.log" 2>&1 &
pids+=($!)
for _ in $(seq 300); do
    docker version > /dev/null 2>&1 && curl -sf "http://127.0.0.1:$http/ready" > /dev/null && break
    kill -0 "${pids[2]}" 2> /dev/null || skip "the Docker engine does not start here: $(tail -1 "$work/dockerd.log")"
    sleep 0.2
done

mkdir -p "$work/fs/bin"
cp /bin/busybox "$work/fs/bin/"
for name in sh seq echo sleep head tr; do ln -s busybox "$work/fs/bin/$name"; done
tar -C "$work/fs" -c . | docker import - daybook-test > /dev/null

# Lines longer than Docker's 16 KiB come in parts, whose number differs between drivers: they are not part of this.
print_lines='for n in $(seq $0); do echo "line $n \"quoted\" naïve"; done; sleep 1'
run() {
    local name="$1" lines="$LINES" program="$print_lines; echo on stderr >&2"; shift
    # The engine throws away what it could not send 10 s after the end, and one line is under way at a time. Its older
    # versions mix up the answers when both streams send at once, and send again what was answered.
    [ "$name" != fluentd-ack ] || { lines=$((LINES / 10)); program="$print_lines"; }
    docker run --rm --network none --name "$name" "$@" --log-opt tag="$name" daybook-test sh -c "$program" "$lines" \
        > /dev/null 2>&1
}
run gelf-udp --log-driver gelf --log-opt "gelf-address=udp://127.0.0.1:$gelf"
run gelf-udp-zlib --log-driver gelf --log-opt "gelf-address=udp://127.0.0.1:$gelf" --log-opt gelf-compression-type=zlib
run gelf-tcp --log-driver gelf --log-opt "gelf-address=tcp://127.0.0.1:$gelf"
run fluentd --log-driver fluentd --log-opt "fluentd-address=127.0.0.1:$forward"
run fluentd-ack --log-driver fluentd --log-opt "fluentd-address=127.0.0.1:$forward" \
    --log-opt fluentd-request-ack=true --log-opt fluentd-sub-second-precision=true
run syslog-rfc5424 --log-driver syslog --log-opt "syslog-address=tcp://127.0.0.1:$syslog" --log-opt syslog-format=rfc5424micro
run syslog-rfc3164 --log-driver syslog --log-opt "syslog-address=udp://127.0.0.1:$syslog"

python3 - "$http" "$LINES" <<'PY'
import json
import sys
import time
import urllib.request

http, lines = sys.argv[1], int(sys.argv[2])


def ask(path, body=None):
    request = urllib.request.Request(f"http://127.0.0.1:{http}{path}", data=body and json.dumps(body).encode(),
                                     headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        return json.load(reply)


for field, names in {"tag": ["gelf-udp", "gelf-udp-zlib", "gelf-tcp"], "fluent.tag": ["fluentd", "fluentd-ack"],
                     "process.name": ["syslog-rfc5424", "syslog-rfc3164"]}.items():
    for name in names:
        count = lines // 10 if name == "fluentd-ack" else lines
        sent = {f'line {n} "quoted" naïve' for n in range(1, count + 1)}
        if name != "fluentd-ack":
            sent.add("on stderr")
        end = time.monotonic() + 30
        stored = []
        while len(stored) < len(sent) and time.monotonic() < end:
            found = ask("/logs*/_search", {"size": 10000, "query": {"term": {field: name}}})
            # A field may be searched by its words; only the whole name counts.
            stored = [hit["_source"] for hit in found["hits"]["hits"] if hit["_source"][field] == name]
            time.sleep(0.2)
        texts = [event["message"] for event in stored]
        if set(texts) != sent or len(texts) != len(sent):
            missing = sorted(sent - set(texts))[:3]
            raise SystemExit(f"FAILED: {name}: {len(sent)} sent, {len(texts)} stored, missing {missing}")
        if field != "process.name" and stored[0]["container.name"].lstrip("/") != name:
            raise SystemExit(f"FAILED: {name}: {stored[0]}")
        print(f"  {name}: {len(sent)} sent, {len(texts)} stored")
print("books:", json.dumps(ask("/api/daybook/v1/ledger")["sources"]))
PY
