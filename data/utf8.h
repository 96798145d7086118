// Where the characters of UTF-8 text begin and end (RFC 3629: no overlong forms, no surrogates, up to
// U+10FFFF).
#ifndef TRIREME_DATA_UTF8_H_
#define TRIREME_DATA_UTF8_H_

#include <cstddef>

#include "absl/strings/string_view.h"

namespace trireme {

// Bytes of the character that `text` begins with; 0 where it begins with none.
size_t Utf8Length(absl::string_view text);

// The largest cut <= `limit` (> 0) that parts no valid character, and > 0 for text that is not empty.
size_t Utf8Cut(absl::string_view text, size_t limit);

}  // namespace trireme

#endif  // TRIREME_DATA_UTF8_H_
