#!/usr/bin/env bash
# From a fresh checkout to a model that writes text: installs, builds, prepares real English, trains on four MPI ranks, is
# stopped part way and resumed, shows that the stop changed no bit, and lets the model speak.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/common.sh
source launch/common.sh

usage() {
  cat <<'TEXT'
usage: launch/quickstart.sh [--short] [--steps N] [--ranks N] [--directory DIR] [--binary FILE]

  --short          40 steps and a small validation sample: shows that everything works, in about a minute
  --steps N        steps to train (default: what configs/quickstart.textproto says)
  --ranks N        MPI ranks (default 4; an even number trains with tensor parallelism over 2)
  --directory DIR  where data and runs go (default runs/quickstart); a repeated run reuses the data, and each trains in a
                   new folder DIR/run-N
  --binary FILE    use this trireme; nothing is installed or built
Needs about 10 minutes on 2 cores the first time.
TEXT
}

config=configs/quickstart.textproto
steps=""
ranks=4
directory=runs/quickstart
binary=""
short=false

# A whole number above zero, for the option that it belongs to.
count_of() {
  [[ "${2-}" =~ ^[1-9][0-9]*$ ]] || {
    printf 'launch/quickstart.sh: %s needs a whole number above zero, not "%s"\n' "$1" "${2-}" >&2
    exit 64
  }
}
while (($# > 0)); do
  case "$1" in
    --short) short=true ;;
    --steps)
      count_of "$@"
      steps="$2"
      shift
      ;;
    --ranks)
      count_of "$@"
      ranks="$2"
      shift
      ;;
    --directory | --binary)
      if [[ -z "${2-}" ]]; then
        printf 'launch/quickstart.sh: %s needs a path\n' "$1" >&2
        exit 64
      fi
      if [[ "$1" == --directory ]]; then directory="$2"; else binary="$(realpath "$2")"; fi
      shift
      ;;
    --help | -h)
      usage
      exit 0
      ;;
    *)
      printf 'launch/quickstart.sh: unknown option "%s"\n' "$1" >&2
      usage >&2
      exit 64
      ;;
  esac
  shift
done
if [[ -z "$steps" ]]; then
  if $short; then steps=40; else steps="$(awk '$1 == "steps:" { print $2; exit }' "$config")"; fi
fi
if ((steps < 8)); then
  echo "launch/quickstart.sh: --steps needs at least 8: the run is stopped after an eighth of them" >&2
  exit 64
fi
stop_at=$((steps / 8))
compare_further=20
data="$directory/data"

install_and_build() {
  say "1/7 Installing the Debian packages that are missing"
  run_child launch/install.sh run || fail "the packages could not be installed; launch/install.sh says which"

  say "2/7 Building build/trireme: optimised, without the tests"
  local options=()
  # A folder that was configured before, by launch/test.sh for one, keeps its settings.
  if [[ ! -f build/CMakeCache.txt ]]; then options=(-DTRIREME_TESTS=OFF); fi
  if [[ -e /dev/nvidiactl && -f runtime/cuda/CMakeLists.txt ]]; then options+=(-DTRIREME_CUDA=ON); fi
  run_child cmake --preset release --log-level=WARNING "${options[@]}" >/dev/null || fail "cmake could not configure build/"
  run_child cmake --build build --target trireme --parallel "$(nproc)" || fail "the build failed; its messages stand above"
  binary="$PWD/build/trireme"
}

# The manual pages of Perl in their source form: 8.8 MB of English by many hands, from the package perl-doc.
corpus_files() {
  if command -v dpkg >/dev/null && dpkg -L perl-doc >/dev/null 2>&1; then
    dpkg -L perl-doc | grep '\.pod$' | LC_ALL=C sort
  else
    find /usr/share/perl -path '*/pod/*.pod' | LC_ALL=C sort
  fi
}

prepare_data() {
  if [[ -d "$data/train" && -d "$data/validation" ]]; then
    say "3/7 Reusing the data in $data (remove that folder to prepare it anew)"
    return
  fi
  local files
  mapfile -t files < <(corpus_files)
  ((${#files[@]} > 0)) || fail "found no .pod file: is the Debian package perl-doc installed?"
  say "3/7 Preparing ${#files[@]} manual pages of Perl as bytes in $data: 95 % to train on, 5 % to validate"
  mkdir -p "$directory"
  run_child "$binary" prepare --input "${files[@]}" --output "$data" --tokenizer byte --validation-share 0.05 ||
    fail "trireme prepare ended with status $?"
}

# A new folder every time: an earlier run is neither resumed by accident nor removed.
new_run_directory() {
  local n=1
  mkdir -p "$directory"
  until mkdir "$directory/run-$n" 2>/dev/null; do
    n=$((n + 1))
    ((n < 10000)) || fail "cannot make a folder in $directory"
  done
  run="$directory/run-$n/run"
  straight="$directory/run-$n/uninterrupted"
}

# start_training RUN STEPS RESUME [OPTION...]. The schedule is told its end, so that a run of fewer steps follows the same curve,
# and its warm-up is a tenth of it, as in the recipe.
start_training() {
  local where="$1" until="$2" resume="$3"
  shift 3
  local settings=(
    --set "run.directory=$where" --set "train.steps=$until" --set "learning_rate_schedule.decay_steps=$steps"
    --set "learning_rate_schedule.warmup_steps=$((steps / 10))"
    --set "data.path=$data/train" --set "data.validation_path=$data/validation"
  )
  if ((ranks % 2 == 0)); then settings+=(--set mesh.tp=2); fi
  if $short; then settings+=(--set evaluation.batches=2); fi
  start_child mpirun --quiet --oversubscribe --bind-to none -np "$ranks" \
    "$binary" train --config "$config" "${settings[@]}" "$@" --resume "$resume"
}

# Prints "step loss_hex" for every step of a run's metrics up to a last one; of a redone step the last row counts.
losses() {
  local metrics="$1/metrics.jsonl" last="${2-999999999}"
  [[ -f "$metrics" ]] || return 0
  awk -v last="$last" '
    function field(name) {
      if (!match($0, "\"" name "\" *: *\"?[^,\"}]*")) return ""
      value = substr($0, RSTART, RLENGTH)
      sub(/^"[a-z_]*" *: *"?/, "", value)
      return value
    }
    { step = field("step"); hex = field("loss_hex"); if (step != "" && hex != "" && step + 0 <= last) loss[step + 0] = hex }
    END { for (step in loss) print step, loss[step] }' "$metrics" | sort -n
}

last_step() { losses "$1" | tail -n 1 | cut -d ' ' -f 1; }

train_and_stop() {
  say "4/7 Training $steps steps on $ranks MPI ranks; after step $stop_at the run is told to stop (SIGUSR1)"
  start_training "$run" "$steps" never
  local step status=0
  while kill -0 "$child" 2>/dev/null; do
    step="$(last_step "$run")"
    if ((${step:-0} >= stop_at)); then break; fi
    sleep 0.1
  done
  kill -USR1 "$child" 2>/dev/null || true
  wait_child || status=$?
  ((status == 75)) || fail "told to stop, the run should save and end with status 75; it ended with $status"
  stopped="$(last_step "$run")"
  say "    The run saved its state after step $stopped and ended with status 75: stopped on request"
  ((stopped < steps)) || fail "the run had already finished: use more --steps"
}

resume_to_the_end() {
  say "5/7 Resuming from that checkpoint: steps $((stopped + 1)) to $steps"
  start_training "$run" "$steps" required
  wait_child || fail "the resumed run ended with status $?"
}

compare_with_uninterrupted() {
  local last=$((stopped + compare_further))
  if ((last > steps)); then last="$steps"; fi
  say "6/7 Training steps 1 to $last once more, without a stop, to compare"
  start_training "$straight" "$last" never --set evaluation.batches=1
  wait_child || fail "the uninterrupted run ended with status $?"
  losses "$run" "$last" >"$run/losses_to_compare.txt"
  losses "$straight" "$last" >"$straight/losses_to_compare.txt"
  local rows
  rows="$(wc -l <"$straight/losses_to_compare.txt")"
  ((rows == last)) || fail "the uninterrupted run wrote $rows losses instead of $last"
  if ! diff "$run/losses_to_compare.txt" "$straight/losses_to_compare.txt" >&2; then
    fail "the resumed run (<) and the uninterrupted run (>) differ in the losses above (step, loss as a hex float)"
  fi
  say "    All $last losses are equal bit for bit, the $((last - stopped)) after the stop included"
}

speak() {
  local checkpoint
  checkpoint="$(find "$run/checkpoints" -maxdepth 1 -name 'step-*' | LC_ALL=C sort | tail -n 1)"
  say "7/7 Text from the model, 400 bytes after a prompt"
  echo
  run_child "$binary" generate --checkpoint "$checkpoint" --prompt "=head1 DESCRIPTION" --tokens 400 --temperature 0.7 ||
    fail "trireme generate ended with status $?"
  echo
}

summarise() {
  local bits
  bits="$(awk 'match($0, /"bits_per_byte" *: *[-+.0-9eE]+/) { value = substr($0, RSTART, RLENGTH); sub(/.*: */, "", value) }
               END { print value }' "$run/evaluations.jsonl" 2>/dev/null)" || true
  [[ -n "$bits" ]] || fail "the run left no bits_per_byte in $run/evaluations.jsonl"
  say "Done. On text that was not trained on, counting from the text that was:"
  run_child "$binary" inspect "$data/train" --against "$data/validation" || fail "trireme inspect ended with status $?"
  printf 'validation loss of the model after %d steps: %.3f bits per byte\n' "$steps" "$bits"
  echo "Metrics, checkpoints and logs: $run"
}

if [[ -z "$binary" ]]; then install_and_build; fi
few_cores_environment
prepare_data
new_run_directory
train_and_stop
resume_to_the_end
compare_with_uninterrupted
speak
summarise
