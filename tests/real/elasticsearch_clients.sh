#!/usr/bin/env bash
# The official Python clients of Elasticsearch 7, 8 and 9 against a real daybook.
#
#   DAYBOOK=target/release/daybook tests/real/elasticsearch_clients.sh

source "$(dirname "$0")/prepare.bash"

for version in 7.17.12 8.19.3 9.5.1; do
    python_packages "$PEERS/$version" "elasticsearch==$version"
    "$PEERS/$version/bin/python" tests/real/elasticsearch_clients.py
done
