#!/usr/bin/env bash
# CPU seconds of feeding, against the ffmpeg program and bare decoding; interleaved, medians of 5.
#
#   benchmarks/feed_throughput.sh [SHARDS...]   any shards of H.264 mp4 videos; without: 100 generated
#                                               videos of 340x256 and 300 frames, made once in build/
# Prints one JSON object (seconds are medians; ratios above 1 are in favour of the loader).
set -euo pipefail
cd "$(dirname "$0")/.."
program=build/release/bin/feed_throughput
[ -x "$program" ] || cmake --build --preset release --target feed_throughput shardreel_cli >&2

shards=("$@")
if [ ${#shards[@]} = 0 ]; then
  benchmarks/make_data.sh build/benchmarks/data
  shards=(build/benchmarks/data/kin/shards/kin-00000{0..3}.tar)
fi
"$program" "${shards[@]}" --work build/benchmarks/videos
