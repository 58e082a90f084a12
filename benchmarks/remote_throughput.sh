#!/usr/bin/env bash
# One shard of 1 GiB from nginx on loopback, over http and https: the loader's source against
# `curl -o /dev/null`, interleaved, medians of 5. Prints one JSON object.
#
#   benchmarks/remote_throughput.sh
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/release/bin/remote_throughput
[ -x "$program" ] || cmake --build --preset release --target remote_throughput >&2
exec /usr/bin/python3 benchmarks/remote_throughput.py "$program"
