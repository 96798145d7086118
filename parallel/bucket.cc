#include "parallel/bucket.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

// The index of the backward segment that adds to `gradient` last; -1 if none does (a program without
// backward).
int LastWriter(const Program& chunk, ValueId gradient) {
  for (int s = static_cast<int>(chunk.segments.size()) - 1; s >= 0; --s) {
    for (const Op& op : chunk.segments[s].ops) {
      if (std::find(op.outputs.begin(), op.outputs.end(), gradient) != op.outputs.end()) return s;
    }
  }
  return -1;
}

int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

}  // namespace

std::vector<Bucket> MakeBuckets(const Program& chunk, int num_shards, const std::string& tied_parameter) {
  // Vectors are few and small: those of the whole chunk share a bucket, so that they cost one message.
  constexpr int kWholeChunk = -1;
  std::map<std::tuple<int, bool, bool, bool>, Bucket> by_key;
  for (int g = 0; g < chunk.parameters.size(); ++g) {
    const ParameterGroup& group = chunk.parameters[g];
    const Value& value = chunk.value(group.value);
    for (Axis axis : {Axis::kDp, Axis::kCp}) {
      CHECK(value.layout[axis] == kReplicate) << value.name << " is " << value.layout.ToString();
    }
    CHECK(value.layout[Axis::kTp] != kReplicate) << value.name << " is " << value.layout.ToString();
    const bool decays = group.parts[0].decay;
    const bool same_on_tp = value.layout[Axis::kTp] == kInvariant;
    const bool tied = group.parts[0].name == tied_parameter;
    const int segment = decays ? group.segment : kWholeChunk;
    Bucket& bucket = by_key[{segment, decays, same_on_tp, tied}];
    if (bucket.members.empty()) {
      bucket.name = absl::StrCat(decays ? chunk.segments[segment].name : "vectors",
                                 same_on_tp ? " (same on tp)" : "", tied ? " (tied)" : "");
      bucket.compute = value.dtype;
      bucket.decays = decays;
      bucket.same_on_tp = same_on_tp;
      bucket.tied = tied;
    }
    bucket.members.push_back({g, bucket.size});
    // Every group starts at a cache line, whatever its dtype.
    bucket.size += RoundUp(value.shape.num_elements(), 32);
    bucket.last_segment = std::max(bucket.last_segment, LastWriter(chunk, group.gradient));
  }
  std::vector<Bucket> buckets;
  for (auto& [key, bucket] : by_key) {
    bucket.size = RoundUp(bucket.size, int64_t{32} * num_shards);
    buckets.push_back(std::move(bucket));
  }
  std::stable_sort(buckets.begin(), buckets.end(),
                   [](const Bucket& a, const Bucket& b) { return a.last_segment < b.last_segment; });
  return buckets;
}

}  // namespace trireme
