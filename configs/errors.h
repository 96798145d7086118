// All that is wrong with a configuration, collected so that a person sees it at once.
#ifndef TRIREME_CONFIGS_ERRORS_H_
#define TRIREME_CONFIGS_ERRORS_H_

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace trireme {

class ConfigErrors {
 public:
  // Adds the line "field: value: problem"; `problem` says what is wrong and, after a semicolon, what to do.
  void Add(absl::string_view field, absl::string_view value, absl::string_view problem);

  // Adds a line that names no field whose value could be checked.
  void AddLine(std::string line) { lines_.push_back(std::move(line)); }

  // Whether an error of this field was added. Rules about several fields stay silent when one of them is
  // wrong.
  bool Has(absl::string_view field) const { return fields_.count(std::string(field)) > 0; }

  bool empty() const { return lines_.empty(); }

  // Ok without errors; else INVALID_ARGUMENT with one line an error.
  absl::Status ToStatus() const;

 private:
  std::vector<std::string> lines_;
  std::set<std::string> fields_;
};

}  // namespace trireme

#endif  // TRIREME_CONFIGS_ERRORS_H_
