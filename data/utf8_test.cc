#include "data/utf8.h"

#include <gtest/gtest.h>

namespace trireme {
namespace {

TEST(Utf8Test, KnowsTheLengthOfEveryKindOfCharacter) {
  EXPECT_EQ(Utf8Length("a"), 1);
  EXPECT_EQ(Utf8Length("\xC2\x80"), 2);
  EXPECT_EQ(Utf8Length("\xE0\xA0\x80"), 3);
  EXPECT_EQ(Utf8Length("\xED\x9F\xBF"), 3);
  EXPECT_EQ(Utf8Length("\xF0\x90\x80\x80"), 4);
  EXPECT_EQ(Utf8Length("\xF4\x8F\xBF\xBF"), 4);
}

TEST(Utf8Test, RefusesWhatRfc3629Refuses) {
  EXPECT_EQ(Utf8Length(""), 0);
  for (const char* bad : {"\x80", "\xC1\xBF", "\xC2", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE2\x96",
                          "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x96g", "\xFF"}) {
    EXPECT_EQ(Utf8Length(bad), 0) << bad;
  }
}

TEST(Utf8Test, CutsBetweenCharacters) {
  const absl::string_view text = "ab\xF0\x9F\x9A\xA3z";
  EXPECT_EQ(Utf8Cut(text, 1), 1);
  EXPECT_EQ(Utf8Cut(text, 2), 2);
  EXPECT_EQ(Utf8Cut(text, 3), 2);
  EXPECT_EQ(Utf8Cut(text, 5), 2);
  EXPECT_EQ(Utf8Cut(text, 6), 6);
  EXPECT_EQ(Utf8Cut(text, 100), text.size());
  EXPECT_EQ(Utf8Cut("\x80\x80\x80\x80\x80", 3), 3);
  EXPECT_EQ(Utf8Cut("\xF0\x9F\x9A\xA3", 2), 2) << "a cut is never 0";
}

}  // namespace
}  // namespace trireme
