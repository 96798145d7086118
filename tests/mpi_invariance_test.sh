#!/usr/bin/env bash
# With numerics.mesh_invariant_sum, real ranks lose the same bits on every mesh: trains a tiny model over mpirun and compares the
# loss_hex and the gradient norm of every step with those of one process.
#   tests/mpi_invariance_test.sh TRIREME [--all]      --all: 100 steps, dp 1, 2, 4, 8 x pp 1, 2, 4 x ZeRO 0 to 3, and more
set -euo pipefail
cd "$(dirname "$0")/.."
trireme=$1
all=${2:-}
steps=8
[[ "$all" == --all ]] && steps=100

common=(--set "train.steps=$steps" --set numerics.mesh_invariant_sum=true --set train.micro_batch=1)
source tests/mpi_runs.sh

# The bits of each step's loss, and its gradient norm.
bits() { sed -E 's/.*"step": ([0-9]+),.*"loss_hex": "([^"]+)".*"grad_norm": ([^,]+),.*/\1 \2 \3/' "$work/$1/metrics.jsonl"; }

same_bits() {  # RUN REFERENCE
  if (($(bits "$1" | wc -l) != steps)); then
    echo "$1 has not logged $steps steps"
    return 1
  fi
  if ! diff <(bits "$1") <(bits "$2") >"$work/diff"; then
    head -4 "$work/diff"
    return 1
  fi
}

runs=0
mesh_case() {  # RECIPE DP PP [--set ...]
  local recipe=$1 dp=$2 pp=$3
  shift 3
  local run="$recipe-$((runs += 1))"
  train "$run" "$recipe" $((dp * pp)) --set "mesh.dp=$dp" --set "mesh.pp=$pp" "$@" && same_bits "$run" "$recipe-reference"
}

gpt2=(--set train.dtype=bf16 --set model.dropout=0.1)
train tiny_llama-reference tiny_llama 1
train tiny_gpt2-reference tiny_gpt2 1 "${gpt2[@]}"

if [[ "$all" == --all ]]; then
  train tiny_mixtral-reference tiny_mixtral 1
  for dp in 1 2 4 8; do
    for pp in 1 2 4; do
      for zero in 0 1 2 3; do
        check "llama dp=$dp pp=$pp, ZeRO $zero" mesh_case tiny_llama $dp $pp --set parallel.zero_stage=$zero
      done
    done
  done
  for schedule in gpipe zb-h1 zb-v; do
    check "gpt2 dp=2 pp=2, $schedule, bf16" mesh_case tiny_gpt2 2 2 "${gpt2[@]}" --set pipeline.schedule=$schedule
  done
  for recompute in selective full; do
    check "gpt2 dp=4, $recompute recompute, bf16" mesh_case tiny_gpt2 4 1 "${gpt2[@]}" --set parallel.recompute=$recompute
  done
  check "gpt2 dp=2 pp=2, interleaved, ZeRO 3, bf16" mesh_case tiny_gpt2 2 2 "${gpt2[@]}" --set parallel.zero_stage=3 \
    --set pipeline.schedule=interleaved --set pipeline.virtual_stages=2
  check "mixtral dp=4 pp=2, ZeRO 3" mesh_case tiny_mixtral 4 2 --set parallel.zero_stage=3
else
  check "llama dp=4, ZeRO 3" mesh_case tiny_llama 4 1 --set parallel.zero_stage=3
  check "llama dp=8" mesh_case tiny_llama 8 1
fi
check "gpt2 dp=2 pp=2, ZeRO 2, bf16" mesh_case tiny_gpt2 2 2 "${gpt2[@]}" --set parallel.zero_stage=2

# Saved on one mesh, resumed on others: nothing but the parameters, the moments and the counts is needed.
moving_run() {
  train moving tiny_llama 4 --set mesh.dp=2 --set mesh.pp=2 --set parallel.zero_stage=3 --set train.steps=$((steps / 4)) &&
    train moving tiny_llama 4 --set mesh.pp=4 --set train.steps=$((steps / 2)) --resume required &&
    train moving tiny_llama 1 --resume required &&
    same_bits moving tiny_llama-reference
}
check "a run that moves from dp 2 x pp 2 with ZeRO 3 to pp 4 to one rank" moving_run

# Without the field the bits of meshes differ: what this test compares can fail.
train plain tiny_llama 4 --set mesh.dp=4 --set numerics.mesh_invariant_sum=false
plain_differs() { ! same_bits plain tiny_llama-reference >/dev/null; }
check "without the field dp=4 has other bits" plain_differs

count_checks
