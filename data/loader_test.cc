#include "data/loader.h"

#include <glog/logging.h>

#include <set>

#include "data/test_files.h"

namespace trireme {
namespace {

Loader MakeLoader(const std::string& path, int64_t length, WindowOrder order = WindowOrder::kShuffled,
                  uint64_t seed = 5) {
  auto loader = Loader::Create(MustOpen(path), {.sequence_length = length, .seed = seed, .order = order});
  CHECK(loader.ok()) << loader.status();
  return *loader;
}

struct Samples {
  std::vector<int32_t> inputs;
  std::vector<int32_t> labels;
  bool operator==(const Samples&) const = default;
};

Samples ReadSamples(const Loader& loader, int64_t first, int64_t count) {
  Samples samples{std::vector<int32_t>(count * loader.sequence_length()),
                  std::vector<int32_t>(count * loader.sequence_length())};
  CHECK(loader.Read(first, count, samples.inputs.data(), samples.labels.data()).ok());
  return samples;
}

TEST(LoaderTest, SequentialWindowsAreTheContractsAcrossShards) {
  const TestFolder folder;
  for (const int64_t shard_tokens : {3, 10, 11, 1000}) {
    const Loader loader =
        MakeLoader(WriteCountingSource(folder / absl::StrCat(shard_tokens), 101, shard_tokens), 10,
                   WindowOrder::kSequential);
    ASSERT_EQ(loader.num_windows(), 10);
    const Samples samples = ReadSamples(loader, 0, 10);
    for (int i = 0; i < 100; ++i) {
      ASSERT_EQ(samples.inputs[i], i);
      ASSERT_EQ(samples.labels[i], i + 1);
    }
  }
}

TEST(LoaderTest, EveryEpochHasEveryWindowOnceInAnotherOrder) {
  const TestFolder folder;
  const Loader loader = MakeLoader(WriteCountingSource(folder / "s", 101, 30), 10);
  std::vector<std::vector<int64_t>> epochs;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> windows;
    for (int64_t i = 0; i < 10; ++i) windows.push_back(loader.WindowOf(epoch * 10 + i));
    EXPECT_EQ(std::set<int64_t>(windows.begin(), windows.end()).size(), 10);
    epochs.push_back(windows);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST(LoaderTest, ABatchMayStraddleEpochs) {
  const TestFolder folder;
  const Loader loader = MakeLoader(WriteCountingSource(folder / "s", 101, 30), 10);
  const Samples both = ReadSamples(loader, 8, 4);
  for (int64_t i = 0; i < 4; ++i) {
    EXPECT_EQ(both.inputs[i * 10], loader.WindowOf(8 + i) * 10);
    EXPECT_EQ(both.labels[i * 10], loader.WindowOf(8 + i) * 10 + 1);
  }
}

TEST(LoaderTest, TheSeedDecidesTheOrder) {
  const TestFolder folder;
  const std::string path = WriteCountingSource(folder / "s", 101, 30);
  EXPECT_NE(ReadSamples(MakeLoader(path, 10, WindowOrder::kShuffled, 5), 0, 10),
            ReadSamples(MakeLoader(path, 10, WindowOrder::kShuffled, 6), 0, 10));
}

TEST(LoaderTest, EverySplitOfAGlobalBatchTakesTheSameSamplesOnce) {
  constexpr int64_t kPosition = 48;
  for (const int64_t replicas : {1, 2, 3, 4}) {
    for (const int64_t micro_batches : {1, 2, 4}) {
      if (24 % (replicas * micro_batches) != 0) continue;
      std::vector<int64_t> samples;
      for (int64_t replica = 0; replica < replicas; ++replica) {
        const SampleShare share = {.replica = replica,
                                   .num_replicas = replicas,
                                   .num_micro_batches = micro_batches,
                                   .micro_batch = 24 / replicas / micro_batches};
        EXPECT_EQ(share.global_batch(), 24);
        for (int64_t m = 0; m < micro_batches; ++m) {
          const SampleRange range = share.MicroBatch(kPosition, m);
          for (int64_t i = 0; i < range.count; ++i) samples.push_back(range.first_sample + i);
        }
      }
      std::sort(samples.begin(), samples.end());
      std::vector<int64_t> expected(24);
      std::iota(expected.begin(), expected.end(), kPosition);
      EXPECT_EQ(samples, expected) << replicas << " x " << micro_batches;
    }
  }
}

TEST(LoaderTest, RefusesASourceWithoutAWindow) {
  const TestFolder folder;
  const auto source = MustOpen(WriteCountingSource(folder / "s", 10, 30));
  ExpectError(Loader::Create(source, {.sequence_length = 10}).status(), absl::StatusCode::kInvalidArgument,
              {folder / "s", "10 tokens", "at least 11"});
}

TEST(LoaderTest, SaysWhichShardIsDamaged) {
  const TestFolder folder;
  const std::string path = WriteCountingSource(folder / "s", 101, 50);
  std::string bytes = ReadTestFile(path + "/0000001.tokens");
  bytes[130] ^= 4;
  folder.Write("s/0000001.tokens", bytes);
  const Loader loader = MakeLoader(path, 10, WindowOrder::kSequential);
  std::vector<int32_t> tokens(10);
  EXPECT_TRUE(loader.Read(0, 1, tokens.data(), tokens.data()).ok());
  ExpectError(loader.Read(7, 1, tokens.data(), tokens.data()), absl::StatusCode::kDataLoss,
              {"0000001.tokens: byte 128:"});
}

}  // namespace
}  // namespace trireme
