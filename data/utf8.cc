#include "data/utf8.h"

#include <cstdint>

namespace trireme {

size_t Utf8Length(absl::string_view text) {
  if (text.empty()) return 0;
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = at(0);
  if (first < 0x80) return 1;
  size_t size = 0;
  uint8_t low = 0x80;  // bounds of the second byte
  uint8_t high = 0xBF;
  if (first >= 0xC2 && first <= 0xDF) {
    size = 2;
  } else if (first >= 0xE0 && first <= 0xEF) {
    size = 3;
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    size = 4;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  }
  if (size == 0 || text.size() < size || at(1) < low || at(1) > high) return 0;
  for (size_t i = 2; i < size; ++i) {
    if ((at(i) & 0xC0) != 0x80) return 0;
  }
  return size;
}

size_t Utf8Cut(absl::string_view text, size_t limit) {
  if (text.size() <= limit) return text.size();
  for (size_t back = 1; back <= 3 && back < limit; ++back) {
    const size_t start = limit - back;
    const size_t size = Utf8Length(text.substr(start));
    if (size > back) return start;
    if (size != 0) break;
  }
  return limit;
}

}  // namespace trireme
