# shellcheck shell=bash disable=SC2034,SC2154 # $osum_root is path.sh's; run.sh uses what is set here
# Which launcher each kind of stage uses. A launcher is called as: LAUNCHER [OPTION...] LOG COMMAND [ARG...]
cpu_cmd=("$osum_root/utils/run.sh")   # stages 0 to 2 and 6
train_cmd=("$osum_root/utils/run.sh") # stages 3 and 4, and decoding
