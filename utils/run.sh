#!/usr/bin/env bash
# Local launcher:  utils/run.sh LOG COMMAND [ARG...]
# Runs the command here, shows its output and appends it to the log; ends with the command's exit status.
# A launcher for a cluster has the same form; cmd.sh says which one a stage uses.
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: ${0##*/} LOG COMMAND [ARG...]" >&2 && exit 2; }
log=$1 && shift
mkdir -p -- "$(dirname -- "$log")"
printf '# %s host=%s folder=%s command=%s\n' "$(date '+%F %T')" "$(hostname)" "$PWD" "${*@Q}" >>"$log"

# Progress bars are for someone who watches; stages log what has to stay.
[ -t 1 ] || export TQDM_DISABLE=1
status=0
"$@" 2>&1 | tee -i -a -- "$log" || status=$?

# A progress bar rewrites its line after a carriage return: the log keeps its last state.
sed -i 's/.*\r//' "$log"
printf '# %s status=%d wall_s=%d\n' "$(date '+%F %T')" "$status" "$SECONDS" >>"$log"
exit "$status"
