// Which text is held out for validation: a pure function of the documents, not of their order.
#ifndef TRIREME_DATA_SPLIT_H_
#define TRIREME_DATA_SPLIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace trireme {

// First every document is counted, then Decide() fixes the rule, then Cut() applies it. Whole documents are
// held out, those with the smallest SHA-256, until their bytes come nearest to the share; so equal documents
// stay on one side. Where that gives less than half or more than twice the share (few documents, or one that
// outweighs the others), the tail of every document is held out instead, cut behind a line end where one is
// near. Memory: 512 KiB.
class ValidationSplit {
 public:
  // `share` of the bytes, in [0, 1). 0: nothing is held out, and nothing need be counted.
  explicit ValidationSplit(double share);

  void Count(absl::string_view document);
  void Decide();

  struct Parts {
    absl::string_view training;  // empty for a document that is held out
    absl::string_view validation;
  };
  Parts Cut(absl::string_view document) const;

  // The rule in words, for a report.
  std::string Describe() const;

 private:
  enum class Rule { kNothing, kDocuments, kTails };

  double share_;
  Rule rule_ = Rule::kNothing;
  std::vector<int64_t> bytes_by_hash_;  // by the first 16 bits of the hash
  int64_t bytes_ = 0;
  int64_t held_out_below_ = 0;  // hashes below it are held out
};

}  // namespace trireme

#endif  // TRIREME_DATA_SPLIT_H_
