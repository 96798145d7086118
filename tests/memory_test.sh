#!/usr/bin/env bash
# The memory that a process takes is the memory that its plan said, and it does not grow.
#   tests/memory_test.sh TRIREME
set -euo pipefail
cd "$(dirname "$0")/.."
trireme=$1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1
"$trireme" prepare --input LICENSE --output "$work/data" --tokenizer byte >"$work/prepare.log" 2>&1

passed=0
failed=0
report() {  # STATUS TEXT
  if (($1 == 0)); then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  printf '%s %s\n' "$( (($1 == 0)) && echo 'ok   ' || echo 'WRONG')" "$2"
}

train() {  # RUN RECIPE [--set ...]
  local run=$1 recipe=$2
  shift 2
  "$trireme" train --config "configs/$recipe.textproto" --set "data.path=$work/data" --set data.validation_path= \
    --set "run.directory=$work/$run" --set train.device=cpu "$@" >"$work/$run.log" 2>&1 || { cat "$work/$run.log"; exit 1; }
}
peak_at_step() { sed -nE "s/.*\"step\": $2,.*\"peak_rss_bytes\": ([0-9]+).*/\1/p" "$work/$1/metrics.jsonl"; }

planned_mib() { awk '$1 == "total" { print $2 }' "$work/$1.log"; }

# What a process has beside its tensors: program and libraries, oneDNN's generated code, the token reader's batches, MPI. With CUDA
# the libraries are whatever NVIDIA made them.
train tiny tiny_llama --set train.steps=3
constant_mib=$(($(peak_at_step tiny 3) / 1048576 - $(planned_mib tiny | sed 's/[.].*//')))
most_mib=80
if [[ "$(ldd "$trireme")" == *cublasLt* ]]; then most_mib=400; fi
status=0
((constant_mib > 0 && constant_mib <= most_mib)) || status=1
report $status "beside its tensors the process has $constant_mib MiB, at most $most_mib"

# A model whose tensors outweigh the constant, in each dtype and form of recompute.
check_plan() {  # RUN [--set ...]
  local run=$1
  shift
  train "$run" tiny_llama --set model.hidden_size=256 --set model.intermediate_size=704 --set train.sequence_length=256 \
    --set model.max_position_embeddings=256 --set train.global_batch=16 --set train.steps=3 "$@"
  local planned peak status=0
  planned=$(planned_mib "$run")
  peak=$(peak_at_step "$run" 3)
  awk -v planned="$planned" -v peak="$peak" -v constant="$constant_mib" \
    'BEGIN { peak /= 1048576; exit !(peak >= 0.95 * planned && peak <= 1.05 * planned + constant) }' || status=1
  report $status "$run: planned $planned MiB, peak of the process $((peak / 1048576)) MiB, constant $constant_mib MiB"
}
check_plan fp32
check_plan bf16 --set train.dtype=bf16
check_plan full --set parallel.recompute=full
check_plan accumulated --set train.micro_batch=4

# Over 1,000 steps.
train long tiny_llama --set train.steps=1000 --set checkpoint.interval=0
early=$(peak_at_step long 100)
late=$(peak_at_step long 1000)
status=0
((late - early <= 1048576)) || status=1
report $status "peak at step 100: $early bytes, at step 1000: $late bytes"

echo "$passed passed, $failed failed"
((failed == 0))
