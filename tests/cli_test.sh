#!/usr/bin/env bash
# The command line of the real program: help, usage, and bad input of every kind, with exit status and message.
# usage: tests/cli_test.sh TRIREME
set -euo pipefail
trireme="$(realpath "$1")"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0
status=0

# runs COMMAND...: its status in $status, what it prints in $scratch/output and $scratch/messages.
runs() {
  status=0
  "$@" >"$scratch/output" 2>"$scratch/messages" </dev/null || status=$?
}

# expects NAME STATUS TEXT...: of the last `runs`; each TEXT stands in its output or its messages.
expects() {
  local name="$1" wanted="$2" ok=true text
  shift 2
  [[ "$status" == "$wanted" ]] || ok=false
  for text; do
    grep -qF -- "$text" "$scratch/output" "$scratch/messages" || ok=false
  done
  note "$ok" "$name: wanted status $wanted and: $*; got status $status"
}

# note OK NAME: counts it, and shows what was printed where it failed.
note() {
  if "$1"; then
    passed=$((passed + 1))
    return
  fi
  failed=$((failed + 1))
  printf 'FAILED: %s\n' "$2"
  sed 's/^/    /' "$scratch/output" "$scratch/messages" | head -n 20
}

same() { cmp -s "$1" "$2" && echo true || echo false; }

# flip_bit FILE OFFSET
flip_bit() {
  local byte
  byte="$(od -An -tu1 -j "$2" -N 1 "$1")"
  printf '%b' "\\x$(printf %x $((byte ^ 16)))" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# --- help and usage ---------------------------------------------------------------------------------------------------
runs "$trireme" --help
expects "trireme --help names every command" 0 prepare train generate explain inspect bench "Exit codes"
for command in prepare train generate explain inspect bench "bench step" "bench kernels" "bench pipeline"; do
  # shellcheck disable=SC2086 # two words
  runs "$trireme" $command --help
  expects "trireme $command --help" 0 "Usage: trireme"
  # shellcheck disable=SC2086
  runs "$trireme" $command --no-such-option
  expects "trireme $command refuses an unknown option" 64 "no-such-option"
done
runs "$trireme"
expects "no command at all" 64 "subcommand"
runs "$trireme" row
expects "an unknown command" 64 "row"
runs "$trireme" explain
expects "a missing option" 64 "--config"
runs "$trireme" explain --config configs/tiny_llama.textproto --rank 8 --set mesh.tp=2
expects "a rank that the mesh lacks" 64 "--rank 8" "2 ranks"
runs "$trireme" explain --config configs/tiny_llama.textproto --rank -1
expects "a rank below zero" 64 "--rank"
runs "$trireme" explain --config configs/tiny_llama.textproto --ranks 3 --set mesh.tp=2
expects "ranks that the mesh does not divide" 64 "mesh"
runs "$trireme" train --config configs/tiny_llama.textproto --resume perhaps
expects "a resume mode that does not exist" 64 "perhaps"
runs "$trireme" prepare --input README.md --output "$scratch/data" --validation-share 2
expects "a share above a half" 64 "--validation-share"
runs "$trireme" bench step --config configs/tiny_llama.textproto --set train.dtype=fp64
expects "a benchmark without a yardstick" 64 "train.dtype"

# --- what works -------------------------------------------------------------------------------------------------------
runs "$trireme" explain --config configs/tiny_llama.textproto --rank 3 --ranks 4 --set mesh.tp=2
expects "explain gives an unset dp the other ranks" 0 "dp 1/2" "tp 1/2"
runs "$trireme" explain --config configs/llama_1b.textproto --rank 4711 --ranks 16384 --set mesh.tp=8 \
  --set mesh.pp=8 --set train.global_batch=4096 --memory
expects "explain knows what rank 4711 of 16384 takes" 0 "saved activations" "total"
runs "$trireme" explain --config configs/tiny_llama.textproto --set mesh.pp=2 --set train.micro_batch=2 --schedule
expects "explain draws the schedule" 0 "schedule 1f1b: 2 stages, 4 micro-batches" "F0" "published: 20.0 %, (p - 1) / (m + p - 1)" \
  "by stage: 2 1 micro-batches"
drawn() { runs "$trireme" explain --config configs/tiny_llama.textproto --set mesh.pp=2 --set train.micro_batch=2 "$@"; }
drawn --schedule --svg "$scratch/schedule.svg"
expects "explain draws the schedule into a file" 0 "schedule 1f1b"
note "$(grep -q '^</svg>' "$scratch/schedule.svg" && echo true || echo false)" "the drawing is whole"
drawn --svg "$scratch/schedule.svg"
expects "a drawing needs --schedule" 64 "--svg requires --schedule"
drawn --schedule --svg "$scratch/no/such/folder.svg"
expects "a drawing that cannot be written is an error" 64 "--svg $scratch/no/such/folder.svg: cannot be written"

# --- configurations ---------------------------------------------------------------------------------------------------
recipe=configs/tiny_llama.textproto
# refused NAME TEXT: of $scratch/bad.textproto by explain and train; TEXT stands in the message; nothing is written.
refused() {
  local run="$scratch/run" command
  for command in explain train; do
    runs "$trireme" "$command" --config "$scratch/bad.textproto" --set "run.directory=$run"
    expects "$command: $1" 64 "$2"
  done
  if [[ -e "$run" ]]; then note false "$1: something was written"; fi
}

# changed NAME TEXT PROGRAM: tiny_llama changed by a sed program.
changed() {
  sed -E "$3" "$recipe" >"$scratch/bad.textproto"
  if cmp -s "$recipe" "$scratch/bad.textproto"; then note false "$1: the recipe was not changed"; fi
  refused "$1" "$2"
}

changed "a brace that is not closed" "bad.textproto:" '$ d'
changed "an unknown group" "modle" 's/^model \{/modle {/'
changed "an unknown field" "hiden_size" 's/hidden_size/hiden_size/'
changed "text for a number" "bad.textproto:" 's/hidden_size: 48/hidden_size: "wide"/'
changed "a fraction for a whole number" "bad.textproto:" 's/hidden_size: 48/hidden_size: 4.5/'
changed "a number beyond 64 bits" "bad.textproto:" 's/hidden_size: 48/hidden_size: 99999999999999999999/'
changed "a field given twice" "bad.textproto:" 's/hidden_size: 48/hidden_size: 48 hidden_size: 48/'
changed "a negative number of blocks" "model.num_hidden_layers: -1" 's/num_hidden_layers: 5/num_hidden_layers: -1/'
changed "no heads" "model.num_attention_heads: 0" 's/num_attention_heads: 8/num_attention_heads: 0/'
changed "heads that do not divide the width" "num_attention_heads" 's/num_attention_heads: 8/num_attention_heads: 7/'
changed "key heads that do not divide the heads" "num_key_value_heads" 's/value_heads: 4/value_heads: 3/'
changed "an unknown architecture" "model.architecture: mamba" 's/"llama"/"mamba"/'
changed "no architecture" "model.architecture" '/architecture/ d'
changed "an empty vocabulary" "model.vocab_size: 0" 's/vocab_size: 257/vocab_size: 0/'
changed "a sequence longer than the positions" "sequence_length" 's/sequence_length: 24/sequence_length: 41/'
changed "steps below zero" "train.steps: -20" 's/steps: 20/steps: -20/'
changed "an unknown dtype" "train.dtype: fp8" 's/"fp32"/"fp8"/'
changed "a learning rate that is no number" "optimizer.learning_rate: nan" 's/learning_rate: 5e-4/learning_rate: nan/'
changed "an endless learning rate" "optimizer.learning_rate: inf" 's/learning_rate: 5e-4/learning_rate: 1e999/'
changed "an unknown schedule" "pipeline.schedule: zigzag" 's/"1f1b"/"zigzag"/'
changed "an unknown recompute" "parallel.recompute: some" 's/"none"/"some"/'
changed "an unknown ZeRO stage" "parallel.zero_stage: 7" 's/zero_stage: 1/zero_stage: 7/'
changed "an unknown learning rate schedule" "learning_rate_schedule.kind: jump" 's/"constant"/"jump"/'
changed "a negative axis" "mesh.tp: -2" 's/tp: 1/tp: -2/'
changed "a batch that the micro-batch does not divide" "micro_batch" 's/global_batch: 8/global_batch: 8 micro_batch: 3/'
printf '' >"$scratch/bad.textproto"
refused "an empty file" "model.hidden_size"
head -c 4096 "$trireme" >"$scratch/bad.textproto"
refused "a program as a configuration" "bad.textproto:"
printf 'model {%.0s' {1..2000} >"$scratch/bad.textproto"
refused "groups in groups without end" "bad.textproto:"
rm "$scratch/bad.textproto"
refused "no file" "bad.textproto: cannot open"
mkdir "$scratch/bad.textproto"
refused "a folder" "bad.textproto: not a regular file"
sed -E 's/steps: 20/steps: -1/; s/"fp32"/"fp8"/; s/hidden_size/hiden_size/' "$recipe" >"$scratch/many.textproto"
runs "$trireme" explain --config "$scratch/many.textproto"
expects "all errors come together" 64 "hiden_size" "train.steps: -1" "train.dtype: fp8"
for setting in "mesh.tp" "mesh.warp=2" "mesh.tp=two" "=3"; do
  runs "$trireme" explain --config "$recipe" --set "$setting"
  expects "--set $setting" 64 "${setting%%=*}"
done
for mesh in mesh.tp=3 mesh.pp=6; do
  runs "$trireme" explain --config "$recipe" --set "$mesh"
  expects "a mesh that the model cannot take: $mesh" 64 "${mesh%=*}"
done
runs "$trireme" train --config "$recipe" --set mesh.tp=2 --set "run.directory=$scratch/run"
expects "a mesh that one process cannot be" 64 "mesh"

# --- token data -------------------------------------------------------------------------------------------------------
runs "$trireme" prepare --input "$scratch/nothing" --output "$scratch/data"
expects "text that is not there" 65 "$scratch/nothing"
cat tests/*.sh data/FORMAT.md >"$scratch/text.txt"
runs "$trireme" prepare --input "$scratch/text.txt" --output "$scratch/data" --tokenizer "bpe:$scratch/text.txt"
expects "a tokenizer that is none" 65 "text.txt"
runs "$trireme" prepare --input "$scratch/text.txt" --output "$scratch/data" --tokenizer words
expects "a kind of tokenizer that does not exist" 64 "words"
if [[ -e "$scratch/data" ]]; then note false "a failed preparation left an output"; fi
runs "$trireme" prepare --input "$scratch/text.txt" --output "$scratch/data" --tokenizer byte --validation-share 0.1
expects "prepare sums up" 0 "$scratch/data/train" "$scratch/data/validation" "MB/s"
runs "$trireme" prepare --input "$scratch/text.txt" --output "$scratch/data" --tokenizer byte
expects "prepare overwrites nothing" 65 "$scratch/data"
runs "$trireme" inspect "$scratch/data"
expects "inspect reads token data" 0 "token source $scratch/data/train" "vocabulary of 257"
runs "$trireme" inspect "$scratch/data/train" --against "$scratch/data/validation"
expects "inspect measures entropies" 0 "unigram entropy" "bigram entropy" "bits per byte"
runs "$trireme" inspect "$scratch/data/train" --against "$scratch/nothing"
expects "entropies against nothing" 65 "$scratch/nothing"

shard="$scratch/data/train/0000000.tokens"
bytes="$(stat -c %s "$shard")"
cp "$shard" "$scratch/whole"
for damage in truncated extended header payload table; do
  cp "$scratch/whole" "$shard"
  case "$damage" in
    truncated) truncate -s $((bytes - 100)) "$shard" ;;
    extended) printf 'x' >>"$shard" ;;
    header) flip_bit "$shard" 17 ;;
    payload) flip_bit "$shard" 200 ;;
    table) flip_bit "$shard" $((bytes - 2)) ;;
  esac
  cp "$shard" "$scratch/damaged"
  runs "$trireme" inspect "$shard"
  expects "inspect finds a shard that is $damage" 65 "$shard" "byte"
  runs "$trireme" inspect "$scratch/data"
  expects "inspect finds it in the folder ($damage)" 65 "0000000.tokens" "byte"
  runs "$trireme" train --config "$recipe" --set "data.path=$scratch/data/train" --set "run.directory=$scratch/run"
  expects "train refuses a shard that is $damage" 65 "0000000.tokens" "byte"
  note "$(same "$shard" "$scratch/damaged")" "the damaged shard was written to ($damage)"
done
cp "$scratch/whole" "$shard"
rm -rf "$scratch/run"
if [[ ! -e /dev/nvidiactl ]]; then
  runs "$trireme" train --config "$recipe" --set train.device=cuda --set "run.directory=$scratch/run"
  expects "a GPU where there is none" 64 "train.device: cuda" "train.device=cpu"
  note "$([[ -e "$scratch/run" ]] && echo false || echo true)" "nothing is written without the device"
fi
runs "$trireme" train --config "$recipe" --set "data.path=$scratch/nothing" --set "run.directory=$scratch/run"
expects "training data that is not there" 65 "$scratch/nothing"
rm -rf "$scratch/run"

# --- checkpoints ------------------------------------------------------------------------------------------------------
runs "$trireme" inspect "$scratch"
expects "a path that is neither" 65 "$scratch" "neither token data"
runs "$trireme" generate --checkpoint "$scratch/nothing" --prompt x --tokens 1
expects "a checkpoint that is not there" 65 "$scratch/nothing"
train=("$trireme" train --config "$recipe" --set "data.path=$scratch/data/train" --set "run.directory=$scratch/run")
runs "${train[@]}" --resume required
expects "nothing to resume" 65 "$scratch/run"
rm -rf "$scratch/run"
runs "${train[@]}" --set train.steps=3
expects "three steps" 0
traced=("${train[@]}" --set "run.directory=$scratch/traced" --set train.steps=6 --trace "$scratch/trace.json")
runs "${traced[@]}" --trace-steps 5:7
expects "a trace of steps that the run does not do" 64 "--trace-steps 5:7" "steps 1 to 6"
runs "${traced[@]}" --trace-steps 5:4
expects "a trace of no steps" 64 "--trace-steps 5:4"
runs "${train[@]}" --set "run.directory=$scratch/traced" --trace-steps 3:5
expects "steps of a trace that nobody asked for" 64 "--trace-steps requires --trace"
for path in "$scratch/no/such/folder.json" "$scratch"; do
  runs "${train[@]}" --set "run.directory=$scratch/traced" --trace "$path"
  expects "a trace that cannot be written: $path" 64 "--trace $path: cannot be written"
done
note "$([[ -e "$scratch/traced" ]] && echo false || echo true)" "nothing is written without the trace"
runs "${traced[@]}"
expects "a trace" 0 "timeline in $scratch/trace.json"
note "$([[ "$(tail -n 1 "$scratch/trace.json")" == "]}" ]] && echo true || echo false)" "the trace is whole"
note "$([[ "$(grep -o '"name":"step [0-9]*"' "$scratch/trace.json" | tr -dc 0-9)" == 345 ]] && echo true || echo false)" "steps 3 to 5 are traced"
runs "$trireme" inspect "$scratch/run"
expects "inspect reads a run" 0 "step 3" "model.embed_tokens.weight" "every byte was read"
checkpoint="$(find "$scratch/run/checkpoints" -maxdepth 1 -name 'step-00000003-*')"
runs "$trireme" inspect "$checkpoint" --headers-only
expects "inspect reads a checkpoint's headers" 0 "lm_head.weight"
generate=("$trireme" generate --checkpoint "$scratch/run" --tokens 20)
runs "${generate[@]}" --prompt '=head1'
expects "generate begins with the prompt" 0 "=head1"
note "$([[ "$(stat -c %s "$scratch/output")" == 26 ]] && echo true || echo false)" "20 tokens are 20 bytes"
cp "$scratch/output" "$scratch/first"
runs "${generate[@]}" --prompt '=head1' --seed 9
note "$(same "$scratch/output" "$scratch/first")" "without temperature the seed does not matter"
runs "${generate[@]}" --prompt '' --temperature 1 --seed 9
expects "a document from its beginning" 0
cp "$scratch/output" "$scratch/first"
runs "${generate[@]}" --prompt '' --temperature 1 --seed 9
note "$(same "$scratch/output" "$scratch/first")" "a seed gives the same text"
runs "${generate[@]}" --prompt '' --temperature 1 --seed 10
note "$([[ "$(same "$scratch/output" "$scratch/first")" == false ]] && echo true || echo false)" "another seed gives another text"
runs "${generate[@]}" --prompt x --tokenizer "$scratch/nothing"
expects "a tokenizer that is not there" 65 "$scratch/nothing"

tensors="$checkpoint/$(cd "$checkpoint" && find . -name '*.safetensors' -printf '%f\n' | head -n 1)"
for file in "$tensors" "$checkpoint/MANIFEST" "$checkpoint/COMMIT"; do
  cp "$file" "$scratch/whole"
  bytes="$(stat -c %s "$file")"
  for damage in truncated flipped; do
    cp "$scratch/whole" "$file"
    case "$damage" in
      truncated) truncate -s $((bytes / 2)) "$file" ;;
      flipped) flip_bit "$file" $((bytes / 2)) ;;
    esac
    name="$(basename "$file")"
    cp "$file" "$scratch/damaged"
    runs "$trireme" inspect "$checkpoint"
    expects "inspect finds a $name that is $damage" 65 "$name" "byte"
    runs "$trireme" generate --checkpoint "$checkpoint" --prompt x --tokens 1
    expects "generate refuses a $name that is $damage" 65 "$name" "byte"
    runs "${train[@]}" --set train.steps=4 --resume required
    expects "train refuses a $name that is $damage" 65 "$name"
    note "$(same "$file" "$scratch/damaged")" "the damaged $name was written to"
  done
  cp "$scratch/whole" "$file"
done
runs "${train[@]}" --set train.steps=4 --resume required
expects "the mended checkpoint resumes" 0

printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
