#!/usr/bin/env bash
# A journal that systemd's own systemd-journal-remote writes, followed by a real daybook through journalctl: each entry
# exactly once, whoever is killed meanwhile.
#
#   DAYBOOK=target/release/daybook tests/real/journald.sh
#
# Installs Debian's systemd-journal-remote where it is missing; where that is not to be had, says so and passes, unless CI
# or DAYBOOK_REQUIRE_REAL is set.

set -euo pipefail
cd "$(dirname "$0")/../.."

DAYBOOK="${DAYBOOK:-target/debug/daybook}"
[ -x "$DAYBOOK" ] || { echo "$DAYBOOK is missing; run: cargo build, or set DAYBOOK" >&2; exit 1; }

cannot() {
    echo "skipped: $1"
    [ -z "${CI:-}${DAYBOOK_REQUIRE_REAL:-}" ] || exit 1
    exit 0
}

remote=/lib/systemd/systemd-journal-remote
if [ ! -x "$remote" ] || ! command -v journalctl >/dev/null; then
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends systemd systemd-journal-remote; } \
        >/dev/null 2>&1 || cannot "systemd-journal-remote cannot be installed"
fi

work="$(mktemp -d)"
cleanup() {
    [ ! -f "$work/daybook.pid" ] || kill -9 "$(cat "$work/daybook.pid")" 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
python3 tests/real/journald.py "$DAYBOOK" "$work" "$remote"
