#include "data/prefetcher.h"

#include <glog/logging.h>

#include <optional>

#include "data/test_files.h"

namespace trireme {
namespace {

class PrefetcherTest : public ::testing::Test {
 protected:
  Loader MakeLoader(int64_t num_tokens = 501) {
    const std::string path =
        WriteCountingSource(folder_ / absl::StrCat("s", num_sources_++), num_tokens, /*shard_tokens=*/70);
    auto loader = Loader::Create(MustOpen(path), {.sequence_length = 10, .seed = 3});
    CHECK(loader.ok());
    return *loader;
  }

  TestFolder folder_;
  int num_sources_ = 0;
};

constexpr SampleShare kShare = {.replica = 1, .num_replicas = 2, .num_micro_batches = 3, .micro_batch = 4};

std::vector<TokenBatch> Take(Prefetcher& prefetcher, int count) {
  std::vector<TokenBatch> batches;
  for (int i = 0; i < count; ++i) {
    TokenBatch batch;
    CHECK(prefetcher.Next(&batch).ok());
    batches.push_back(batch);
  }
  return batches;
}

void ExpectEqual(const TokenBatch& a, const TokenBatch& b) {
  EXPECT_EQ(a.first_sample, b.first_sample);
  EXPECT_EQ(a.count, b.count);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.sample_ids, b.sample_ids);
}

TEST_F(PrefetcherTest, GivesWhatTheLoaderReadsInThePlansOrder) {
  const Loader loader = MakeLoader();
  for (const int depth : {1, 2, 7}) {
    Prefetcher prefetcher(loader, TrainingPlan(kShare, /*position=*/24), depth);
    for (int n = 0; n < 30; ++n) {
      TokenBatch batch;
      ASSERT_TRUE(prefetcher.Next(&batch).ok());
      const SampleRange range = kShare.MicroBatch(24 + n / 3 * 24, n % 3);
      EXPECT_EQ(batch.first_sample, range.first_sample);
      ASSERT_EQ(batch.count, 4);
      EXPECT_THAT(batch.sample_ids, ::testing::ElementsAre(range.first_sample, range.first_sample + 1,
                                                           range.first_sample + 2, range.first_sample + 3));
      std::vector<int32_t> inputs(40);
      std::vector<int32_t> labels(40);
      ASSERT_TRUE(loader.Read(range.first_sample, 4, inputs.data(), labels.data()).ok());
      EXPECT_EQ(batch.inputs, inputs);
      EXPECT_EQ(batch.labels, labels);
    }
  }
}

TEST_F(PrefetcherTest, AResumedRunEqualsAStraightOne) {
  const Loader loader = MakeLoader();
  Prefetcher straight(loader, TrainingPlan(kShare, 0), 3);
  const std::vector<TokenBatch> all = Take(straight, 24);
  for (const int64_t steps : {1, 2, 5}) {
    Prefetcher resumed(loader, TrainingPlan(kShare, steps * kShare.global_batch()), 3);
    const std::vector<TokenBatch> rest = Take(resumed, static_cast<int>(24 - steps * 3));
    for (size_t i = 0; i < rest.size(); ++i) ExpectEqual(rest[i], all[steps * 3 + i]);
  }
}

TEST_F(PrefetcherTest, SeeksForwardsAndBackwards) {
  Prefetcher prefetcher(MakeLoader(), TrainingPlan(kShare, 0), 3);
  const std::vector<TokenBatch> all = Take(prefetcher, 20);
  for (const int64_t n : {7, 0, 19, 3, 3}) {
    prefetcher.Seek(n);
    ExpectEqual(Take(prefetcher, 1).front(), all[n]);
  }
  // Seeking while the thread is in the middle of a batch.
  for (int round = 0; round < 200; ++round) {
    const int64_t n = round * 7 % 20;
    prefetcher.Seek(n);
    if (round % 3 == 0) ExpectEqual(Take(prefetcher, 1).front(), all[n]);
  }
}

TEST_F(PrefetcherTest, SaysWhenThePlanEnds) {
  const SamplePlan three = [](int64_t n) { return n < 3 ? SampleRange{n, 1} : SampleRange{}; };
  Prefetcher prefetcher(MakeLoader(), three, 2);
  Take(prefetcher, 3);
  TokenBatch batch;
  EXPECT_EQ(prefetcher.Next(&batch).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(prefetcher.Next(&batch).code(), absl::StatusCode::kOutOfRange);
  prefetcher.Seek(2);
  EXPECT_TRUE(prefetcher.Next(&batch).ok());
  EXPECT_EQ(batch.first_sample, 2);
}

TEST_F(PrefetcherTest, HandsOnWhatTheLoaderSaysOfDamage) {
  const std::string path = WriteCountingSource(folder_ / "bad", 501, 100);
  std::string bytes = ReadTestFile(path + "/0000004.tokens");
  bytes[130] ^= 4;
  folder_.Write("bad/0000004.tokens", bytes);
  auto loader = Loader::Create(MustOpen(path), {.sequence_length = 10, .order = WindowOrder::kSequential});
  ASSERT_TRUE(loader.ok());
  Prefetcher prefetcher(
      *loader,
      [](int64_t n) {
        return SampleRange{n * 13, 13};
      },
      2);
  Take(prefetcher, 3);
  TokenBatch batch;
  for (int i = 0; i < 2; ++i) {
    ExpectError(prefetcher.Next(&batch), absl::StatusCode::kDataLoss, {"0000004.tokens: byte 128"});
  }
}

TEST_F(PrefetcherTest, EndsWhileItsThreadIsReadingAhead) {
  const Loader loader = MakeLoader();
  for (int i = 0; i < 50; ++i) {
    Prefetcher prefetcher(loader, TrainingPlan(kShare, 0), 1 + i % 4);
    if (i % 2 == 0) Take(prefetcher, 1);
  }
}

TEST_F(PrefetcherTest, ReusesBuffers) {
  Prefetcher prefetcher(MakeLoader(), TrainingPlan(kShare, 0), 2);
  TokenBatch batch;
  std::vector<const int32_t*> buffers;
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(prefetcher.Next(&batch).ok());
    buffers.push_back(batch.inputs.data());
  }
  std::sort(buffers.begin(), buffers.end());
  buffers.erase(std::unique(buffers.begin(), buffers.end()), buffers.end());
  EXPECT_LE(buffers.size(), 4);
}

}  // namespace
}  // namespace trireme
