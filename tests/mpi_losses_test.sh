#!/usr/bin/env bash
# Trains a tiny model over real mpirun on several meshes and compares 20 losses with those of one process; then resumes a run on other
# meshes than it was saved on.
#   tests/mpi_losses_test.sh TRIREME [--all | --few]      --all: every (dp, tp, pp) of up to eight ranks, both models; 16 ranks
#                                                         --few: most kinds of messages once, for slow builds
set -euo pipefail
cd "$(dirname "$0")/.."
trireme=$1
extent=${2:-}
# fp32 sums in another order differ by 1e-7 a loss at the settings of the tiny recipes; a wrong gradient by far more.
tolerance=3e-6

common=(--set model.num_hidden_layers=8 --set train.steps=20)
source tests/mpi_runs.sh

losses() { sed -E 's/.*"step": ([0-9]+),.*"loss": ([^,]+),.*/\1 \2/' "$work/$1/metrics.jsonl"; }

# same_losses RUN REFERENCE: 20 steps each, within the tolerance.
same_losses() {
  paste <(losses "$1") <(losses "$2") | awk -v tolerance="$tolerance" '
    { d = ($2 - $4) / $4; if (d < 0) d = -d; if (d > worst) worst = d; if ($1 != $3 || d > tolerance) wrong = 1 }
    END { printf "      largest relative difference %.1e over %d steps\n", worst, NR; exit wrong || NR != 20 }'
}

mesh_case() {  # RECIPE SETTINGS DP TP PP [--set ...]
  local recipe=$1 dp=$2 tp=$3 pp=$4
  shift 4
  # A directory of its own: a run that is there is resumed, not repeated.
  run="$recipe-$dp-$tp-$pp-$passed-$failed"
  local cp=1
  [[ "$*" =~ mesh\.cp=([0-9]+) ]] && cp=${BASH_REMATCH[1]}
  train "$run" "$recipe" $((dp * cp * tp * pp)) --set "mesh.dp=$dp" --set "mesh.tp=$tp" --set "mesh.pp=$pp" \
    --set train.micro_batch=1 "$@" && same_losses "$run" "$recipe-reference"
}

llama=(--set model.num_key_value_heads=8)
gpt2=(--set model.num_attention_heads=8)
train tiny_llama-reference tiny_llama 1 "${llama[@]}"
train tiny_gpt2-reference tiny_gpt2 1 "${gpt2[@]}"
# In double: in fp32 a token between two experts may choose the other one on another mesh, which a loss shows.
all_to_all=(--set parallel.context_form=all_to_all)
mixtral=(--set train.dtype=fp64 --set model.num_local_experts=4)
train tiny_mixtral-reference tiny_mixtral 1 "${mixtral[@]}"

check "gpt2 dp=2 cp=2 tp=2, all to all, ZeRO 3" mesh_case tiny_gpt2 2 2 1 "${gpt2[@]}" "${all_to_all[@]}" --set mesh.cp=2 \
  --set parallel.zero_stage=3
check "gpt2 dp=2 cp=2 pp=2, ring, zb-h1" mesh_case tiny_gpt2 2 1 2 "${gpt2[@]}" --set mesh.cp=2 --set pipeline.schedule=zb-h1
check "mixtral dp=4 ep=2 pp=2, double" mesh_case tiny_mixtral 4 1 2 "${mixtral[@]}" --set mesh.ep=2
experts=$run

# One run, saved on one mesh, with sequence parallelism, and resumed on two others.
moving_run() {
  local run=moving
  train $run tiny_llama 4 "${llama[@]}" --set mesh.tp=2 --set mesh.dp=2 --set train.steps=7 --set train.micro_batch=1 \
    --set parallel.sequence_parallel=true &&
    train $run tiny_llama 6 "${llama[@]}" --set mesh.pp=3 --set mesh.dp=2 --set train.steps=13 --set train.micro_batch=2 \
      --set parallel.zero_stage=3 --set pipeline.schedule=zb-v &&
    grep -q "resumed at step 7" "$work/$run.log" &&
    train $run tiny_llama 1 "${llama[@]}" --resume required &&
    same_losses $run tiny_llama-reference
}
check "a run that moves from dp 2 x tp 2 to dp 2 x pp 3 with ZeRO 3 and zb-v to one rank" moving_run

# Of runs that ended on a mesh: the same tensors by name, type and shape, and the same text.
same_checkpoint() {  # RUN REFERENCE
  local run
  for run in "$1" "$2"; do
    "$trireme" inspect "$work/$run" | grep -E ' (model|lm_head)[.]' | sed 's/  digest .*//' | sort >"$work/$run.tensors" &&
      "$trireme" generate --checkpoint "$work/$run" --prompt "Licen" --tokens 40 --temperature 1 >"$work/$run.text" || return 1
  done
  cmp "$work/$1.tensors" "$work/$2.tensors" && cmp "$work/$1.text" "$work/$2.text" && [[ -s "$work/$1.tensors" ]]
}
check "a checkpoint of ep 2 is one rank's" same_checkpoint "$experts" tiny_mixtral-reference

if [[ "$extent" == --few ]]; then
  count_checks
  exit
fi

if [[ "$extent" == --all ]]; then
  for dp in 1 2 4 8; do
    for tp in 1 2 4 8; do
      for pp in 1 2 4 8; do
        ((dp * tp * pp > 8)) && continue
        check "llama dp=$dp tp=$tp pp=$pp" mesh_case tiny_llama $dp $tp $pp "${llama[@]}"
        check "gpt2 dp=$dp tp=$tp pp=$pp, gpipe, full recompute" mesh_case tiny_gpt2 $dp $tp $pp "${gpt2[@]}" \
          --set pipeline.schedule=gpipe --set parallel.recompute=full --set parallel.zero_stage=0
        ((dp > 1)) && check "gpt2 dp=$dp tp=$tp pp=$pp, ZeRO 3" mesh_case tiny_gpt2 $dp $tp $pp "${gpt2[@]}" --set parallel.zero_stage=3
        ((pp > 1 && pp < 8)) && check "gpt2 dp=$dp tp=$tp pp=$pp, interleaved" mesh_case tiny_gpt2 $dp $tp $pp "${gpt2[@]}" \
          --set pipeline.schedule=interleaved --set pipeline.virtual_stages=2
        ((pp > 1 && pp < 8)) && check "gpt2 dp=$dp tp=$tp pp=$pp, zb-v" mesh_case tiny_gpt2 $dp $tp $pp "${gpt2[@]}" --set pipeline.schedule=zb-v
        ((tp > 1)) || continue
        check "llama dp=$dp tp=$tp pp=$pp, sequence parallel" mesh_case tiny_llama $dp $tp $pp "${llama[@]}" \
          --set parallel.sequence_parallel=true
      done
    done
  done
  # Sixteen ranks.
  check "llama dp=2 cp=2 tp=2 pp=2, ring, ZeRO 3" mesh_case tiny_llama 2 2 2 "${llama[@]}" --set mesh.cp=2 --set parallel.zero_stage=3
  check "gpt2 dp=2 cp=2 tp=2 pp=2, all to all, sequence parallel" mesh_case tiny_gpt2 2 2 2 "${gpt2[@]}" "${all_to_all[@]}" \
    --set mesh.cp=2 --set parallel.sequence_parallel=true
  check "gpt2 dp=4 tp=2 pp=2, zb-v, ZeRO 2" mesh_case tiny_gpt2 4 2 2 "${gpt2[@]}" --set pipeline.schedule=zb-v --set parallel.zero_stage=2
  check "llama dp=2 tp=2 pp=4, interleaved" mesh_case tiny_llama 2 2 4 "${llama[@]}" --set pipeline.schedule=interleaved --set pipeline.virtual_stages=2
  check "mixtral dp=4 ep=4 tp=2 pp=2, double" mesh_case tiny_mixtral 4 2 2 "${mixtral[@]}" --set mesh.ep=4
else
  check "llama dp=4" mesh_case tiny_llama 4 1 1 "${llama[@]}"
  check "llama tp=4" mesh_case tiny_llama 1 4 1 "${llama[@]}"
  check "llama pp=4" mesh_case tiny_llama 1 1 4 "${llama[@]}"
  check "gpt2 dp=2 tp=2 pp=2" mesh_case tiny_gpt2 2 2 2 "${gpt2[@]}"
  check "gpt2 dp=2 pp=2, gpipe, full recompute" mesh_case tiny_gpt2 2 1 2 "${gpt2[@]}" \
    --set pipeline.schedule=gpipe --set parallel.recompute=full
  check "gpt2 dp=2 tp=2, ZeRO 0, selective recompute" mesh_case tiny_gpt2 2 2 1 "${gpt2[@]}" \
    --set parallel.zero_stage=0 --set parallel.recompute=selective
  check "llama dp=4, ZeRO 2" mesh_case tiny_llama 4 1 1 "${llama[@]}" --set parallel.zero_stage=2
  check "gpt2 dp=2 pp=3, interleaved" mesh_case tiny_gpt2 2 1 3 "${gpt2[@]}" --set pipeline.schedule=interleaved --set pipeline.virtual_stages=2
  check "llama tp=2 pp=2, zb-h1" mesh_case tiny_llama 1 2 2 "${llama[@]}" --set pipeline.schedule=zb-h1
  check "gpt2 dp=2 pp=4, zb-v" mesh_case tiny_gpt2 2 1 4 "${gpt2[@]}" --set pipeline.schedule=zb-v
  check "llama cp=4, all to all" mesh_case tiny_llama 1 1 1 "${llama[@]}" "${all_to_all[@]}" --set mesh.cp=4
  check "gpt2 dp=2 tp=2 pp=2, ZeRO 3" mesh_case tiny_gpt2 2 2 2 "${gpt2[@]}" --set parallel.zero_stage=3
  check "llama cp=4, ring" mesh_case tiny_llama 1 1 1 "${llama[@]}" --set mesh.cp=4
  check "gpt2 tp=2 pp=2, sequence parallel" mesh_case tiny_gpt2 1 2 2 "${gpt2[@]}" --set parallel.sequence_parallel=true
fi

check "mixtral dp=2 tp=2 pp=2, double" mesh_case tiny_mixtral 2 2 2 "${mixtral[@]}"
check "mixtral tp=4, sequence parallel, double" mesh_case tiny_mixtral 1 4 1 "${mixtral[@]}" --set parallel.sequence_parallel=true
check "mixtral cp=2 tp=2, all to all, double" mesh_case tiny_mixtral 1 2 1 "${mixtral[@]}" "${all_to_all[@]}" --set mesh.cp=2
check "mixtral cp=2 tp=2, ring, sequence parallel, double" mesh_case tiny_mixtral 1 2 1 "${mixtral[@]}" --set mesh.cp=2 --set parallel.sequence_parallel=true
check "mixtral dp=4, full recompute, double" mesh_case tiny_mixtral 4 1 1 "${mixtral[@]}" --set parallel.recompute=full

# Written where four ranks of tp share two key heads.
moving_key_heads() {
  local run=moving_key_heads
  train $run-reference tiny_llama 1 --set model.num_key_value_heads=2 &&
    train $run tiny_llama 4 --set model.num_key_value_heads=2 --set mesh.tp=4 --set train.steps=7 --set train.micro_batch=2 \
      --set parallel.sequence_parallel=true &&
    train $run tiny_llama 4 --set model.num_key_value_heads=2 --set mesh.tp=2 --set mesh.dp=2 --set train.steps=13 --set train.micro_batch=2 &&
    train $run tiny_llama 8 --set model.num_key_value_heads=2 --set mesh.tp=8 --resume required &&
    same_losses $run $run-reference
}
check "a run that moves from four ranks that share two key heads to tp 2 x dp 2 to tp 8" moving_key_heads

# Written head by head, query, key and value in turns.
moving_turns() {
  local run=moving_turns
  train $run-reference tiny_bloom 1 &&
    train $run tiny_bloom 6 --set mesh.tp=3 --set mesh.dp=2 --set train.steps=7 --set train.micro_batch=1 &&
    train $run tiny_bloom 4 --set mesh.pp=2 --set mesh.dp=2 --set train.steps=13 --set train.micro_batch=2 \
      --set parallel.zero_stage=3 &&
    grep -q "resumed at step 7" "$work/$run.log" &&
    train $run tiny_bloom 1 --resume required &&
    same_losses $run $run-reference
}
check "bloom moves from tp 3 x dp 2 to dp 2 x pp 2 with ZeRO 3 to one rank" moving_turns

# Its experts dealt out anew each time.
moving_experts() {
  local run=moving_experts
  train $run tiny_mixtral 4 "${mixtral[@]}" --set mesh.ep=4 --set train.steps=7 --set train.micro_batch=1 &&
    train $run tiny_mixtral 4 "${mixtral[@]}" --set mesh.ep=2 --set mesh.tp=2 --set train.steps=13 --set train.micro_batch=2 &&
    grep -q "resumed at step 7" "$work/$run.log" &&
    train $run tiny_mixtral 1 "${mixtral[@]}" --resume required &&
    same_losses $run tiny_mixtral-reference
}
check "a run that moves from ep 4 to ep 2 x tp 2 to one rank" moving_experts

# Experts that take no more than their even share: what is dropped is the same, and is logged.
drops() { grep -oE '"dropped_(choices|share)": [^,]*' "$work/$1/metrics.jsonl"; }
limited_experts() {
  local settings=("${mixtral[@]}" --set train.steps=5 --set model.expert_capacity_factor=1)
  train limited-reference tiny_mixtral 1 "${settings[@]}" &&
    train limited tiny_mixtral 8 "${settings[@]}" --set mesh.dp=2 --set mesh.cp=2 --set mesh.tp=2 --set mesh.ep=4 --set train.micro_batch=1 &&
    cmp <(drops limited) <(drops limited-reference) && (($(drops limited | wc -l) == 10)) &&
    grep -qE 'loss [0-9.]+  dropped [0-9.]+%  norm' "$work/limited.log"
}
check "mixtral dp=2 cp=2 tp=2 ep=4, ring, drops what one rank drops" limited_experts

shared_key_heads() {
  train shared_key_heads tiny_llama 4 --set model.num_key_value_heads=2 --set mesh.tp=4 && same_checkpoint shared_key_heads moving_key_heads-reference
}
check "a checkpoint of four ranks that share two key heads is one rank's" shared_key_heads

# The same mesh twice: the same bits.
same_bits() {
  train again tiny_llama 4 "${llama[@]}" --set mesh.tp=2 --set mesh.dp=2 --set train.micro_batch=1 &&
    train again2 tiny_llama 4 "${llama[@]}" --set mesh.tp=2 --set mesh.dp=2 --set train.micro_batch=1 &&
    cmp <(grep -o '"loss_hex": "[^"]*"' "$work/again/metrics.jsonl") <(grep -o '"loss_hex": "[^"]*"' "$work/again2/metrics.jsonl")
}
check "two runs on one mesh have the same bits" same_bits

count_checks
