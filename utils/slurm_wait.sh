#!/usr/bin/env bash
# Waits for a job of slurm.sh:  utils/slurm_wait.sh JOB LOG
# Ends with 0 if it has ended well; else prints its state, or those of its elements that have not, and ends with the
# status that its log tells, or 1.
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: ${0##*/} JOB LOG" >&2 && exit 2; }
# shellcheck source=stage.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/stage.sh"
job=$1
over='COMPLETED|FAILED|CANCELLED|TIMEOUT|NODE_FAIL|OUT_OF_MEMORY|BOOT_FAIL|DEADLINE|PREEMPTED'

# states: one line for the job, or for each element of an array; nothing when Slurm does not know it any more.
states() {
  local found
  until found=$(squeue --noheader --states=all --jobs="$job" --format=%T 2>&1); do
    [[ $found != *'Invalid job id'* ]] || return 0
    sleep 10 # the controller does not answer: jobs go on without it
  done
  printf '%s\n' "$found"
}

# last_status LOG...: the highest status that the last runs in the logs ended with; nothing if none has ended.
last_status() {
  awk '/^# .* command=/ { delete status[FILENAME] }
    /^# .* status=[0-9]+ wall_s=/ { sub(/.* status=/, ""); status[FILENAME] = $1 + 0 }
    END { for (name in status) if (worst == "" || status[name] > worst) worst = status[name]; print worst }' "$@"
}

pause_s=1
found=$(states)
while [ -n "$found" ] && grep -qvxE "$over" <<<"$found"; do
  sleep "$pause_s"
  [ "$pause_s" -ge 10 ] || pause_s=$((pause_s + 1))
  found=$(states)
done
bad=$(grep -vx COMPLETED <<<"${found:-unknown to Slurm}" | sort -u | tr '\n' ' ' || true)
mapfile -t logs < <(logs_of "$2")
status=''
if [ -f "${logs[0]:-}" ]; then status=$(last_status "${logs[@]}"); fi
# Slurm forgets jobs after a while; their logs don't.
if [ -z "$bad" ] || [ "$found$status" = 0 ]; then exit 0; fi # no state, but a good end
printf '%s\n' "${bad% }"
[ "${status:-0}" -eq 0 ] || exit "$status"
exit 1
