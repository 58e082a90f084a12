#!/usr/bin/env bash
# Four processes under Open MPI pack one dataset, which is then finished. 77 = skipped.
#
#   pack_mpi_test.sh SHARDREEL WORK_FOLDER
set -euo pipefail
shardreel=$1 work=$2
here=$(cd "$(dirname "$0")" && pwd)
if ! command -v mpirun >/dev/null; then
  echo "SKIPPED: mpirun is not installed (Debian: openmpi-bin)"
  exit 77
fi
mkdir -p "$work"
python3 "$here/../../../tools/make_clips.py" "$work/clips" --count 24 >/dev/null
rm -rf "$work/alone" "$work/tasks"
as_root=()
[ "$(id -u)" != 0 ] || as_root=(--allow-run-as-root)

"$shardreel" pack "$work/clips" --out "$work/alone" --shuffle 7 --task-index 0 --task-count 1 >/dev/null
"$shardreel" pack --finish "$work/alone" >/dev/null
mpirun -np 4 "${as_root[@]}" --oversubscribe \
  "$shardreel" pack "$work/clips" --out "$work/tasks" --shuffle 7 --shard-samples 2
"$shardreel" pack --finish "$work/tasks" --json >"$work/report.json"
python3 "$here/pack_merged.py" "$work/alone" "$work/tasks" 4
