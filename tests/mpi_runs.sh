# shellcheck shell=bash
# Shared by the tests that train over real mpirun; sourced from the repository's root, never run. The sourcing script sets
# $trireme and `common`, the settings of all its runs. What is made here lies in $work and goes with the script.
: "${trireme:?is to be set}" "${common[0]:?is to be set}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
"$trireme" prepare --input LICENSE --output "$work/data" --tokenizer byte >"$work/prepare.log" 2>&1

passed=0
failed=0
check() {  # NAME COMMAND...: counts
  local name=$1
  shift
  if "$@"; then
    passed=$((passed + 1))
    echo "ok    $name"
  else
    failed=$((failed + 1))
    echo "WRONG $name"
  fi
}

# The script's last command: its status is the test's.
count_checks() {
  echo "$passed passed, $failed failed"
  ((failed == 0 && passed > 0))
}

# train RUN RECIPE RANKS [--set ...]: one run; its output goes to RUN.log.
train() {
  local run=$1 recipe=$2 ranks=$3
  shift 3
  local launcher=()
  if ((ranks > 1)); then
    launcher=(mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --mca pml ob1 --mca btl "self,vader" -np "$ranks")
  fi
  "${launcher[@]}" "$trireme" train --config "configs/$recipe.textproto" --set "data.path=$work/data" \
    --set "run.directory=$work/$run" "${common[@]}" "$@" >"$work/$run.log" 2>&1 || { cat "$work/$run.log"; return 1; }
}
