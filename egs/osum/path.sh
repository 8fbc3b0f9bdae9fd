# shellcheck shell=bash
# Chooses the environment that osum runs in, and makes one when there is none. Source it:  . egs/osum/path.sh
#   1. the active venv or conda environment, if osum and all it requires are installed there
#   2. .venv of this checkout
#   3. what tools/install.sh makes

osum_root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]:-$0}")/../.." && pwd -P)

osum_choose_environment() {
  if [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && python -I "$osum_root/tools/installed.py"; then return 0; fi
  [ -x "$osum_root/.venv/bin/python" ] && "$osum_root/.venv/bin/python" -I "$osum_root/tools/installed.py" &&
    export VIRTUAL_ENV="$osum_root/.venv" PATH="$osum_root/.venv/bin:$PATH"
}

if ! osum_choose_environment; then
  bash "$osum_root/tools/install.sh" >&2 || return 1
  osum_choose_environment || return 1
fi

export PYTHONPATH="$osum_root${PYTHONPATH:+:$PYTHONPATH}" # this checkout, wherever osum is installed from
export PYTHONUNBUFFERED=1                                  # logs appear as they are written
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"             # parallelism comes from processes, and sums keep their order
export TOKENIZERS_PARALLELISM="${TOKENIZERS_PARALLELISM:-false}" # its threads and forked workers do not mix
