#!/usr/bin/env bash
# Shippers that speak Elasticsearch's _bulk against a real daybook: rsyslog's omelasticsearch, the official clients for
# JavaScript (7, 8, 9) and Go with their bulk helpers, winston and pino in Node, and what Filebeat and Logstash ask first.
#
#   DAYBOOK=target/release/daybook tests/real/elastic_bulk_shippers.sh
#
# Filebeat, Logstash and Fluent Bit are in no registry that can be had here: their requests are made by hand.

source "$(dirname "$0")/prepare.bash"

command -v apt-get > /dev/null || skip "there is no apt-get to get rsyslog with"
unpack rsyslog rsyslog rsyslog-elasticsearch
node_packages "$PEERS/node" es7@npm:@elastic/elasticsearch@7.17.14 es8@npm:@elastic/elasticsearch@8.19.1 \
    es9@npm:@elastic/elasticsearch@9.5.1 winston@3 winston-elasticsearch@0.19.0 pino@9 pino-elasticsearch@9.0.0
go_program "$PEERS/sender" tests/real/elastic_sender.go.txt github.com/elastic/go-elasticsearch/v8@v8.19.7

NODE_PATH="$PEERS/node/node_modules" exec python3 tests/real/elastic_bulk_shippers.py "$PEERS/rsyslog" "$PEERS/sender/program"
