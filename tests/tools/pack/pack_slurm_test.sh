#!/usr/bin/env bash
# A Slurm array of four tasks on two virtual nodes packs one dataset, which is then finished. 77 = skipped.
#
#   pack_slurm_test.sh SHARDREEL WORK_FOLDER
#
# Starts its own munged, slurmctld and two slurmd on the loopback interface, and ends them.
set -euo pipefail
shardreel=$1 work=$2
here=$(cd "$(dirname "$0")" && pwd)
for program in slurmctld slurmd munged sbatch; do
  if ! command -v "$program" >/dev/null && [ ! -x "/usr/sbin/$program" ]; then
    echo "SKIPPED: $program is not installed (Debian: slurm-wlm munge)"
    exit 77
  fi
done
if [ "$(id -u)" != 0 ]; then
  echo "SKIPPED: Slurm's daemons need root"
  exit 77
fi
export PATH=$PATH:/usr/sbin
mkdir -p "$work"
python3 "$here/../../../tools/make_clips.py" "$work/clips" --count 24 >/dev/null
rm -rf "$work/alone" "$work/tasks"

state=$(mktemp -d)
pids=()
cleanup() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$state"
}
trap cleanup EXIT
chmod 755 "$state"
mkdir -p "$state"/{state,log,munge,spool/n1,spool/n2}
chmod 700 "$state/munge"
head -c 128 /dev/urandom >"$state/munge/key"
chmod 400 "$state/munge/key"
munged -F --force --socket="$state/munged.sock" --key-file="$state/munge/key" --pid-file="$state/munge/pid" \
  --log-file="$state/log/munged" --seed-file="$state/munge/seed" &
pids+=($!)
port=$((20000 + RANDOM % 20000))
cat >"$state/slurm.conf" <<C
ClusterName=shardreel
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$state/munged.sock
CredType=cred/munge
SlurmctldPort=$port
StateSaveLocation=$state/state
SlurmdSpoolDir=$state/spool/%n
SlurmctldPidFile=$state/ctld.pid
SlurmdPidFile=$state/%n.pid
SlurmctldLogFile=$state/log/ctld
SlurmdLogFile=$state/log/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
MailProg=/bin/true
NodeName=n[1-2] NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + 2))] CPUs=2 RealMemory=1000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
export SLURM_CONF=$state/slurm.conf
until [ -S "$state/munged.sock" ]; do sleep 0.05; done
slurmctld -D -c -f "$SLURM_CONF" >"$state/log/out" 2>&1 &
pids+=($!)
for node in n1 n2; do
  slurmd -D -N "$node" -f "$SLURM_CONF" >"$state/log/$node.out" 2>&1 &
  pids+=($!)
done
deadline=$((SECONDS + 60))
until [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = 2 ]; do
  if [ $SECONDS -gt $deadline ]; then
    echo "SKIPPED: two virtual nodes did not come up; the end of the log:"
    tail -n 5 "$state/log/ctld" || true
    exit 77
  fi
  sleep 0.1
done

"$shardreel" pack "$work/clips" --out "$work/alone" --shuffle 7 --task-index 0 --task-count 1 >/dev/null
"$shardreel" pack --finish "$work/alone" >/dev/null
cat >"$state/job.sh" <<J
#!/bin/sh
echo "\$SLURM_ARRAY_TASK_ID ran on \$SLURMD_NODENAME"
exec "$shardreel" pack "$work/clips" --out "$work/tasks" --shuffle 7 --shard-samples 2
J
chmod +x "$state/job.sh"
sbatch --wait --array=3-9:2 --output="$state/log/job-%a" "$state/job.sh" || { cat "$state"/log/job-*; exit 1; }
grep -h "ran on\|task" "$state"/log/job-*
[ "$(cat "$state"/log/job-* | grep -o 'ran on n.' | sort -u | wc -l)" = 2 ] || { echo "all tasks ran on one node"; exit 1; }
"$shardreel" pack --finish "$work/tasks" --json >"$work/report.json"
python3 "$here/pack_merged.py" "$work/alone" "$work/tasks" 4
