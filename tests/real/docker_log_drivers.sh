#!/usr/bin/env bash
# Docker's own log drivers gelf, fluentd and syslog against a real daybook: what containers print is what is stored.
#
#   DAYBOOK=target/release/daybook tests/real/docker_log_drivers.sh
#
# Starts an engine as docker.sh does.

source "$(dirname "$0")/prepare.bash"

install_packages dockerd docker.io
install_packages /bin/busybox busybox-static
install_packages ip iproute2

exec python3 tests/real/docker_log_drivers.py
