#!/usr/bin/env bash
# Remote shards from nginx on loopback, interleaved, medians of 5 (feeding) and 15 rounds; prints one JSON object, in
# some minutes.
# One shard of 1 GiB over http and https: the loader's source against `curl -o /dev/null`. Eight small
# shards fed from local files, over http, and with 50 ms before each answer. Needs what tests/servers needs.
#
#   benchmarks/remote_throughput.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --build --preset release --target remote_throughput shardreel_cli >&2
exec /usr/bin/python3 benchmarks/remote_throughput.py build/release/bin/remote_throughput build/release/bin/shardreel
