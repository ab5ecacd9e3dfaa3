#!/usr/bin/env bash
# A journal that systemd's own systemd-journal-remote writes, followed by a real daybook through journalctl: each entry
# exactly once, whoever is killed meanwhile.
#
#   DAYBOOK=target/release/daybook tests/real/journald.sh

source "$(dirname "$0")/prepare.bash"

remote=/lib/systemd/systemd-journal-remote
if [ ! -x "$remote" ] || ! command -v journalctl > /dev/null; then install_packages systemd systemd-journal-remote; fi

exec python3 tests/real/journald.py "$remote"
