#!/usr/bin/env bash
# On a machine with a GPU: tests, compares, trains and times the CUDA backend, and prints one table. Runs in a bundle of
# launch/gpu_bundle.sh, or with the programs of a build.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# shellcheck source=launch/common.sh
source "$here/launch/common.sh"

usage() {
  cat <<'TEXT'
usage: launch/gpu_check.sh [--build FOLDER] [--output FOLDER] [--minutes N] [--only PART]...

  --build FOLDER   programs of this build (default: those beside this bundle, or build-cuda)
  --output FOLDER  where reports go (default runs/gpu_check); report.json holds everything
  --minutes N      end within so many minutes (default 8)
  --only PART      run this part; may be repeated (default: all of them)
Parts: words ops attention training kernels gpt2 llama pytorch_gpt2 pytorch_llama memcheck racecheck synccheck
A part that fails, or whose program is not on this machine, does not stop the others. Exit status: 0 all parts passed or
could not run here, 1 one failed, 77 there is no GPU, 69 a library of NVIDIA's is missing.
TEXT
}

all_parts="words ops attention training kernels gpt2 llama pytorch_gpt2 pytorch_llama memcheck racecheck synccheck"
build=""
output=runs/gpu_check
minutes=8
only=""
while (($# > 0)); do
  case "$1" in
    --build) build="${2?--build needs a folder}" && shift ;;
    --output) output="${2?--output needs a folder}" && shift ;;
    --minutes) minutes="${2?--minutes needs a number}" && shift ;;
    --only)
      [[ " $all_parts " == *" ${2?--only needs a part} "* ]] || {
        printf 'launch/gpu_check.sh: there is no part "%s"; parts: %s\n' "$2" "$all_parts" >&2
        exit 64
      }
      only+=" $2" && shift
      ;;
    --help | -h) usage && exit 0 ;;
    *) printf 'launch/gpu_check.sh: unknown option "%s"\n' "$1" >&2 && usage >&2 && exit 64 ;;
  esac
  shift
done
[[ "$minutes" =~ ^[1-9][0-9]*$ ]] || { echo "launch/gpu_check.sh: --minutes needs a whole number above zero" >&2 && exit 64; }

if [[ -n "$build" ]]; then
  trireme="$(realpath "$build")/trireme" cuda_tests="$(realpath "$build")/tests/gpu/cuda_tests"
elif [[ -x "$here/cuda_tests" ]]; then
  trireme="$here/trireme" cuda_tests="$here/cuda_tests"
else
  trireme="$here/build-cuda/trireme" cuda_tests="$here/build-cuda/tests/gpu/cuda_tests"
fi
for program in "$trireme" "$cuda_tests"; do
  [[ -x "$program" ]] || { echo "launch/gpu_check.sh: there is no $program (launch/gpu_bundle.sh makes a bundle)" >&2 && exit 66; }
done
mkdir -p "$output"
output="$(realpath "$output")"
rm -f "$output"/*.{json,log}
cd "$here"

# NVIDIA's libraries: where the loader looks anyway, in a toolkit, and in the wheels of Python packages.
python="$(command -v python3 || true)"
nvidia_folders() {
  printf '%s\n' /usr/local/cuda/lib64 /usr/local/cuda/lib /usr/local/cuda-*/lib64 /usr/local/nvidia/lib64
  if [[ -n "$python" ]]; then
    "$python" -c 'import sys; print("\n".join(p for p in sys.path if p))' 2>/dev/null | while IFS= read -r place; do
      compgen -G "$place/nvidia/*/lib" || true
    done
  fi
}
missing() { ldd "$trireme" 2>/dev/null | awk '/not found/ { print $1 }'; }
while IFS= read -r folder; do
  [[ -n "$(missing)" ]] || break
  [[ -d "$folder" ]] || continue
  for library in $(missing); do
    if [[ -e "$folder/$library" ]]; then export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder" && break; fi
  done
done < <(nvidia_folders)
if [[ -n "$(missing)" ]]; then
  echo "launch/gpu_check.sh: this machine has no $(missing | tr '\n' ' ')(looked in $(nvidia_folders | tr '\n' ' '));" \
    "install the CUDA toolkit and NCCL, or the wheels nvidia-cublas and nvidia-nccl-cu13" >&2
  exit 69
fi

# cuda_tests itself knows whether there is a GPU that it can use.
status=0
"$cuda_tests" --gtest_filter=none >"$output/device.log" 2>&1 || status=$?
if ((status == 77)); then
  echo "launch/gpu_check.sh: no GPU: $(tail -n 1 "$output/device.log")"
  exit 77
fi
device="$(sed -n 's/^cuda_tests: on //p' "$output/device.log")"
commit="$(head -n 1 COMMIT 2>/dev/null || git rev-parse HEAD 2>/dev/null || echo unknown)"
say "$device, commit $commit"

rows=()        # name, outcome, seconds, what it found
json_parts=()  # the same
reports=()     # parts that wrote a JSON report
failed=0
deadline=$((minutes * 60 - 5))

# part NAME LIMIT_SECONDS COMMAND...: its output in NAME.log; a report that it writes is NAME.json.
part() {
  local name="$1" limit="$2" began="$SECONDS" status=0 outcome found
  shift 2
  [[ -z "$only" || " $only " == *" $name "* ]] || return 0
  if ((deadline - SECONDS < 5)); then
    record "$name" "no time" 0 "the $minutes minutes were over"
    failed=$((failed + 1))
    return 0
  fi
  ((limit <= deadline - SECONDS)) || limit=$((deadline - SECONDS))
  say "$name"
  run_child timeout --kill-after=5 "$limit" "$@" >"$output/$name.log" 2>&1 || status=$?
  case "$status" in
    0) outcome=passed ;;
    77) outcome="not here" ;;
    124 | 137) outcome="out of time" ;;
    *) outcome="failed ($status)" ;;
  esac
  case "$outcome" in
    passed | "not here") ;;
    *) failed=$((failed + 1)) && tail -n 15 "$output/$name.log" | sed 's/^/    /' ;;
  esac
  found="$(grep -E '^\[  (PASSED|FAILED)  \] [0-9]+ tests|^ERROR SUMMARY|ERROR SUMMARY:|RACECHECK SUMMARY:|tokens a second|tokens_per_second|^skipped:' \
    "$output/$name.log" | tail -n 1 | tr -d '"' | tr -s ' =' ' ' | cut -c1-90 || true)"
  [[ ! -s "$output/$name.json" ]] || reports+=("$name")
  record "$name" "$outcome" "$((SECONDS - began))" "$found"
}

record() {
  rows+=("$(printf '  %-16s %-14s %5d s  %s' "$1" "$2" "$3" "$4")")
  json_parts+=("{\"part\": \"$1\", \"outcome\": \"$2\", \"seconds\": $3, \"found\": \"$4\"}")
}

# For a part that cannot run here: says why.
not_here() { echo "skipped: $1" && exit 77; }
export -f not_here

tests() { part "$1" "$2" "$cuda_tests" "--gtest_filter=$3" --gtest_brief=1; }

sanitizer="$(command -v compute-sanitizer || compgen -G '/usr/local/cuda*/bin/compute-sanitizer' | head -n 1 || true)"
sanitize() {
  local tool="$1" limit="$2"
  if [[ -z "$sanitizer" ]]; then
    part "$tool" 5 bash -c 'not_here "there is no compute-sanitizer"'
  else
    part "$tool" "$limit" "$sanitizer" --tool "$tool" --error-exitcode 1 "$cuda_tests" --gtest_brief=1 \
      '--gtest_filter=*Once*:*AddsToParameterGradientsOnly*'
  fi
}

# The same work for Trireme and for PyTorch.
gpt2=(--sequence 1024 --micro-batch 32)
llama=(--sequence 4096 --micro-batch 2)
train() {
  local name="$1" recipe="$2" steps="$3" sequence="$5" micro_batch="$7"
  part "$name" 90 "$trireme" bench step --config "configs/$recipe.textproto" --steps "$steps" --json "$output/$name.json" \
    --set train.device=cuda --set train.dtype=bf16 --set "train.sequence_length=$sequence" \
    --set "train.micro_batch=$micro_batch" --set "train.global_batch=$micro_batch" --set parallel.recompute=none
}
pytorch_step="$here/launch/pytorch_step.py"
[[ -e "$pytorch_step" ]] || pytorch_step="$here/tests/reference/pytorch_step.py"
pytorch() {
  local name="$1" model="$2"
  if [[ -z "$python" ]] || ! "$python" -c 'import torch' 2>/dev/null; then
    part "$name" 5 bash -c 'not_here "python3 has no torch"'
  else
    part "$name" 120 "$python" "$pytorch_step" --model "$model" --json "$output/$name.json" "${@:3}"
  fi
}

# What matters most comes first, in case that time runs out.
tests words 30 'PrimitivesTest*:MemoryTest*:HopperTest*'
tests ops 90 '*EmulatedKernel*'
tests attention 60 'AttentionCudaTest*'
tests training 60 '*EmulatedTraining*:*EmulatedGraphs*:*EmulatedChoices*:*EmulatedBenchmark*'
part kernels 90 "$trireme" bench kernels --device cuda --dtype bf16 --json "$output/kernels.json"
train gpt2 gpt2_124m 200 "${gpt2[@]}"
train llama llama_1b 100 "${llama[@]}"
pytorch pytorch_gpt2 gpt2_124m "${gpt2[@]}"
pytorch pytorch_llama llama_1b "${llama[@]}"
sanitize memcheck 60
sanitize racecheck 60
sanitize synccheck 60

# figure REPORT FIELD: a number of a report that this run wrote, else nothing.
figure() {
  [[ -s "$output/$1.json" ]] || return 0
  sed -n "s/^  \"$2\": \([-0-9.e+]*\),\{0,1\}\$/\1/p" "$output/$1.json"
}

{
  printf '{\n  "device": "%s",\n  "commit": "%s",\n  "parts": [\n' "${device//\"/}" "$commit"
  for ((i = 0; i < ${#json_parts[@]}; ++i)); do
    printf '    %s%s\n' "${json_parts[i]}" "$( ((i + 1 < ${#json_parts[@]})) && echo ,)"
  done
  printf '  ]'
  for report in "${reports[@]}"; do
    printf ',\n  "%s": ' "$report"
    sed -e '2,$s/^/  /' "$output/$report.json"
  done
  printf '\n}\n'
} >"$output/report.json"

echo
if [[ -s "$output/kernels.log" ]]; then cat "$output/kernels.log" && echo; fi
for model in gpt2 llama; do
  ours="$(figure "$model" tokens_per_second)"
  theirs="$(figure "pytorch_$model" tokens_per_second)"
  [[ -n "$ours" ]] || continue
  printf '  %-6s %9.0f tokens/s, %4.1f %% of the best product' "$model" "$ours" \
    "$(awk -v x="$(figure "$model" share_of_peak)" 'BEGIN { print 100 * x }')"
  if [[ -n "$theirs" ]]; then
    printf '; torch.compile %9.0f tokens/s: %.2f times as fast' "$theirs" "$(awk -v a="$ours" -v b="$theirs" 'BEGIN { print a / b }')"
  fi
  echo
done
echo
printf '%s\n' "${rows[@]}"
say "$((${#rows[@]} - failed)) parts passed or not here, $failed failed; everything in $output/report.json"
((failed == 0))
