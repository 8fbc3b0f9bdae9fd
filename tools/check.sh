#!/usr/bin/env bash
# What a machine can hold of the style: lint, docstrings, types, shell, import layers. Ends with 1 if a gate fails.
# Usage: bash tools/check.sh        (in the environment of egs/osum/path.sh)
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=../egs/osum/path.sh
. egs/osum/path.sh

failed=()
gate() {
  local name=$1 && shift
  echo "check.sh: $name"
  "$@" || failed+=("$name")
}

mapfile -t scripts < <(git ls-files -co --exclude-standard -- '*.sh' .ci/run)
gate "ruff check" ruff check .
gate "ruff format" ruff format --check .
gate "shellcheck" shellcheck -- "${scripts[@]}"
gate "import layers" lint-imports --no-cache
echo "check.sh: long modules and functions (to think about, no gate)"
python tools/report_sizes.py osum local tools

[ ${#failed[@]} -eq 0 ] || { printf 'check.sh: failed: %s\n' "${failed[@]}" >&2 && exit 1; }
