#include "parallel/step_planner.h"

#include <glog/logging.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <set>
#include <utility>

namespace trireme {
namespace {

// A chunk's micro-batch.
using ChunkBatch = std::pair<int, int>;

ChunkBatch BatchOf(const Work& work) {
  return {work.chunk, work.micro_batch};
}

Region RegionOf(const Work& work) {
  if (work.is_forward()) return Region::kForward;
  return work.kind == Work::kBackwardWeight ? Region::kBackwardWeight : Region::kBackward;
}

class Planner {
 public:
  Planner(const StageChunks& chunks, const std::vector<Work>& schedule, int num_micro_batches)
      : chunks_(chunks.programs), place_(chunks.place) {
    CHECK_EQ(chunks_.size(), place_.num_chunks);
    plan_.programs = chunks_;
    plan_.channels = {"activations from the previous stage", "activations to the next stage",
                      "gradients from the next stage",       "gradients to the previous stage",
                      "activations from the next stage",     "activations to the previous stage",
                      "gradients from the previous stage",   "gradients to the next stage",
                      "homes of the tied parameter",         "world"};
    plan_.num_micro_batches = num_micro_batches;
    plan_.num_slots = 0;
    for (const Work& work : schedule) {
      if (!work.is_forward() && ReceivesFrom(work, place_) >= 0) {
        expected_[place_.IsTurned(work.chunk)].push_back(work);
      }
    }
  }

  StepPlan TakePlan() { return std::move(plan_); }

  // `keeps_slot`: backward will follow.
  void Forward(const Work& work, bool keeps_slot) {
    const Program& chunk = *chunks_[work.chunk];
    const int slot = TakeSlot();
    slot_of_[BatchOf(work)] = slot;
    int received = -1;
    if (ReceivesFrom(work, place_) >= 0) {
      received = Start(Message::kReceive, kNoValue, chunk.stage_input, kFromPrevious, work);
    }
    Append({.kind = StepKind::kLoad, .program = work.chunk, .micro_batch = work.micro_batch, .slot = slot});
    if (received >= 0) Wait(received);
    if (TakesFromSameStage(work, place_)) {
      const Work feeder = {work.kind, work.chunk - 1, work.micro_batch};
      HandOver(feeder, chunks_[feeder.chunk]->stage_output, work, chunk.stage_input);
      if (!keeps_slot) free_slots_.push_back(slot_of_.at(BatchOf(feeder)));
    }
    RunRegion(work);
    if (SendsTo(work, place_) >= 0) {
      sends_[slot].push_back(Start(Message::kSend, chunk.stage_output, kNoValue, kToNext, work));
    }
    if (keeps_slot) {
      StartGradientReceives();
    } else {
      KeepLoss(work);
      if (!GivesToSameStage(work, place_)) free_slots_.push_back(slot);
    }
  }

  // Whole backward, or its input's part, whose results others wait for.
  void BackwardInput(const Work& work) {
    const Program& chunk = *chunks_[work.chunk];
    if (const auto receive = gradient_received_.find(BatchOf(work)); receive != gradient_received_.end()) {
      Wait(receive->second);
      // What the next stage has sent back, it has received before.
    }
    RunRegion(work);
    KeepLoss(work);
    if (SendsTo(work, place_) >= 0) {
      sends_[slot_of_.at(BatchOf(work))].push_back(
          Start(Message::kSend, chunk.stage_input_gradient, kNoValue, kToPrevious, work));
    }
    if (GivesToSameStage(work, place_)) {
      const Work taker = Consumer(work, place_);
      HandOver(work, chunk.stage_input_gradient, taker, chunks_[taker.chunk]->stage_output_gradient);
    }
  }

  void BackwardWeight(const Work& work) { RunRegion(work); }

  void FinishBackward(const Work& work) { free_slots_.push_back(slot_of_.at(BatchOf(work))); }

  // Makes slots before the first is asked for.
  void MakeSlots(int count) {
    while (plan_.num_slots < count) free_slots_.push_back(plan_.num_slots++);
  }

  void FinishSends() {
    for (auto& [slot, sends] : sends_) WaitAll(sends);
  }

  // Called after each segment of the last backward.
  void ReduceAfter(const std::vector<Bucket>* buckets, const UpdateProgram* update, int zero_stage) {
    buckets_ = buckets;
    update_ = update;
    zero_stage_ = zero_stage;
    groups_ = ReductionGroups(*buckets);
    for (AxisSet axes : groups_) plan_.channels.push_back(Name(axes));
    plan_.programs.push_back(&update->program);
    reductions_.resize(buckets->size(), -1);
    plan_.passing_gradients.resize(chunks_.size());
    for (size_t b = 0; b < buckets->size(); ++b) {
      if (!update->buckets[b].shards_gradients) continue;
      const int chunk = (*buckets)[b].chunk;
      for (const Bucket::Member& member : (*buckets)[b].members) {
        plan_.passing_gradients[chunk].push_back(chunks_[chunk]->parameters[member.group].gradient);
      }
    }
  }

  void Update() {
    FinishScatters();
    for (size_t b = 0; b < buckets_->size(); ++b) {
      if (reductions_[b] >= 0) Wait(reductions_[b]);
      if ((*buckets_)[b].tied) AddHomes(update_->buckets[b].owned_gradients);
      RunUpdate(update_->buckets[b].norm_segment);
    }
    RunUpdate(update_->sum_segment);
    Wait(StartUpdate(Message::kAllReduce, update_->local_norm, update_->global_norm, kWorld));
    RunUpdate(update_->factors_segment);
    std::vector<int> gathers;
    for (size_t b = 0; b < buckets_->size(); ++b) {
      const UpdateProgram::BucketValues& values = update_->buckets[b];
      RunUpdate(values.update_segment);
      if (zero_stage_ == 0 || (*buckets_)[b].num_shards == 1 || values.shards_parameters) continue;
      gathers.push_back(
          StartUpdate(Message::kAllGather, values.parameter_shard, values.parameters, ReductionChannel(b)));
    }
    WaitAll(gathers);
  }

 private:
  // A tied parameter's gradient is the sum over the replicas, then over its homes.
  void AddHomes(ValueId gradients) { Wait(StartUpdate(Message::kAllReduce, gradients, gradients, kHomes)); }

  int Append(StepEntry entry) {
    plan_.entries.push_back(entry);
    return static_cast<int>(plan_.entries.size()) - 1;
  }

  void Wait(int started) { Append({.kind = StepKind::kWait, .started = started}); }
  void WaitAll(std::vector<int>& started) {
    for (int entry : started) Wait(entry);
    started.clear();
  }

  // `channel`: as of a chunk that is not turned.
  int Start(Message message, ValueId in, ValueId out, PlanChannel channel, const Work& work) {
    const bool is_upstream = channel == kFromPrevious || channel == kToPrevious;
    return Append({.kind = StepKind::kStart,
                   .program = work.chunk,
                   .micro_batch = work.micro_batch,
                   .slot = slot_of_.at(BatchOf(work)),
                   .message = message,
                   .in = in,
                   .out = out,
                   .channel = channel + (place_.IsTurned(work.chunk) ? kTurned : 0),
                   .peer = is_upstream ? 0 : 1});
  }

  // Receives come in the order in which the neighbour sends: that of backward. Each starts as early as its
  // slot is there.
  void StartGradientReceives() {
    for (std::deque<Work>& expected : expected_) {
      while (!expected.empty() && slot_of_.count(BatchOf(expected.front())) > 0) {
        const Work& work = expected.front();
        gradient_received_[BatchOf(work)] =
            Start(Message::kReceive, kNoValue, chunks_[work.chunk]->stage_output_gradient, kFromNext, work);
        expected.pop_front();
      }
    }
  }

  void HandOver(const Work& from, ValueId in, const Work& to, ValueId out) {
    Append({.kind = StepKind::kHandOver,
            .program = to.chunk,
            .micro_batch = to.micro_batch,
            .slot = slot_of_.at(BatchOf(to)),
            .in = in,
            .out = out,
            .from_program = from.chunk,
            .from_slot = slot_of_.at(BatchOf(from))});
  }

  int StartUpdate(Message message, ValueId in, ValueId out, int channel) {
    return Append({.kind = StepKind::kStart,
                   .program = update_program(),
                   .message = message,
                   .in = in,
                   .out = out,
                   .channel = channel});
  }

  void RunUpdate(int segment) {
    if (segment >= 0) Append({.kind = StepKind::kRun, .program = update_program(), .segment = segment});
  }

  // The slot that has been free for longest, once nothing in it is under way any more.
  int TakeSlot() {
    if (free_slots_.empty()) {
      free_slots_.push_back(plan_.num_slots++);
    }
    const int slot = free_slots_.front();
    free_slots_.erase(free_slots_.begin());
    WaitAll(sends_[slot]);
    return slot;
  }

  int update_program() const { return static_cast<int>(chunks_.size()); }

  void KeepLoss(const Work& work) {
    if (chunks_[work.chunk]->loss_sum == kNoValue) return;
    Append({.kind = StepKind::kLoss,
            .program = work.chunk,
            .micro_batch = work.micro_batch,
            .slot = slot_of_.at(BatchOf(work))});
  }

  void RunRegion(const Work& work) {
    const std::vector<Segment>& segments = chunks_[work.chunk]->segments;
    for (int s = 0; s < segments.size(); ++s) {
      if (segments[s].region != RegionOf(work)) continue;
      // Of a step, the first micro-batch overwrites gradients and the last completes them.
      const int runs_before = num_runs_[{work.chunk, s}]++;
      if (!work.is_forward() && StillScatters(work.chunk, s)) FinishScatters();
      const int run = Append({.kind = StepKind::kRun,
                              .program = work.chunk,
                              .segment = s,
                              .micro_batch = work.micro_batch,
                              .slot = slot_of_.at(BatchOf(work)),
                              .accumulates = !work.is_forward() && runs_before > 0});
      FinishScatters();
      if (!work.is_forward()) StartReductions(run, runs_before + 1 == plan_.num_micro_batches);
    }
  }

  // Of the buckets that a backward segment, run by entry `run`, has completed: sharded gradients in every
  // micro-batch, others in the last.
  void StartReductions(int run, bool is_last) {
    const int chunk = plan_.entries[run].program, segment = plan_.entries[run].segment;
    for (size_t b = 0; b < buckets_->size(); ++b) {
      const Bucket& bucket = (*buckets_)[b];
      if (bucket.chunk != chunk) continue;
      const bool shards = update_->buckets[b].shards_gradients;
      if (shards && bucket.first_segment == segment) begun_[b] = run;
      if (bucket.last_segment != segment) continue;
      if (shards) {
        scatters_.push_back(StartScatter(b));
      } else if (is_last) {
        reductions_[b] = StartReduction(b);
      }
    }
  }

  int ReductionChannel(size_t b) const {
    const auto group = std::find(groups_.begin(), groups_.end(), (*buckets_)[b].reduced_over);
    return kReductions + static_cast<int>(group - groups_.begin());
  }

  int StartReduction(size_t b) {
    if ((*buckets_)[b].num_shards == 1) return -1;
    const UpdateProgram::BucketValues& values = update_->buckets[b];
    if (zero_stage_ == 0) {
      return StartUpdate(Message::kAllReduce, values.gradients, values.gradients, ReductionChannel(b));
    }
    return StartUpdate(Message::kReduceScatter, values.gradients, values.gradient_shard, ReductionChannel(b));
  }

  // A micro-batch's sum over the replicas: the first becomes the shard, later ones are added to it.
  struct Scatter {
    size_t bucket;
    int started;
    bool is_first;
  };
  Scatter StartScatter(size_t b) {
    const UpdateProgram::BucketValues& values = update_->buckets[b];
    const bool is_first = scattered_.insert(b).second;
    RunUpdate(values.clear_segment);
    return {b,
            StartUpdate(Message::kReduceScatter, values.gradients,
                        is_first ? values.gradient_shard : values.scattered, ReductionChannel(b)),
            is_first};
  }

  // Whether gradients are under way in memory that this backward segment writes first: the micro-batch before
  // ended with the segment that this one begins with.
  bool StillScatters(int chunk, int segment) const {
    return std::any_of(scatters_.begin(), scatters_.end(), [&](const Scatter& scatter) {
      const Bucket& bucket = (*buckets_)[scatter.bucket];
      return bucket.chunk == chunk && bucket.first_segment == segment;
    });
  }

  // Called when one more segment has run: so long a bucket's reduction had to travel under it.
  void FinishScatters() {
    for (const Scatter& scatter : scatters_) {
      const UpdateProgram::BucketValues& values = update_->buckets[scatter.bucket];
      Wait(scatter.started);
      if (!scatter.is_first) RunUpdate(values.add_segment);
      plan_.residences.push_back({update_program(), values.gradients, begun_.at(scatter.bucket),
                                  static_cast<int>(plan_.entries.size()) - 1});
    }
    scatters_.clear();
  }

  const std::vector<const Program*> chunks_;
  const PipelinePlace place_;
  StepPlan plan_;
  std::map<ChunkBatch, int> slot_of_;
  std::array<std::deque<Work>, 2> expected_;     // gradients to receive, by whether of a turned chunk
  std::map<ChunkBatch, int> gradient_received_;  // the entry that starts it
  std::map<int, std::vector<int>> sends_;        // by slot: entries under way
  std::vector<int> free_slots_;
  std::map<std::pair<int, int>, int> num_runs_;  // of a chunk's segment

  const std::vector<Bucket>* buckets_ = nullptr;
  const UpdateProgram* update_ = nullptr;
  int zero_stage_ = 0;
  std::vector<AxisSet> groups_;
  std::vector<int> reductions_;  // by bucket: the entry that starts it, or -1
  // Of sharded gradients:
  std::map<size_t, int> begun_;    // by bucket: the run that wrote the first of a micro-batch
  std::vector<Scatter> scatters_;  // under way
  std::set<size_t> scattered_;     // buckets of which a micro-batch has been added
};

}  // namespace

StepPlan PlanTrainingStep(const StageChunks& chunks, const UpdateProgram& update,
                          const std::vector<Bucket>& buckets, const std::vector<Work>& schedule,
                          int num_micro_batches, int zero_stage) {
  Planner planner(chunks, schedule, num_micro_batches);
  planner.ReduceAfter(&buckets, &update, zero_stage);
  for (const Work& work : schedule) {
    switch (work.kind) {
      case Work::kForward:
        planner.Forward(work, true);
        break;
      case Work::kBackward:
        planner.BackwardInput(work);
        planner.FinishBackward(work);
        break;
      case Work::kBackwardInput:
        planner.BackwardInput(work);
        break;
      case Work::kBackwardWeight:
        planner.BackwardWeight(work);
        planner.FinishBackward(work);
        break;
    }
  }
  planner.FinishSends();
  planner.Update();
  return planner.TakePlan();
}

StepPlan PlanEvaluation(const StageChunks& chunks, const std::vector<Work>& schedule, int num_micro_batches) {
  Planner planner(chunks, {}, num_micro_batches);
  // With few slots a stage cannot receive before an earlier output has left, and where stages pass on in a
  // ring or a V, all may wait for each other.
  if (chunks.place.num_chunks > 1) planner.MakeSlots(chunks.place.num_stages);
  for (const Work& work : ForwardsOf(schedule)) planner.Forward(work, false);
  planner.FinishSends();
  return planner.TakePlan();
}

}  // namespace trireme
