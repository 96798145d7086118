# shellcheck shell=bash
# Shared by the scripts of this folder; sourced, never run.

# Seconds since the script began stand before every line, so that a reader sees what took how long.
say() { printf '[%4d s] %s\n' "$SECONDS" "$*"; }

fail() {
  printf '[%4d s] FAILED: %s\n' "$SECONDS" "$*" >&2
  exit 1
}

child=""

# Starts a command as a process group of its own (its id in $child), so that an interrupt can end it with all its children.
# It reads nothing: a training run must not eat the terminal's input.
start_child() {
  setsid "$@" </dev/null &
  child=$!
}

# Waits for $child and returns its status. A signal that the script handles makes `wait` return early.
wait_child() {
  local status=0
  wait "$child" || status=$?
  child=""
  return "$status"
}

run_child() {
  start_child "$@"
  wait_child
}

end_child() {
  [[ -n "$child" ]] || return 0
  kill -TERM -- "-$child" 2>/dev/null || true
  local tries
  for ((tries = 0; tries < 50; ++tries)); do
    kill -0 -- "-$child" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL -- "-$child" 2>/dev/null || true
  wait "$child" 2>/dev/null || true
  child=""
}

# Nothing that a script started outlives it, however it ends.
trap end_child EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Many ranks on few cores: a waiting rank or thread must give its core away, and ranks must not be pinned to one.
few_cores_environment() {
  export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive
  export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_rmaps_base_oversubscribe=1
  export OMPI_MCA_pml=ob1 OMPI_MCA_btl=self,vader
  if [[ "$(id -u)" == 0 ]]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
}
