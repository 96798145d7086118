#include "parallel/step_planner.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>

namespace trireme {
namespace {

constexpr int kChunk = 0;
constexpr int kUpdate = 1;

class Planner {
 public:
  Planner(const Program& chunk, const StageNeighbours& neighbours, int num_micro_batches)
      : chunk_(chunk), neighbours_(neighbours) {
    plan_.programs = {&chunk};
    plan_.channels = {"activations from the previous stage", "activations to the next stage",
                      "gradients from the next stage",       "gradients to the previous stage",
                      "homes of the tied parameter",         "world"};
    plan_.num_micro_batches = num_micro_batches;
    plan_.num_slots = 0;
  }

  StepPlan TakePlan() { return std::move(plan_); }

  // Forward of a micro-batch. `keeps_slot`: backward will follow.
  void Forward(int micro_batch, bool keeps_slot) {
    const int slot = TakeSlot();
    slot_of_[micro_batch] = slot;
    int received = -1;
    if (chunk_.stage_input != kNoValue) {
      received = Start(Message::kReceive, kNoValue, chunk_.stage_input, kFromPrevious,
                       neighbours_.from_previous, micro_batch);
    }
    Append({.kind = StepKind::kLoad, .micro_batch = micro_batch, .slot = slot});
    if (received >= 0) Wait(received);
    RunRegion(Region::kForward, micro_batch);
    if (chunk_.stage_output != kNoValue) {
      sends_[slot].push_back(
          Start(Message::kSend, chunk_.stage_output, kNoValue, kToNext, neighbours_.to_next, micro_batch));
    }
    if (keeps_slot) {
      if (chunk_.stage_output_gradient != kNoValue) {
        gradient_received_[micro_batch] = Start(Message::kReceive, kNoValue, chunk_.stage_output_gradient,
                                                kFromNext, neighbours_.from_next, micro_batch);
      }
    } else {
      KeepLoss(micro_batch);
      free_slots_.push_back(slot);
    }
  }

  // Backward of a micro-batch, with the reductions that it completes if it is the last.
  void Backward(int micro_batch) {
    const int slot = slot_of_.at(micro_batch);
    if (const auto receive = gradient_received_.find(micro_batch); receive != gradient_received_.end()) {
      Wait(receive->second);
      // What the next stage has sent back, it has received before.
    }
    RunRegion(Region::kBackward, micro_batch);
    KeepLoss(micro_batch);
    if (chunk_.stage_input_gradient != kNoValue) {
      sends_[slot].push_back(Start(Message::kSend, chunk_.stage_input_gradient, kNoValue, kToPrevious,
                                   neighbours_.to_previous, micro_batch));
    }
    free_slots_.push_back(slot);
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
  }
  void LastBackwardFollows() { is_last_backward_ = true; }

  void Update() {
    ReduceTied();
    for (size_t b = 0; b < buckets_->size(); ++b) {
      if (reductions_[b] >= 0) Wait(reductions_[b]);
      RunUpdate(update_->buckets[b].norm_segment);
    }
    RunUpdate(update_->sum_segment);
    Wait(StartUpdate(Message::kAllReduce, update_->local_norm, update_->global_norm, kWorld));
    RunUpdate(update_->factors_segment);
    std::vector<int> gathers;
    for (size_t b = 0; b < buckets_->size(); ++b) {
      const UpdateProgram::BucketValues& values = update_->buckets[b];
      RunUpdate(values.update_segment);
      if (zero_stage_ == 0 || (*buckets_)[b].num_shards == 1) continue;
      gathers.push_back(
          StartUpdate(Message::kAllGather, values.parameter_shard, values.parameters, ReductionChannel(b)));
    }
    WaitAll(gathers);
  }

 private:
  int Append(StepEntry entry) {
    plan_.entries.push_back(entry);
    return static_cast<int>(plan_.entries.size()) - 1;
  }

  void Wait(int started) { Append({.kind = StepKind::kWait, .started = started}); }
  void WaitAll(std::vector<int>& started) {
    for (int entry : started) Wait(entry);
    started.clear();
  }

  int Start(Message message, ValueId in, ValueId out, PlanChannel channel, int peer, int micro_batch) {
    CHECK_GE(peer, 0) << "a stage without a neighbour " << Name(message) << "s on "
                      << plan_.channels[channel];
    return Append({.kind = StepKind::kStart,
                   .micro_batch = micro_batch,
                   .slot = slot_of_.at(micro_batch),
                   .message = message,
                   .in = in,
                   .out = out,
                   .channel = channel,
                   .peer = peer});
  }

  int StartUpdate(Message message, ValueId in, ValueId out, int channel) {
    return Append({.kind = StepKind::kStart,
                   .program = kUpdate,
                   .message = message,
                   .in = in,
                   .out = out,
                   .channel = channel});
  }

  void RunUpdate(int segment) {
    if (segment >= 0) Append({.kind = StepKind::kRun, .program = kUpdate, .segment = segment});
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

  void KeepLoss(int micro_batch) {
    if (chunk_.loss_sum == kNoValue) return;
    Append({.kind = StepKind::kLoss, .micro_batch = micro_batch, .slot = slot_of_.at(micro_batch)});
  }

  void RunRegion(Region region, int micro_batch) {
    for (int s = 0; s < chunk_.segments.size(); ++s) {
      if (chunk_.segments[s].region != region) continue;
      const bool backward = region == Region::kBackward;
      Append({.kind = StepKind::kRun,
              .segment = s,
              .micro_batch = micro_batch,
              .slot = slot_of_.at(micro_batch),
              .accumulates = backward && has_run_backward_});
      if (backward && is_last_backward_) StartReductions(s);
    }
    if (region == Region::kBackward) has_run_backward_ = true;
  }

  void StartReductions(int segment) {
    for (size_t b = 0; b < buckets_->size(); ++b) {
      if ((*buckets_)[b].last_segment != segment || (*buckets_)[b].tied) continue;
      reductions_[b] = StartReduction(b);
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

  // A tied parameter's gradient is the sum over its homes, then over the replicas.
  void ReduceTied() {
    for (size_t b = 0; b < buckets_->size(); ++b) {
      if (!(*buckets_)[b].tied) continue;
      const ValueId gradients = update_->buckets[b].gradients;
      CHECK(neighbours_.has_home_pair);
      Wait(StartUpdate(Message::kAllReduce, gradients, gradients, kHomes));
      reductions_[b] = StartReduction(b);
    }
  }

  const Program& chunk_;
  const StageNeighbours neighbours_;
  StepPlan plan_;
  std::map<int, int> slot_of_;             // by micro-batch
  std::map<int, int> gradient_received_;   // by micro-batch: the entry that starts it
  std::map<int, std::vector<int>> sends_;  // by slot: entries under way
  std::vector<int> free_slots_;
  bool has_run_backward_ = false;
  bool is_last_backward_ = false;

  const std::vector<Bucket>* buckets_ = nullptr;
  const UpdateProgram* update_ = nullptr;
  int zero_stage_ = 0;
  std::vector<AxisSet> groups_;
  std::vector<int> reductions_;  // by bucket: the entry that starts it, or -1
};

}  // namespace

StepPlan PlanTrainingStep(const Program& chunk, const UpdateProgram& update,
                          const std::vector<Bucket>& buckets, const std::vector<Work>& schedule,
                          int num_micro_batches, int zero_stage, const StageNeighbours& neighbours) {
  Planner planner(chunk, neighbours, num_micro_batches);
  planner.ReduceAfter(&buckets, &update, zero_stage);
  int num_backward = 0;
  for (const Work& work : schedule) {
    if (work.kind == Work::kForward) {
      planner.Forward(work.micro_batch, true);
    } else {
      if (++num_backward == num_micro_batches) planner.LastBackwardFollows();
      planner.Backward(work.micro_batch);
    }
  }
  CHECK_EQ(num_backward, num_micro_batches);
  planner.FinishSends();
  planner.Update();
  return planner.TakePlan();
}

StepPlan PlanEvaluation(const Program& chunk, int num_micro_batches, const StageNeighbours& neighbours) {
  Planner planner(chunk, neighbours, num_micro_batches);
  for (int m = 0; m < num_micro_batches; ++m) planner.Forward(m, false);
  planner.FinishSends();
  return planner.TakePlan();
}

}  // namespace trireme
