#!/usr/bin/env bash
# Make the videos that benchmarks/gpu/run.sh reads, on a machine that has the ffmpeg program, to be carried
# to one that has a GPU.
#
#   benchmarks/gpu/make_media.sh FOLDER [claim|nvdec|check]…
#
# Writes about 35 MB of shards below FOLDER, or some of them; what is there already is kept:
#   claim/FRAMES.tar      one 1080p video of H.264 each, of 960, 5520 and 9300 frames
#   nvdec/CODEC-SIZE.tar  four videos of 240 frames each: H.264, HEVC, VP9; 340x256, 720p, 1080p
#   check/*.tar           short ones of the kinds that differ, whose pixels the tests compare
set -euo pipefail
folder=$(realpath -m "${1:?usage: make_media.sh FOLDER [claim|nvdec|check]…}")
shift
asked=" ${*:-claim nvdec check} "
cd "$(dirname "$0")/../.."
program=${SHARDREEL:-$PWD/build/release/bin/shardreel}
[ -x "$program" ] || cmake --build --preset release --target shardreel_cli >&2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# encode FILE SIZE FRAMES SEED ARGUMENTS: moving test pictures with grain
encode() {
  local file=$1 size=$2 frames=$3 seed=$4
  shift 4
  ffmpeg -nostdin -v error -y -f lavfi -i "testsrc2=size=$size:rate=30,noise=alls=4:allf=t:all_seed=$seed" \
    -frames:v "$frames" "$@" "$file" >&2
}
# pack NAME: the videos in scratch become FOLDER/NAME.tar
pack() {
  "$program" pack "$scratch/videos" --out "$scratch/shards" --prefix one- --overwrite >&2
  mkdir -p "$(dirname "$folder/$1")"
  mv "$scratch/shards/one-000000.tar" "$folder/$1.tar"
}
# fresh NAME: whether FOLDER/NAME.tar is asked for and still to be made, into an empty scratch folder
fresh() {
  [[ $asked == *" ${1%%/*} "* && ! -f "$folder/$1.tar" ]] || return 1
  rm -rf "$scratch/videos" "$scratch/shards"
  mkdir -p "$scratch/videos"
}
x264=(-c:v libx264 -preset veryfast -g 60 -bf 2 -pix_fmt yuv420p)
x265=(-c:v libx265 -preset ultrafast -pix_fmt yuv420p -tag:v hvc1 -x265-params log-level=error:keyint=60)
vp9=(-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -row-mt 1 -g 60 -pix_fmt yuv420p)

for frames in 960 5520 9300; do
  fresh "claim/$frames" || continue
  # The longer ones repeat the first: decoding costs the same, encoding does not.
  [ -f "$scratch/part.mp4" ] || encode "$scratch/part.mp4" 1920x1080 960 1 "${x264[@]}" -b:v 300k
  ffmpeg -nostdin -v error -y -stream_loop $(((frames + 959) / 960 - 1)) -i "$scratch/part.mp4" \
    -c copy -frames:v "$frames" "$scratch/videos/video.mp4" >&2
  pack "claim/$frames"
done

for size in 340x256 1280x720 1920x1080; do
  case $size in 340x256) rate=150k ;; 1280x720) rate=400k ;; *) rate=600k ;; esac
  for codec in h264 hevc vp9; do
    fresh "nvdec/$codec-$size" || continue
    case $codec in h264) arguments=("${x264[@]}") ;; hevc) arguments=("${x265[@]}") ;; *) arguments=("${vp9[@]}") ;; esac
    for seed in 1 2 3 4; do
      encode "$scratch/videos/v$seed.mp4" "$size" 240 "$seed" "${arguments[@]}" -b:v "$rate"
    done
    pack "nvdec/$codec-$size"
  done
done

# check NAME SIZE ARGUMENTS
check() {
  local name=$1 size=$2
  shift 2
  fresh "check/$name" || return 0
  encode "$scratch/videos/a.mp4" "$size" 80 1 "$@"
  encode "$scratch/videos/b.mp4" "$size" 50 2 "$@"
  pack "check/$name"
}
check h264 320x240 "${x264[@]}"
check h264-open-gop 320x240 "${x264[@]}" -g 20 -x264-params open-gop=1
check h264-odd-crop 334x250 "${x264[@]}"
check h264-bt709-full 320x240 "${x264[@]}" -vf scale=out_range=full -color_range pc -colorspace bt709
check hevc 320x240 "${x265[@]}"
check hevc-10bit 320x240 "${x265[@]}" -pix_fmt yuv420p10le
check vp9 320x240 "${vp9[@]}"
du -sh "$folder" >&2
