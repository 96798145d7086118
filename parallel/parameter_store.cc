#include "parallel/parameter_store.h"

#include <glog/logging.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "runtime/random.h"

namespace trireme {
namespace {

int64_t PaddedBytes(const Value& value) {
  return (value.size_bytes() + 63) / 64 * 64;
}

// Whether a value of the update is storage of the store, not a window of such or a result between two ops.
bool IsKept(const Program& update, ValueId id) {
  return update.value(id).kind == ValueKind::kState && update.value(id).base == kNoValue;
}

void Store(void* data, DType dtype, int64_t index, double number) {
  const float rounded = static_cast<float>(number);
  switch (dtype) {
    case DType::kF32:
      static_cast<float*>(data)[index] = rounded;
      break;
    case DType::kF64:
      static_cast<double*>(data)[index] = rounded;
      break;
    case DType::kBF16:
      static_cast<Bf16*>(data)[index] = Bf16(rounded);
      break;
    default:
      LOG(FATAL) << "a parameter of dtype " << Name(dtype);
  }
}

}  // namespace

ParameterStore::ParameterStore(std::vector<const Program*> chunks, const std::vector<Bucket>& buckets,
                               const UpdateProgram& update, const UpdateOptions& options,
                               PassingMemory passing)
    : chunks_(std::move(chunks)),
      buckets_(buckets),
      update_(update),
      options_(options),
      passing_(std::move(passing)) {
  CHECK_EQ(passing_.offsets.size(), update.program.values.size());
}

ParameterStore::Bytes ParameterStore::PlannedBytes() const {
  Bytes bytes;
  bytes.passing = passing_.bytes;
  for (size_t id = 0; id < update_.program.values.size(); ++id) {
    const Value& value = update_.program.values[id];
    if (!IsKept(update_.program, id) || passing_.offsets[id] != PassingMemory::kNotPassing) continue;
    if (value.name.rfind("parameter", 0) == 0 || value.name.rfind("master", 0) == 0) {
      bytes.parameters += PaddedBytes(value);
    } else if (value.name.rfind("gradient", 0) == 0) {
      bytes.gradients += PaddedBytes(value);
    } else {
      bytes.optimizer_state += PaddedBytes(value);
    }
  }
  return bytes;
}

void ParameterStore::Allocate(Device& device) {
  CHECK(storage_.empty());
  const std::vector<Value>& values = update_.program.values;
  storage_.resize(values.size(), nullptr);
  kept_bytes_ = PlannedBytes().total() - passing_.bytes;
  device_ = &device;
  memory_ = static_cast<char*>(device.Allocate(kept_bytes_ + passing_.bytes));
  host_ = device.is_host() ? memory_ : static_cast<char*>(device.AllocateHost(kept_bytes_));
  char* memory = memory_;
  for (size_t id = 0; id < values.size(); ++id) {
    if (!IsKept(update_.program, id)) continue;
    if (passing_.offsets[id] != PassingMemory::kNotPassing) {
      storage_[id] = memory_ + kept_bytes_ + passing_.offsets[id];
      continue;
    }
    storage_[id] = memory;
    memory += PaddedBytes(values[id]);
  }
  for (int b = 0; b < buckets_.size(); ++b) {
    if (update_.buckets[b].rounding_places != kNoValue) WriteRoundingPlaces(b);
  }
}

// Before the first box, and behind the last, is padding: zeros, which stay so however they are rounded.
void ParameterStore::WriteRoundingPlaces(int b) {
  RoundingPlace* place = OnHost(rounding_places(b));
  *place++ = {.offset = 0, .cols = INT64_MAX / 2, .first = 0, .width = 0, .key = 0};
  for (const ParameterBox& box : Boxes(b, owned_begin(b), owned_size(b))) {
    const int64_t width = box.num_dims == 2 ? box.parameter->global_shape[1] : 1;
    const RandomStream stream(*options_.rounding_seed, "rounding " + box.parameter->name);
    const std::array<uint32_t, 2> key = stream.key();
    *place++ = {.offset = box.offset,
                .cols = box.end[1] - box.begin[1],
                .first = box.begin[0] * width + box.begin[1],
                .width = width,
                .key = static_cast<int64_t>(static_cast<uint64_t>(key[1]) << 32 | key[0])};
  }
}

void ParameterStore::FetchToHost() {
  if (device_->is_host()) return;
  device_->CopyToHost(host_, memory_, kept_bytes_, 0);
  device_->Synchronize(0);
}

void ParameterStore::SendToDevice() {
  if (device_->is_host()) return;
  device_->CopyToDevice(memory_, host_, kept_bytes_, 0);
  device_->Synchronize(0);
}

void* ParameterStore::At(ValueId id) const {
  CHECK(!storage_.empty()) << "the store has no memory yet";
  const Program& program = update_.program;
  const int64_t offset = program.OffsetInStorage(id) * SizeOf(program.value(id).dtype);
  return static_cast<char*>(storage_[program.StorageOf(id)]) + offset;
}

Bindings ParameterStore::BindUpdate() const {
  return storage_;
}

Bindings ParameterStore::BindChunk(const Program& program) const {
  std::map<std::string, std::pair<int, int64_t>> places;  // by a group's first name: bucket and offset
  for (int b = 0; b < buckets_.size(); ++b) {
    for (const Bucket::Member& member : buckets_[b].members) {
      places[member.name] = {b, member.offset};
    }
  }
  Bindings bindings(program.values.size(), nullptr);
  for (const ParameterGroup& group : program.parameters) {
    const auto place = places.find(group.parts[0].name);
    CHECK(place != places.end()) << "no bucket holds " << group.parts[0].name;
    const auto [b, offset] = place->second;
    bindings[group.value] = static_cast<char*>(parameters(b)) + offset * SizeOf(buckets_[b].compute);
    if (group.gradient == kNoValue) continue;
    bindings[group.gradient] = static_cast<char*>(gradients(b)) + offset * SizeOf(options_.gradient_dtype());
  }
  if (program.grid_overflow != kNoValue) bindings[program.grid_overflow] = At(update_.grid_overflow);
  return bindings;
}

int64_t ParameterStore::owned_begin(int b) const {
  return options_.zero_stage == 0 ? 0 : options_.ShardBegin(buckets_[b]);
}

int64_t ParameterStore::owned_size(int b) const {
  return options_.zero_stage == 0 ? buckets_[b].size : buckets_[b].shard_size();
}

bool ParameterStore::saves(int b) const {
  if (options_.zero_stage == 0 && options_.ShardBegin(buckets_[b]) != 0) return false;
  return buckets_[b].CountsAt(options_.coordinate);
}

std::vector<ParameterBox> ParameterStore::Boxes(int b, int64_t begin, int64_t count) const {
  return BoxesOf(*chunks_[buckets_[b].chunk], buckets_[b], begin, count, options_.coordinate, options_.mesh);
}

void ParameterStore::Initialize(uint64_t seed) {
  for (int b = 0; b < buckets_.size(); ++b) {
    const UpdateProgram::BucketValues& values = update_.buckets[b];
    auto fill = [&](void* data, DType dtype, int64_t begin, int64_t count) {
      for (const ParameterBox& box : Boxes(b, begin, count)) {
        const RandomStream stream(seed, box.parameter->name);
        const Initializer& init = box.parameter->init;
        const int64_t width = box.num_dims == 2 ? box.parameter->global_shape[1] : 1;
        const int64_t rows = box.end[0] - box.begin[0], cols = box.end[1] - box.begin[1];
#pragma omp parallel for
        for (int64_t i = 0; i < rows * cols; ++i) {
          const int64_t index = (box.begin[0] + i / cols) * width + box.begin[1] + i % cols;
          const double number =
              init.deviation == 0 ? init.mean
                                  : init.mean + init.deviation * stream.Normal(static_cast<uint64_t>(index));
          Store(data, dtype, box.offset + i, number);
        }
      }
    };
    if (values.shards_parameters) {
      fill(OnHost(owned_parameters(b)), buckets_[b].compute, owned_begin(b), owned_size(b));
    } else {
      fill(OnHost(parameters(b)), buckets_[b].compute, 0, buckets_[b].size);
    }
    if (values.master != values.owned_parameters) {
      fill(OnHost(master(b)), options_.precision.wide(), owned_begin(b), owned_size(b));
    }
  }
  SendToDevice();
}

void ParameterStore::MakeComputeCopies() {
  for (int b = 0; b < buckets_.size(); ++b) {
    if (!has_masters(b)) continue;
    const float* from = reinterpret_cast<const float*>(OnHost(master(b)));
    Bf16* to = reinterpret_cast<Bf16*>(OnHost(owned_parameters(b)));
    for (int64_t i = 0; i < owned_size(b); ++i) to[i] = Bf16(from[i]);
  }
  SendToDevice();
}

}  // namespace trireme
