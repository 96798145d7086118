#include "parallel/optimizer.h"

#include "absl/strings/str_cat.h"
#include "runtime/recorder.h"

namespace trireme {
namespace {

class UpdateRecorder {
 public:
  UpdateRecorder(UpdateProgram& update, const UpdateOptions& options)
      : update_(update), options_(options), recorder_(&update.program, {}, options.precision) {}

  void Run(const std::vector<Bucket>& buckets) {
    const int64_t num_buckets = static_cast<int64_t>(buckets.size());
    const Tensor norms = State("squared_norms", DType::kF64, num_buckets);
    const Tensor local = State("local_norm", DType::kF64, 1);
    const Tensor global = State("global_norm", DType::kF64, 1);
    const Tensor inputs = State("step_inputs", DType::kF64, kNumStepInputs);
    const Tensor factors = State("step_factors", DType::kF64, kNumStepFactors);
    const Tensor updates = State("updates", DType::kF64, 1);
    for (const Bucket& bucket : buckets) RecordNorm(bucket, norms);
    update_.sum_segment = Begin("sum");
    recorder_.Record(OpKind::kLossSum, {norms}, {});
    recorder_.program().segments.back().ops.back().outputs.push_back(local.id());
    update_.factors_segment = Begin("factors");
    StepFactors(global, inputs, updates, factors, options_.adamw, options_.clip_norm);
    for (int b = 0; b < num_buckets; ++b) RecordAdamW(buckets[b], update_.buckets[b], factors);
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

  void RecordNorm(const Bucket& bucket, Tensor norms) {
    const DType wide = options_.precision.wide();
    const int64_t state_size = options_.zero_stage == 0 ? bucket.size : bucket.shard_size();
    const Tensor gradients = State("gradients " + bucket.name, wide, bucket.size);
    const Tensor parameters = State("parameters " + bucket.name, bucket.compute, bucket.size);
    const Tensor gradient_shard = Shard(bucket, gradients);
    const Tensor parameter_shard = Shard(bucket, parameters);
    Tensor master = options_.zero_stage == 0 ? parameters : parameter_shard;
    if (bucket.compute != wide) master = State("master " + bucket.name, wide, state_size);
    UpdateProgram::BucketValues values = {
        .gradients = gradients.id(),
        .gradient_shard = gradient_shard.id(),
        .parameters = parameters.id(),
        .parameter_shard = parameter_shard.id(),
        .master = master.id(),
        .first_moment = State("first moment " + bucket.name, wide, state_size).id(),
        .second_moment = State("second moment " + bucket.name, wide, state_size).id(),
        .norm_segment = -1,
        .update_segment = -1};
    if (bucket.CountsAt(options_.coordinate)) {
      values.norm_segment = Begin("norm " + bucket.name);
      SquaredNorm(gradient_shard, recorder_.Rows(norms, static_cast<int64_t>(update_.buckets.size()), 1));
    }
    update_.buckets.push_back(values);
  }

  void RecordAdamW(const Bucket& bucket, UpdateProgram::BucketValues& values, Tensor factors) {
    values.update_segment = Begin("update " + bucket.name);
    auto tensor = [this](ValueId id) { return Tensor(&recorder_, id); };
    const bool all = options_.zero_stage == 0;
    AdamW(tensor(all ? values.gradients : values.gradient_shard), tensor(values.master),
          tensor(values.first_moment), tensor(values.second_moment), factors, options_.adamw, bucket.decays);
    if (bucket.compute != options_.precision.wide()) {
      CastTo(tensor(values.master), tensor(all ? values.parameters : values.parameter_shard));
    }
  }

  UpdateProgram& update_;
  const UpdateOptions& options_;
  Recorder recorder_;
};

}  // namespace

UpdateProgram RecordUpdate(const std::vector<Bucket>& buckets, const UpdateOptions& options) {
  UpdateProgram update;
  UpdateRecorder(update, options).Run(buckets);
  return update;
}

}  // namespace trireme
