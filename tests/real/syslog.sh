#!/usr/bin/env bash
# rsyslog, syslog-ng, util-linux logger and loggen against a real daybook: what they send is what is stored.
#
#   DAYBOOK=target/release/daybook tests/real/syslog.sh [PART...]
#
# PARTS, all without one: rsyslog syslog_ng logger loggen kill hostile. The programs come from Debian's packages, unpacked beside
# the build and never installed: rsyslog and syslog-ng cannot be installed together.

source "$(dirname "$0")/prepare.bash"

command -v apt-get > /dev/null || skip "there is no apt-get to get the peers with"
command -v logger > /dev/null || skip "there is no logger (util-linux)"
command -v openssl > /dev/null || skip "there is no openssl to make a certificate with"
unpack rsyslog rsyslog rsyslog-gnutls
unpack syslog_ng syslog-ng-core

exec python3 tests/real/syslog.py "$PEERS" "$@"
