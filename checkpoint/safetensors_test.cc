#include "checkpoint/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "checkpoint/hugging_face.h"
#include "checkpoint/memory_storage.h"
#include "checkpoint/safetensors_json.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

std::string FileOf(const std::string& header, int64_t data_bytes, uint64_t length) {
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return absl::StrCat(file, header, std::string(data_bytes, 'x'));
}
std::string FileOf(const std::string& header, int64_t data_bytes) {
  return FileOf(header, data_bytes, header.size());
}

absl::StatusOr<SafetensorsHeader> Read(const std::string& contents) {
  MemoryStorage storage;
  EXPECT_TRUE(WriteDurably("", "f", "f.tmp", contents, storage).ok());
  return ReadSafetensorsHeader(**storage.OpenForRead("f"), "f");
}

std::string Refusal(const std::string& contents) {
  const auto header = Read(contents);
  EXPECT_FALSE(header.ok()) << contents.substr(0, 200);
  const std::string message(header.status().message());
  EXPECT_THAT(message, HasSubstr("f: byte ")) << "a refusal names file and offset";
  return message;
}

// One tensor with these members.
std::string RefusalOfEntry(const std::string& entry, int64_t data_bytes) {
  return Refusal(FileOf(absl::StrCat("{\"a\":", entry, "}"), data_bytes));
}

TEST(SafetensorsTest, ReadsThePrologueItWrites) {
  const std::vector<SafetensorsTensor> tensors = {{"plain", DType::kF64, Shape({2, 3})},
                                                  {"quote\" back\\ tab\t \xc3\xa9", DType::kF32, Shape({5})},
                                                  {"scalar", DType::kBF16, Shape()}};
  const std::string prologue = SafetensorsPrologue(tensors);
  EXPECT_EQ(prologue.size() % 8, 0u);
  const auto header = Read(absl::StrCat(prologue, std::string(48 + 20 + 2, 'x')));
  ASSERT_TRUE(header.ok()) << header.status();
  ASSERT_EQ(header->entries.size(), 3u);
  EXPECT_EQ(header->data_begin, static_cast<int64_t>(prologue.size()));
  EXPECT_EQ(header->entries[0].dims, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(header->entries[1].name, tensors[1].name);
  EXPECT_EQ(header->entries[1].begin, header->data_begin + 48);
  EXPECT_EQ(header->entries[2].dtype_name, "BF16");
  EXPECT_TRUE(header->entries[2].dims.empty());
}

TEST(SafetensorsTest, RefusesLengthsThatCannotBe) {
  EXPECT_THAT(Refusal("short"), HasSubstr("too short"));
  EXPECT_THAT(Refusal(FileOf("{}", 0, ~uint64_t{0})), HasSubstr("header length 18446744073709551615"));
  EXPECT_THAT(Refusal(FileOf("{}", 0, 100'000'001)), HasSubstr("header length 100000001"));
  EXPECT_THAT(Refusal(FileOf("{}", 0, 3)), HasSubstr("header length 3 in a file of 10 bytes"));
  Refusal(FileOf("", 0));
}

TEST(SafetensorsTest, RefusesWhatIsNoHeader) {
  for (const char* header : {"[]",
                             "5",
                             "null",
                             "\"a\"",
                             "{",
                             "{\"a\"}",
                             "{\"a\":}",
                             "{}{}",
                             "{\"a\":5}",
                             "{\"a\":\"b\"}",
                             "{\"a\":[]}",
                             "{\"a\":null}",
                             "{\"a\":true}",
                             "{\"__metadata__\":5}",
                             "{\"__metadata__\":\"x\"}",
                             "{\"__metadata__\":{\"x\":5}}",
                             "{\"__metadata__\":{\"x\":[]}}",
                             "{\"__metadata__\":{\"x\":{}}}",
                             "{\"\xff\":{}}",
                             "{\"a\":{}}"}) {
    Refusal(FileOf(header, 0));
  }
  EXPECT_TRUE(Read(FileOf("{\"__metadata__\":{\"shape\":\"x\"}}", 0)).ok());
}

TEST(SafetensorsTest, RefusesDeepNestingWithoutDescending) {
  const size_t num_brackets = 10'000'000;
  Refusal(FileOf(std::string(num_brackets, '['), 0));
  std::string nested;
  for (int i = 0; i < 1'000'000; ++i) nested += "{\"a\":";
  Refusal(FileOf(nested, 0));
  RefusalOfEntry(
      absl::StrCat("{\"dtype\":\"F32\",\"data_offsets\":[0,4],\"shape\":", std::string(100000, '['), "}"), 4);
}

TEST(SafetensorsTest, RefusesMembersThatDoNotBelong) {
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"F32","shape":[1]})", 4), HasSubstr("missing in tensor \"a\""));
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})", 4), HasSubstr("no pair"));
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4],"x":1})", 4),
              HasSubstr("unknown member"));
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})", 4),
              HasSubstr("second"));
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"F99","shape":[1],"data_offsets":[0,4]})", 4),
              HasSubstr("unknown dtype"));
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4),
              HasSubstr("the number -1"));
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})", 4),
              HasSubstr("the number 1.0"));
  RefusalOfEntry(R"({"dtype":"F32","shape":1,"data_offsets":[0,4]})", 4);
  RefusalOfEntry(R"({"dtype":["F32"],"shape":[1],"data_offsets":[0,4]})", 4);
  const std::string twice = R"("a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_THAT(Refusal(FileOf(absl::StrCat("{", twice, ",", twice, "}"), 0)), HasSubstr("second time"));
}

TEST(SafetensorsTest, RefusesSizesThatOverflow) {
  const std::string big = "18446744073709551615";
  EXPECT_THAT(
      RefusalOfEntry(absl::StrCat(R"({"dtype":"F32","shape":[)", big, R"(],"data_offsets":[0,4]})"), 4),
      HasSubstr("overflows"));
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"F32","shape":[4294967296,1073741824],"data_offsets":[0,0]})", 0),
              HasSubstr("overflows"));
  EXPECT_THAT(
      RefusalOfEntry(absl::StrCat(R"({"dtype":"U8","shape":[0,)", big, R"(],"data_offsets":[0,0]})"), 0),
      HasSubstr("overflows"));
  EXPECT_THAT(RefusalOfEntry(R"({"dtype":"U8","shape":[1],"data_offsets":[0,18446744073709551616]})", 1),
              HasSubstr("the number"));
  EXPECT_THAT(RefusalOfEntry(absl::StrCat(R"({"dtype":"U8","shape":[1],"data_offsets":[)", big, ",0]}"), 1),
              HasSubstr("data_offsets"));
}

TEST(SafetensorsTest, RefusesGapsOverlapsAndBytesLeftOver) {
  const auto two = [](const std::string& first, const std::string& second, int64_t bytes) {
    return FileOf(absl::StrCat(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":)", first,
                               R"(},"b":{"dtype":"F32","shape":[1],"data_offsets":)", second, "}}"),
                  bytes);
  };
  EXPECT_TRUE(Read(two("[4,8]", "[0,4]", 8)).ok());
  EXPECT_THAT(Refusal(two("[0,4]", "[2,6]", 6)), HasSubstr("tensor \"b\" overlaps"));
  EXPECT_THAT(Refusal(two("[0,4]", "[0,4]", 4)), HasSubstr("overlaps"));
  EXPECT_THAT(Refusal(two("[0,4]", "[6,10]", 10)), HasSubstr("tensor \"b\" leaves a gap"));
  EXPECT_THAT(Refusal(two("[0,4]", "[4,8]", 9)), HasSubstr("1 bytes belong to no tensor"));
  EXPECT_THAT(Refusal(two("[0,4]", "[4,8]", 7)), HasSubstr("7 data bytes"));
  EXPECT_THAT(Refusal(two("[0,4]", "[4,6]", 6)), HasSubstr("span 2 bytes, shape and dtype make 4"));
}

// A folder of one shard or more.
class HuggingFaceTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& contents) {
    ASSERT_TRUE(WriteDurably("hf", name, name + ".tmp", contents, storage_).ok());
  }
  void SetUp() override { ASSERT_TRUE(storage_.MakeDirectory("hf").ok()); }
  static std::string Floats(const std::string& name, const std::vector<float>& values) {
    std::string bytes(values.size() * sizeof(float), '\0');
    std::memcpy(bytes.data(), values.data(), bytes.size());
    return SafetensorsPrologue({{name, DType::kF32, Shape({static_cast<int64_t>(values.size())})}}) + bytes;
  }
  absl::StatusOr<std::vector<float>> Load(TensorReader& reader, const std::string& name, int64_t size) {
    std::vector<float> values(size);
    const TensorSlice wanted = {name, DType::kF32, Shape({size}), Box({{0, size}}), values.data(), false};
    if (absl::Status status = reader.Load({wanted}); !status.ok()) return status;
    return values;
  }
  MemoryStorage storage_;
};

TEST_F(HuggingFaceTest, OneFileLoadsThroughTheSameInterface) {
  Write("model.safetensors", Floats("wte.weight", {1, 2, 3}));
  auto reader = OpenSafetensors("hf", storage_, {{"lm_head.weight", "wte.weight"}});
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(*Load(*reader, "wte.weight", 3), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(*Load(*reader, "lm_head.weight", 3), (std::vector<float>{1, 2, 3}));
  EXPECT_THAT(Load(*reader, "wpe.weight", 3).status().message(),
              HasSubstr("\"wpe.weight\", box [0:3]: is not stored here"));
  EXPECT_THAT(Load(*reader, "wte.weight", 2).status().message(),
              HasSubstr("stored with shape [3], wanted with [2]"));
  EXPECT_TRUE(OpenSafetensors("hf/model.safetensors", storage_).ok());
}

TEST_F(HuggingFaceTest, ShardsLoadByTheirIndex) {
  Write("model-00001-of-00002.safetensors", Floats("a", {1, 2}));
  Write("model-00002-of-00002.safetensors", Floats("b", {3}));
  Write(
      "model.safetensors.index.json",
      R"({"metadata":{"total_size":12,"x":[1,null,{"y":true}]},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}})");
  auto reader = OpenSafetensors("hf", storage_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_EQ(*Load(*reader, "b", 1), (std::vector<float>{3}));
  EXPECT_EQ(reader->tensors().size(), 2u);
}

TEST_F(HuggingFaceTest, RefusesAnIndexThatLies) {
  Write("m.safetensors", Floats("a", {1, 2}));
  Write("model.safetensors.index.json", R"({"weight_map":{"a":"m.safetensors","b":"m.safetensors"}})");
  EXPECT_THAT(OpenSafetensors("hf", storage_).status().message(),
              HasSubstr("tensor \"b\" is not in m.safetensors"));
  for (const char* json :
       {"{}", "[]", "{\"weight_map\":5}", "{\"weight_map\":{\"a\":5}}",
        "{\"weight_map\":{\"a\":\"../x.safetensors\"}}", "{\"weight_map\":{\"a\":\"\"}}",
        "{\"weight_map\":{\"a\":\"m.safetensors\",\"a\":\"m.safetensors\"}}", "{\"weight_map\":"}) {
    storage_.SetContents("hf/model.safetensors.index.json", json);
    EXPECT_TRUE(absl::IsInvalidArgument(OpenSafetensors("hf", storage_).status())) << json;
  }
  storage_.SetContents("hf/model.safetensors.index.json", std::string(1000000, '['));
  EXPECT_TRUE(absl::IsInvalidArgument(OpenSafetensors("hf", storage_).status()));
}

TEST_F(HuggingFaceTest, TensorsThatWeCannotHoldAreNamedWhenWanted) {
  Write("model.safetensors", FileOf(R"({"half":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}})", 4));
  auto reader = OpenSafetensors("hf", storage_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  EXPECT_TRUE(reader->tensors().empty());
  EXPECT_THAT(Load(*reader, "half", 2).status().message(), HasSubstr("stored as F16, which is not read"));
}

TEST_F(HuggingFaceTest, AnAliasOfNothingIsRefused) {
  Write("model.safetensors", Floats("a", {1}));
  EXPECT_FALSE(OpenSafetensors("hf", storage_, {{"b", "c"}}).ok());
}

}  // namespace
}  // namespace trireme
