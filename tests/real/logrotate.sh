#!/usr/bin/env bash
# Debian's logrotate under a writer of 50 MB/s and a real daybook that is killed at random: in `create` mode each line is
# stored exactly once; in `copytruncate` mode each line that the mode itself leaves on the disk is, and none twice.
#
#   DAYBOOK=target/release/daybook tests/real/logrotate.sh [create|copytruncate]
#
# Installs logrotate where it is missing; where that is not to be had, says so and passes, unless CI or
# DAYBOOK_REQUIRE_REAL is set. Needs 3 GB of disk for a minute. SEED repeats the kills of a run, though not its timing.

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

cannot() {
    echo "skipped: $1"
    [ -z "${CI:-}${DAYBOOK_REQUIRE_REAL:-}" ] || exit 1
    exit 0
}

PATH="$PATH:/usr/sbin:/sbin"
if ! command -v logrotate >/dev/null; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends logrotate; } \
        >/dev/null 2>&1 || cannot "logrotate cannot be installed"
fi

work="$(mktemp -d)"
cleanup() {
    for name in daybook writer; do
        [ ! -f "$work/$name.pid" ] || kill -9 "$(cat "$work/$name.pid")" 2>/dev/null || true
    done
    rm -rf "$work"
}
trap cleanup EXIT
for mode in ${1:-create copytruncate}; do
    mkdir "$work/$mode"
    python3 tests/real/logrotate.py "$DAYBOOK" "$work" "$mode"
    rm -rf "${work:?}/$mode"
done
