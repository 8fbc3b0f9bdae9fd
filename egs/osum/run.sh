#!/usr/bin/env bash
# The whole recipe: corpora -> manifests -> cuts -> shards -> Whisper -> speech language model -> hypotheses -> scores.
set -euo pipefail

recipe=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=../../utils/parse_options.sh
. "$recipe/../../utils/parse_options.sh"
# shellcheck source=../../utils/stage.sh
. "$recipe/../../utils/stage.sh"

stage=0 stop_stage=6 conf=mini exp='' raw_dir='' whisper='' llm='' data_dir='' exp_dir='' nj='' nproc=''
launcher=local slurm_conf=conf/slurm.conf dry_run='' no_wait='' shard_parts=1 decode_parts=1

usage="Usage: bash egs/osum/run.sh [--name value ...]

  --stage N           first stage (default $stage)
  --stop-stage N      last stage (default $stop_stage)
  --conf NAME         folder of conf/ with one YAML per stage, or the path of such a folder (default $conf)
  --exp NAME          name of the experiment (default: that of the conf)
  --raw-dir DIR       raw corpora, for a conf whose prepare.yaml reads from one
  --whisper DIR       pretrained Whisper as a Hugging Face folder, in place of the one that the conf names
  --llm DIR           pretrained language model with its tokenizer, likewise
  --data-dir DIR      manifests, cuts and shards (default data/CONF beside this script)
  --exp-dir DIR       models, logs, scores (default exp/EXP beside this script)
  --nj N              parallel jobs of the data stages (default: the CPU cores)
  --nproc N           training processes on a machine (default: one per GPU, without a GPU 2; with slurm, what
                      its file says)
  --shard-parts N     cut stage 2 into N parts; with slurm they run side by side, as an array (default $shard_parts)
  --decode-parts N    likewise stage 5 (default $decode_parts)
  --launcher NAME     what cmd.sh runs the stages with: local, here, or slurm, which queues all of them at once, each
                      behind the one before (default $launcher)
  --slurm-conf FILE   partition, time, machines, GPUs, ... of the jobs (default $slurm_conf)
  --no-wait           leave when all is queued, rather than when all has ended; interrupted, the jobs go on as well
  --dry-run           show the commands, with slurm the jobs, and run nothing
  --help              this text

Stages: 0 prepare, 1 annotate, 2 shard, 3 train_whisper, 4 train_sulm, 5 decode, 6 score.
A stage whose output is up to date is skipped; one that was interrupted starts or resumes where it can."

parse_options "$@"
require_number stage "$stage" 0 6
require_number stop-stage "$stop_stage" "$stage" 6

num_gpus() { { nvidia-smi --list-gpus 2>/dev/null || true; } | grep -c '^GPU' || true; }
gpus=$(num_gpus)
nj=${nj:-$(nproc)}
ranks=(${nproc:+--tasks "$nproc"})
nproc=${nproc:-$((gpus > 0 ? gpus : 2))}
require_number nj "$nj" 1
require_number nproc "$nproc" 1
require_number shard-parts "$shard_parts" 1
require_number decode-parts "$decode_parts" 1
[[ $launcher =~ ^(local|slurm)$ ]] || die "option --launcher is '$launcher'; it must be local or slurm"
for option in raw-dir whisper llm; do # folders to read, of which some may be left out
  declare -n folder=${option/-/_}
  [ -z "$folder" ] || [ -d "$folder" ] || die "option --$option is '$folder', which is no folder"
  [ -z "$folder" ] || folder=$(realpath -- "$folder")
done
[ -z "$data_dir" ] || data_dir=$(realpath -m -- "$data_dir")
[ -z "$exp_dir" ] || exp_dir=$(realpath -m -- "$exp_dir")

if [[ $conf == */* ]]; then conf_dir=$(realpath -m -- "$conf"); else conf_dir=conf/$conf; fi
conf=$(basename -- "$conf")
[[ $slurm_conf == conf/slurm.conf ]] || slurm_conf=$(realpath -m -- "$slurm_conf")
cd -- "$recipe"
[ -d "$conf_dir" ] || die "no configuration $conf_dir; conf/ has: $(cd conf && echo */)"
data=${data_dir:-data/$conf}
exp=${exp_dir:-exp/${exp:-$conf}}
log=$exp/log

. ./path.sh
. ./cmd.sh

run_stage 0 "corpora -> manifests" "${cpu_cmd[@]}" "$log/prepare.log" \
  python -m osum.bin.prepare --config "$conf_dir/prepare.yaml" --out_dir "$data/manifests" \
  ${raw_dir:+--raw_dir "$raw_dir"}

run_stage 1 "manifests -> cuts with canonical labels and tasks, tokenizer" "${cpu_cmd[@]}" "$log/annotate.log" \
  python -m osum.bin.annotate --config "$conf_dir/annotate.yaml" --manifests_dir "$data/manifests" --out_dir "$data/cuts" \
  ${llm:+--tokenizer.path "$llm"}

shard=(python -m osum.bin.shard --config "$conf_dir/shard.yaml" --cuts_dir "$data/cuts" --out_dir "$data/shards"
  --num_procs "$nj")
if [ "$shard_parts" -eq 1 ]; then
  run_stage 2 "cuts -> shards with an index" "${cpu_cmd[@]}" --cpus "$nj" "$log/shard.log" "${shard[@]}"
else
  run_stage 2 "cuts -> shards, in $shard_parts parts" "${cpu_cmd[@]}" --cpus "$nj" --array "$shard_parts" \
    "$log/shard_part.%a.log" "${shard[@]}" --num_parts "$shard_parts" --part %a
  run_stage 2 "parts -> shards with an index" "${cpu_cmd[@]}" --cpus "$nj" "$log/shard.log" "${shard[@]}" \
    --num_parts "$shard_parts"
fi

if [ -f "$conf_dir/train_whisper.yaml" ]; then
  run_stage 3 "shards -> multi-task Whisper" "${train_cmd[@]}" "${ranks[@]}" "$log/train_whisper.log" \
    python -m osum.bin.train_whisper --config "$conf_dir/train_whisper.yaml" --shards_dir "$data/shards" \
    --tokenizer_dir "$data/cuts/tokenizer" --out_dir "$exp/whisper" --num_procs "$nproc" \
    ${whisper:+--tokenizer "$whisper" --model.path "$whisper"}
  encoder=(--whisper_dir "$exp/whisper")
else # such a conf takes the encoder as it comes
  encoder=(${whisper:+--encoder.path "$whisper"})
fi

run_stage 4 "shards, Whisper's encoder -> speech language model" "${train_cmd[@]}" "${ranks[@]}" "$log/train_sulm.log" \
  python -m osum.bin.train_sulm --config "$conf_dir/train_sulm.yaml" --shards_dir "$data/shards" \
  --tokenizer_dir "$data/cuts/tokenizer" "${encoder[@]}" --out_dir "$exp/sulm" --num_procs "$nproc" \
  ${llm:+--model.llm.path "$llm"}

decode=(python -m osum.bin.decode --config "$conf_dir/decode.yaml" --shards_dir "$data/shards"
  --model_dir "$exp/sulm" --out_dir "$exp/decode")
if [ "$decode_parts" -eq 1 ]; then
  run_stage 5 "test shards -> hypotheses" "${decode_cmd[@]}" "$log/decode.log" "${decode[@]}"
else
  run_stage 5 "test shards -> hypotheses, in $decode_parts parts" "${decode_cmd[@]}" --array "$decode_parts" \
    "$log/decode_part.%a.log" "${decode[@]}" --num_parts "$decode_parts" --part %a
  run_stage 5 "parts -> hypotheses" "${cpu_cmd[@]}" "$log/decode.log" "${decode[@]}" --num_parts "$decode_parts"
fi

run_stage 6 "hypotheses -> scores and report" "${cpu_cmd[@]}" "$log/score.log" \
  python -m osum.bin.score --config "$conf_dir/score.yaml" --exp_dir "$exp"

[ "$no_wait" = true ] || wait_for_stages
