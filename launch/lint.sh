#!/usr/bin/env bash
# Runs clang-tidy on every tracked .cc file. What was found clean is remembered by content, headers included, so that a
# second run checks only what changed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: launch/lint.sh [BUILD_FOLDER]

Checks every tracked .cc file that BUILD_FOLDER (default: build) compiles with clang-tidy and .clang-tidy's rules.
BUILD_FOLDER must have been built, by files rather than in unity form: launch/test.sh does.
TEXT
}

if [[ "${1-}" == --help || "${1-}" == -h ]]; then
  usage
  exit 0
fi
build="$(realpath "${1-build}")"
if [[ ! -f "$build/compile_commands.json" ]]; then
  echo "launch/lint.sh: $build/compile_commands.json is missing; build first (launch/test.sh does)" >&2
  exit 64
fi
cache="$build/lint_cache"
mkdir -p "$cache"
root="$PWD"

# One line a source: its path, a tab, and our own files that it was compiled from (generated ones too).
own_dependencies() {
  ninja -C "$build" -t deps | awk -v root="$root/" -v build="$build/" '
    /^[^ ]/ { source = ""; next }
    NF == 1 {
      path = substr($1, 1, 1) == "/" ? $1 : build $1
      if (index(path, root) != 1) next
      if (source == "") source = path
      files[source] = files[source] " " path
    }
    END { for (source in files) print source "\t" files[source] }'
}

# One line a source: its path, a tab, and its compile command.
compile_commands() {
  awk -F '": "' '
    $1 ~ /"command$/ { command = $2 }
    $1 ~ /"file$/ { sub(/",?$/, "", $2); if (!($2 in seen)) print $2 "\t" command; seen[$2] = 1 }
  ' "$build/compile_commands.json"
}

declare -A dependencies commands
while IFS=$'\t' read -r source files; do dependencies["$source"]="$files"; done < <(own_dependencies)
while IFS=$'\t' read -r source command; do commands["$source"]="$command"; done < <(compile_commands)

rules="$(clang-tidy --version; cat .clang-tidy)"
work=()
clean=0
not_built=()
while IFS= read -r file; do
  source="$root/$file"
  if [[ -z "${commands[$source]-}" ]]; then
    not_built+=("$file")
    continue
  fi
  # shellcheck disable=SC2086 # a list of paths without spaces, as ninja wrote it
  key="$({
    printf '%s\n%s\n' "$rules" "${commands[$source]}"
    cat "$source" ${dependencies[$source]-} 2>/dev/null
  } | sha256sum | cut -d ' ' -f 1)"
  if [[ -f "$cache/$key" ]]; then
    clean=$((clean + 1))
  else
    work+=("$file" "$cache/$key")
  fi
done < <(git ls-files -- '*.cc')

if ((${#not_built[@]} > 0)); then
  printf 'clang-tidy: not checked, because %s does not compile it: %s\n' "${build##*/}" "${not_built[*]}"
fi
printf 'clang-tidy: %d files to check, %d unchanged since they were found clean\n' "$((${#work[@]} / 2))" "$clean"

lint_one() {
  local output status=0
  # GCC's flags stand in the compile commands; what clang does not know of them is no finding.
  # --foreground: in a process group of its own it would outlive an interrupt.
  output="$(timeout --foreground 300 clang-tidy --quiet -p "$build" --extra-arg=-Wno-unknown-warning-option "$1" 2>&1)" || status=$?
  if ((status == 0)); then
    : >"$2"
    return
  fi
  if ((status == 124)); then output="error: took more than 300 s"; fi
  grep -E '(error|warning): ' <<<"$output" || printf '%s\n' "$output"
  echo "$1: clang-tidy ended with status $status"
  return 1
}
export -f lint_one
export build

if ((${#work[@]} > 0)); then
  # shellcheck disable=SC2016 # expanded by the inner shell
  # What stands in a header is found from every file that includes it, and said once.
  printf '%s\0' "${work[@]}" | xargs -0 -n 2 -P "$(nproc)" bash -c 'lint_one "$@"' lint | awk '!seen[$0]++ { print; fflush() }'
fi
