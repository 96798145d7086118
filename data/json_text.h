// The one text that a line of JSONL is read for.
#ifndef TRIREME_DATA_JSON_TEXT_H_
#define TRIREME_DATA_JSON_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace trireme {

// `line` must be one JSON object whose member `field` is a string; returns that string in UTF-8. Other
// members are checked for syntax and passed over, however deep. InvalidArgument says what is wrong and at
// which byte of the line; the caller adds file and line.
absl::StatusOr<std::string> JsonText(absl::string_view line, absl::string_view field);

}  // namespace trireme

#endif  // TRIREME_DATA_JSON_TEXT_H_
