#!/usr/bin/env bash
# Make the shards that benchmarks read: 100 videos of 340x256 and 8 of 1280x720, 300 frames of H.264 each.
#
#   benchmarks/make_data.sh FOLDER [GOP]    GOP: frames from keyframe to keyframe, 250 unless given
#
# Writes FOLDER/kin/shards and FOLDER/hd/shards, and of the videos in SHARDREEL_MEDIA_DIR, where it is set,
# FOLDER/mixed/shards; what is there already is kept.
set -euo pipefail
folder=$(realpath -m "${1:?usage: make_data.sh FOLDER [GOP]}")
gop=${2:-250}
cd "$(dirname "$0")/.."
program=build/release/bin/shardreel
[ -x "$program" ] || cmake --build --preset release --target shardreel_cli >&2

# make KIND SIZE BITRATE COUNT SHARD_SAMPLES
make() {
  local kind=$1 size=$2 rate=$3 count=$4 samples=$5 i
  mkdir -p "$folder/$kind/mp4"
  for i in $(seq -w 0 $((count - 1))); do
    [ -f "$folder/$kind/mp4/$kind$i.mp4" ] && continue
    # Fractal zooms from different places with camera-like grain: busy enough for a real bit rate.
    ffmpeg -nostdin -v error -y -f lavfi \
      -i "mandelbrot=size=$size:rate=30:start_scale=2.$i:end_scale=0.0$i:start_x=-0.7$i" \
      -vf "noise=alls=4:allf=t,format=yuv420p" -frames:v 300 -c:v libx264 -profile:v high -g "$gop" \
      -b:v "$rate" "$folder/$kind/mp4/$kind$i.tmp.mp4"
    mv "$folder/$kind/mp4/$kind$i.tmp.mp4" "$folder/$kind/mp4/$kind$i.mp4"
  done
  [ -f "$folder/$kind/shards/$kind-000003.tar" ] ||
    "$program" pack "$folder/$kind/mp4" --out "$folder/$kind/shards" --prefix "$kind-" \
      --shard-samples "$samples" --overwrite >&2
}
make kin 340x256 1100k 100 25
make hd 1280x720 4000k 8 2
if [ -n "${SHARDREEL_MEDIA_DIR:-}" ] && [ ! -f "$folder/mixed/shards/dataset.json" ]; then
  "$program" pack "$SHARDREEL_MEDIA_DIR" --check decode --out "$folder/mixed/shards" --prefix mixed- >&2
fi
