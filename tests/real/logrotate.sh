#!/usr/bin/env bash
# Debian's logrotate under a writer of 50 MB/s and a real daybook that is killed at random: in `create` mode each line is
# stored exactly once; in `copytruncate` mode each line that the mode itself leaves on the disk is, and none twice.
#
#   DAYBOOK=target/release/daybook tests/real/logrotate.sh [create|copytruncate]
#
# Needs 3 GB of disk for a minute.

source "$(dirname "$0")/prepare.bash"

install_packages logrotate logrotate

exec python3 tests/real/logrotate.py "$@"
