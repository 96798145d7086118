#include "data/json_text.h"

#include <glog/logging.h>

#include "data/test_files.h"

namespace trireme {
namespace {

TEST(JsonTextTest, GivesTheTextOfTheField) {
  EXPECT_EQ(*JsonText(R"({"text":"a\n\u00e9\ud83d\udea3\u0000b"})", "text"),
            std::string("a\n\xC3\xA9\xF0\x9F\x9A\xA3\0b", 10));
  EXPECT_EQ(*JsonText(R"({"id":1,"meta":{"text":"no","x":[1,{"text":2}]},"text":"yes","z":null})", "text"),
            "yes");
  EXPECT_EQ(*JsonText(R"({"body":"b","text":7})", "body"), "b");
  EXPECT_EQ(*JsonText(R"({"text":""})", "text"), "");
}

TEST(JsonTextTest, SaysWhatIsWrong) {
  const auto expect = [](absl::string_view line, const std::vector<std::string>& parts) {
    ExpectError(JsonText(line, "text").status(), absl::StatusCode::kInvalidArgument, parts);
  };
  expect(R"({"text":"a)", {"invalid JSON"});
  expect(R"({"text":"a"} {"text":"b"})", {"byte 14", "invalid JSON"});
  expect("{\"text\":\"\xFF\"}", {"invalid JSON"});
  expect(R"({"text":"\ud800"})", {"invalid JSON"});
  expect("[]", {"an array, not an object"});
  expect("\"text\"", {"a string, not an object"});
  expect(R"({"text":7})", {"\"text\" is a number, not a string"});
  expect(R"({"text":null})", {"null"});
  expect(R"({"text":["a"]})", {"an array"});
  expect(R"({"text":{"text":"a"}})", {"an object"});
  expect(R"({"txt":"a"})", {"no field \"text\""});
  expect("", {"invalid JSON"});
}

TEST(JsonTextTest, DepthCostsNoStack) {
  const std::string deep(1000000, '[');
  ExpectError(JsonText("{\"a\":" + deep, "text").status(), absl::StatusCode::kInvalidArgument,
              {"invalid JSON"});
  EXPECT_EQ(*JsonText("{\"a\":" + deep + std::string(1000000, ']') + ",\"text\":\"b\"}", "text"), "b");
}

}  // namespace
}  // namespace trireme
