#!/usr/bin/env bash
# Container logs of a real Docker engine: each line exactly once, whatever is killed and restarted meanwhile.
#
#   DAYBOOK=target/release/daybook tests/real/docker.sh
#
# Starts an engine of its own on a private socket, from Debian's docker.io where there is none. That needs root, and a kernel that
# lets containers be made, if only in a user namespace.

source "$(dirname "$0")/prepare.bash"

install_packages dockerd docker.io
install_packages /bin/busybox busybox-static
install_packages ip iproute2

exec python3 tests/real/docker.py
