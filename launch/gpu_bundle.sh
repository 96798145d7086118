#!/usr/bin/env bash
# Packs what a machine with a GPU needs to check and time this commit, for machines that have none of our packages.
# shellcheck disable=SC2016 # the loader's own $ORIGIN stands in single quotes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
source launch/common.sh

usage() {
  cat <<'TEXT'
usage: launch/gpu_bundle.sh [--build FOLDER] [--output FILE]

  --build FOLDER  pack the programs of this build with CUDA (default: build-cuda, which is built first; needs nvcc, no GPU)
  --output FILE   the archive (default build-cuda/trireme_gpu.tar.xz)
The archive holds one folder, trireme_gpu, with the programs, the shared libraries that they need, the recipes and
launch/gpu_check.sh, and is at most 64 MiB. The C library and NVIDIA's libraries are not in it: they are the target's own.
There:  tar -xf trireme_gpu.tar.xz && trireme_gpu/launch/gpu_check.sh
TEXT
}

max_bytes=$((64 << 20))
build=""
output="build-cuda/trireme_gpu.tar.xz"
while (($# > 0)); do
  case "$1" in
    --build) build="${2?--build needs a folder}" && shift ;;
    --output) output="${2?--output needs a file}" && shift ;;
    --help | -h) usage && exit 0 ;;
    *) printf 'launch/gpu_bundle.sh: unknown option "%s"\n' "$1" >&2 && usage >&2 && exit 64 ;;
  esac
  shift
done

if [[ -z "$build" ]]; then
  build="build-cuda"
  say "Building trireme and cuda_tests into $build"
  run_child cmake --preset release -B "$build" --log-level=WARNING -DTRIREME_CUDA=ON -DCMAKE_UNITY_BUILD=ON ||
    fail "could not configure with CUDA: is nvcc here?"
  run_child cmake --build "$build" --parallel "$(nproc)" --target trireme cuda_tests || fail "could not build"
fi

scratch="$(mktemp -d)"
trap 'end_child; rm -rf "$scratch"' EXIT
bundle="$scratch/trireme_gpu"
mkdir -p "$bundle/lib" "$bundle/launch"

# What every Linux has, in a version that fits its kernel and its other libraries; and what comes with the driver or is large.
of_the_system='^(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util))\.so'
of_nvidia='^lib(cuda|cudart|cublas|cublasLt|nccl|nvrtc|nvJitLink)\.so'

# look_beside LIBRARY: one that brings a RUNPATH of its own looks there for what it needs, and no longer where its program does.
# The path becomes this folder, at the length that it had; what cannot be changed so is found out below.
look_beside() {
  local library="$1" path here='$ORIGIN'
  path="$(readelf -d "$library" | sed -n 's/.*Library runpath: \[\(.*\)\]$/\1/p')"
  [[ -n "$path" ]] || return 0
  while ((${#here} + 2 <= ${#path})); do here+='/.'; done
  ((${#here} == ${#path})) || here+='/'
  LC_ALL=C sed -i "0,\\|${path//./\\.}|s||$here|" "$library"
}

# pack PROGRAM: without symbols for a debugger, and its libraries, whoever needs them.
pack() {
  local program="$1" name path
  [[ -x "$program" ]] || fail "there is no $program; build it, or leave --build out"
  strip --strip-debug -o "$bundle/$(basename "$program")" "$program"
  while read -r name _ path _; do
    name="$(basename "$name")"
    [[ ! "$name" =~ $of_the_system && ! "$name" =~ $of_nvidia && "$name" != linux-vdso* ]] || continue
    [[ "$path" == /* ]] || fail "$program needs $name, which is not on this machine"
    [[ -e "$bundle/lib/$name" ]] || { cp -L "$path" "$bundle/lib/$name" && look_beside "$bundle/lib/$name"; }
  done < <(ldd "$program")
}

pack "$build/trireme"
pack "$build/tests/gpu/cuda_tests"
for program in trireme cuda_tests; do
  readelf -d "$bundle/$program" | grep -qF '$ORIGIN/lib' ||
    fail "$program would not find libraries beside it: it was built without CUDA, or by another CMakeLists.txt"
done
astray="$(env -u LD_LIBRARY_PATH ldd "$bundle"/{trireme,cuda_tests} | awk '$3 ~ /^\// { print $1, $3 }' | sort -u |
  while read -r name path; do
    [[ "$name" =~ $of_the_system || "$name" =~ $of_nvidia || "$path" == "$bundle"/* ]] || echo "$name ($path)"
  done)"
[[ -z "$astray" ]] || fail "these would come from outside of the bundle: $astray"
cp -r configs "$bundle"
rm -f "$bundle"/configs/*.{cc,h,md} "$bundle/configs/CMakeLists.txt"
cp launch/gpu_check.sh launch/common.sh tests/reference/pytorch_step.py "$bundle/launch"
{
  git rev-parse HEAD 2>/dev/null || echo unknown
  git status --porcelain --untracked-files=no 2>/dev/null | sed 's/^/changed: /'
} >"$bundle/COMMIT"

mkdir -p "$(dirname "$output")"
tar -C "$scratch" -c trireme_gpu | xz -T0 >"$output"
bytes="$(stat -c %s "$output")"
((bytes <= max_bytes)) || fail "$output has $bytes bytes, more than $max_bytes"
say "$output: $((bytes >> 10)) KiB, $(find "$bundle/lib" -type f | wc -l) libraries, commit $(head -n 1 "$bundle/COMMIT")"
