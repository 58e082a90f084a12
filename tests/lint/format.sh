#!/usr/bin/env bash
# All C++ is formatted by clang-format 14 (other versions format differently). 77 = skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v clang-format-14 >/dev/null; then
  echo "SKIPPED: clang-format-14 is not installed"
  exit 77
fi
find shards loader tools tests benchmarks -type d -name build -prune -o \
  -type f \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' \) -print0 |
  xargs -0 clang-format-14 --dry-run -Werror
