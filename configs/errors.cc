#include "configs/errors.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace trireme {
namespace {

// Longer values come from no honest configuration; the message stays readable.
constexpr size_t kMaxValueBytes = 120;

std::string Printable(absl::string_view value) {
  if (value.empty()) return "\"\"";
  std::string text = absl::Utf8SafeCEscape(value.substr(0, kMaxValueBytes));
  if (value.size() > kMaxValueBytes) text += "...";
  return text;
}

}  // namespace

void ConfigErrors::Add(absl::string_view field, absl::string_view value, absl::string_view problem) {
  lines_.push_back(absl::StrCat(Printable(field), ": ", Printable(value), ": ", problem));
  fields_.insert(std::string(field));
}

absl::Status ConfigErrors::ToStatus() const {
  if (lines_.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrJoin(lines_, "\n"));
}

}  // namespace trireme
