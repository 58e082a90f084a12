#!/usr/bin/env bash
# One command for a machine with a GPU: build with CUDA, run the GPU tests, compute-sanitizer and the
# benchmarks; write results/gpu-LABEL.json and .md.
#
#   benchmarks/gpu/run.sh [--media FOLDER] [--only STEP,STEP…] [--rounds 5] [--label DATE] [--out FOLDER]
#                         [--jobs N] [--programs FOLDER] [--dry-run]
#
# Steps: tests sanitizer claim nvdec lane kernel hybrid pressure training; all unless --only names some.
# FOLDER is what make_media.sh made elsewhere (build/gpu-media unless given). A sysroot with the libraries is
# used where .sysroot/shardreel-sysroot.cmake is there; with --programs nothing is built. Without a GPU nothing is
# built or run, and the status is 2; --dry-run builds all the same and lists what would run. Status 1: something
# failed; the report says what.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
media=$PWD/build/gpu-media only=all rounds=5 label=$(date +%F) out=$here/../results jobs=$(nproc) dry=no programs=
while [ $# -gt 0 ]; do
  case $1 in
    --media) media=$(realpath -m "$2"); shift ;;
    --only) only=$2; shift ;;
    --rounds) rounds=$2; shift ;;
    --label) label=$2; shift ;;
    --out) out=$2; shift ;;
    --jobs) jobs=$2; shift ;;
    --programs) programs=$(realpath "$2"); shift ;;
    --dry-run) dry=yes ;;
    *) echo "run.sh: unknown argument $1; see the head of the script" >&2; exit 1 ;;
  esac
  shift
done
steps=(tests sanitizer claim nvdec lane kernel hybrid pressure training)
for step in ${only//,/ }; do
  [[ " all ${steps[*]} " == *" $step "* ]] || { echo "run.sh: no step '$step'; there are: ${steps[*]}" >&2; exit 1; }
done
wants() { [[ ,$only, == *,all,* || ,$only, == *,$1,* ]]; }

if [ "$dry" = no ] && ! compgen -G '/dev/nvidia[0-9]*' >/dev/null && ! nvidia-smi -L 2>/dev/null | grep -q GPU; then
  echo "run.sh: no GPU here (no /dev/nvidia0, and nvidia-smi lists none): nothing was built or run" >&2
  exit 2
fi

bin=${programs:-$PWD/build/release/bin}
if [ -z "$programs" ]; then
  options=(-DSHARDREEL_CUDA=ON -DSHARDREEL_TESTS=ON -DSHARDREEL_BENCHMARKS=ON)
  [ ! -f .sysroot/shardreel-sysroot.cmake ] || options+=("-DCMAKE_PROJECT_TOP_LEVEL_INCLUDES=$PWD/.sysroot/shardreel-sysroot.cmake")
  command -v ninja >/dev/null || options+=(-G "Unix Makefiles")
  # The package is built for the Python that has torch, where that one can build it.
  if python3 -c 'import torch, pybind11' 2>/dev/null; then
    options+=("-DPython3_EXECUTABLE=$(command -v python3)" "-Dpybind11_DIR=$(python3 -m pybind11 --cmakedir)")
  fi
  cmake --preset release "${options[@]}"
  cmake --build --preset release -j "$jobs" --target shardreel_cli gpu_bench gpu_test gpu_network_test device_test
  cmake --build --preset release -j "$jobs" --target shardreel_python || echo "run.sh: no Python package: no training loop" >&2
fi

# The driver's libraries may lie where the loader does not look.
for library in libcuda.so.1 libnvcuvid.so.1; do
  ldconfig -p 2>/dev/null | grep -q "$library" && continue
  found=$(find -L /usr/local/nvidia /usr/lib64 /usr/lib -name "$library" -not -path '*stubs*' 2>/dev/null | head -1 || true)
  [ -z "$found" ] || LD_LIBRARY_PATH=$(dirname "$found"):${LD_LIBRARY_PATH:-}
done
export LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}
export SHARDREEL_GPU_MEDIA=$media
python=$(command -v python3)
[ -e build/release/python/shardreel ] && "$python" -c 'import torch' 2>/dev/null || python=/usr/bin/python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# say STEP WORDS: a step that does not run says why, here and in the report
say() { echo "$1: SKIPPED: $2"; printf '%s' "$2" >"$work/$1.skipped"; }
# run STEP SECONDS COMMAND…: its standard output is the answer
run() {
  local step=$1 limit=$2
  shift 2
  if [ "$dry" = yes ]; then echo "$step: $*"; return; fi
  echo "$step: $(date +%T)"
  timeout -k 10 "$limit" "$@" >"$work/$step.json" 2>"$work/$step.err" || {
    echo "status $?: $(tail -1 "$work/$step.err")" >"$work/$step.failed"
    rm "$work/$step.json"
    echo "$step: FAILED: $(cat "$work/$step.failed")"
  }
}

if [ "$dry" = no ]; then
  run device 60 "$bin/gpu_bench" device
  if [ ! -f "$work/device.json" ]; then cat "$work/device.err" >&2; exit 2; fi
fi

tests=("gpu_test" "gpu_network_test" "device_test --gtest_filter=*cuda*")
if wants tests; then
  for test in "${tests[@]}"; do
    read -ra command <<<"$test"
    if [ "$dry" = yes ]; then echo "tests: $test"; continue; fi
    echo "tests: $test"
    timeout -k 10 600 "$bin/${command[0]}" "${command[@]:1}" "--gtest_output=json:$work/tests-${command[0]}.json" \
      >"$work/tests-${command[0]}.log" 2>&1 || { echo "tests: FAILED: $test"; tail -20 "$work/tests-${command[0]}.log"; }
  done
fi

if wants sanitizer; then
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer \
    /usr/local/cuda/compute-sanitizer/compute-sanitizer 2>/dev/null | head -1 || true)
  for tool in memcheck racecheck initcheck synccheck; do
    for test in "${tests[@]}"; do
      read -ra command <<<"$test"
      line="--tool $tool ${command[0]}"
      if [ -z "$sanitizer" ]; then
        result="SKIPPED: compute-sanitizer is not installed"
      elif [ "$dry" = yes ]; then
        result="would run"
      else
        status=0
        timeout -k 10 300 "$sanitizer" --tool "$tool" --error-exitcode 99 "$bin/${command[0]}" "${command[@]:1}" \
          >"$work/sanitizer.log" 2>&1 || status=$?
        case $status in
          0) result=clean ;;
          124 | 137) result="FAILED: not done in 300 s" ;;
          *) result="FAILED: status $status: $(grep -m1 -E '^=========.*(SUMMARY|rror)' "$work/sanitizer.log" || tail -1 "$work/sanitizer.log")" ;;
        esac
      fi
      echo "sanitizer: $line: $result"
      printf '%s\t%s\t%s\n' "$tool" "${command[0]}" "$result" >>"$work/sanitizer.tsv"
    done
  done
fi

# videos STEP FOLDER: the shards of a step, or why it has none
videos() {
  mapfile -t shards < <(compgen -G "$media/$2/*.tar" | sort -V || true)
  [ ${#shards[@]} -gt 0 ] || { say "$1" "no shards in $media/$2; benchmarks/gpu/make_media.sh makes them"; return 1; }
}
if wants claim && videos claim claim; then run claim 900 "$bin/gpu_bench" claim "${shards[@]}" --rounds "$rounds"; fi
if wants nvdec && videos nvdec nvdec; then run nvdec 900 "$bin/gpu_bench" nvdec "${shards[@]}" --rounds "$rounds" --epochs 4; fi
if wants lane; then run lane 300 "$bin/gpu_bench" lane --rounds "$rounds"; fi
if wants kernel; then run kernel 300 "$bin/gpu_bench" kernel --rounds "$rounds"; fi
hd=$media/nvdec/h264-1920x1080.tar
if wants hybrid && videos hybrid nvdec; then run hybrid 600 "$bin/gpu_bench" hybrid "$hd" --rounds "$rounds" --epochs 16; fi
if wants pressure && videos pressure nvdec; then run pressure 300 "$bin/gpu_bench" pressure "$media"/nvdec/*-1920x1080.tar --epochs 12; fi
if wants training && videos training claim; then
  if ! PYTHONPATH=build/release/python "$python" -c 'import torch, shardreel' 2>/dev/null; then
    say training "no Python here has torch and the package shardreel"
  elif [ "$dry" = no ] && ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    say training "torch sees no GPU"
  else
    PYTHONPATH=build/release/python run training 600 "$python" "$here/training_loop.py" "${shards[@]}" --rounds "$rounds"
  fi
fi

if [ "$dry" = yes ]; then
  echo "dry run: nothing was run or measured, no results were written"
else
  "$python" "$here/report.py" "$work" --label "$label" --out "$out"
fi
