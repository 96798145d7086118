#!/usr/bin/env bash
# The launcher of nvcc in CUDA builds, which keeps what ptxas says of each kernel in FILE.o.ptxas beside the
# object, for tests/kernel_resources_test.sh --build. What else nvcc says is passed on.
set -euo pipefail
output=""
for ((i = 1; i < $#; ++i)); do
  if [[ "${!i}" == -o ]]; then
    next=$((i + 1))
    output="${!next}"
  fi
done
if [[ "$output" != *.cu.o ]]; then exec "$@"; fi
status=0
"$@" -Xptxas -v 2>"$output.said" || status=$?
grep -E '^ptxas info|bytes stack frame' "$output.said" >"$output.ptxas" || true
grep -vE '^ptxas info|bytes stack frame' "$output.said" >&2 || true
rm -f "$output.said"
exit "$status"
