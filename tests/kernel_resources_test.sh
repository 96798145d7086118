#!/usr/bin/env bash
# What nvcc makes of every CUDA kernel, without a card: registers, spills, stack and shared memory against
# tests/goldens/kernel_resources.txt, and the wgmma instructions of the Hopper kernels against kernel_wgmma.txt there. Kernels
# that must not spill fail if they do, whatever the golden says. Needs nvcc, and cuobjdump for the instructions.
# usage: tests/kernel_resources_test.sh [--nvcc FILE] [--build FOLDER] [--update]
# With --build nothing is compiled: the CUDA build in FOLDER kept the reports beside its objects (tests/keep_ptxas_report.sh).
# To make the goldens anew:  tests/kernel_resources_test.sh --update
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
resources=tests/goldens/kernel_resources.txt
instructions=tests/goldens/kernel_wgmma.txt
# Sources whose kernels hold their working set in registers by design: a spill there is a mistake.
never_spill='^(attention.*|grouped_linear|layer_norm|rms_norm|cross_entropy|optimizer)$'

nvcc="$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)"
update=false
build=""
while (($# > 0)); do
  case "$1" in
    --nvcc) nvcc="${2?--nvcc needs a file}" && shift ;;
    --build) build="${2?--build needs a folder}" && shift ;;
    --update) update=true ;;
    *) echo "tests/kernel_resources_test.sh: unknown option \"$1\"" >&2 && exit 64 ;;
  esac
  shift
done
[[ -x "$nvcc" ]] || { echo "tests/kernel_resources_test.sh: there is no nvcc ($nvcc)" >&2 && exit 66; }

# setting NAME: of the CUDA build, so that what is looked at here is what is built there.
setting() {
  local value
  value="$(sed -n "s/^ *set($1 \"\(.*\)\")\$/\1/p" runtime/cuda/find_cuda.cmake)"
  [[ -n "$value" ]] || { echo "runtime/cuda/find_cuda.cmake sets no $1" >&2 && return 1; }
  printf '%s\n' "$value"
}
options="$(setting TRIREME_NVCC_OPTIONS) $(setting TRIREME_NVCC_RELEASE_OPTIONS)"
architectures="$(setting TRIREME_NVCC_ARCHITECTURES)"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# compile SOURCE ARCHITECTURE OPTION...: the device's code alone, and ptxas' report beside it.
compile() {
  local out
  out="$scratch/$(basename "$1" .cu).sm_$2"
  "$nvcc" -cubin "-arch=sm_$2" "${@:3}" -I. -Xptxas -v "$1" -o "$out.cubin" >"$out.log" 2>&1 || { cat "$out.log" && return 1; }
}
export -f compile
export scratch nvcc
objects="$build/runtime/cuda/CMakeFiles/trireme_cuda_backend.dir"
if [[ -z "$build" ]]; then
  for source in runtime/cuda/*.cu; do
    for architecture in ${architectures//;/ }; do echo "$source $architecture $options"; done
  done | xargs -P "$(nproc)" -L 1 bash -c 'compile "$@"' compile
else
  for source in runtime/cuda/*.cu; do
    report="$objects/$(basename "$source").o.ptxas"
    [[ -f "$report" ]] || { echo "tests/kernel_resources_test.sh: there is no $report; build anew" >&2 && exit 66; }
    cp "$report" "$scratch/$(basename "$source" .cu).log"
  done
fi

# names: mangled names become kernels with their template's arguments; nvcc marks unnamed namespaces with a hash of the path.
names() { c++filt -p | sed -E 's/\(anonymous namespace\):://g; s/trireme:://g; s/([,<]) /\1/g; s/ ([>*&])/\1/g; s/, /,/g'; }

# The table: source, architecture, registers, spill stores, spill loads, stack, shared (bytes), kernel.
for log in "$scratch"/*.log; do
  base="$(basename "$log" .log)"
  awk -v source="${base%.sm_*}" '
    /Compiling entry function/ { split($0, quoted, "\047"); kernel = quoted[2]; architecture = quoted[4] }
    /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
    / Used [0-9]+ registers/ {
      shared = 0
      for (i = 1; i <= NF; ++i) {
        if ($i == "registers,") registers = $(i - 1)
        if ($i ~ /^smem/) shared = $(i - 2)
      }
      print source, architecture, registers, stores, loads, stack, shared, kernel
    }' "$log"
done | names | LC_ALL=C sort >"$scratch/table"
[[ -s "$scratch/table" ]] || { echo "ptxas reported no kernel at all" >&2 && exit 1; }

version="$("$nvcc" --version | sed -n 's/.*, V\([0-9.]*\)$/\1/p')"
failed=0
complain() { failed=$((failed + 1)) && echo "FAILED: $*"; }

spills="$(awk -v never="$never_spill" '$1 ~ never && $4 + $5 + $6 > 0' "$scratch/table")"
[[ -z "$spills" ]] || complain "kernels that must not spill (source, architecture, registers, stores, loads, stack, shared, kernel):
$spills"

{
  echo "# nvcc $version: source, architecture, registers, bytes of spill stores, spill loads, stack, static shared memory, kernel"
  cat "$scratch/table"
} >"$scratch/resources"

# differences GOLDEN NOW WHAT
differences() {
  diff -u "$1" "$2" || complain "$3 (- golden, + now). If that is meant: tests/kernel_resources_test.sh --update"
}

if $update; then
  cp "$scratch/resources" "$resources"
elif [[ "$(head -n 1 "$resources")" == "$(head -n 1 "$scratch/resources")" ]]; then
  differences "$resources" "$scratch/resources" "kernels use other resources"
else
  echo "nvcc $version did not make the golden ($(head -n 1 "$resources")): only the kernels and their spills are compared"
  without_registers() { grep -v '^#' "$1" | awk '{ $3 = $6 = $7 = "-"; print }' | LC_ALL=C sort; }
  without_registers "$resources" >"$scratch/golden_spills"
  without_registers "$scratch/resources" >"$scratch/now_spills"
  differences "$scratch/golden_spills" "$scratch/now_spills" "kernels spill otherwise"
fi

# wgmma is HGMMA in the disassembly. A kernel without it would be right and slow.
PATH="$PATH:$(dirname "$nvcc")"
if ! command -v cuobjdump >/dev/null || ! command -v nvdisasm >/dev/null; then
  echo "instructions not looked at: cuobjdump and nvdisasm are on neither the PATH nor beside nvcc"
else
  {
    echo "# nvcc $version: wgmma instructions, kernel"
    for source in runtime/cuda/*_sm90.cu; do
      code="$scratch/$(basename "$source" .cu).sm_90a.cubin"
      if [[ -n "$build" ]]; then code="$objects/$(basename "$source").o"; fi
      cuobjdump -sass -arch sm_90a "$code" | awk '
        /Function :/ { kernel = $NF; count[kernel] = 0 }
        / HGMMA\./ { ++count[kernel] }
        END { for (kernel in count) print count[kernel], kernel }'
    done | names | LC_ALL=C sort -k 2
  } >"$scratch/wgmma"
  [[ "$(grep -vc '^#' "$scratch/wgmma")" -gt 0 ]] || complain "found no Hopper kernel"
  none="$(awk '$1 == 0' "$scratch/wgmma")"
  [[ -z "$none" ]] || complain "Hopper kernels without wgmma: $none"
  if $update; then
    cp "$scratch/wgmma" "$instructions"
  elif [[ "$(head -n 1 "$instructions")" == "$(head -n 1 "$scratch/wgmma")" ]]; then
    differences "$instructions" "$scratch/wgmma" "Hopper kernels have other instructions"
  else
    echo "nvcc $version did not make $instructions: wgmma is there, how often is not compared"
  fi
fi

awk '{ ++kernels; spilling += $4 + $5 > 0 } END { print kernels " kernels, " spilling + 0 " of them spill" }' "$scratch/table"
((failed == 0))
