#include "data/loader.h"

#include <glog/logging.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "data/permutation.h"

namespace trireme {

Loader::Loader(std::shared_ptr<const TokenSource> source, const LoaderOptions& options)
    : source_(std::move(source)),
      options_(options),
      num_windows_(source_->NumWindows(options.sequence_length)) {}

absl::StatusOr<Loader> Loader::Create(std::shared_ptr<const TokenSource> source,
                                      const LoaderOptions& options) {
  CHECK_GT(options.sequence_length, 0);
  Loader loader(std::move(source), options);
  if (loader.num_windows() == 0) {
    return absl::InvalidArgumentError(absl::StrCat(loader.source().directory(), ": holds ",
                                                   loader.source().num_tokens(),
                                                   " tokens; a sequence length of ", options.sequence_length,
                                                   " needs at least ", options.sequence_length + 1));
  }
  return loader;
}

int64_t Loader::WindowOf(int64_t sample) const {
  CHECK_GE(sample, 0);
  const int64_t index = sample % num_windows_;
  if (options_.order == WindowOrder::kSequential) return index;
  return Permutation(options_.seed, sample / num_windows_, num_windows_)(index);
}

absl::Status Loader::Read(int64_t first_sample, int64_t count, int32_t* inputs, int32_t* labels) const {
  const int64_t length = options_.sequence_length;
  std::vector<int32_t> tokens(length + 1);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first_token = WindowOf(first_sample + i) * length;
    if (absl::Status status = source_->Read(first_token, absl::MakeSpan(tokens)); !status.ok()) return status;
    std::copy(tokens.begin(), tokens.end() - 1, inputs + i * length);
    std::copy(tokens.begin() + 1, tokens.end(), labels + i * length);
  }
  return absl::OkStatus();
}

}  // namespace trireme
