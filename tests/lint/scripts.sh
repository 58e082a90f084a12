#!/usr/bin/env bash
# Shell scripts parse, and pass shellcheck where it is installed; programs are executable. 77 = skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
status=0
scripts=(.ci/run)
while IFS= read -r -d '' script; do scripts+=("$script"); done \
  < <(find tools tests benchmarks -type f -name '*.sh' -print0)
for script in "${scripts[@]}"; do
  bash -n "$script" || status=1
  if [ ! -x "$script" ]; then
    echo "$script is not executable"
    status=1
  fi
done
if command -v shellcheck >/dev/null; then
  shellcheck --severity=warning "${scripts[@]}" || status=1
elif [ $status = 0 ]; then
  echo "SKIPPED: shellcheck is not installed; the scripts parse"
  exit 77
fi
exit $status
