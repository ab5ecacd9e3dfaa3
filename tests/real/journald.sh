#!/usr/bin/env bash
# A journal that systemd's own systemd-journal-remote writes, followed by a real daybook through journalctl: each entry
# exactly once, whoever is killed meanwhile.
#
#   DAYBOOK=target/release/daybook tests/real/journald.sh

source "$(dirname "$0")/prepare.bash"

REMOTE=/lib/systemd/systemd-journal-remote

install_packages journalctl systemd
install_packages "$REMOTE" systemd-journal-remote

exec python3 tests/real/journald.py "$REMOTE"
