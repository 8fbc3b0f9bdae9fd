#!/usr/bin/env bash
# Installs what tests/slurm needs to start a Slurm of its own, where that is possible without asking anyone.
# Usage: bash tools/install_slurm.sh
# Debian and Ubuntu, as root. Elsewhere it says what is missing and ends well: those tests then skip, with the reason.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
missing=()
for program in munged slurmctld slurmd sbatch srun; do
  command -v -- "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -gt 0 ] || exit 0
packages=(slurmctld slurmd slurm-client munge)

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "install_slurm.sh: no ${missing[*]}; the tests of Slurm will skip. As root on Debian: apt-get install ${packages[*]}"
  exit 0
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f -- "$log"' EXIT
if { apt-get update && apt-get install --yes --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
  echo "install_slurm.sh: installed ${packages[*]}"
else
  tail -n 5 -- "$log"
  echo "install_slurm.sh: apt-get failed (see above); the tests of Slurm will skip"
fi
