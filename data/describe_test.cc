#include "data/describe.h"

#include <glog/logging.h>

#include "data/prepare.h"
#include "data/test_files.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class DescribeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string input = folder_.Write("a.txt", std::string(2000, 'a') + "\n" + std::string(2000, 'b'));
    ASSERT_TRUE(Prepare({.inputs = {input}, .output = folder_ / "one"}).ok());
    ASSERT_TRUE(Prepare({.inputs = {input}, .output = folder_ / "two", .validation_share = 0.1}).ok());
  }

  TestFolder folder_;
};

TEST_F(DescribeTest, PutsASourceInWords) {
  const auto words = DescribeTokenData(folder_ / "one");
  ASSERT_TRUE(words.ok()) << words.status();
  EXPECT_THAT(*words,
              AllOf(HasSubstr("4002 tokens in 1 documents, 4001 bytes of text"), HasSubstr("byte tokenizer"),
                    HasSubstr("checksums right"), HasSubstr("begins \"aaaa")));
}

TEST_F(DescribeTest, PutsAShardAndAPairOfSourcesInWords) {
  EXPECT_THAT(*DescribeTokenData(folder_ / "one/0000000.tokens"), HasSubstr("token shard"));
  EXPECT_THAT(*DescribeTokenData(folder_ / "two"),
              AllOf(HasSubstr("two/train"), HasSubstr("two/validation")));
}

TEST_F(DescribeTest, SaysHowFarCountingBytesGoes) {
  EXPECT_THAT(*DescribeAgainst(folder_ / "two/train", folder_ / "two/validation"),
              AllOf(HasSubstr("unigram"), HasSubstr("bigram"), HasSubstr("bits per byte")));
}

TEST_F(DescribeTest, ReportsDamageAnywhere) {
  std::string bytes = ReadTestFile(folder_ / "one/0000000.tokens");
  bytes[5000] ^= 1;
  folder_.Write("one/0000000.tokens", bytes);
  ExpectError(DescribeTokenData(folder_ / "one").status(), absl::StatusCode::kDataLoss,
              {"0000000.tokens: byte 128"});
  ExpectError(DescribeTokenData(folder_ / "one/0000000.tokens").status(), absl::StatusCode::kDataLoss,
              {"byte 128"});
}

TEST_F(DescribeTest, KnowsTokenDataFromOther) {
  EXPECT_TRUE(IsTokenData(folder_ / "one"));
  EXPECT_TRUE(IsTokenData(folder_ / "two"));
  EXPECT_TRUE(IsTokenData(folder_ / "one/0000000.tokens"));
  EXPECT_FALSE(IsTokenData(folder_ / "a.txt"));
  EXPECT_FALSE(IsTokenData(folder_ / "nowhere"));
}

}  // namespace
}  // namespace trireme
