#include "parallel/bucket.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace trireme {
namespace {

// Extends the bucket's backward segments by those that write `gradient`; a program without backward has none.
void AddWriters(const Program& chunk, ValueId gradient, Bucket& bucket) {
  for (int s = 0; s < chunk.segments.size(); ++s) {
    for (const Op& op : chunk.segments[s].ops) {
      if (std::find(op.outputs.begin(), op.outputs.end(), gradient) == op.outputs.end()) continue;
      bucket.first_segment = bucket.first_segment < 0 ? s : std::min(bucket.first_segment, s);
      bucket.last_segment = std::max(bucket.last_segment, s);
    }
  }
}

int64_t RoundUp(int64_t n, int64_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// The axes of tokens and matrices on which a parameter is laid out as `placement`. What ep shards lies on edp
// as it does on dp and cp.
AxisSet AxesWith(const Layout& layout, Placement placement) {
  unsigned bits = 0;
  if (layout[Axis::kEp].is_shard()) {
    for (Axis axis : {Axis::kDp, Axis::kTp}) {
      const Axis folded = axis == Axis::kDp ? Axis::kEdp : axis;
      if (layout[axis] == placement) bits |= AxisSet(folded).bits();
    }
    return AxisSet::FromBits(bits);
  }
  for (Axis axis : {Axis::kDp, Axis::kCp, Axis::kTp}) {
    if (layout[axis] == placement) bits |= AxisSet(axis).bits();
  }
  return AxisSet::FromBits(bits);
}

// Vectors are few and small: those of the whole chunk share a bucket, so that they cost one message.
constexpr int kWholeChunk = -1;

std::string NameOf(const Program& chunk, const Bucket& bucket, int segment) {
  const std::string vectors = bucket.chunk > 0 ? absl::StrCat("vectors of chunk ", bucket.chunk) : "vectors";
  return absl::StrCat(
      segment == kWholeChunk ? vectors : chunk.segments[segment].name,
      bucket.same_over == AxisSet() ? "" : absl::StrCat(" (same on ", Name(bucket.same_over), ")"),
      bucket.reduced_over.Contains(Axis::kTp) ? " (summed over tp)" : "",
      bucket.reduced_over.Contains(Axis::kEdp) ? " (experts)" : "", bucket.tied ? " (tied)" : "");
}

}  // namespace

bool Bucket::CountsAt(const AxisSizes& coordinate) const {
  for (Axis axis : kAllAxes) {
    if (same_over.Contains(axis) && coordinate.of[static_cast<int>(axis)] != 0) return false;
  }
  return !tied || coordinate[Axis::kPp] == 0;
}

namespace {

// The name that finds a group of parameters in other programs.
const std::string& NameOf(const ParameterGroup& group) {
  return group.parts[0].name;
}

bool IsShared(const std::vector<const Program*>& chunks, int chunk, const ParameterGroup& group) {
  for (int earlier = 0; earlier < chunk; ++earlier) {
    for (const ParameterGroup& other : chunks[earlier]->parameters) {
      if (NameOf(other) == NameOf(group)) return true;
    }
  }
  return false;
}

bool IsSharedByLater(const std::vector<const Program*>& chunks, int chunk, const ParameterGroup& group) {
  for (size_t later = chunk + 1; later < chunks.size(); ++later) {
    for (const ParameterGroup& other : chunks[later]->parameters) {
      if (NameOf(other) == NameOf(group)) return true;
    }
  }
  return false;
}

void AlwaysAccumulate(Program& chunk, ValueId gradient) {
  for (Segment& segment : chunk.segments) {
    for (Op& op : segment.ops) {
      if (std::find(op.outputs.begin(), op.outputs.end(), gradient) == op.outputs.end()) continue;
      CHECK(op.kind != OpKind::kLinearWeightBiasGrad)
          << chunk.value(gradient).name
          << ": a shared matrix with a bias, whose gradient would be added to as well";
      op.always_accumulates = true;
    }
  }
}

// Those of one chunk.
std::vector<Bucket> MakeBuckets(const std::vector<const Program*>& chunks, int number, const AxisSizes& mesh,
                                const std::string& tied_parameter) {
  const Program& chunk = *chunks[number];
  std::map<std::tuple<int, bool, unsigned, unsigned, bool>, Bucket> by_key;
  for (int g = 0; g < chunk.parameters.size(); ++g) {
    const ParameterGroup& group = chunk.parameters[g];
    if (IsShared(chunks, number, group)) continue;
    const Value& value = chunk.value(group.value);
    for (Axis axis : {Axis::kDp, Axis::kCp}) {
      CHECK(value.layout[axis] == kReplicate) << value.name << " is " << value.layout.ToString();
    }
    const bool decays = group.parts[0].decay;
    const AxisSet reduced_over = AxesWith(value.layout, kReplicate);
    const AxisSet same_over = AxesWith(value.layout, kInvariant);
    const bool tied = group.parts[0].name == tied_parameter;
    const int segment = decays ? group.segment : kWholeChunk;
    Bucket& bucket = by_key[{segment, decays, same_over.bits(), reduced_over.bits(), tied}];
    if (bucket.members.empty()) {
      bucket.chunk = number;
      bucket.whole_chunk = segment == kWholeChunk;
      bucket.compute = value.dtype;
      bucket.decays = decays;
      bucket.reduced_over = reduced_over;
      bucket.num_shards = NumRanks(reduced_over, mesh);
      bucket.same_over = same_over;
      bucket.tied = tied;
      bucket.name = NameOf(chunk, bucket, segment);
    }
    bucket.members.push_back({g, bucket.size, NameOf(group)});
    // Every group starts at a cache line, whatever its dtype.
    bucket.size += RoundUp(value.shape.num_elements(), 32);
    if (group.gradient != kNoValue) AddWriters(chunk, group.gradient, bucket);
    if (IsSharedByLater(chunks, number, group)) bucket.is_written_in_one_run = false;
  }
  std::vector<Bucket> buckets;
  for (auto& [key, bucket] : by_key) {
    bucket.size = RoundUp(bucket.size, int64_t{32} * bucket.num_shards);
    if (bucket.first_segment >= 0 &&
        chunk.segments[bucket.first_segment].region != chunk.segments[bucket.last_segment].region) {
      bucket.is_written_in_one_run = false;
    }
    buckets.push_back(std::move(bucket));
  }
  std::stable_sort(buckets.begin(), buckets.end(),
                   [](const Bucket& a, const Bucket& b) { return a.last_segment < b.last_segment; });
  return buckets;
}

}  // namespace

void ShareParameters(const std::vector<Program*>& chunks) {
  for (size_t later = 1; later < chunks.size(); ++later) {
    for (const ParameterGroup& shared : chunks[later]->parameters) {
      for (size_t earlier = 0; earlier < later; ++earlier) {
        for (const ParameterGroup& group : chunks[earlier]->parameters) {
          if (NameOf(group) == NameOf(shared)) AlwaysAccumulate(*chunks[earlier], group.gradient);
        }
      }
    }
  }
}

std::vector<Bucket> MakeBuckets(const std::vector<const Program*>& chunks, const AxisSizes& mesh,
                                const std::string& tied_parameter) {
  std::vector<Bucket> buckets;
  for (int chunk = static_cast<int>(chunks.size()) - 1; chunk >= 0; --chunk) {
    for (Bucket& bucket : MakeBuckets(chunks, chunk, mesh, tied_parameter))
      buckets.push_back(std::move(bucket));
  }
  return buckets;
}

std::vector<AxisSet> ReductionGroups(const std::vector<Bucket>& buckets) {
  std::vector<AxisSet> groups;
  for (const Bucket& bucket : buckets) {
    if (std::find(groups.begin(), groups.end(), bucket.reduced_over) == groups.end()) {
      groups.push_back(bucket.reduced_over);
    }
  }
  return groups;
}

}  // namespace trireme
