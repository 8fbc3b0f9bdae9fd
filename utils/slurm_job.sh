# shellcheck shell=bash disable=SC2154 # max_requeues and retries are the job's
# What a job of slurm.sh does; its sbatch file sources this before anything else, then calls run_job COMMAND...
set -uo pipefail

SAVED_STATUS=85   # of osum/train/preemption.py: the command has saved and wants to go on
STALLED_STATUS=86 # of osum/train/watchdog.py: nothing moved any more

# From the first line on: a signal that comes while the environment is prepared must not be lost, nor end the job.
told='' ended='' steps=''
trap 'told=1; [ -z "$steps" ] || kill -USR1 "$steps" 2>/dev/null' USR1 # srun hands it to all processes
trap 'ended=1' TERM                                                   # scancel, or Slurm that requeues by itself

note() { printf '# %s %s\n' "$(date '+%F %T')" "$*"; }

# export_master: where the processes meet. The first machine, under the address by which Slurm itself reaches it.
export_master() {
  local first
  first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
  MASTER_ADDR=$(scontrol -o show node "$first" | sed -nE 's/.* NodeAddr=([^ ]+).*/\1/p')
  MASTER_PORT=$((20000 + SLURM_JOB_ID % 10000))
  export MASTER_ADDR MASTER_PORT
}

# patience_s: seconds that srun waits for the other processes when one has ended. Ranks that have saved end one after
# another, each with its own status. When a node is lost its peers fail at once, but Slurm knows only after
# SlurmdTimeout, half as much again at most: a job that gave up before would not be queued again.
patience_s() {
  local timeout_s=0
  if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    timeout_s=$(scontrol show config | sed -nE 's/^SlurmdTimeout *= *([0-9]+).*/\1/p')
  fi
  echo $((60 + 2 * ${timeout_s:-300}))
}

# start_steps COMMAND...: one process per rank, in the background; $steps is srun's pid.
start_steps() {
  # shellcheck disable=SC2016 # each process expands it
  local rank='export RANK=$SLURM_PROCID WORLD_SIZE=$SLURM_NTASKS LOCAL_RANK=$SLURM_LOCALID && exec "$@"'
  srun --export=ALL --kill-on-bad-exit=0 --wait="$(patience_s)" bash -c "$rank" - "$@" &
  steps=$!
}

# first_failure LINE: how the first process ended of those that did not end well, by what srun said in the log since
# that line: "Exited with exit code 3", "Killed". When a process fails for good, srun kills those that wait for it and
# takes their status.
first_failure() {
  tail -n "+$1" "$(readlink /proc/$$/fd/1)" | sed -nE 's/^srun: error: [^ ]+: tasks? [0-9,-]+: (.*)$/\1/p' | head -n 1
}

# requeue STATUS: lets Slurm start this job again, with the same number. Returns if it should or may not.
requeue() {
  local name=''
  if [ "$1" -eq "$SAVED_STATUS" ] || [ -n "$told" ]; then
    name=max_requeues
  elif [ "$1" -eq "$STALLED_STATUS" ] || [ "$1" -gt 128 ]; then
    name=retries
  fi
  [ -n "$name" ] && [ "$1" -ne 0 ] && [ -z "$ended" ] || return 0
  if [ "${SLURM_RESTART_COUNT:-0}" -ge "${!name}" ]; then
    note "not queued again after ${SLURM_RESTART_COUNT:-0} new starts: $name is ${!name}"
    return
  fi
  note "queued again: status=$1 wall_s=$SECONDS"
  scontrol requeue "$SLURM_JOB_ID" || return
  sleep 300 & # Slurm ends this script
  wait $!
  exit "$1"
}

run_job() {
  local status=0 first begun
  export TQDM_DISABLE=1 # nobody watches
  # srun does not take it over from sbatch.
  [ -z "${SLURM_CPUS_PER_TASK:-}" ] || export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK
  note "host=$(hostname) nodes=$SLURM_JOB_NODELIST job=$SLURM_JOB_ID restart=${SLURM_RESTART_COUNT:-0}" \
    "folder=$PWD command=${*@Q}"
  export_master
  if [ -z "$told$ended" ]; then
    begun=$(wc -l < "$(readlink /proc/$$/fd/1)")
    start_steps "$@"
    # A signal ends `wait` before srun ends; one that came before all processes had started has to be handed on again.
    while kill -0 "$steps" 2>/dev/null; do
      wait "$steps"
      if [ -n "$told" ] && kill -0 "$steps" 2>/dev/null; then sleep 2 && kill -USR1 "$steps" 2>/dev/null; fi
    done
    wait "$steps"
    status=$?
    if [ "$status" -eq 137 ]; then
      first=$(first_failure "$begun")
      case $first in 'Exited with exit code '*) status=${first##* } ;; esac
    fi
  else
    status=$SAVED_STATUS # nothing was begun
  fi
  requeue "$status"
  note "status=$status wall_s=$SECONDS"
  exit "$status"
}
