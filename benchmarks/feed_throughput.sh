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
  clips=build/benchmarks/clips
  mkdir -p "$clips"
  for i in $(seq -w 0 99); do
    [ -f "$clips/k$i.mp4" ] && continue
    # Fractal zooms from different places with camera-like grain: busy enough for a real bit rate.
    ffmpeg -nostdin -v error -y -f lavfi \
      -i "mandelbrot=size=340x256:rate=30:start_scale=2.$i:end_scale=0.0$i:start_x=-0.7$i" \
      -vf "noise=alls=4:allf=t,format=yuv420p" -frames:v 300 -c:v libx264 -profile:v high -g 250 \
      -b:v 1100k "$clips/k$i.tmp.mp4"
    mv "$clips/k$i.tmp.mp4" "$clips/k$i.mp4"
  done
  [ -f build/benchmarks/shards/shard-000003.tar ] ||
    build/release/bin/shardreel pack "$clips" --out build/benchmarks/shards --shard-samples 25 --overwrite >&2
  shards=(build/benchmarks/shards/shard-00000{0..3}.tar)
fi
"$program" "${shards[@]}" --work build/benchmarks/videos
