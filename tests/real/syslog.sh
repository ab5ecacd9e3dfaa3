#!/usr/bin/env bash
# rsyslog, syslog-ng, util-linux logger and loggen against a real daybook: what they send is what is stored.
#
#   DAYBOOK=target/release/daybook tests/real/syslog.sh [PART...]
#
# PARTS, all without one: rsyslog syslog_ng logger loggen kill hostile. The programs come from Debian's packages, unpacked beside
# the build and never installed: rsyslog and syslog-ng cannot be installed together.

source "$(dirname "$0")/prepare.bash"

# Downloads packages, and those they need that are not installed, and unpacks them below $PEERS/NAME.
unpack() {
    local name="$1"; shift
    local root="$PEERS/$name"
    [ -e "$root/done" ] && return
    rm -rf "$root"; mkdir -p "$root/debs"
    local needed
    needed="$(apt-get -s --no-install-recommends install "$@" 2>/dev/null | awk '/^Inst/ {print $2}')" || true
    # shellcheck disable=SC2086
    (cd "$root/debs" && apt-get -qq download $(printf '%s\n' "$@" $needed | sort -u) >&2) || return 1
    local deb
    for deb in "$root"/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm -rf "$root/debs"
    touch "$root/done"
}

command -v apt-get > /dev/null || skip "there is no apt-get to get the peers with"
command -v logger > /dev/null || skip "there is no logger (util-linux)"
command -v openssl > /dev/null || skip "there is no openssl to make a certificate with"
unpack rsyslog rsyslog rsyslog-gnutls || skip "rsyslog cannot be downloaded"
unpack syslog_ng syslog-ng-core || skip "syslog-ng cannot be downloaded"

exec python3 tests/real/syslog.py "$PEERS" "$@"
