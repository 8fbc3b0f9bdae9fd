#!/usr/bin/env bash
# Runs the tests, after making an environment if there is none. Arguments go to pytest.
# Usage: bash tools/test.sh [tests/data ...] [-k name] [-x]
set -euo pipefail

cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.."
# shellcheck source=../egs/osum/path.sh
. egs/osum/path.sh

# loadfile: the tests of one file run in one process, so that those of the recipe share one run of it.
exec python -m pytest --numprocesses "${PYTEST_WORKERS:-2}" --dist loadfile "$@"
