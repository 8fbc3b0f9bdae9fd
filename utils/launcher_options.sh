# shellcheck shell=bash disable=SC2034 # the launchers use what is set here
# Options that every launcher takes, so that one can stand for the other; run.sh has no use for most of them.

conf='' kind=all nodes='' tasks='' gpus='' cpus='' mem='' time='' partition='' account='' extra='' signal_s=''
max_requeues='' retries='' array='' after='' dry_run=''

launcher_options="  --array N           run the command N times; in LOG and in the command, %a becomes 1 to N
  --dry-run           show what would be done
  --after JOB         start when this job has ended well
  --conf FILE         where the options below come from if they are not given: name = value, under [all] or [KIND]
  --kind KIND         section of that file
  --nodes N           machines
  --tasks N           processes on each machine, each with its rank in the environment
  --gpus N            GPUs of each machine
  --cpus N            CPU cores of each process
  --mem SIZE          memory of each machine, such as 64G
  --time LIMIT        wall time, such as 2-00:00:00
  --partition NAME    partition of the cluster
  --account NAME      account that pays
  --extra OPTIONS     more options of sbatch, separated by spaces
  --signal-s N        let the command save N seconds before the time limit, and queue it again to go on
  --max-requeues N    how often it may be queued again
  --retries N         queue it again when a process stalled or was killed, unless that was its Nth new start
  --help              this text"
