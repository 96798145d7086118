#include "parallel/optimizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "parallel/parameter_boxes.h"
#include "runtime/recorder.h"
#include "runtime/rounding.h"

namespace trireme {
namespace {

class UpdateRecorder {
 public:
  UpdateRecorder(UpdateProgram& update, const UpdateOptions& options)
      : update_(update), options_(options), recorder_(&update.program, {}, options.precision) {}

  void Run(const std::vector<const Program*>& chunks, const std::vector<Bucket>& buckets) {
    const int64_t num_buckets = static_cast<int64_t>(buckets.size());
    const bool on_grid = options_.grid.has_value();
    const Tensor norms =
        on_grid ? recorder_.State("squared_norms", DType::kI64, {num_buckets, kGridLimbs}, Layout())
                : State("squared_norms", DType::kF64, num_buckets);
    const DType sum_dtype = on_grid ? DType::kI64 : DType::kF64;
    const int64_t num_sums = on_grid ? kGridSums : 1;
    const Tensor local = State("local_norm", sum_dtype, num_sums);
    const Tensor global = State("global_norm", sum_dtype, num_sums);
    const Tensor inputs = State("step_inputs", DType::kF64, kNumStepInputs);
    const Tensor factors = State("step_factors", DType::kF64, kNumStepFactors);
    const Tensor updates = State("updates", DType::kF64, 1);
    for (const Bucket& bucket : buckets) {
      RecordStorage(*chunks[bucket.chunk], bucket);
      if (options_.ShardsGradients(bucket))
        RecordSharding(*chunks[bucket.chunk], bucket, update_.buckets.back());
      RecordNorm(bucket, norms);
    }
    RecordSum(norms, local);
    update_.factors_segment = Begin("factors");
    StepFactors(on_grid ? GridNorm(global, *options_.grid) : global, inputs, updates, factors, options_.adamw,
                options_.clip_norm);
    for (int b = 0; b < num_buckets; ++b) RecordAdamW(buckets[b], update_.buckets[b], factors, updates);
    update_.squared_norms = norms.id();
    update_.local_norm = local.id();
    update_.global_norm = global.id();
    update_.step_inputs = inputs.id();
    update_.step_factors = factors.id();
    update_.updates = updates.id();
  }

 private:
  Tensor State(std::string name, DType dtype, int64_t size) {
    return recorder_.State(std::move(name), dtype, {size}, Layout());
  }
  int Begin(std::string name) {
    recorder_.BeginSegment(std::move(name), Region::kUpdate);
    return recorder_.current_segment();
  }
  Tensor Shard(const Bucket& bucket, Tensor whole) {
    return recorder_.Rows(whole, options_.ShardBegin(bucket), bucket.shard_size());
  }

  void RecordStorage(const Program& chunk, const Bucket& bucket) {
    const DType wide = options_.precision.wide();
    const bool all = options_.zero_stage == 0;
    const int64_t state_size = all ? bucket.size : bucket.shard_size();
    UpdateProgram::BucketValues values;
    values.shards_gradients = options_.ShardsGradients(bucket);
    values.shards_parameters = options_.ShardsParameters(bucket);
    const DType gradient = options_.gradient_dtype();
    const Tensor gradients = State("gradients " + bucket.name, gradient, bucket.size);
    const Tensor parameters = State("parameters " + bucket.name, bucket.compute, bucket.size);
    const Tensor scattered = Shard(bucket, gradients);
    const Tensor gradient_shard = values.shards_gradients
                                      ? State("gradient shard " + bucket.name, gradient, bucket.shard_size())
                                      : scattered;
    const Tensor parameter_shard = values.shards_parameters ? State("parameter shard " + bucket.name,
                                                                    bucket.compute, bucket.shard_size())
                                                            : Shard(bucket, parameters);
    values.gradients = gradients.id();
    values.scattered = scattered.id();
    values.gradient_shard = gradient_shard.id();
    values.owned_gradients = all ? gradients.id() : gradient_shard.id();
    values.parameters = parameters.id();
    values.parameter_shard = parameter_shard.id();
    values.owned_parameters = all ? parameters.id() : parameter_shard.id();
    if (options_.RoundsParameters(bucket)) {
      const auto boxes = BoxesOf(chunk, bucket, all ? 0 : options_.ShardBegin(bucket), state_size,
                                 options_.coordinate, options_.mesh);
      const int64_t num_places = 1 + static_cast<int64_t>(boxes.size());
      values.rounding_places = recorder_
                                   .State("rounding places " + bucket.name, DType::kI64,
                                          {num_places, kNumRoundingPlaceFields}, Layout())
                                   .id();
    }
    const bool has_masters = bucket.compute != wide && !options_.RoundsParameters(bucket);
    values.master =
        has_masters ? State("master " + bucket.name, wide, state_size).id() : values.owned_parameters;
    values.first_moment = State("first moment " + bucket.name, wide, state_size).id();
    values.second_moment = State("second moment " + bucket.name, wide, state_size).id();
    update_.buckets.push_back(values);
  }

  // What lies in the padding of a bucket whose memory others have used must not reach the sums.
  void RecordSharding(const Program& chunk, const Bucket& bucket, UpdateProgram::BucketValues& values) {
    const std::vector<std::pair<int64_t, int64_t>> gaps = Gaps(chunk, bucket);
    if (!gaps.empty()) {
      int64_t longest = 0;
      for (const auto& [begin, size] : gaps) longest = std::max(longest, size);
      const Tensor zeros = State("zeros " + bucket.name, options_.gradient_dtype(), longest);
      values.clear_segment = Begin("clear padding " + bucket.name);
      for (const auto& [begin, size] : gaps) {
        RecordInto(recorder_.Rows(zeros, 0, size),
                   recorder_.Rows(Tensor(&recorder_, values.gradients), begin, size));
      }
    }
    values.add_segment = Begin("add " + bucket.name);
    RecordInto(Tensor(&recorder_, values.scattered), Tensor(&recorder_, values.gradient_shard));
    recorder_.program().segments.back().ops.back().always_accumulates = true;
  }

  // The elements of a bucket that belong to no parameter, as (begin, size).
  static std::vector<std::pair<int64_t, int64_t>> Gaps(const Program& chunk, const Bucket& bucket) {
    std::vector<std::pair<int64_t, int64_t>> gaps;
    int64_t end = 0;  // of the members so far, which lie in order
    auto close = [&](int64_t next) {
      if (next > end) gaps.emplace_back(end, next - end);
    };
    for (const Bucket::Member& member : bucket.members) {
      close(member.offset);
      end = member.offset + chunk.value(chunk.parameters[member.group].value).shape.num_elements();
    }
    close(bucket.size);
    return gaps;
  }

  // `to` = `from`.
  void RecordInto(Tensor from, Tensor to) {
    recorder_.Record(OpKind::kAccumulate, {from}, {});
    recorder_.program().segments.back().ops.back().outputs.push_back(to.id());
  }

  void RecordNorm(const Bucket& bucket, Tensor norms) {
    if (!bucket.CountsAt(options_.coordinate)) return;
    UpdateProgram::BucketValues& values = update_.buckets.back();
    values.norm_segment = Begin("norm " + bucket.name);
    const Tensor shard(&recorder_, values.gradient_shard);
    const Tensor norm = recorder_.Rows(norms, static_cast<int64_t>(update_.buckets.size()) - 1, 1);
    if (options_.grid.has_value()) {
      GridSquaredNorm(shard, norm);
    } else {
      SquaredNorm(shard, norm);
    }
  }

  void RecordSum(Tensor norms, Tensor local) {
    update_.sum_segment = Begin("sum");
    if (options_.grid.has_value()) {
      const Tensor overflow = State("grid_overflow", DType::kI64, 1);
      GridSum(norms, overflow, local);
      update_.grid_overflow = overflow.id();
      return;
    }
    recorder_.Record(OpKind::kLossSum, {norms}, {});
    recorder_.program().segments.back().ops.back().outputs.push_back(local.id());
  }

  void RecordAdamW(const Bucket& bucket, UpdateProgram::BucketValues& values, Tensor factors,
                   Tensor updates) {
    values.update_segment = Begin("update " + bucket.name);
    auto tensor = [this](ValueId id) { return Tensor(&recorder_, id); };
    Tensor gradients = tensor(values.owned_gradients);
    if (options_.grid.has_value()) gradients = FromGrid(gradients, *options_.grid);
    const Tensor master = tensor(values.master);
    const Tensor first = tensor(values.first_moment), second = tensor(values.second_moment);
    if (values.rounding_places != kNoValue) {
      AdamW(gradients, master, first, second, factors, options_.adamw, bucket.decays,
            {tensor(values.rounding_places), updates});
    } else {
      AdamW(gradients, master, first, second, factors, options_.adamw, bucket.decays);
    }
    if (values.master != values.owned_parameters) {
      CastTo(master, tensor(values.owned_parameters));
    }
  }

  UpdateProgram& update_;
  const UpdateOptions& options_;
  Recorder recorder_;
};

}  // namespace

UpdateProgram RecordUpdate(const std::vector<const Program*>& chunks, const std::vector<Bucket>& buckets,
                           const UpdateOptions& options) {
  UpdateProgram update;
  UpdateRecorder(update, options).Run(chunks, buckets);
  return update;
}

}  // namespace trireme
