#include "parallel/bucket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "parallel/chunk_test_util.h"

namespace trireme {
namespace {

using testing::ElementsAre;

std::vector<std::string> Names(const std::vector<Bucket>& buckets) {
  std::vector<std::string> names;
  for (const Bucket& bucket : buckets) names.push_back(bucket.name);
  return names;
}

// The chunk's mesh with `dp` replicas.
AxisSizes Replicas(const TestChunk& chunk, int dp) {
  AxisSizes mesh = chunk.mesh();
  mesh[Axis::kDp] = dp;
  return mesh;
}

const Bucket& Find(const std::vector<Bucket>& buckets, const std::string& name) {
  for (const Bucket& bucket : buckets) {
    if (bucket.name == name) return bucket;
  }
  ADD_FAILURE() << "no bucket " << name;
  return buckets[0];
}

TEST(BucketTest, MatricesGoByBlockAndVectorsTogetherInTheOrderOfBackward) {
  const TestChunk chunk({});
  EXPECT_THAT(Names(MakeBuckets({&chunk.program()}, Replicas(chunk, 1), "")),
              ElementsAre("head", "block 1", "vectors", "vectors (same on tp)", "block 0", "embedding"));
}

TEST(BucketTest, EveryParameterLiesInOneBucketOnceWithoutOverlap) {
  for (int tp : {1, 2, 3}) {
    const TestChunk chunk({.tp = tp});
    std::vector<int> seen(chunk.program().parameters.size(), 0);
    for (const Bucket& bucket : MakeBuckets({&chunk.program()}, Replicas(chunk, 3), "")) {
      int64_t end = 0;
      for (const Bucket::Member& member : bucket.members) {
        EXPECT_GE(member.offset, end) << bucket.name;
        EXPECT_EQ(member.offset % 32, 0) << bucket.name;
        end = member.offset +
              chunk.program().value(chunk.program().parameters[member.group].value).shape.num_elements();
        ++seen[member.group];
      }
      EXPECT_LE(end, bucket.size) << bucket.name;
    }
    EXPECT_THAT(seen, testing::Each(1));
  }
}

TEST(BucketTest, SizesDivideIntoWholeCacheLinesOnEveryShard) {
  const TestChunk chunk({});
  for (int num_shards : {1, 2, 3, 5, 7}) {
    for (const Bucket& bucket : MakeBuckets({&chunk.program()}, Replicas(chunk, num_shards), "")) {
      EXPECT_EQ(bucket.size % (num_shards * 32), 0) << bucket.name;
      EXPECT_EQ(bucket.shard_size() * num_shards, bucket.size);
    }
  }
}

TEST(BucketTest, ABucketIsCompleteAfterTheLastSegmentThatAddsToIt) {
  const TestChunk chunk({});
  for (const Bucket& bucket : MakeBuckets({&chunk.program()}, Replicas(chunk, 1), "")) {
    ASSERT_GE(bucket.last_segment, 0);
    int last = -1;
    for (const Bucket::Member& member : bucket.members) {
      const ValueId gradient = chunk.program().parameters[member.group].gradient;
      for (size_t s = 0; s < chunk.program().segments.size(); ++s) {
        for (const Op& op : chunk.program().segments[s].ops) {
          for (ValueId output : op.outputs) {
            if (output == gradient) last = std::max(last, static_cast<int>(s));
          }
        }
      }
    }
    EXPECT_EQ(bucket.last_segment, last) << bucket.name;
  }
}

TEST(BucketTest, TheEmbeddingTiedToTheHeadOfThisStageIsCompleteWithTheEmbedding) {
  const TestChunk chunk({.ties_head = true});
  const std::vector<Bucket> buckets = MakeBuckets({&chunk.program()}, Replicas(chunk, 1), "");
  const Bucket& embedding = Find(buckets, "embedding");
  EXPECT_EQ(chunk.program().segments[embedding.last_segment].name, "embedding");
  EXPECT_FALSE(embedding.tied);
}

TEST(BucketTest, AParameterWithTwoHomesHasABucketOfItsOwn) {
  const TestChunk chunk({.ties_head = true});
  const std::vector<Bucket> buckets = MakeBuckets({&chunk.program()}, Replicas(chunk, 2), "embedding.weight");
  const Bucket& tied = Find(buckets, "embedding (tied)");
  EXPECT_TRUE(tied.tied);
  EXPECT_EQ(tied.members.size(), 1);
  for (const Bucket& bucket : buckets) EXPECT_EQ(bucket.tied, &bucket == &tied) << bucket.name;
}

TEST(BucketTest, OnlyMatricesDecayAndHaveTheComputeDType) {
  const TestChunk chunk({.compute = DType::kBF16});
  for (const Bucket& bucket : MakeBuckets({&chunk.program()}, Replicas(chunk, 1), "")) {
    const bool vectors = bucket.name.rfind("vectors", 0) == 0;
    EXPECT_EQ(bucket.decays, !vectors) << bucket.name;
    EXPECT_EQ(bucket.compute, vectors ? DType::kF32 : DType::kBF16) << bucket.name;
  }
}

TEST(BucketTest, WhatTpSharesIsApartFromWhatItShards) {
  const TestChunk chunk({.tp = 2});
  for (const Bucket& bucket : MakeBuckets({&chunk.program()}, Replicas(chunk, 1), "")) {
    for (const Bucket::Member& member : bucket.members) {
      const Value& value = chunk.program().value(chunk.program().parameters[member.group].value);
      EXPECT_EQ(value.layout[Axis::kTp] == kInvariant, bucket.same_over == AxisSet(Axis::kTp)) << value.name;
    }
  }
}

// As norm gains are with sequence parallelism: each tp rank adds up the gradient of its own tokens.
TEST(BucketTest, WhatIsReplicateOnTpIsReducedAndSharedOverTpToo) {
  Program program;
  AxisSizes mesh;
  mesh[Axis::kDp] = 3;
  mesh[Axis::kTp] = 2;
  Recorder recorder(&program, mesh, {});
  recorder.BeginSegment("block", Region::kForward);
  const auto vector = [&](const char* name, Placement tp) {
    recorder.Parameters({{.name = name, .global_shape = {40}, .layout = {kReplicate, tp}}});
  };
  vector("gain", kReplicate);
  vector("bias", kInvariant);
  vector("column bias", Shard(0));
  const std::vector<Bucket> buckets = MakeBuckets({&program}, mesh, "");
  EXPECT_THAT(Names(buckets),
              testing::UnorderedElementsAre("vectors (summed over tp)", "vectors (same on tp)", "vectors"));
  const Bucket& gain = Find(buckets, "vectors (summed over tp)");
  EXPECT_EQ(gain.reduced_over, (AxisSet{Axis::kDp, Axis::kCp, Axis::kTp}));
  EXPECT_EQ(gain.num_shards, 6);
  EXPECT_EQ(gain.same_over, AxisSet());
  EXPECT_EQ(Find(buckets, "vectors (same on tp)").num_shards, 3);
  EXPECT_EQ(ReductionGroups(buckets).size(), 2);
  for (int dp = 0; dp < 3; ++dp) {
    for (int tp = 0; tp < 2; ++tp) {
      const UpdateOptions options = {.mesh = mesh, .coordinate = {{0, dp, 0, tp}}};
      EXPECT_EQ(options.ShardBegin(gain), (dp * 2 + tp) * gain.shard_size());
      EXPECT_TRUE(gain.CountsAt(options.coordinate));
      EXPECT_EQ(Find(buckets, "vectors (same on tp)").CountsAt(options.coordinate), tp == 0);
    }
  }
}

TEST(BucketDeathTest, AParameterThatIsNotReplicateOverTheTokensAborts) {
  Program program;
  Recorder recorder(&program, {}, {});
  recorder.BeginSegment("block", Region::kForward);
  recorder.Parameters({{.name = "w", .global_shape = {4, 4}, .layout = {kInvariant, kInvariant}}});
  EXPECT_DEATH(MakeBuckets({&program}, {}, ""), "w is I.I.I");
}

// One rank with both ends of the model: the head's matrix is the embedding's.
TEST(BucketTest, WhatTwoChunksHoldIsInTheBucketsOfTheFirst) {
  TestChunk first({.has_output = true});
  Program head = TestChunk({.has_input = true}).program();
  for (ParameterGroup& group : head.parameters) {
    for (Parameter& part : group.parts) {
      part.name = part.name == "head.weight" ? "embedding.weight" : "second " + part.name;
    }
  }
  Program embedding = first.program();
  ShareParameters({&embedding, &head});
  int found = 0, chunk = 1;
  for (const Bucket& bucket : MakeBuckets({&embedding, &head}, Replicas(first, 1), "")) {
    EXPECT_LE(bucket.chunk, chunk) << "the last chunk's come first";
    chunk = bucket.chunk;
    for (const Bucket::Member& member : bucket.members) {
      const Program& program = chunk == 0 ? embedding : head;
      if (program.parameters[member.group].parts[0].name != "embedding.weight") continue;
      EXPECT_EQ(chunk, 0);
      ++found;
      for (const Op& op : program.segments[bucket.last_segment].ops) {
        if (op.outputs[0] == program.parameters[member.group].gradient) {
          EXPECT_TRUE(op.always_accumulates);
        }
      }
    }
  }
  EXPECT_EQ(found, 1);
}

}  // namespace
}  // namespace trireme
