#!/usr/bin/env bash
# Slurm launcher: writes the command as a job that anyone can read and submit again, and queues it.
# run.sh is the one without a cluster; cmd.sh says which one a stage uses.
set -euo pipefail

utils=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=parse_options.sh
. "$utils/parse_options.sh"
# shellcheck source=launcher_options.sh
. "$utils/launcher_options.sh"

usage="Usage: utils/slurm.sh [--name value ...] LOG COMMAND [ARG...]

Writes the job as LOG's neighbour .sbatch, queues it, notes its number in the neighbour .job and returns at once. The
output goes to LOG. Every process of the job runs the command, with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT in its environment; ./path.sh is sourced first if there is one. A command that ends with status 85 has
saved and is queued again, and so is every command that was running when the job got SIGUSR1.

$launcher_options"

# read_conf FILE SECTION: sets the options of a section that have no value yet.
read_conf() {
  local line section='' number=0 known name value
  known=$(sed -nE '/^  --nodes/,/^  --retries/s/^  --([a-z-]+) .*/\1/p' <<<"$usage")
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    read -r line <<<"${line%%#*}" || true # without the blanks around it
    case $line in
      '') ;;
      \[*\]) section=${line:1:-1} ;;
      *=*)
        read -r name <<<"${line%%=*}" && read -r value <<<"${line#*=}" || true
        grep -qxF -e "${name//_/-}" <<<"$known" ||
          die "$1:$number: unknown option '$name'; it has: ${known//$'\n'/ }"
        name=${name//-/_}
        [ "$section" != "$2" ] || [ -n "${!name}" ] || printf -v "$name" '%s' "$value"
        ;;
      *) die "$1:$number: '$line' is neither [section] nor name = value" ;;
    esac
  done <"$1"
}

arguments=()
parse_options "$@"
[ ${#arguments[@]} -ge 2 ] || die "it needs LOG COMMAND [ARG...]; see --help"
log=$(realpath -m -- "${arguments[0]}")
[[ $log == *.log ]] || die "LOG is '$log'; its name must end in .log"
[[ ! $log$PWD =~ [\"\\] ]] || die "Slurm takes no quotation mark or backslash in a path: $log in $PWD"
if [ -n "$conf" ]; then
  [ -r "$conf" ] || die "option --conf is '$conf', which can't be read"
  read_conf "$conf" "$kind"
  read_conf "$conf" all
fi
nodes=${nodes:-1} tasks=${tasks:-1} max_requeues=${max_requeues:-100} retries=${retries:-0}
for name in nodes tasks gpus cpus signal-s max-requeues retries array; do
  value=${name//-/_}
  [ -z "${!value}" ] || require_number "$name" "${!value}" "$([[ $name =~ gpus|max|retries ]] && echo 0 || echo 1)"
done
stem=${log%.log}
sbatch_file=${stem//.%a/}.sbatch job_file=${stem//.%a/}.job

# directives: the options of sbatch, one a line. Slurm takes values in double quotes, and expands % in the log.
directives() {
  local word words
  printf '%s\n' "--job-name=\"$(basename -- "${stem//.%a/}")\"" "--chdir=\"$PWD\""
  printf '%s\n' "--output=\"$(sed 's/%/%%/g; s/%%a/%a/g' <<<"$log")\"" --open-mode=append --requeue
  printf '%s\n' "--nodes=$nodes" "--ntasks-per-node=$tasks"
  [ "${gpus:-0}" = 0 ] || printf '%s\n' "--gpus-per-node=$gpus"
  printf '%s' ${cpus:+"--cpus-per-task=$cpus"$'\n'} ${mem:+"--mem=$mem"$'\n'} ${time:+"--time=$time"$'\n'} \
    ${partition:+"--partition=$partition"$'\n'} ${account:+"--account=$account"$'\n'} \
    ${array:+"--array=1-$array"$'\n'} ${signal_s:+"--signal=B:USR1@$signal_s"$'\n'}
  read -ra words <<<"$extra"
  for word in "${words[@]}"; do printf '%s\n' "$word"; done
}

# quoted_command WORD...: the command over several lines, a new one for each option.
quoted_command() {
  local word line=''
  for word in "$@"; do
    word=$(printf '%q' "$word")
    [[ $word != --* ]] || line+=$' \\\n '
    # shellcheck disable=SC2016 # the job expands it
    line+=" ${word//%a/'"$SLURM_ARRAY_TASK_ID"'}"
  done
  printf '%s\n' "${line# }"
}

render() {
  printf '#!/usr/bin/env bash\n# Submit this job again with: sbatch %q\n' "$sbatch_file"
  directives | sed 's/^/#SBATCH /'
  printf '\n. %q\n' "$utils/slurm_job.sh"
  [ ! -f path.sh ] || printf '. ./path.sh\n'
  printf 'max_requeues=%d retries=%d\nrun_job %s\n' "$max_requeues" "$retries" "$(quoted_command "${arguments[@]:1}")"
}

submit=(sbatch --parsable --kill-on-invalid-dep=yes ${after:+"--dependency=afterok:$after"} "$sbatch_file")
if [ "$dry_run" = true ]; then
  render | sed 's/^/    | /'
  printf '    submit: %s\n' "$(printf '%q ' "${submit[@]}")"
  exit
fi

command -v sbatch >/dev/null || die "there is no sbatch here; run this on a login node of a Slurm cluster"
if [ -f "$job_file" ]; then
  queued=$(<"$job_file")
  if state=$(squeue --me --noheader --jobs="$queued" --format=%T 2>/dev/null) && [ -n "$state" ]; then
    die "job $queued of $log is still ${state%%$'\n'*}; wait until it has ended, or: scancel $queued"
  fi
fi
mkdir -p -- "$(dirname -- "$log")"
render >"$sbatch_file"
chmod +x "$sbatch_file"
job=$("${submit[@]}") || die "sbatch refused $sbatch_file (its message is above)"
printf '%s\n' "${job%%;*}" >"$job_file"
