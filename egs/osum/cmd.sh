# shellcheck shell=bash disable=SC2034,SC2154 # $osum_root is path.sh's; $launcher, $slurm_conf and the rest are run.sh's
# Which launcher each kind of stage uses. A launcher is called as: LAUNCHER [OPTION...] LOG COMMAND [ARG...]
# The option --launcher of run.sh only chooses between these defaults: write here what your machines need.
case $launcher in
  local)
    cpu_cmd=("$osum_root/utils/run.sh")    # stages 0 to 2 and 6
    train_cmd=("$osum_root/utils/run.sh")  # stages 3 and 4
    decode_cmd=("$osum_root/utils/run.sh") # stage 5
    ;;
  slurm)
    cpu_cmd=("$osum_root/utils/slurm.sh" --conf "$slurm_conf" --kind cpu)
    train_cmd=("$osum_root/utils/slurm.sh" --conf "$slurm_conf" --kind train)
    decode_cmd=("$osum_root/utils/slurm.sh" --conf "$slurm_conf" --kind decode)
    ;;
esac
