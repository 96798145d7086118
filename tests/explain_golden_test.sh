#!/usr/bin/env bash
# What `trireme explain` prints of tiny models on a few meshes, against the listings in tests/goldens/.
# usage: tests/explain_golden_test.sh TRIREME [--update]
# To make the listings anew:  tests/explain_golden_test.sh build/trireme --update
set -euo pipefail
trireme="$(realpath "$1")"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
goldens=tests/goldens
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
failed=0

# What kernels need to work in depends on the machine.
listing() { "$trireme" explain "$@" --threads 1 | grep -vE '^  (transient|total) '; }

# golden NAME OPTION...
golden() {
  local name="$1"
  shift
  {
    echo "# trireme explain $*"
    listing "$@"
  } >"$scratch/$name.txt"
  if [[ "$update" == --update ]]; then
    cp "$scratch/$name.txt" "$goldens/$name.txt"
  elif ! diff -u "$goldens/$name.txt" "$scratch/$name.txt"; then
    failed=$((failed + 1))
    echo "FAILED: $name is listed differently (- before, + now). If that is meant: tests/explain_golden_test.sh build/trireme --update"
  fi
}

update="${2-}"
mkdir -p "$goldens"
llama=(--config configs/tiny_llama.textproto)
mixtral=(--config configs/tiny_mixtral.textproto --set model.num_local_experts=4)
gpt2=(--config configs/tiny_gpt2.textproto)
one_block=(--set model.num_hidden_layers=1)
two_blocks=(--set model.num_hidden_layers=2)
golden llama_one_rank "${llama[@]}" "${one_block[@]}" --rank 0
golden llama_tp2_rank1 "${llama[@]}" "${one_block[@]}" --set mesh.tp=2 --rank 1
golden llama_tp2_sequence_parallel_rank1 "${llama[@]}" "${one_block[@]}" --set mesh.tp=2 --set parallel.sequence_parallel=true --rank 1
golden llama_pp2_dp2_rank3 "${llama[@]}" "${two_blocks[@]}" --set mesh.pp=2 --set mesh.dp=2 --set train.micro_batch=2 --rank 3
golden llama_dp2_zero3_rank1 "${llama[@]}" "${two_blocks[@]}" --set mesh.dp=2 --set train.micro_batch=2 --set parallel.zero_stage=3 --rank 1
golden llama_dp4_memory "${llama[@]}" --set mesh.dp=4 --set train.micro_batch=2 --memory
golden llama_full_recompute "${llama[@]}" "${one_block[@]}" --set parallel.recompute=full --rank 0
golden llama_cp2_all_to_all_rank1 "${llama[@]}" "${one_block[@]}" --set mesh.cp=2 --set parallel.context_form=all_to_all --rank 1
golden llama_cp2_ring_rank1 "${llama[@]}" "${one_block[@]}" --set mesh.cp=2 --rank 1
golden mixtral_dp4_ep2_rank1 "${mixtral[@]}" "${one_block[@]}" --set mesh.dp=4 --set mesh.ep=2 --set train.micro_batch=1 --rank 1
golden llama_mesh_invariant_sum_pp2_dp2_rank3 "${llama[@]}" "${two_blocks[@]}" --set mesh.pp=2 --set mesh.dp=2 --set train.micro_batch=2 --set numerics.mesh_invariant_sum=true --rank 3
golden gpt2_one_rank "${gpt2[@]}" "${one_block[@]}" --rank 0
golden gpt2_tp2_rank1 "${gpt2[@]}" "${one_block[@]}" --set mesh.tp=2 --rank 1
golden gpt2_pp2_dp2_rank3 "${gpt2[@]}" "${two_blocks[@]}" --set mesh.pp=2 --set mesh.dp=2 --set train.micro_batch=2 --rank 3
((failed == 0))
