// `trireme generate`: continues a prompt with a checkpoint's model, on one rank.
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "checkpoint/reader.h"
#include "configs/exit_codes.h"
#include "configs/load.h"
#include "data/tokenizer.h"
#include "launch/command.h"
#include "launch/environment.h"
#include "launch/generator.h"
#include "runtime/cpu/cpu_device.h"

namespace trireme {
namespace {

struct GenerateFlags {
  std::string checkpoint;
  std::string prompt;
  int64_t tokens = 0;
  std::string tokenizer;
  Sampling sampling;
  int threads = 0;
};

// The configuration that the checkpoint's run was started with, for one rank.
absl::StatusOr<Config> ConfigOf(const CheckpointReader& checkpoint) {
  const std::string overrides[] = {"mesh.pp=1", "mesh.dp=1", "mesh.cp=1", "mesh.tp=1", "mesh.ep=1"};
  return ParseConfig(checkpoint.state().config, absl::StrCat(checkpoint.directory(), "/MANIFEST (config)"),
                     overrides);
}

// The tokenizer that the model was trained with. Without a flag: the byte tokenizer if it is that one, which
// needs no file, else the one in the folder of the training data.
absl::StatusOr<std::shared_ptr<const Tokenizer>> TokenizerOf(const GenerateFlags& flags, const Config& config,
                                                             const CheckpointState& state) {
  if (flags.tokenizer.empty() && state.tokenizer_digest == DigestHex(MakeByteTokenizer()->digest())) {
    return MakeByteTokenizer();
  }
  const std::string& place = flags.tokenizer.empty() ? config.data().path() : flags.tokenizer;
  auto tokenizer =
      place == "byte" || place.rfind("bpe:", 0) == 0 ? TokenizerFromSpec(place) : LoadTokenizer(place);
  if (!tokenizer.ok()) {
    if (!flags.tokenizer.empty()) return tokenizer.status();
    return absl::Status(
        tokenizer.status().code(),
        absl::StrCat(tokenizer.status().message(),
                     "\nThe tokenizer is looked for where the training data was (data.path); name "
                     "another place with --tokenizer DIR"));
  }
  const std::string digest = DigestHex((*tokenizer)->digest());
  if (!state.tokenizer_digest.empty() && digest != state.tokenizer_digest) {
    return absl::InvalidArgumentError(
        absl::StrCat(place, ": this tokenizer has digest ", digest, ", but the model was trained with ",
                     state.tokenizer_digest, "; name the right one with --tokenizer"));
  }
  return tokenizer;
}

void Print(absl::string_view bytes) {
  std::fwrite(bytes.data(), 1, bytes.size(), stdout);
  std::fflush(stdout);
}

absl::Status Continue(const GenerateFlags& flags, const Tokenizer& tokenizer, Generator& generator) {
  // An empty prompt is the beginning of a document, which stands behind the end of another.
  std::vector<int32_t> tokens = {tokenizer.document_end()};
  if (!flags.prompt.empty()) {
    tokens.clear();
    tokenizer.Encode(flags.prompt, &tokens);
  }
  Print(flags.prompt);
  for (int64_t i = 0; i < flags.tokens; ++i) {
    const absl::Span<const float> logits = generator.Logits(tokens);
    // A model may have more ids than its tokenizer.
    const absl::StatusOr<int32_t> next =
        ChooseToken(logits.subspan(0, static_cast<size_t>(tokenizer.vocab_size())), flags.sampling,
                    static_cast<int64_t>(tokens.size()));
    if (!next.ok()) return next.status();
    tokens.push_back(*next);
    Print(*next == tokenizer.document_end() ? "\n" : tokenizer.TokenBytes(*next));
  }
  return absl::OkStatus();
}

absl::Status Generate(const GenerateFlags& flags) {
  const std::unique_ptr<Storage> storage = NewPosixStorage();
  auto checkpoint = CheckpointReader::Open(flags.checkpoint, *storage);
  if (!checkpoint.ok()) return checkpoint.status();
  const absl::StatusOr<Config> config = ConfigOf(**checkpoint);
  if (!config.ok()) return config.status();
  const auto tokenizer = TokenizerOf(flags, *config, (*checkpoint)->state());
  if (!tokenizer.ok()) return tokenizer.status();
  if ((*tokenizer)->vocab_size() > config->model().vocab_size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the tokenizer has ", (*tokenizer)->vocab_size(), " tokens, but the model only ",
                     config->model().vocab_size(), "; name the right one with --tokenizer"));
  }
  CpuDevice device(flags.threads > 0 ? flags.threads : ReadEnvironment().num_threads);
  Generator generator(*config, device);
  if (absl::Status status = (*checkpoint)->tensors().Load(generator.ParameterSlices()); !status.ok())
    return status;
  return Continue(flags, **tokenizer, generator);
}

}  // namespace

void AddGenerateCommand(CLI::App& app, CommandBody* body) {
  CLI::App* command = app.add_subcommand("generate", "Continue a prompt with the model of a checkpoint.");
  auto flags = std::make_shared<GenerateFlags>();
  command->add_option("--checkpoint", flags->checkpoint, "A checkpoint's directory, or a run's (its newest)")
      ->required();
  command->add_option("--prompt", flags->prompt, "Text to continue; empty: the beginning of a document")
      ->required();
  command->add_option("--tokens", flags->tokens, "Tokens to append")
      ->required()
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--temperature", flags->sampling.temperature,
                   "0: always the likeliest token; 1: as likely as the model says")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--top-k", flags->sampling.top_k, "Only the K likeliest tokens; 0: all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--seed", flags->sampling.seed, "Of the draws: the same seed gives the same text")
      ->capture_default_str();
  command->add_option(
      "--tokenizer", flags->tokenizer,
      "\"byte\", \"bpe:FILE\" or a folder of `trireme prepare` (default: that of the training data)");
  command->add_option("--threads", flags->threads, "Threads (default: OMP_NUM_THREADS, else all cores)")
      ->check(CLI::PositiveNumber);
  command->footer(
      "Prints the prompt and the continuation, byte for byte, as they are made. The end of a document is "
      "printed as a\n"
      "line feed, and the text goes on. The model sees at most as many tokens as it was trained on at once\n"
      "(train.sequence_length): of a longer text, the last ones.\n"
      "Example: trireme generate --checkpoint runs/quickstart/run --prompt \"=head1\" --tokens 400 "
      "--temperature 0.7");
  command->callback([flags, body] {
    *body = [flags] {
      const absl::Status status = Generate(*flags);
      if (!status.ok()) PrintError(status);
      return ExitCodeFor(status);
    };
  });
}

}  // namespace trireme
