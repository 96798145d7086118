#!/usr/bin/env bash
# The scripts of launch/ against stand-ins for the programs they call: what they do when those fail is what is tested here,
# in seconds. That they work with the real ones is shown by quickstart_short, and by continuous integration running them.
# shellcheck disable=SC2016 # what the stand-ins expand stands in single quotes
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0
status=0

# runs COMMAND...: its status in $status, its output in $scratch/output.
runs() {
  status=0
  "$@" >"$scratch/output" 2>&1 </dev/null || status=$?
}

# expects NAME STATUS [TEXT]: of the last `runs`. A TEXT that begins with "!" must not be there.
expects() {
  local name="$1" wanted="$2" text="${3-}" ok=true
  [[ "$status" == "$wanted" ]] || ok=false
  if [[ "$text" == !* ]]; then
    if grep -qF -- "${text:1}" "$scratch/output"; then ok=false; fi
  elif [[ -n "$text" ]]; then
    grep -qF -- "$text" "$scratch/output" || ok=false
  fi
  if $ok; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s: wanted status %s and "%s", got status %s and:\n' "$name" "$wanted" "$text" "$status"
    sed 's/^/    /' "$scratch/output"
  fi
}

# stand_in FILE: an executable shell script from standard input.
stand_in() {
  mkdir -p "$(dirname "$1")"
  { echo '#!/usr/bin/env bash'; cat; } >"$1"
  chmod +x "$1"
}

mapfile -t scripts < <(find launch tests .ci -name '*.sh' -o -path '.ci/run' -type f)
for script in "${scripts[@]}"; do
  runs bash -n "$script"
  expects "$script is Bash" 0
done
runs shellcheck -x "${scripts[@]}"
expects "shellcheck finds nothing in the scripts" 0
for script in quickstart test install lint gpu_bundle gpu_check; do
  runs "launch/$script.sh" --help
  expects "launch/$script.sh explains itself" 0 "usage: launch/$script.sh"
done
for script in quickstart test install gpu_bundle gpu_check; do
  runs "launch/$script.sh" --no-such-option
  expects "launch/$script.sh refuses an unknown option" 64 "no-such-option"
done
runs launch/test.sh --quick no_such_folder
expects "test.sh refuses an unknown folder" 64 "no_such_folder"
runs launch/quickstart.sh --steps many
expects "quickstart.sh refuses a number that is none" 64 "--steps needs a whole number"
runs launch/quickstart.sh --steps 7
expects "quickstart.sh refuses too few steps" 64 "at least 8"

# --- install.sh -------------------------------------------------------------------------------------------------------
bin="$scratch/bin"
mkdir "$bin"
for tool in bash env awk grep printf dirname cat; do ln -s "$(command -v "$tool")" "$bin/$tool"; done
stand_in "$bin/id" <<<'echo "${FAKE_UID-0}"'
install_with() { env -i PATH="$bin" HOME="$scratch" "$@" bash launch/install.sh test; }

runs install_with
expects "install.sh on a system without apt names the packages" 1 "libdnnl-dev"
stand_in "$bin/dpkg-query" <<'STAND_IN'
for argument; do
  case "$argument" in -* | '${'*) ;; *) [[ " ${FAKE_MISSING-} " == *" $argument "* ]] || echo "installed $argument" ;; esac
done
[[ -z "${FAKE_MISSING-}" ]]
STAND_IN
stand_in "$bin/apt-cache" <<'STAND_IN'
for argument; do
  case "$argument" in -* | show) ;; *) [[ -n "${FAKE_NO_LISTS-}" ]] || echo "Package: $argument" ;; esac
done
STAND_IN
stand_in "$bin/apt-get" <<'STAND_IN'
echo "apt-get called:" "$@"
case "$*" in *" install "*) [[ -z "${FAKE_BROKEN-}" ]] ;; esac
STAND_IN
runs install_with
expects "install.sh does nothing when all is there" 0 "nothing to install"
expects "install.sh does not call apt-get then" 0 "!apt-get called"
runs install_with FAKE_MISSING="ninja-build perl-doc"
expects "install.sh installs exactly what is missing" 0 "install --no-install-recommends ninja-build perl-doc"
expects "install.sh fetches no lists when it needs none" 0 "!update"
runs install_with FAKE_MISSING=cmake FAKE_NO_LISTS=1
expects "install.sh fetches lists that do not know a package" 0 "apt-get update"
runs install_with FAKE_MISSING=cmake FAKE_BROKEN=1
expects "install.sh says when apt-get fails" 1 "could not install: cmake"
runs install_with FAKE_MISSING=cmake FAKE_UID=1000
expects "install.sh without root or sudo says what to run" 1 "apt-get install --no-install-recommends cmake"
stand_in "$bin/sudo" <<<'echo "sudo called"; exec "$@"'
runs install_with FAKE_MISSING=cmake FAKE_UID=1000
expects "install.sh goes through sudo when it is not root" 0 "sudo called"

# --- test.sh ----------------------------------------------------------------------------------------------------------
tree="$scratch/tree"
mkdir -p "$tree/build" "$tree/runtime" "$scratch/builders"
cp -r launch "$tree"
touch "$tree/runtime/CMakeLists.txt"
stand_in "$tree/launch/install.sh" <<<'exit 0'
stand_in "$scratch/builders/cmake" <<<'echo "cmake called:" "$@"; [[ "$1" != --build || -z "${FAKE_BUILD_FAILS-}" ]]'
stand_in "$scratch/builders/ctest" <<'STAND_IN'
echo "ctest called:" "$@"
while [[ "$1" != --output-junit ]]; do shift; done
printf '<testsuite name="x"\n\ttests="%s"\n\tfailures="%s"\n>\n' "$FAKE_TESTS" "$FAKE_FAILURES" >"$2"
((FAKE_FAILURES == 0))
STAND_IN
test_with() { env PATH="$scratch/builders:$PATH" "$@"; }
runs test_with FAKE_TESTS=5 FAKE_FAILURES=0 "$tree/launch/test.sh"
expects "test.sh counts what passed" 0 "5 passed, 0 failed"
runs test_with FAKE_TESTS=5 FAKE_FAILURES=2 "$tree/launch/test.sh"
expects "test.sh counts what failed" 1 "3 passed, 2 failed"
runs test_with FAKE_TESTS=5 FAKE_FAILURES=0 FAKE_BUILD_FAILS=1 "$tree/launch/test.sh"
expects "test.sh fails when the build does" 1 "0 passed, 1 failed"
mkdir "$tree/build/runtime"
runs test_with FAKE_TESTS=1 FAKE_FAILURES=0 "$tree/launch/test.sh" --quick runtime
expects "test.sh builds one folder" 0 "--target runtime/all"
expects "test.sh runs one folder's tests" 0 "--test-dir build/runtime"

stand_in "$scratch/builders/cmake" <<<'sleep 300 & echo "$!" >"$FAKE_PID_FILE"; wait'
env PATH="$scratch/builders:$PATH" FAKE_PID_FILE="$scratch/pid" "$tree/launch/test.sh" >/dev/null 2>&1 </dev/null &
script=$!
until [[ -s "$scratch/pid" ]]; do sleep 0.05; done
kill -TERM "$script"
runs wait "$script"
expects "test.sh ends when told to" 143
runs kill -0 "$(cat "$scratch/pid")"
expects "test.sh leaves no process behind" 1

# --- quickstart.sh ----------------------------------------------------------------------------------------------------
# A trireme that learns nothing, quickly. FLAW says what is wrong with it.
stand_in "$scratch/trireme" <<'STAND_IN'
declare -A set
command="$1"
while (($# > 0)); do
  case "$1" in
    --set) set["${2%%=*}"]="${2#*=}" ;;
    --output) output="$2" ;;
    --resume) resume="$2" ;;
    --checkpoint) checkpoint="$2" ;;
  esac
  shift
done
case "$command" in
  prepare)
    [[ "${FLAW-}" != prepare ]] || exit 65
    mkdir -p "$output/train" "$output/validation"
    ;;
  train)
    [[ "${OMPI_COMM_WORLD_RANK-0}" == 0 ]] || exit 0
    run="${set[run.directory]}"
    stop=false
    if [[ "${FLAW-}" == deaf ]]; then trap '' USR1; else trap 'stop=true' USR1; fi
    mkdir -p "$run/checkpoints"
    step=0
    if [[ "$resume" == required ]]; then step="$(cat "$run/state")"; fi
    status=0
    while ((step < ${set[train.steps]})); do
      step=$((step + 1))
      [[ "${FLAW-}" != crash || "$step" != 3 ]] || exit 70
      hex="0x1.$step"p+1
      if [[ "${FLAW-}" == bits && "$resume" == required ]]; then hex="0x1.${step}1p+1"; fi
      echo "{\"loss\":2.5,\"loss_hex\":\"$hex\",\"step\":$step,\"tokens\":64}" >>"$run/metrics.jsonl"
      # A run that is to be stopped waits for it, however slow the machine.
      if [[ "$resume" == never && "${set[train.steps]}" == 32 && "$step" == 8 && "${FLAW-}" != deaf ]]; then sleep 3; fi
      sleep 0.01
      if $stop; then
        status=75
        break
      fi
    done
    echo "$step" >"$run/state"
    mkdir -p "$run/checkpoints/step-$(printf %08d "$step")-00"
    if ((status == 0)); then echo '{"step":1,"validation_loss":1.4,"bits_per_byte":2.0196}' >>"$run/evaluations.jsonl"; fi
    exit "$status"
    ;;
  generate) [[ -d "$checkpoint" ]] && echo "=head1 DESCRIPTION of $checkpoint" ;;
  inspect) echo "entropies of the data" ;;
esac
STAND_IN
learn() { env FLAW="$1" launch/quickstart.sh --binary "$scratch/trireme" --directory "$scratch/runs" --steps 32 "${@:2}"; }
runs learn prepare
expects "quickstart.sh stops when the data cannot be prepared" 1 "trireme prepare ended with status 65"
runs learn none
expects "quickstart.sh compares the losses" 0 "equal bit for bit"
expects "quickstart.sh prints the validation loss" 0 "2.020 bits per byte"
expects "quickstart.sh prints the entropies" 0 "entropies of the data"
expects "quickstart.sh lets the last checkpoint speak" 0 "run-1/run/checkpoints/step-00000032-00"
runs learn none --short --ranks 2
expects "quickstart.sh repeated reuses the data" 0 "Reusing the data"
expects "quickstart.sh repeated trains in a new folder" 0 "run-2/run"
runs learn bits
expects "quickstart.sh fails when one bit differs" 1 "differ in the losses above"
runs learn crash
expects "quickstart.sh fails when training does" 1 "it ended with 70"
runs learn deaf
expects "quickstart.sh fails when the stop is not heard" 1 "should save and end with status 75"

# --- gpu_bundle.sh and gpu_check.sh -----------------------------------------------------------------------------------
runs launch/gpu_bundle.sh --build "$scratch/no_such_build"
expects "gpu_bundle.sh says which program is missing" 1 "no_such_build/trireme"
mkdir -p "$scratch/other_build/tests/gpu"
cp "$(command -v sed)" "$scratch/other_build/trireme"
cp "$(command -v sed)" "$scratch/other_build/tests/gpu/cuda_tests"
runs launch/gpu_bundle.sh --build "$scratch/other_build" --output "$scratch/bundle.tar.xz"
expects "gpu_bundle.sh refuses programs that would not find their libraries" 1 "would not find libraries beside it"

bundle="$scratch/bundle"
mkdir -p "$bundle/launch"
cp launch/gpu_check.sh launch/common.sh "$bundle/launch"
check() { env "$@" "$bundle/launch/gpu_check.sh" --output "$scratch/check"; }
runs check A=1
expects "gpu_check.sh says that there are no programs" 66 "there is no"
stand_in "$bundle/cuda_tests" <<'STAND_IN'
if [[ "${FAKE-}" == no_gpu ]]; then echo "cuda_tests: skipped: there is no driver" && exit 77; fi
echo "cuda_tests: on a fake GPU"
case "$FAKE $1" in "broken "*EmulatedKernel*) echo "[  FAILED  ] 3 tests, listed below:" && exit 1 ;; esac
echo "[  PASSED  ] 5 tests."
STAND_IN
stand_in "$bundle/trireme" <<'STAND_IN'
while (($# > 0)); do [[ "$1" != --json ]] || printf '{\n  "tokens_per_second": 5e5,\n  "share_of_peak": 0.4\n}\n' >"$2"; shift; done
[[ "$FAKE" != slow ]] || sleep 100
STAND_IN
stand_in "$scratch/python/python3" <<<'exit 1'
runs check FAKE=no_gpu
expects "gpu_check.sh says that there is no GPU, with a status of its own" 77 "no GPU: cuda_tests: skipped: there is no driver"
runs check FAKE=none PATH="$scratch/python:$PATH"
expects "gpu_check.sh passes where all parts do" 0 "12 parts passed or not here, 0 failed"
expects "gpu_check.sh says what cannot run there" 0 "python3 has no torch"
expects "gpu_check.sh prints what a step reaches" 0 "gpt2      500000 tokens/s, 40.0 %"
runs grep -c '"part": ' "$scratch/check/report.json"
expects "gpu_check.sh writes every part into the report" 0 12
runs check FAKE=broken PATH="$scratch/python:$PATH"
expects "gpu_check.sh fails where one part does" 1 "11 parts passed or not here, 1 failed"
expects "gpu_check.sh goes on behind a part that failed" 1 "llama     500000 tokens/s"
runs env FAKE=slow "$bundle/launch/gpu_check.sh" --output "$scratch/check" --only gpt2 --only nothing
expects "gpu_check.sh refuses a part that does not exist" 64 'no part "nothing"'
runs env FAKE=none "$bundle/launch/gpu_check.sh" --output "$scratch/check" --minutes 0
expects "gpu_check.sh refuses to take no time" 64 "whole number above zero"
stand_in "$scratch/loader/ldd" <<<'echo "libcublasLt.so.99 => not found"'
runs check FAKE=none PATH="$scratch/loader:$PATH"
expects "gpu_check.sh names the library that a machine lacks" 69 "libcublasLt.so.99"
mkdir -p "$scratch/wheels/nvidia/cublas/lib"
touch "$scratch/wheels/nvidia/cublas/lib/libcublasLt.so.99"
stand_in "$scratch/loader/ldd" <<<'[[ "${LD_LIBRARY_PATH-}" == *wheels* ]] || echo "libcublasLt.so.99 => not found"'
stand_in "$scratch/loader/python3" <<<"[[ \"\$2\" == *sys.path* ]] && echo '$scratch/wheels'"
runs check FAKE=none PATH="$scratch/loader:$PATH"
expects "gpu_check.sh finds libraries in the wheels of Python packages" 0 "12 parts passed or not here, 0 failed"

printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
