#!/usr/bin/env bash
# From a fresh Debian 12 machine to the first epoch: install what is missing, build, make shards, feed.
#
#   tools/quickstart.sh                     shards of 64 short clips made with ffmpeg
#   tools/quickstart.sh FOLDER_OF_VIDEOS    shards of the videos below that folder
#   tools/quickstart.sh --train             the first, then tools/train_example.py (PyTorch, a minute on
#                                           two cores); fails below 90 % accuracy on held-out clips
#
# Run again, it only does what is not done yet. Everything it makes lies in build/.
set -euo pipefail
if [ $# -gt 1 ] || [ "${1:-}" = --help ]; then
  sed -n '2,9s/^# \{0,1\}//p' "$0"
  [ "${1:-}" = --help ] && exit 0
  exit 2
fi
folder=
training=false
if [ "${1:-}" = --train ]; then
  training=true
elif [ $# = 1 ]; then
  if [ ! -d "$1" ]; then
    echo "quickstart: '$1' is not a folder" >&2
    exit 2
  fi
  folder=$(realpath "$1")
fi
cd "$(dirname "$0")/.."
exec </dev/null
export LC_ALL=C.UTF-8

work=build/quickstart
shardreel=build/release/bin/shardreel
clips_a_shard=13
mkdir -p "$work"

# quietly LOG COMMAND...: show the log's end only when the command fails.
quietly() {
  local log=$1
  shift
  "$@" >"$log" 2>&1 || {
    echo "quickstart: '$*' failed; the end of $log:" >&2
    tail -n 40 "$log" >&2
    exit 1
  }
}

build() {
  [ -x "$shardreel" ] || echo "Building $shardreel (a few minutes the first time)"
  [ -f build/release/build.ninja ] ||
    quietly "$work/configure.log" cmake --preset release -DSHARDREEL_TESTS=OFF -DSHARDREEL_BENCHMARKS=OFF
  quietly "$work/build.log" cmake --build --preset release --target shardreel_cli
}

build_python() {
  # A build that was configured before Python's development files came does not know the package.
  cmake --build --preset release --target help | grep -c '^shardreel_python:' >/dev/null ||
    quietly "$work/configure.log" cmake --preset release
  quietly "$work/build.log" cmake --build --preset release --target shardreel_python
}

# make_shards FOLDER OUT: pack the videos with the files beside them, unless that has been done.
make_shards() {
  local from=$1 out=$2 stamp
  # Names, sizes and times of everything in the folder: when they are the same, so are the shards.
  stamp=$(find "$from" -type f -printf '%P %s %T@\n' | sort | sha256sum)
  if [ "$(cat "$out/inputs" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$out"
    mkdir -p "$out"
    echo "Packing $from"
    "$shardreel" pack "$from" --out "$out" --shard-samples "$clips_a_shard"
    echo "$stamp" >"$out/inputs"
  fi
  echo "Shards: $(find "$out" -name '*.tar' | wc -l) in $out"
}

# shards_of FOLDER: the pattern of all its shards.
shards_of() {
  local last
  last=$(basename "$(find "$1" -name 'shard-*.tar' | sort | tail -n 1)" .tar)
  echo "$1/shard-{000000..${last#shard-}}.tar"
}

if $training; then tools/install_packages.sh train; else tools/install_packages.sh build; fi
build
if $training; then build_python; fi
if [ -n "$folder" ]; then
  train=$work/folder-$(echo "$folder" | sha256sum | head -c 12)
  make_shards "$folder" "$train"
else
  python3 tools/make_clips.py "$work/clips"
  train=$work/train
  make_shards "$work/clips/train" "$train"
  make_shards "$work/clips/heldout" "$work/heldout"
fi

shards=$(shards_of "$train")
echo
echo "Feeding one epoch, in batches of 8 clips of 16 frames of 224x224:"
echo "\$ $shardreel feed '$shards'"
"$shardreel" feed "$shards"
if $training; then
  heldout=$(shards_of "$work/heldout")
  echo
  echo "Training a small 3D network to tell eight motions apart (chance is 12.5 %):"
  echo "\$ PYTHONPATH=build/release/python tools/train_example.py '$shards' '$heldout' --min-accuracy 0.9"
  PYTHONPATH=build/release/python tools/train_example.py "$shards" "$heldout" --min-accuracy 0.9 || {
    echo "quickstart: training failed, or ended below 90 % on held-out clips" >&2
    exit 1
  }
fi
if $training; then
  echo
  echo "Stopping after 20 batches and resuming, against a run that is not stopped:"
  demonstrate() { "$shardreel" feed "$shards" --clips-out "$work/$1.jsonl" "${@:2}" >/dev/null; }
  demonstrate whole
  demonstrate first --max-batches 20 --state-out "$work/state.json"
  demonstrate rest --resume "$work/state.json"
  whole=$(sha256sum <"$work/whole.jsonl")
  resumed=$(cat "$work/first.jsonl" "$work/rest.jsonl" | sha256sum)
  echo "  not stopped  ${whole%% *}"
  echo "  resumed      ${resumed%% *}"
  if [ "$whole" != "$resumed" ]; then
    echo "quickstart: the resumed run gave other clips" >&2
    exit 1
  fi
fi
echo
echo "Next: '$shardreel feed --help' lists the options, '$shardreel plan ...' shows the memory plan,"
echo "and README.md has the C++ example, which reads these shards."
