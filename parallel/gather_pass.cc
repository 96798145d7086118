#include "parallel/gather_pass.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "parallel/step_planner.h"

namespace trireme {
namespace {

class GatherPass {
 public:
  GatherPass(const std::vector<Bucket>& buckets, const UpdateProgram& update, StepPlan& plan)
      : buckets_(buckets), update_(update), plan_(plan), groups_(ReductionGroups(buckets)) {
    const auto found = std::find(plan.programs.begin(), plan.programs.end(), &update.program);
    update_program_ = static_cast<int>(found - plan.programs.begin());
    if (found == plan.programs.end()) {
      plan.programs.push_back(&update.program);
      for (AxisSet axes : groups_) plan.channels.push_back(Name(axes));
    }
    CHECK_EQ(plan.channels.size(), kReductions + groups_.size());
    const std::map<std::string, int> bucket_of = ShardedBuckets();
    for (int p = 0; p < update_program_; ++p) {
      read_by_.emplace_back();
      for (const Segment& segment : plan.programs[p]->segments) {
        read_by_[p].push_back(BucketsReadBy(*plan.programs[p], segment, bucket_of));
      }
    }
  }

  void Run() {
    std::vector<StepEntry> entries = std::move(plan_.entries);
    plan_.entries.clear();
    std::vector<int> moved;  // by old index: the new one
    for (size_t i = 0; i < entries.size(); ++i) {
      StepEntry entry = entries[i];
      if (entry.kind == StepKind::kWait) entry.started = moved[entry.started];
      const bool is_segment = IsSegment(entry);
      if (is_segment) Gather(ReadBy(entry), NextSegment(entries, i));
      moved.push_back(Append(entry));
      if (is_segment) Free(ReadBy(entry), NextSegment(entries, i));
    }
    for (StepPlan::Residence& residence : plan_.residences) {
      residence.begin = moved[residence.begin];
      residence.end = moved[residence.end];
    }
    plan_.residences.insert(plan_.residences.end(), stays_.begin(), stays_.end());
  }

 private:
  using BucketSet = std::set<int>;

  bool IsSegment(const StepEntry& entry) const {
    return entry.kind == StepKind::kRun && entry.program != update_program_;
  }
  const BucketSet& ReadBy(const StepEntry& run) const { return read_by_[run.program][run.segment]; }

  // By the first name of each group of parameters in them.
  std::map<std::string, int> ShardedBuckets() const {
    std::map<std::string, int> bucket_of;
    for (int b = 0; b < buckets_.size(); ++b) {
      if (!update_.buckets[b].shards_parameters) continue;
      for (const Bucket::Member& member : buckets_[b].members) bucket_of[member.name] = b;
    }
    return bucket_of;
  }

  static BucketSet BucketsReadBy(const Program& chunk, const Segment& segment,
                                 const std::map<std::string, int>& bucket_of) {
    std::set<ValueId> operands;
    for (const Op& op : segment.ops) {
      for (ValueId input : op.inputs) {
        if (input != kNoValue) operands.insert(chunk.StorageOf(input));
      }
    }
    BucketSet read;
    for (const ParameterGroup& group : chunk.parameters) {
      const auto bucket = bucket_of.find(group.parts[0].name);
      if (bucket != bucket_of.end() && operands.count(group.value) > 0) read.insert(bucket->second);
    }
    return read;
  }

  // What the segment that runs next after entry i reads; nothing at the end of the plan.
  const BucketSet& NextSegment(const std::vector<StepEntry>& entries, size_t i) const {
    static const BucketSet kNothing;
    const auto next = std::find_if(entries.begin() + static_cast<std::ptrdiff_t>(i) + 1, entries.end(),
                                   [this](const StepEntry& entry) { return IsSegment(entry); });
    return next == entries.end() ? kNothing : ReadBy(*next);
  }

  void Gather(const BucketSet& now, const BucketSet& next) {
    for (int b : now) {
      Start(b);
      if (waited_.insert(b).second) Append({.kind = StepKind::kWait, .started = started_.at(b)});
    }
    for (int b : next) Start(b);
  }

  void Start(int b) {
    if (started_.count(b) > 0) return;
    const UpdateProgram::BucketValues& values = update_.buckets[b];
    const auto group = std::find(groups_.begin(), groups_.end(), buckets_[b].reduced_over);
    started_[b] = Append({.kind = StepKind::kStart,
                          .program = update_program_,
                          .message = Message::kAllGather,
                          .in = values.parameter_shard,
                          .out = values.parameters,
                          .channel = kReductions + static_cast<int>(group - groups_.begin())});
  }

  void Free(const BucketSet& now, const BucketSet& next) {
    for (int b : now) {
      if (next.count(b) > 0) continue;
      stays_.push_back({update_program_, update_.buckets[b].parameters, started_.at(b),
                        static_cast<int>(plan_.entries.size()) - 1});
      started_.erase(b);
      waited_.erase(b);
    }
  }

  int Append(StepEntry entry) {
    plan_.entries.push_back(entry);
    return static_cast<int>(plan_.entries.size()) - 1;
  }

  const std::vector<Bucket>& buckets_;
  const UpdateProgram& update_;
  StepPlan& plan_;
  const std::vector<AxisSet> groups_;
  int update_program_ = 0;
  std::vector<std::vector<BucketSet>> read_by_;  // by chunk and segment
  std::map<int, int> started_;                   // by bucket that is there or on its way: the entry
  std::set<int> waited_;                         // those that are there
  std::vector<StepPlan::Residence> stays_;
};

}  // namespace

void GatherParameters(const std::vector<Bucket>& buckets, const UpdateProgram& update, StepPlan& plan) {
  GatherPass(buckets, update, plan).Run();
}

}  // namespace trireme
