#!/usr/bin/env bash
# The house rules that no compiler holds. Each rule is a function that prints what breaks it; each is also shown a copy of
# the tree with a planted violation, because a rule that cannot fail is no rule.
# shellcheck disable=SC2016 # awk's dollars and Markdown's backticks stand in single quotes throughout
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folders="runtime configs parallel models data checkpoint launch tests"

# Every file of a tree that is, or is about to be, tracked; from inside the tree, without a leading "./".
tree_files() {
  if [[ -e .git ]]; then
    git ls-files --cached --others --exclude-standard | while IFS= read -r file; do
      [[ ! -f "$file" ]] || printf '%s\n' "$file"
    done
  else
    find . -type f -not -path './build*' -not -path './runs/*' -printf '%P\n'
  fi
}

code_files() { tree_files | grep -E '\.(h|cc|cu|cuh)$' || true; }

# Prints the lines of the files named on standard input that match, as file:line:text.
grep_files() { xargs -r -d '\n' grep -nHE -e "$1" -- || true; }

rule_folders_use_each_other_only_downwards() {
  code_files | xargs -r -d '\n' awk -v folders="$folders" '
    BEGIN {
      may["launch"] = "launch checkpoint data models parallel runtime configs"
      may["checkpoint"] = "checkpoint parallel runtime"
      may["models"] = "models parallel runtime configs"
      may["data"] = "data runtime configs"
      may["parallel"] = "parallel runtime"
      may["runtime"] = "runtime"
      may["configs"] = "configs"
      may["tests"] = folders
    }
    match($0, /^[ \t]*#[ \t]*include[ \t]*["<][^">]*[">]/) {
      path = $0
      sub(/^[^"<]*["<]/, "", path)
      sub(/[">].*/, "", path)
      split(FILENAME, from, "/")
      split(path, to, "/")
      ours = index(" " folders " ", " " to[1] " ") && index(path, "/")
      if (ours && !index(" " may[from[1]] " ", " " to[1] " "))
        print FILENAME ":" FNR ": " from[1] "/ must not use " to[1] "/ (" path ")"
      beside = FILENAME
      sub(/[^\/]*$/, path, beside)
      if (!ours && (getline unused < beside) >= 0) print FILENAME ":" FNR ": our own includes start at the root (" path ")"
      close(beside)
    }'
}

# headers_only_in HEADERS PLACES: both regular expressions.
headers_only_in() {
  code_files | { grep -vE "$2" || true; } | grep_files "^[[:space:]]*#[[:space:]]*include[[:space:]]*[\"<]$1[\">]" |
    sed 's/$/   (outside the place that wraps it)/'
}

rule_foreign_headers_stay_in_their_wrappers() {
  headers_only_in 'mpi\.h' '^parallel/mpi_communicator\.cc$'
  headers_only_in 'nccl\.h' '^parallel/nccl_communicator\.(cc|h)$'
  headers_only_in '(cuda|cublas|cub/|nvToolsExt|nvtx3|curand|cudnn)[^">]*' \
    '^(runtime/cuda/|parallel/nccl_communicator\.(cc|h)$)'
}

rule_environment_is_read_in_launch_only() {
  code_files | { grep -v '^launch/' || true; } | grep_files '(^|[^A-Za-z0-9_])(secure_)?getenv[[:space:]]*\('
}

# Which words of a README are paths: in backticks or fences, those that start with one of our folders or end like a
# source file; elsewhere, those that do both. `<name>` marks a placeholder.
readme_paths() {
  awk -v folders="$folders" '
    BEGIN { count = split(folders, names, " "); for (i = 1; i <= count; ++i) folder[names[i]] = 1 }
    function ours(word,  parts) { split(word, parts, "/"); return index(word, "/") && parts[1] in folder }
    function source(word) { return word ~ /\.(h|cc|cu|cuh|sh|proto|md|cmake)$/ || word ~ /\.\{[a-z,]+\}$/ }
    function consider(word, code) {
      gsub(/^[("\047\[]+|[)"\047\],:;.]+$/, "", word)
      sub(/^\.\//, "", word)
      if (word ~ /[<>$=]/ || word !~ /^[A-Za-z0-9_.\/*{},-]+$/ || word ~ /^\//) return
      if (code ? ours(word) || source(word) : ours(word) && source(word)) print FILENAME "\t" FNR "\t" word
    }
    FNR == 1 { fenced = 0 }
    /^[ \t]*```/ { fenced = !fenced; next }
    {
      line = $0
      while (match(line, /\]\([^)#]+/)) {  # a link: its target counts whatever it looks like
        target = substr(line, RSTART + 2, RLENGTH - 2)
        if (target !~ /:\/\//) print FILENAME "\t" FNR "\t" target
        line = substr(line, 1, RSTART - 1) " " substr(line, RSTART + RLENGTH + 1)
      }
      spans = split(line, span, "`")
      for (s = 1; s <= spans; ++s) {
        words = split(span[s], word, /[ \t]+/)
        for (w = 1; w <= words; ++w) consider(word[w], fenced || s % 2 == 0)
      }
    }' "$@"
}

# a{b,c}d becomes "abd acd".
expand_braces() {
  if [[ "$1" =~ ^([^{]*)\{([^}]*)\}(.*)$ ]]; then
    local head="${BASH_REMATCH[1]}" tail="${BASH_REMATCH[3]}" parts part
    IFS=, read -ra parts <<<"${BASH_REMATCH[2]}"
    for part in "${parts[@]}"; do expand_braces "$head$part$tail"; done
  else
    printf '%s\n' "$1"
  fi
}

rule_readme_paths_exist() {
  local readmes readme line path one
  mapfile -t readmes < <(tree_files | grep -E '(^|/)README\.md$' || true)
  ((${#readmes[@]} > 0)) || return 0
  while IFS=$'\t' read -r readme line path; do
    while IFS= read -r one; do
      compgen -G "$one" >/dev/null || compgen -G "$(dirname "$readme")/$one" >/dev/null ||
        echo "$readme:$line: there is no $one (a placeholder is written <name>)"
    done < <(expand_braces "$path")
  done < <(readme_paths "${readmes[@]}")
}

rule_root_holds_only_the_known_names() {
  tree_files | cut -d / -f 1 | sort -u |
    grep -vxE "${folders// /|}|CMakeLists\.txt|CMakePresets\.json|README\.md|LICENSE|docs|\..*" |
    sed 's/$/   (not a name that the root may hold)/' || true
}

rule_folders_explain_themselves() {
  local folder
  for folder in $folders; do
    [[ -f "$folder/README.md" ]] || echo "$folder/README.md is missing: what the folder is, its invariants, its decisions"
  done
}

rule_files_are_short() {
  tree_files | { grep -E '\.(h|cc|cu|cuh|sh|py|proto|cmake|md)$|CMakeLists\.txt$' || true; } |
    xargs -r -d '\n' awk 'FNR == 501 { print FILENAME ": more than 500 lines: look for the second concept in it" }'
}

# A Highway kernel is included once a target, and guards itself with HWY_TARGET_TOGGLE.
rule_include_guards_name_their_file() {
  code_files | { grep -E '\.(h|cuh)$' || true; } | xargs -r -d '\n' awk '
    FNR == 1 {
      report()
      file = FILENAME
      guard = "TRIREME_" toupper(FILENAME) "_"
      gsub(/[^A-Z0-9]/, "_", guard)
      opened = defined = 0
    }
    $1 == "#ifndef" && $2 == guard { opened = 1 }
    /^#if defined\(/ && /HWY_TARGET_TOGGLE/ && index($0, "defined(" guard ")") { opened = 1 }
    $1 == "#define" && $2 == guard { defined = 1 }
    END { report() }
    function report() { if (file != "" && !(opened && defined)) print file ": its include guard is not " guard }'
}

# The bracketed letters keep these patterns from finding themselves.
rule_no_machine_paths_or_registries() {
  tree_files | grep_files "(^|[^A-Za-z0-9_.])/([h]ome|[r]oot|[U]sers|[w]ork|[s]cratch)/|[b]ash_jobs"
  tree_files | grep_files '://[^ ]*([d]ebian|[p]ypi|[p]ythonhosted|[n]pmjs|[c]rates)\.'
  tree_files | { xargs -r -d '\n' grep -nHF -e "$checkout/" -- || true; }
}

rule_nothing_is_switched_off_or_left_unfinished() {
  tree_files | { grep -E '\.(h|cc|cu|cuh|sh|py|proto|cmake|txt)$' || true; } |
    grep_files '(^|[^A-Z_])[D]ISABLED_|GTEST_[S]KIP\(\);|[F]IXME|[T]ODO|#if[ ]0'
}

checkout="$PWD"
passed=0
failed=0

pass() { passed=$((passed + 1)); }

fail() {
  failed=$((failed + 1))
  printf 'FAILED: %s\n' "$1"
}

holds() {
  local found
  found="$("$1")"
  if [[ -z "$found" ]]; then
    pass
  else
    printf '%s\n' "$found"
    fail "$1"
  fi
}

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# notices RULE FILE TEXT [WORD]: with TEXT appended to FILE in a copy of the tree, the rule speaks of it (of WORD).
copies=0
notices() {
  local copy="$scratch/copy$((copies += 1))" found
  cp -r "$scratch/tree" "$copy"
  mkdir -p "$copy/$(dirname "$2")"
  printf '%b\n' "$3" >>"$copy/$2"
  found="$(cd "$copy" && "$1")"
  if grep -qF -- "${4-$2}" <<<"$found"; then pass; else fail "$1 does not notice this in $2: $3"; fi
  rm -rf "$copy"
}

mkdir "$scratch/tree"
tree_files | xargs -r -d '\n' cp --parents -t "$scratch/tree"

for rule in $(compgen -A function rule_); do
  holds "$rule"
done

dag=rule_folders_use_each_other_only_downwards
notices $dag runtime/planted.cc '#include "parallel/mesh.h"' 'runtime/ must not use parallel/'
notices $dag runtime/ops/planted_test.cc '#include "models/llama.h"' 'must not use models/'
notices $dag parallel/planted.h '#  include <configs/config.pb.h>' 'must not use configs/'
notices $dag data/planted.cc '#include "parallel/mesh.h"' 'must not use parallel/'
notices $dag models/planted.cc '#include "data/loader.h"' 'must not use data/'
notices $dag checkpoint/planted.cc '#include "models/llama.h"' 'must not use models/'
notices $dag configs/planted.h '#include "runtime/shape.h"' 'must not use runtime/'
notices $dag launch/planted.cc '#include "tests/helper.h"' 'must not use tests/'
notices $dag runtime/planted.cc '#include "shape.h"' 'start at the root'
wrappers=rule_foreign_headers_stay_in_their_wrappers
notices $wrappers parallel/planted.cc '#include <mpi.h>'
notices $wrappers launch/planted.cc '#include "mpi.h"'
notices $wrappers parallel/mpi_planted.cc '#include <nccl.h>'
notices $wrappers runtime/cpu/planted.cc '#include <cuda_runtime.h>'
notices $wrappers runtime/planted.h '#include <cublasLt.h>'
notices rule_environment_is_read_in_launch_only parallel/planted.cc 'auto* x = std::getenv("X");'
notices rule_readme_paths_exist README.md 'See `runtime/planted.{h,cc}`.' 'runtime/planted.cc'
notices rule_readme_paths_exist tests/README.md 'Named in prose: data/planted.h, so.' 'data/planted.h'
notices rule_readme_paths_exist runtime/README.md '`planted.h`' 'planted.h'
notices rule_readme_paths_exist README.md '```\nlaunch/planted --flag\n```' 'launch/planted'
notices rule_readme_paths_exist README.md '[a link](docs/planted.txt)' 'docs/planted.txt'
notices rule_root_holds_only_the_known_names planted.txt 'x'
notices rule_root_holds_only_the_known_names scripts/planted.sh 'x' scripts
rm -f "$scratch/tree/launch/README.md"
notices rule_folders_explain_themselves planted x 'launch/README.md'
notices rule_files_are_short runtime/planted.cc "$(printf '\\n%.0s' {1..501})"
guards=rule_include_guards_name_their_file
notices $guards runtime/planted.h '#ifndef TRIREME_PLANTED_H_\n#define TRIREME_PLANTED_H_\n#endif'
notices $guards runtime/planted.h '#pragma once'
notices $guards runtime/planted.cuh '#ifndef TRIREME_RUNTIME_PLANTED_CUH_\n#endif'
machine=rule_no_machine_paths_or_registries
notices $machine configs/planted.textproto 'path: "/home''/somebody/x"'
notices $machine data/planted.cc "// $checkout/x"
notices $machine data/planted.cc '// http:''//deb.debian.org/'
unfinished=rule_nothing_is_switched_off_or_left_unfinished
notices $unfinished runtime/planted_test.cc 'TEST(A, DIS''ABLED_B) {}'
notices $unfinished runtime/planted.cc '// TO''DO: finish'

printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
