#!/usr/bin/env bash
# Builds Trireme and runs its tests: the command that people, and continuous integration, run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
source launch/common.sh

usage() {
  cat <<'TEXT'
usage: launch/test.sh [--quick [FOLDER] | --all]

  (no option)       install what is missing, build, run every test
  --quick           build, and run the tests labelled "quick"
  --quick FOLDER    build the tests of one folder (runtime, parallel, ...) and run them
  --all             what continuous integration runs: formatting, clang-tidy, every test, most of them again under
                    AddressSanitizer and UndefinedBehaviorSanitizer, and the tests labelled "threads" under
                    ThreadSanitizer; the CUDA code is built where there is a compiler for it
Ends with the line "N passed, N failed", and with status 0 only if nothing failed. Builds into build/ or, with --all,
into build-unity/, build-asan/ and build-tsan/; a second run builds and checks only what changed.
TEXT
}

mode=plain
folder=""
case "${1-}" in
  "") ;;
  --all) mode=all ;;
  --quick)
    mode=quick
    folder="${2-}"
    if [[ -n "$folder" && ! -f "$folder/CMakeLists.txt" ]]; then
      echo "launch/test.sh: there is no folder \"$folder\" with a CMakeLists.txt" >&2
      exit 64
    fi
    ;;
  --help | -h)
    usage
    exit 0
    ;;
  *)
    printf 'launch/test.sh: unknown option "%s"\n' "$1" >&2
    usage >&2
    exit 64
    ;;
esac

cores="$(nproc)"
passed=0
failed=0
took=()
failures=()

# section NAME COMMAND...: one part of the work, timed. What fails is remembered and the rest still runs, so that one run
# shows everything there is to mend. A part that fails before a test could (a build) counts as one failure.
section() {
  local name="$1" began="$SECONDS" failed_before="$failed"
  shift
  say "$name"
  if ! "$@"; then
    failures+=("$name")
    if ((failed == failed_before)); then failed=$((failed + 1)); fi
    say "$name: FAILED"
  fi
  took+=("$((SECONDS - began)) s $name")
}

# A check is no test program, but passes or fails like one.
check() { "$@" && passed=$((passed + 1)); }

configure() {
  local preset="$1" launcher=()
  shift
  if command -v ccache >/dev/null; then launcher=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache); fi
  run_child cmake --preset "$preset" --log-level=WARNING "${launcher[@]}" "$@"
}

# build FOLDER [TARGET...]
build() {
  local directory="$1"
  shift
  run_child cmake --build "$directory" --parallel "$cores" --target "${@:-all}"
}

# run_tests FOLDER CTEST_OPTION...: adds ctest's counts to ours.
run_tests() {
  local directory="$1" report status=0 count=0 bad=0
  shift
  report="$(realpath "$directory")/ctest_report.xml"
  rm -f "$report"
  run_child ctest --test-dir "$directory" --output-on-failure --parallel "$cores" --no-tests=error \
    --output-junit "$report" "$@" || status=$?
  if [[ -f "$report" ]]; then
    count="$(sed -n 's/^\s*tests="\([0-9]*\)".*/\1/p' "$report" | head -n 1)"
    bad="$(sed -n 's/^\s*failures="\([0-9]*\)".*/\1/p' "$report" | head -n 1)"
  fi
  if ((status != 0 && bad == 0)); then bad=1; fi # ctest itself failed, or found no test
  if ((count < bad)); then count=$bad; fi
  passed=$((passed + count - bad))
  failed=$((failed + bad))
  return "$status"
}

sources() { git ls-files -- "$@" | while IFS= read -r file; do [[ ! -f "$file" ]] || printf '%s\n' "$file"; done; }

check_format() { sources '*.h' '*.cc' '*.cu' '*.cuh' | xargs -r clang-format --dry-run -Werror; }

release_tests() { configure release && build build && run_tests build "$@"; }

# One build for everything that is not sanitized: with the CUDA code where there is a compiler for it, driver or not.
all_tests() {
  local cuda=OFF
  if command -v nvcc >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; then
    cuda=ON
  else
    say "cuda: not compiled (needs nvcc, on the PATH or in /usr/local/cuda/bin)"
  fi
  if [[ "$cuda" == ON ]] && ! { configure unity -DTRIREME_CUDA=ON && build build-unity; }; then
    failed=$((failed + 1))
    say "with CUDA: FAILED; the tests are of a build without it"
    cuda=OFF
  fi
  configure unity "-DTRIREME_CUDA=$cuda" && build build-unity && run_tests build-unity
}

folder_tests() { configure release && build build "$folder/all" && run_tests "build/$folder"; }

# Halting is what makes an undefined-behaviour report fail a test. Open MPI's own leaks can be told from ours only by
# stacks unwound in full, which is slow: only the tests that start MPI pay for it.
asan_tests() {
  local leaks="$PWD/tests/suppressions/lsan.txt" status=0
  configure asan && build build-asan || return 1
  export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1"
  export LSAN_OPTIONS="suppressions=$leaks:print_suppressions=0"
  ASAN_OPTIONS="detect_leaks=1" run_tests build-asan --label-exclude '^(mpi|no_sanitizer)$' || status=1
  ASAN_OPTIONS="detect_leaks=1:fast_unwind_on_malloc=0" \
    run_tests build-asan --label-regex '^mpi$' --label-exclude '^no_sanitizer$' || status=1
  return "$status"
}

tsan_tests() {
  configure tsan && build build-tsan threads_tests || return 1
  TSAN_OPTIONS="suppressions=$PWD/tests/suppressions/tsan.txt:halt_on_error=1:second_deadlock_stack=1" \
    run_tests build-tsan --label-regex '^threads$'
}

few_cores_environment
section "install: Debian packages" run_child launch/install.sh test
case "$mode" in
  plain) section "release: build and every test" release_tests ;;
  quick)
    if [[ -n "$folder" ]]; then
      section "release: the tests of $folder" folder_tests
    else
      section "release: the tests labelled quick" release_tests --label-regex '^quick$'
    fi
    ;;
  all)
    section "format: clang-format" check check_format
    section "release: build, CUDA code included, and every test" all_tests
    section "lint: clang-tidy" check run_child launch/lint.sh
    section "asan: every test under AddressSanitizer and UndefinedBehaviorSanitizer" asan_tests
    section "tsan: the tests labelled threads under ThreadSanitizer" tsan_tests
    ;;
esac

echo
say "What took how long:"
printf '    %s\n' "${took[@]}"
if ((${#failures[@]} > 0)); then
  echo "Failed:"
  printf '    %s\n' "${failures[@]}"
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
