#!/usr/bin/env bash
# Container logs of a real Docker engine: each line exactly once, whatever is killed and restarted meanwhile.
#
#   DAYBOOK=target/release/daybook tests/real/docker.sh
#
# Starts an engine of its own on a private socket, from Debian's docker.io where there is none. Needs root and a kernel
# that lets containers be made; where that is not to be had, says so and passes, unless CI or DAYBOOK_REQUIRE_REAL is set.

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

cannot() {
    echo "skipped: $1"
    [ -z "${CI:-}${DAYBOOK_REQUIRE_REAL:-}" ] || exit 1
    exit 0
}

[ "$(id -u)" = 0 ] || cannot "a Docker engine needs root"
if ! command -v dockerd >/dev/null || [ ! -x /bin/busybox ]; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends docker.io busybox-static; } \
        >/dev/null 2>&1 || cannot "docker.io and busybox-static cannot be installed"
fi

work="$(mktemp -d)"
cleanup() {
    # The Python script stops what it started; this is for when it was interrupted.
    for pid in "$work"/*.pid; do
        [ ! -f "$pid" ] || kill -9 "$(cat "$pid")" 2>/dev/null || true
    done
    rm -rf "$work" 2>/dev/null || true
}
trap cleanup EXIT

mkdir -p "$work/image/bin" "$work/image/tmp"
cp /bin/busybox "$work/image/bin/"
for name in sh cat echo awk head tr seq sleep usleep printf yes; do
    ln -s busybox "$work/image/bin/$name"
done
tar -C "$work/image" -c . > "$work/image.tar"

status=0
python3 tests/real/docker.py "$DAYBOOK" "$work" || status=$?
[ "$status" != 77 ] || cannot "the Docker engine does not start here"
exit "$status"
