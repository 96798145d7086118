#include "tests/mesh_run.h"

#include <glog/logging.h>

#include <cmath>
#include <mutex>

#include "configs/load.h"
#include "configs/validate.h"
#include "launch/rank_plan.h"
#include "launch/trainer.h"
#include "parallel/thread_communicator.h"
#include "runtime/cpu/cpu_device.h"
#include "runtime/random.h"

namespace trireme {
namespace {

double Read(const void* data, DType dtype, int64_t i) {
  switch (dtype) {
    case DType::kF64:
      return static_cast<const double*>(data)[i];
    case DType::kF32:
      return static_cast<const float*>(data)[i];
    case DType::kBF16:
      return static_cast<float>(static_cast<const Bf16*>(data)[i]);
    case DType::kI64:
      return static_cast<double>(static_cast<const int64_t*>(data)[i]);
    default:
      LOG(FATAL) << "a master weight of dtype " << Name(dtype);
  }
}

// Copies what this rank holds of bucket ranges into the global tensors.
void Collect(const ParameterStore& store, void* (ParameterStore::*owned)(int) const, GlobalTensors& tensors) {
  for (int b = 0; b < store.buckets().size(); ++b) {
    if (!store.saves(b)) continue;
    const int64_t begin = store.owned_begin(b);
    const char* base = store.OnHost((store.*owned)(b));
    const UpdateOptions& options = store.options();
    const bool is_master = owned == &ParameterStore::master;
    const DType dtype = is_master ? store.master_dtype(b) : options.gradient_dtype();
    const double unit = dtype == DType::kI64 ? std::ldexp(1.0, static_cast<int>(options.grid->exponent)) : 1;
    for (const ParameterBox& box : store.Boxes(b, begin, store.owned_size(b))) {
      std::vector<double>& tensor = tensors[box.parameter->name];
      tensor.resize(box.parameter->global_shape.num_elements(), NAN);
      const int64_t width = box.num_dims == 2 ? box.parameter->global_shape[1] : 1;
      const int64_t cols = box.end[1] - box.begin[1];
      for (int64_t i = 0; i < (box.end[0] - box.begin[0]) * cols; ++i) {
        tensor[(box.begin[0] + i / cols) * width + box.begin[1] + i % cols] =
            unit * Read(base, dtype, box.offset + i);
      }
    }
  }
}

// Sample g is a pure function of g, with some structure to learn.
class MadeUpData {
 public:
  MadeUpData(const BatchGeometry& batch, int64_t vocabulary) : batch_(batch), vocabulary_(vocabulary) {}

  Samples Read(int64_t step, int m) {
    const int64_t length = batch_.sequence_length;
    inputs_.clear();
    labels_.clear();
    ids_.clear();
    for (int64_t i = 0; i < batch_.micro_batch; ++i) {
      const int64_t sample = step * batch_.global_batch + batch_.FirstSample(m) + i;
      ids_.push_back(sample);
      for (int64_t t = 0; t < length; ++t) {
        inputs_.push_back(Token(sample, t));
        labels_.push_back(Token(sample, t + 1));
      }
    }
    return {inputs_.data(), labels_.data(), ids_.data()};
  }

 private:
  int32_t Token(int64_t sample, int64_t t) const {
    const Philox4 w = RandomStream(7, "data").Words(static_cast<uint64_t>(sample), static_cast<uint64_t>(t));
    return static_cast<int32_t>(w[0] % 3 == 0 ? w[1] % vocabulary_ : t * 7 % vocabulary_);
  }

  const BatchGeometry batch_;
  const int64_t vocabulary_;
  std::vector<int32_t> inputs_, labels_;
  std::vector<int64_t> ids_;
};

}  // namespace

Config TestConfig(const std::string& recipe, const std::vector<std::string>& overrides) {
  absl::StatusOr<Config> config = LoadConfig("configs/" + recipe, overrides);
  CHECK(config.ok()) << config.status();
  const MeshConfig& mesh = config->mesh();
  auto size = [](bool has, int64_t n) { return has ? n : 1; };
  const int64_t ranks = size(mesh.has_pp(), mesh.pp()) * size(mesh.has_dp(), mesh.dp()) *
                        size(mesh.has_cp(), mesh.cp()) * size(mesh.has_tp(), mesh.tp());
  const absl::Status resolved = ResolveMesh(&*config, static_cast<int>(ranks));
  CHECK(resolved.ok()) << resolved;
  return *config;
}

std::unique_ptr<Device> MakeCpuDevice() {
  return std::make_unique<CpuDevice>(1);
}

MeshRunResult RunOnThreads(const std::string& recipe, const std::vector<std::string>& overrides,
                           int num_steps, const ThreadOptions& options, const MakeDevice& make_device,
                           const RunHooks& hooks) {
  const Config config = TestConfig(recipe, overrides);
  const AxisSizes sizes = MeshSizes(config);
  MeshRunResult result;
  std::mutex mutex;
  const auto body = [&](Communicator& thread_world) {
    const std::unique_ptr<Device> made = make_device();
    Device& device = *made;
    const std::unique_ptr<Communicator> wrapped =
        hooks.wrap_world ? hooks.wrap_world(thread_world, device) : nullptr;
    Communicator& device_world = wrapped != nullptr ? *wrapped : thread_world;
    Communicator& world = device.is_host() ? device_world : thread_world;
    absl::StatusOr<std::unique_ptr<Mesh>> mesh = Mesh::Create(world, sizes, LinksOf(config));
    CHECK(mesh.ok()) << mesh.status();
    absl::StatusOr<std::unique_ptr<Mesh>> device_mesh = nullptr;
    if (&device_world != &world) device_mesh = Mesh::Create(device_world, sizes, LinksOf(config));
    CHECK(device_mesh.ok()) << device_mesh.status();
    RankPlan plan = MakeRankPlan(config, (*mesh)->coordinate(), device);
    Trainer trainer(plan, **mesh, *device_mesh != nullptr ? **device_mesh : **mesh, device);
    if (hooks.prepare) hooks.prepare(trainer, world, device);
    trainer.Initialize(static_cast<uint64_t>(config.train().seed()));
    MadeUpData data(plan.batch, config.model().vocab_size());
    {
      trainer.store().FetchToHost();
      std::lock_guard<std::mutex> lock(mutex);
      Collect(trainer.store(), &ParameterStore::master, result.initial_parameters);
    }
    const double evaluation = trainer.EvaluateSum([&](int m) { return data.Read(0, m); }) /
                              static_cast<double>(plan.batch.tokens());
    std::vector<double> losses, z_losses, norms;
    std::vector<int64_t> dropped_choices;
    int64_t allocations = 0;
    for (int step = 0; step < num_steps; ++step) {
      if (step == 1) allocations = device.num_allocations();
      const ReadSamples read = [&](int m) { return data.Read(step, m); };
      const ReadSamples read_next = [&](int m) { return data.Read(step + 1, m); };
      const StepResult r = trainer.Step(config.optimizer().learning_rate(), read, nullptr,
                                        step + 1 < num_steps ? read_next : nullptr);
      losses.push_back(r.loss);
      z_losses.push_back(r.z_loss);
      norms.push_back(r.gradient_norm);
      dropped_choices.push_back(r.dropped_choices);
    }
    trainer.store().FetchToHost();
    if (hooks.at_end) hooks.at_end(trainer, world);
    std::lock_guard<std::mutex> lock(mutex);
    if (num_steps > 1) result.allocations_in_steps += device.num_allocations() - allocations;
    Collect(trainer.store(), &ParameterStore::owned_gradients, result.gradients);
    Collect(trainer.store(), &ParameterStore::master, result.parameters);
    if (world.rank() == 0) {
      result.losses = losses;
      result.z_losses = z_losses;
      result.norms = norms;
      result.dropped_choices = dropped_choices;
      result.evaluation = evaluation;
    }
  };
  RunThreadRanks(sizes.product(), body, options);
  return result;
}

double RelativeDistance(const std::vector<double>& a, const std::vector<double>& b, double scale) {
  if (a.size() != b.size()) return INFINITY;
  double difference = 0, norm = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  if (difference == 0) return 0;
  return std::sqrt(difference) / std::max(std::sqrt(norm), scale);
}

double GlobalNorm(const GlobalTensors& tensors) {
  double sum = 0;
  for (const auto& [name, tensor] : tensors) {
    for (double x : tensor) sum += x * x;
  }
  return std::sqrt(sum);
}

}  // namespace trireme
