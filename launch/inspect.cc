// `trireme inspect`: what lies at a path, in words.
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "checkpoint/describe.h"
#include "configs/exit_codes.h"
#include "data/describe.h"
#include "launch/command.h"

namespace trireme {
namespace {

struct InspectFlags {
  std::string path;
  std::string against;
  bool headers_only = false;
};

absl::StatusOr<std::string> Describe(const InspectFlags& flags) {
  if (!flags.against.empty()) return DescribeAgainst(flags.path, flags.against);
  if (IsTokenData(flags.path)) return DescribeTokenData(flags.path);
  const std::unique_ptr<Storage> storage = NewPosixStorage();
  absl::StatusOr<std::string> words = DescribeCheckpoint(flags.path, !flags.headers_only, *storage);
  if (!absl::IsNotFound(words.status())) return words;
  return absl::NotFoundError(absl::StrCat(
      flags.path,
      ": neither token data (a folder with source.txt or train/source.txt, or a .tokens file) nor a "
      "checkpoint (a run's directory with checkpoints/LATEST, a checkpoint's with COMMIT, or safetensors "
      "files): ",
      words.status().message()));
}

int Inspect(const InspectFlags& flags) {
  const absl::StatusOr<std::string> words = Describe(flags);
  if (!words.ok()) {
    PrintError(words.status());
    return ExitCodeFor(words.status());
  }
  std::fwrite(words->data(), 1, words->size(), stdout);
  return kExitFinished;
}

}  // namespace

void AddInspectCommand(CLI::App& app, CommandBody* body) {
  CLI::App* command =
      app.add_subcommand("inspect", "Say in words what a checkpoint or token data holds, and check it.");
  auto flags = std::make_shared<InspectFlags>();
  command
      ->add_option(
          "path", flags->path,
          "A run's or a checkpoint's directory, safetensors files, a folder of token shards, or one shard")
      ->required();
  command
      ->add_option(
          "--against", flags->against,
          "With a folder of training shards as the path: this folder's bits per byte by the byte and byte\n"
          "pair counts of that one, the yardsticks of a model's validation loss")
      ->type_name("VALIDATION");
  command->add_flag("--headers-only", flags->headers_only,
                    "Of a checkpoint, do not read and check the tensors' data");
  command->footer(
      "Everything is read and every checksum compared; damage ends with status 65, naming the file and the "
      "byte.\n"
      "Example: trireme inspect runs/quickstart/data/train --against runs/quickstart/data/validation");
  command->callback([flags, body] { *body = [flags] { return Inspect(*flags); }; });
}

}  // namespace trireme
