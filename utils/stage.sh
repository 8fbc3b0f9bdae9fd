# shellcheck shell=bash disable=SC2154 # $stage and $stop_stage are the caller's
# Stages of a recipe: which of them run, what is shown before each, what is said when one fails.

# last_error LOG OFFSET: the line that says best why the command failed whose output begins at the offset, in bytes.
# Our own error line comes first (the earliest: later ones follow from it), then the end of a traceback (but not
# torchrun's, which only says that a child failed), then whatever was printed last.
last_error() {
  local text line
  text=$(tail -c "+$(($2 + 1))" -- "$1" | grep -vE '^#|ChildFailedError|^ *$' || true)
  line=$(grep -m 1 -E '^[0-9-]{10} [0-9:]{8} ERROR |: error: |^error: ' <<<"$text" || true)
  [ -n "$line" ] || line=$(grep -E '^[A-Za-z_.]+(Error|Exception|Interrupt|Exit)\b' <<<"$text" | tail -n 1 || true)
  [ -n "$line" ] || line=$(tail -n 1 <<<"$text")
  printf '%s' "$line"
}

# run_stage NUMBER TITLE LAUNCHER... FILE.log COMMAND...
# Runs the command if $stage <= NUMBER <= $stop_stage; the log's name is the stage's. The banner shows the command
# that can be pasted into a terminal, from any folder, to run this stage alone.
run_stage() {
  local number=$1 title=$2 launcher=() log name offset=0 status=0 started=$SECONDS
  shift 2
  if [ "$number" -lt "$stage" ] || [ "$number" -gt "$stop_stage" ]; then return 0; fi
  while [[ $1 != *.log ]]; do launcher+=("$1") && shift; done
  log=$1 && shift
  name=$(basename -- "$log" .log)

  printf '\n=== stage %d %s: %s\n' "$number" "$name" "$title"
  printf '    alone: (cd %q && . ./path.sh && %s)\n' "$PWD" "$(printf '%q ' "$@" | sed 's/ $//')"
  printf '    log:   %s\n' "$(realpath -m -- "$log")"
  if [ -f "$log" ]; then offset=$(wc -c <"$log"); fi
  "${launcher[@]}" "$log" "$@" || status=$?
  if [ "$status" -ne 0 ]; then
    printf '%s: stage %d (%s) failed with status %d: %s\n' \
      "$(basename -- "$0")" "$number" "$name" "$status" "$(last_error "$log" "$offset")" >&2
    printf '%s: the whole log is %s\n' "$(basename -- "$0")" "$(realpath -m -- "$log")" >&2
    exit "$status"
  fi
  printf '    stage %d %s ended after %d s\n' "$number" "$name" $((SECONDS - started))
}
