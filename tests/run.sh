#!/usr/bin/env bash
# Install what the tests need, build, and run them.
#
#   tests/run.sh [CTEST ARGUMENTS]          release build, lint, all tests; property tests at a
#                                           twentieth of their rounds
#   tests/run.sh --full [CTEST ARGUMENTS]   all rounds; then AddressSanitizer + UBSan, ThreadSanitizer,
#                                           clang, and the fuzzers' corpus
#
# E.g. tests/run.sh -R options. Exit 0 when every step passed. Logs lie in build/logs.
set -euo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
export LC_ALL=C.UTF-8

full=false
if [ "${1:-}" = --full ]; then
  full=true
  shift
fi
ctest_arguments=("$@")
mkdir -p build/logs
summary=()
failed=0

# step NAME COMMAND...: run quietly; show the end of the log when it fails.
step() {
  local name=$1 log="build/logs/${1// /-}.log" begin=$SECONDS
  shift
  printf '%-28s ' "$name"
  if "$@" >"$log" 2>&1; then
    # What was skipped must not pass for tested.
    local skipped
    skipped=$(grep -cE '(Skipped|\*\*\*Not Run)' "$log" || true)
    summary+=("ok      $name ($((SECONDS - begin)) s$([ "$skipped" = 0 ] || echo ", $skipped skipped, see $log"))")
    echo "ok ($((SECONDS - begin)) s)"
    return 0
  fi
  summary+=("FAILED  $name ($((SECONDS - begin)) s), see $log")
  failed=1
  echo "FAILED ($((SECONDS - begin)) s); the end of $log:"
  tail -n 60 "$log"
  return 1
}

# build PRESET [TARGET]: benchmarks are built where they are run.
build() {
  local benchmarks=OFF
  [ "$1" != release ] || benchmarks=ON
  # Said again, because tools/quickstart.sh configures without them.
  cmake --preset "$1" -DSHARDREEL_TESTS=ON -DSHARDREEL_BENCHMARKS=$benchmarks
  # Test programs are asked for their tests while building, so they need the wrapper there too.
  "${wrapper[@]}" cmake --build --preset "$1" ${2:+--target "$2"}
}

# check PRESET TARGET [CTEST ARGUMENTS]: build and test one preset; tests are pointless after a failed
# build.
check() {
  local preset=$1 target=$2
  shift 2
  step "$preset build" build "$preset" "$target" || return 0
  step "$preset tests" "${wrapper[@]}" ctest --preset "$preset" --no-tests=error "$@" "${ctest_arguments[@]}" || true
}

if $full; then tools/install_packages.sh full; else tools/install_packages.sh test; fi

wrapper=(env)
if $full; then
  wrapper=(env SHARDREEL_FULL_TESTS=1)
  check release all
  # Sanitizers are for paths, not for rounds: a twentieth of the rounds, as in the short run.
  wrapper=(env UBSAN_OPTIONS=print_stacktrace=1 LSAN_OPTIONS=suppressions="$PWD/tests/leaks.supp":print_suppressions=0
    ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1)
  check asan all -LE lint
  # ThreadSanitizer of g++ 12 cannot place its shadow when the kernel scatters addresses widely.
  wrapper=(env TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions="$PWD/tests/tsan.supp")
  if setarch -R true 2>/dev/null; then wrapper=(setarch -R "${wrapper[@]}"); fi
  # It sees what has threads; the rest would only be slow.
  check tsan threaded_tests -L threads
  wrapper=(env)
  check clang all -LE lint
  check fuzz fuzzers -L fuzz
else
  check release all
fi

echo
printf '%s\n' "${summary[@]}"
exit $failed
