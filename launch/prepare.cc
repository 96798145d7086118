// `trireme prepare`: text in, token shards out.
#include "data/prepare.h"

#include <unistd.h>

#include <cstdio>
#include <memory>

#include "absl/strings/str_format.h"
#include "configs/exit_codes.h"
#include "launch/command.h"
#include "runtime/clock.h"

namespace trireme {
namespace {

double Megabytes(int64_t bytes) {
  return static_cast<double>(bytes) / 1e6;
}

// Prints where a long preparation stands, on one line of a terminal, or now and then into a log.
class ProgressPrinter {
 public:
  void operator()(const PrepareProgress& progress) {
    const double now = NowSeconds();
    if (progress.stage != stage_) {
      EndLine();
      stage_ = progress.stage;
      stage_begin_ = now;
      printed_at_ = 0;
    }
    if (progress.bytes_done == 0) return;
    const bool is_end = progress.bytes_done >= progress.bytes_total;
    if (now - printed_at_ < (on_terminal_ ? 0.2 : 5.0) && !(is_end && on_terminal_)) return;
    printed_at_ = now;
    const double seconds = now - stage_begin_;
    absl::FPrintF(stderr, "%s%s: %.1f of %.1f MB", on_terminal_ ? "\r" : "", stage_,
                  Megabytes(progress.bytes_done), Megabytes(progress.bytes_total));
    if (seconds > 0.1) absl::FPrintF(stderr, ", %.1f MB/s   ", Megabytes(progress.bytes_done) / seconds);
    if (!on_terminal_) absl::FPrintF(stderr, "\n");
    line_is_open_ = on_terminal_;
  }

  void EndLine() {
    if (line_is_open_) absl::FPrintF(stderr, "\n");
    line_is_open_ = false;
  }

 private:
  const bool on_terminal_ = isatty(STDERR_FILENO) != 0;
  std::string stage_;
  double stage_begin_ = 0;
  double printed_at_ = 0;
  bool line_is_open_ = false;
};

void PrintReport(const PrepareReport& report, double seconds) {
  for (const std::string& note : report.notes) absl::FPrintF(stderr, "note: %s\n", note);
  int64_t bytes = 0;
  for (const PreparedSource& source : report.sources) {
    bytes += source.bytes;
    absl::PrintF("%s: %d documents, %.1f MB of text, %d tokens in %d shard%s\n", source.path,
                 source.documents, Megabytes(source.bytes), source.tokens, source.shards,
                 source.shards == 1 ? "" : "s");
  }
  if (!report.split.empty()) absl::PrintF("validation text: %s\n", report.split);
  absl::PrintF("%s tokenizer, vocabulary of %d; %.1f MB in %.1f s, %.1f MB/s\n", report.tokenizer,
               report.vocab_size, Megabytes(bytes), seconds, Megabytes(bytes) / seconds);
}

int PrepareTokens(const PrepareOptions& options) {
  if (absl::Status status = CheckPrepareOptions(options); !status.ok()) {
    PrintError(status);
    return kExitConfig;
  }
  ProgressPrinter printer;
  const double begin = NowSeconds();
  const absl::StatusOr<PrepareReport> report =
      Prepare(options, [&printer](const PrepareProgress& progress) { printer(progress); });
  printer.EndLine();
  if (!report.ok()) {
    PrintError(report.status());
    return ExitCodeFor(report.status());
  }
  PrintReport(*report, NowSeconds() - begin);
  return kExitFinished;
}

}  // namespace

void AddPrepareCommand(CLI::App& app, CommandBody* body) {
  CLI::App* command = app.add_subcommand("prepare", "Turn text, JSONL or folders of them into token shards.");
  auto options = std::make_shared<PrepareOptions>();
  command->add_option("--input", options->inputs, "Text files, .jsonl files and folders of them")
      ->type_name("PATH")
      ->required();
  command->add_option("--output", options->output, "Folder to make; must not exist, or be empty")
      ->type_name("DIR")
      ->required();
  command
      ->add_option("--tokenizer", options->tokenizer,
                   "\"byte\" (the default): ids 0 to 255 are bytes, 256 ends each document;\n"
                   "or \"bpe:FILE\": a SentencePiece model")
      ->type_name("byte|bpe:FILE")
      ->check([](const std::string& spec) {
        const bool known = spec == "byte" || spec.rfind("bpe:", 0) == 0;
        return known ? std::string() : spec + " is unknown; choose byte or bpe:FILE";
      });
  command
      ->add_option("--train-tokenizer", options->train_tokenizer,
                   "Train a BPE tokenizer of N tokens on the training text first")
      ->type_name("N");
  command
      ->add_option(
          "--validation-share", options->validation_share,
          "Hold out this share of the bytes, 0 to 0.5;\nthe output then holds train/ and validation/")
      ->type_name("X");
  command->add_option("--shard-tokens", options->shard_tokens, "Tokens of a shard at most")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--json-field", options->json_field, "The field of a JSONL line that holds the text")
      ->type_name("NAME")
      ->capture_default_str();
  command->footer(
      "The output appears whole, or on an error not at all; the same inputs and options give the same bytes. "
      "A text\n"
      "file is one document, a .jsonl file one a line. The format stands in data/FORMAT.md.\n"
      "Example: trireme prepare --input book.txt notes/ --output runs/data --tokenizer byte "
      "--validation-share 0.05");
  command->callback([options, body] { *body = [options] { return PrepareTokens(*options); }; });
}

}  // namespace trireme
