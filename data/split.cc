#include "data/split.h"

#include <glog/logging.h>

#include <cmath>
#include <cstddef>

#include "absl/strings/str_format.h"
#include "data/digest.h"
#include "data/utf8.h"

namespace trireme {
namespace {

constexpr int64_t kNumHashes = 65536;
constexpr size_t kNearBytes = 4096;  // how far a line end is looked for

int64_t HashOf(absl::string_view document) {
  const TokenDigest digest = DigestOf(document);
  return digest[0] << 8 | digest[1];
}

// About `cut`, behind a line end where one follows soon, and never inside a character.
size_t NiceCut(absl::string_view document, size_t cut) {
  const size_t line_end = document.substr(cut, kNearBytes).find('\n');
  if (line_end != absl::string_view::npos) return cut + line_end + 1;
  return cut == 0 ? 0 : Utf8Cut(document, cut);
}

}  // namespace

ValidationSplit::ValidationSplit(double share) : share_(share), bytes_by_hash_(kNumHashes) {
  CHECK(share >= 0 && share < 1) << share;
}

void ValidationSplit::Count(absl::string_view document) {
  const auto bytes = static_cast<int64_t>(document.size());
  bytes_by_hash_[HashOf(document)] += bytes;
  bytes_ += bytes;
}

void ValidationSplit::Decide() {
  if (share_ == 0) return;
  const double wanted = share_ * static_cast<double>(bytes_);
  double nearest = 0;  // bytes of the hashes below held_out_below_
  double sum = 0;
  for (int64_t hash = 0; hash < kNumHashes; ++hash) {
    sum += static_cast<double>(bytes_by_hash_[hash]);
    if (std::abs(sum - wanted) < std::abs(nearest - wanted)) {
      nearest = sum;
      held_out_below_ = hash + 1;
    }
  }
  rule_ = nearest >= wanted / 2 && nearest <= wanted * 2 ? Rule::kDocuments : Rule::kTails;
}

ValidationSplit::Parts ValidationSplit::Cut(absl::string_view document) const {
  if (rule_ == Rule::kNothing) return {document, {}};
  if (rule_ == Rule::kDocuments) {
    if (HashOf(document) < held_out_below_) return {{}, document};
    return {document, {}};
  }
  const double training = (1 - share_) * static_cast<double>(document.size());
  const size_t cut = NiceCut(document, static_cast<size_t>(training));
  return {document.substr(0, cut), document.substr(cut)};
}

std::string ValidationSplit::Describe() const {
  if (rule_ == Rule::kNothing) return "nothing is held out for validation";
  if (rule_ == Rule::kDocuments) {
    return absl::StrFormat("whole documents, %g %% of the bytes, chosen by their SHA-256, are held out",
                           share_ * 100);
  }
  return absl::StrFormat(
      "the last %g %% of every document is held out (too few documents to hold out whole ones)",
      share_ * 100);
}

}  // namespace trireme
