# shellcheck shell=bash disable=SC2154 # $stage, $stop_stage and $dry_run are the caller's
# Stages of a recipe: which of them run, what is shown before each, what is said when one fails.

stage_utils=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
stage_jobs=() # of stages that a launcher has queued, each "JOB NUMBER OFFSET LOG"

# last_error LOG OFFSET: the line that says best why the command failed whose output begins at the offset, in bytes.
# Our own error line comes first (the earliest: later ones follow from it), then the end of a traceback (but not
# torchrun's, which only says that a child failed, nor what srun says, at any time, of a task that ended), then whatever
# was printed last.
last_error() {
  local text all line
  all=$(tail -c "+$(($2 + 1))" -- "$1" | grep -vE '^#|ChildFailedError|^ *$' || true)
  text=$(grep -vE '^(srun|slurmstepd): ' <<<"$all" || true)
  [ -n "$text" ] || text=$all
  line=$(grep -m 1 -E '^[0-9-]{10} [0-9:]{8} ERROR |: error: |^error: ' <<<"$text" || true)
  [ -n "$line" ] || line=$(grep -E '^[A-Za-z_.]+(Error|Exception|Interrupt|Exit)\b' <<<"$text" | tail -n 1 || true)
  [ -n "$line" ] || line=$(tail -n 1 <<<"$text")
  printf '%s' "$line"
}

# stage_name LOG: what a stage is called after its log.
stage_name() { basename -- "${1//.%a/}" .log; }

# logs_of LOG: the log, or those of the elements of an array if it has %a in its name, one a line.
logs_of() {
  local element=1
  if [[ $1 != *%a* ]]; then printf '%s\n' "$1" && return; fi
  while [ -f "${1//%a/$element}" ]; do
    printf '%s\n' "${1//%a/$element}"
    element=$((element + 1))
  done
}

# bad_element LOG OFFSET: the log of the first element of an array that has not ended well, and the offset of its last
# run; LOG and OFFSET themselves without an array.
bad_element() {
  local log
  while read -r log; do
    if [[ $1 == *%a* ]] && [[ $(grep '^# .* status=' "$log" | tail -n 1) != *' status=0 '* ]]; then
      printf '%d %s\n' "$(grep -abE '^# .* command=' "$log" | tail -n 1 | cut -d: -f1)" "$log" && return
    fi
  done < <(logs_of "$1")
  printf '%d %s\n' "$2" "$1"
}

# end_with_failure NUMBER LOG OFFSET STATUS [STATE]: says which stage failed, why, and what to read; ends the script.
end_with_failure() {
  local me log offset message=''
  me=$(basename -- "$0")
  read -r offset log < <(bad_element "$2" "$3")
  [ ! -f "$log" ] || message=$(last_error "$log" "$offset")
  printf '%s: stage %d (%s) failed with status %d%s: %s\n' \
    "$me" "$1" "$(stage_name "$2")" "$4" "${5:+, $5}" "$message" >&2
  [ ! -f "$log" ] || printf '%s: the whole log is %s\n' "$me" "$(realpath -m -- "$log")" >&2
  exit "$4"
}

# run_stage NUMBER TITLE LAUNCHER... FILE.log COMMAND...
# Runs the command if $stage <= NUMBER <= $stop_stage; the log's name is the stage's. The banner shows the command
# that can be pasted into a terminal, from any folder, to run this stage alone. A launcher that only queues the command
# leaves the number of the job beside the log: the next stage is then queued behind it.
run_stage() {
  local number=$1 title=$2 launch=() log name offset=0 status=0 started=$SECONDS job
  shift 2
  if [ "$number" -lt "$stage" ] || [ "$number" -gt "$stop_stage" ]; then return 0; fi
  while [[ $1 != *.log ]]; do launch+=("$1") && shift; done
  log=$1 && shift
  name=$(stage_name "$log")
  [ ${#stage_jobs[@]} -eq 0 ] || launch+=(--after "${stage_jobs[-1]%% *}")
  [ "${dry_run:-}" != true ] || launch+=(--dry-run)

  printf '\n=== stage %d %s: %s\n' "$number" "$name" "$title"
  printf '    alone: (cd %q && . ./path.sh && %s)\n' "$PWD" "$(printf '%q ' "${@//%a/1}" | sed 's/ $//')"
  printf '    log:   %s\n' "$(realpath -m -- "$log")"
  if [ -f "$log" ]; then offset=$(wc -c <"$log"); fi
  "${launch[@]}" "$log" "$@" || status=$?
  [ "$status" -eq 0 ] || end_with_failure "$number" "$log" "$offset" "$status"

  job=${log//.%a/} && job=${job%.log}.job
  if [ "${dry_run:-}" = true ]; then
    stage_jobs+=("JOB_OF_${name^^} $number 0 $log") # stands for the number that Slurm would give it
  elif [ -f "$job" ]; then
    stage_jobs+=("$(<"$job") $number $offset $log")
    printf '    stage %d %s is queued as job %s\n' "$number" "$name" "$(<"$job")"
  else
    printf '    stage %d %s ended after %d s\n' "$number" "$name" $((SECONDS - started))
  fi
}

# wait_for_stages: until the queued stages have ended, or one has failed, which the others then don't survive.
wait_for_stages() {
  local entry job number offset log state status
  [ "${dry_run:-}" != true ] || return 0
  for entry in "${stage_jobs[@]}"; do
    read -r job number offset log <<<"$entry"
    status=0
    state=$("$stage_utils/slurm_wait.sh" "$job" "$log") || status=$?
    [ "$status" -eq 0 ] || end_with_failure "$number" "$log" "$offset" "$status" "job $job $state"
    printf '    stage %d %s ended\n' "$number" "$(stage_name "$log")"
  done
}
