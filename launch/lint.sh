#!/usr/bin/env bash
# Runs clang-tidy on the sources, many of one library in one run: most of its time goes into the headers of others, which the
# sources of a library share. What was found clean is remembered by content.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: launch/lint.sh

Checks every source that CMake knows with clang-tidy and .clang-tidy's rules; configures build-lint/ for that, in unity
form, and compiles nothing but the protocol buffers. A second run checks only libraries that changed, unless a header did.
TEXT
}

if [[ "${1-}" == --help || "${1-}" == -h ]]; then
  usage
  exit 0
elif (($# > 0)); then
  printf 'launch/lint.sh: unknown argument "%s"\n' "$1" >&2
  usage >&2
  exit 64
fi

build="$PWD/build-lint"
cmake --preset lint --log-level=WARNING >/dev/null
cmake --build "$build" --target generated_code >/dev/null
cache="$build/lint_cache"
mkdir -p "$cache"

# One line a unit: the file that is compiled, a tab, its compile command. Not of kernels, whose language is CUDA's.
units() {
  awk -F '": "' '
    $1 ~ /"command$/ { command = $2 }
    $1 ~ /"file$/ {
      sub(/",?$/, "", $2)
      if ($2 ~ /[.](cc|cxx)$/ && command !~ /_proto[.]dir/ && !seen[$2]++) print $2 "\t" command
    }
  ' "$build/compile_commands.json"
}

# The sources of a unit: itself, or what a unity file includes.
sources_of() {
  if [[ "$1" == */Unity/* ]]; then sed -n 's/^#include "\(.*\)"$/\1/p' "$1"; else printf '%s\n' "$1"; fi
}

# The static analyser walks paths through code that people run; tests are run as they are, under sanitizers.
checks_of() { if [[ "$1" == *_test.dir/* || "$1" == *_test.cc ]]; then echo "--checks=-clang-analyzer-*"; else echo "--checks="; fi; }

rules="$(clang-tidy --version; cat .clang-tidy; git ls-files -- '*.h' '*.proto' | LC_ALL=C sort | xargs cat)"
work=()
clean=0
checked=""
while IFS=$'\t' read -r unit command; do
  mapfile -t sources < <(sources_of "$unit")
  checked+="$(printf '%s\n' "${sources[@]}")"$'\n'
  key="$({ printf '%s\n%s\n' "$rules" "$command"; cat "${sources[@]}"; } | sha256sum | cut -d ' ' -f 1)"
  if [[ -f "$cache/$key" ]]; then
    clean=$((clean + 1))
  else
    work+=("$unit" "$(checks_of "$unit")" "$cache/$key")
  fi
done < <(units)

# What CMake does not build escapes: that must be said.
while IFS= read -r file; do
  [[ "$checked" == *"$PWD/$file"$'\n'* ]] || echo "clang-tidy: not checked, because nothing here compiles it: $file"
done < <(git ls-files -- '*.cc')
printf 'clang-tidy: %d units to check, %d unchanged since they were found clean\n' "$((${#work[@]} / 3))" "$clean"

lint_one() {
  local output status=0
  # GCC's flags stand in the compile commands; what clang does not know of them is no finding.
  # --foreground: in a process group of its own it would outlive an interrupt.
  output="$(timeout --foreground 900 clang-tidy --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-unused-command-line-argument "$2" "$1" 2>&1)" || status=$?
  if ((status == 0)); then
    : >"$3"
    return
  fi
  if ((status == 124)); then output="error: took more than 900 s"; fi
  grep -E '(error|warning): ' <<<"$output" || printf '%s\n' "$output"
  echo "$1: clang-tidy ended with status $status"
  return 1
}
export -f lint_one
export build

if ((${#work[@]} > 0)); then
  # nproc counts what OMP_NUM_THREADS allows, which is about a rank's threads.
  # shellcheck disable=SC2016 # expanded by the inner shell
  # What stands in a header is found from every unit that includes it, and said once.
  printf '%s\0' "${work[@]}" | xargs -0 -n 3 -P "$(env -u OMP_NUM_THREADS nproc)" bash -c 'lint_one "$@"' lint |
    awk '!seen[$0]++ { print; fflush() }'
fi
