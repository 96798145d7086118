#include "data/prepare.h"

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "data/bpe_tokenizer.h"
#include "data/documents.h"
#include "data/output_directory.h"
#include "data/source_writer.h"
#include "data/split.h"
#include "data/tokenizer.h"
#include "data/utf8.h"

namespace trireme {
namespace {

constexpr int64_t kProgressBytes = int64_t{1} << 22;   // of input between two reports
constexpr size_t kPieceBytes = size_t{1} << 20;        // of a document, tokenized at once
constexpr int64_t kSampleBytes = int64_t{4} << 20;     // of text that a tokenizer is trained on
constexpr size_t kSamplePieceBytes = size_t{1} << 14;  // and the stretches that it is drawn in

// Calls `visit` with the pieces of a text, of about `bytes` each and cut behind a line end where that is
// possible.
absl::Status ForEachPiece(absl::string_view text, size_t bytes,
                          const std::function<absl::Status(absl::string_view)>& visit) {
  while (!text.empty()) {
    size_t cut = text.size();
    if (text.size() > bytes) {
      const size_t line_end = text.rfind('\n', bytes - 1);
      cut = line_end != absl::string_view::npos ? line_end + 1 : Utf8Cut(text, bytes);
    }
    if (absl::Status status = visit(text.substr(0, cut)); !status.ok()) return status;
    text.remove_prefix(cut);
  }
  return absl::OkStatus();
}

// Takes every k-th stretch of a text, so that `kSampleBytes` of `total` bytes are taken, evenly.
class EvenSample {
 public:
  explicit EvenSample(int64_t total) : total_(total) {}

  absl::Status Add(absl::string_view text) {
    return ForEachPiece(text, kSamplePieceBytes, [this](absl::string_view piece) {
      seen_ += static_cast<int64_t>(piece.size());
      const double wanted =
          static_cast<double>(kSampleBytes) * (static_cast<double>(seen_) / static_cast<double>(total_));
      if (total_ <= kSampleBytes || static_cast<double>(taken_) < wanted) {
        texts_.emplace_back(piece);
        taken_ += static_cast<int64_t>(piece.size());
      }
      return absl::OkStatus();
    });
  }

  const std::vector<std::string>& texts() const { return texts_; }

 private:
  int64_t total_;
  int64_t seen_ = 0;
  int64_t taken_ = 0;
  std::vector<std::string> texts_;
};

// Text to tokens of one source.
class Output {
 public:
  Output(std::string path, std::string working_path, std::shared_ptr<const Tokenizer> tokenizer,
         int64_t shard_tokens)
      : tokenizer_(tokenizer), writer_(std::move(working_path), std::move(tokenizer), shard_tokens) {
    report_.path = std::move(path);
  }

  absl::Status AddDocument(absl::string_view text) {
    if (text.empty()) return absl::OkStatus();
    ++report_.documents;
    report_.bytes += static_cast<int64_t>(text.size());
    absl::Status status = ForEachPiece(text, kPieceBytes, [this](absl::string_view piece) {
      ids_.clear();
      tokenizer_->Encode(piece, &ids_);
      return writer_.Append(ids_);
    });
    if (!status.ok()) return status;
    return writer_.Append({tokenizer_->document_end()});
  }

  absl::StatusOr<PreparedSource> Finish() {
    if (report_.documents == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat(report_.path, ": no text is left for it; give more text or another validation share"));
    }
    if (absl::Status status = writer_.Finish(); !status.ok()) return status;
    report_.tokens = writer_.num_tokens();
    report_.shards = writer_.num_shards();
    return report_;
  }

 private:
  std::shared_ptr<const Tokenizer> tokenizer_;
  SourceWriter writer_;
  PreparedSource report_;
  std::vector<int32_t> ids_;
};

// One run of Prepare: its passes over the documents.
class Preparation {
 public:
  Preparation(const PrepareOptions& options, const PrepareProgressCallback& progress, TextFiles files)
      : options_(options), progress_(progress), files_(std::move(files)), split_(options.validation_share) {}

  absl::StatusOr<PrepareReport> Run(const std::string& working_path) {
    if (absl::Status status = Survey(); !status.ok()) return status;
    auto tokenizer = ChooseTokenizer();
    if (!tokenizer.ok()) return tokenizer.status();
    PrepareReport report;
    if (absl::Status status = Write(*tokenizer, working_path, &report); !status.ok()) return status;
    report.tokenizer = (*tokenizer)->kind();
    report.vocab_size = (*tokenizer)->vocab_size();
    report.split = split_.Describe();
    report.notes = files_.notes;
    return report;
  }

 private:
  absl::Status ForEach(const std::string& stage,
                       const std::function<absl::Status(absl::string_view)>& visit) {
    int64_t reported = 0;
    const auto report = [&](int64_t bytes_done) {
      if (progress_) progress_({stage, bytes_done, files_.bytes});
      reported = bytes_done;
    };
    absl::Status status =
        ForEachDocument(files_, options_.json_field, [&](absl::string_view text, int64_t bytes_done) {
          if (bytes_done - reported >= kProgressBytes) report(bytes_done);
          return visit(text);
        });
    if (status.ok()) report(files_.bytes);
    return status;
  }

  // Counts the text and finds every error in the input, before the long work.
  absl::Status Survey() {
    absl::Status status = ForEach("reading", [this](absl::string_view text) {
      text_bytes_ += static_cast<int64_t>(text.size());
      if (options_.validation_share > 0) split_.Count(text);
      return absl::OkStatus();
    });
    if (!status.ok()) return status;
    if (text_bytes_ == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("the inputs hold no text: ", absl::StrJoin(options_.inputs, " "),
                       files_.notes.empty() ? "" : "; ", files_.notes.empty() ? "" : files_.notes.front()));
    }
    split_.Decide();
    return absl::OkStatus();
  }

  absl::StatusOr<std::shared_ptr<const Tokenizer>> ChooseTokenizer() {
    if (options_.train_tokenizer == 0) {
      return TokenizerFromSpec(options_.tokenizer.empty() ? "byte" : options_.tokenizer);
    }
    EvenSample sample(text_bytes_);
    absl::Status status =
        ForEach("sampling", [&](absl::string_view text) { return sample.Add(split_.Cut(text).training); });
    if (!status.ok()) return status;
    if (progress_) progress_({"training the tokenizer", 0, files_.bytes});
    const absl::StatusOr<std::string> model = TrainBpeModel(sample.texts(), options_.train_tokenizer);
    if (!model.ok()) return model.status();
    if (progress_) progress_({"training the tokenizer", files_.bytes, files_.bytes});
    return MakeBpeTokenizer(*model);
  }

  absl::Status Write(const std::shared_ptr<const Tokenizer>& tokenizer, const std::string& working_path,
                     PrepareReport* report) {
    const bool split = options_.validation_share > 0;
    std::vector<Output> outputs;
    for (const std::string& name :
         split ? std::vector<std::string>{"/train", "/validation"} : std::vector<std::string>{""}) {
      std::error_code error;
      std::filesystem::create_directories(working_path + name, error);
      if (error)
        return absl::ErrnoToStatus(error.value(), absl::StrCat(working_path, name, ": cannot be made"));
      outputs.emplace_back(options_.output + name, working_path + name, tokenizer, options_.shard_tokens);
    }
    absl::Status status = ForEach("writing", [&](absl::string_view text) {
      const ValidationSplit::Parts parts = split_.Cut(text);
      if (absl::Status added = outputs.front().AddDocument(parts.training); !added.ok()) return added;
      return outputs.back().AddDocument(parts.validation);
    });
    if (!status.ok()) return status;
    for (Output& output : outputs) {
      const absl::StatusOr<PreparedSource> source = output.Finish();
      if (!source.ok()) return source.status();
      report->sources.push_back(*source);
    }
    return absl::OkStatus();
  }

  const PrepareOptions& options_;
  const PrepareProgressCallback& progress_;
  TextFiles files_;
  ValidationSplit split_;
  int64_t text_bytes_ = 0;
};

}  // namespace

absl::Status CheckPrepareOptions(const PrepareOptions& options) {
  std::vector<std::string> problems;
  if (options.inputs.empty())
    problems.emplace_back("--input is missing: name text files, .jsonl files or folders");
  if (options.output.empty()) problems.emplace_back("--output is missing: name a folder to make");
  if (!options.tokenizer.empty() && options.train_tokenizer != 0) {
    problems.emplace_back("--tokenizer and --train-tokenizer exclude each other");
  }
  if (options.train_tokenizer < 0) {
    problems.push_back(absl::StrCat("--train-tokenizer ", options.train_tokenizer, " is no vocabulary size"));
  }
  if (!(options.validation_share >= 0 && options.validation_share <= 0.5)) {
    problems.push_back(
        absl::StrCat("--validation-share ", options.validation_share, " is not between 0 and 0.5"));
  }
  if (options.shard_tokens < 1) {
    problems.push_back(absl::StrCat("a shard of ", options.shard_tokens, " tokens cannot be; at least 1"));
  }
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(problems, "\n"));
}

absl::StatusOr<PrepareReport> Prepare(const PrepareOptions& options,
                                      const PrepareProgressCallback& progress) {
  if (absl::Status status = CheckPrepareOptions(options); !status.ok()) return status;
  absl::StatusOr<TextFiles> files = ListTextFiles(options.inputs);
  if (!files.ok()) return files.status();
  const auto output = OutputDirectory::Create(options.output);
  if (!output.ok()) return output.status();
  auto report = Preparation(options, progress, *std::move(files)).Run((*output)->working_path());
  if (!report.ok()) return report.status();
  if (absl::Status status = (*output)->Commit(); !status.ok()) return status;
  return report;
}

}  // namespace trireme
