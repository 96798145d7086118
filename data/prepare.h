// Text in, token sources out: what `trireme prepare` does.
#ifndef TRIREME_DATA_PREPARE_H_
#define TRIREME_DATA_PREPARE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace trireme {

struct PrepareOptions {
  std::vector<std::string> inputs;  // text files, .jsonl files, folders
  std::string output;               // must not exist, or be an empty folder
  std::string tokenizer;            // "byte", "bpe:FILE"; empty: byte, unless one is trained
  int64_t train_tokenizer = 0;  // vocabulary size of a BPE tokenizer to train on the training text; 0 = none
  double validation_share = 0;  // of the bytes, in [0, 0.5]; above 0 the output holds train/ and validation/
  int64_t shard_tokens = int64_t{1} << 28;
  std::string json_field = "text";
};

struct PrepareProgress {
  std::string stage;  // "reading", "sampling", "training the tokenizer", "writing"
  int64_t bytes_done = 0;
  int64_t bytes_total = 0;  // of the input files
};

struct PreparedSource {
  std::string path;
  int64_t documents = 0;
  int64_t bytes = 0;   // of text
  int64_t tokens = 0;  // document ends included
  int64_t shards = 0;
};

struct PrepareReport {
  std::vector<PreparedSource> sources;  // one, or train and validation
  std::string tokenizer;                // kind
  int64_t vocab_size = 0;               // may be below what train_tokenizer asked for
  std::string split;                    // how validation text was chosen, in words
  std::vector<std::string> notes;       // files that were passed over, and why
};

// Called now and then, and at the end of a stage.
using PrepareProgressCallback = std::function<void(const PrepareProgress&)>;

// The output appears whole, or on any error not at all. The same inputs and options give the same bytes.
// Errors: InvalidArgument for options and for content (file, line), NotFound for a missing input,
// AlreadyExists for an output that holds something, and what the system says, each with the path.
absl::StatusOr<PrepareReport> Prepare(const PrepareOptions& options,
                                      const PrepareProgressCallback& progress = {});

// All that is wrong with the options, or OK; reads nothing but them. For usage errors, before anything is
// done.
absl::Status CheckPrepareOptions(const PrepareOptions& options);

}  // namespace trireme

#endif  // TRIREME_DATA_PREPARE_H_
