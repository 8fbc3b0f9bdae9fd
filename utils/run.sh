#!/usr/bin/env bash
# Local launcher: runs the command here, shows its output and appends it to the log.
# slurm.sh is the one for clusters; cmd.sh says which one a stage uses.
set -euo pipefail

utils=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=parse_options.sh
. "$utils/parse_options.sh"
# shellcheck source=launcher_options.sh
. "$utils/launcher_options.sh"

usage="Usage: utils/run.sh [--name value ...] LOG COMMAND [ARG...]

Runs the command, shows its output, appends it to LOG and ends with its status. Of the options, which are those of
slurm.sh, these two mean something here; the others are taken and left alone:

$launcher_options"

arguments=()
parse_options "$@"
[ ${#arguments[@]} -ge 2 ] || die "it needs LOG COMMAND [ARG...]; see --help"
set -- "${arguments[@]}"
[ "$dry_run" != true ] || { printf '%s\n' "${*:2}" && exit; }

# run_once LOG COMMAND...
run_once() {
  local log=$1 status=0 started=$SECONDS
  shift
  mkdir -p -- "$(dirname -- "$log")"
  printf '# %s host=%s folder=%s command=%s\n' "$(date '+%F %T')" "$(hostname)" "$PWD" "${*@Q}" >>"$log"
  "$@" 2>&1 | tee -i -a -- "$log" || status=$?

  # A progress bar rewrites its line after a carriage return: the log keeps its last state.
  sed -i 's/.*\r//' "$log"
  printf '# %s status=%d wall_s=%d\n' "$(date '+%F %T')" "$status" $((SECONDS - started)) >>"$log"
  return "$status"
}

# A job of slurm.sh that this run takes the place of.
job_file=${1//.%a/} && rm -f -- "${job_file%.log}.job"

# Progress bars are for someone who watches; stages log what has to stay.
[ -t 1 ] || export TQDM_DISABLE=1
[ -n "$array" ] || { run_once "$@"; exit; }
require_number array "$array" 1
for ((element = 1; element <= array; element++)); do
  run_once "${@//%a/$element}" || exit
done
