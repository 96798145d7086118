#include "launch/step_inputs.h"

#include <glog/logging.h>

#include "runtime/alibi.h"

namespace trireme {
namespace {

// ids, targets and token_index.
constexpr int64_t kTokenBytes = 2 * sizeof(int32_t) + sizeof(int64_t);

int64_t TokensOf(const BatchGeometry& batch) {
  return batch.micro_batch * batch.sequence_length;
}

// In memory that the compute stream reads.
template <typename T>
const T* Constant(const std::vector<T>& values, Device& device) {
  const auto bytes = static_cast<int64_t>(values.size() * sizeof(T));
  void* const memory = device.Allocate(bytes);
  device.CopyToDevice(memory, values.data(), bytes, 0);
  return static_cast<T*>(memory);
}

}  // namespace

StepInputs::StepInputs(const RankPlan& plan, Device& device)
    : plan_(plan), device_(device), tokens_(TokensOf(plan.batch)) {
  const BatchGeometry& batch = plan.batch;
  std::vector<int32_t> positions, lo;
  for (int64_t t = 0; t < tokens_; ++t) {
    in_stream_.push_back(
        batch.order.StreamIndex(t / batch.order.tokens_here(), t % batch.order.tokens_here()));
    positions.push_back(static_cast<int32_t>(in_stream_.back() % batch.sequence_length));
    lo.push_back(static_cast<int32_t>(t - t % batch.sequence_length));
  }
  positions_ = Constant(positions, device);
  lo_ = Constant(lo, device);
  spans_ = Constant(RingSpans(lo, batch.order, plan.coordinate[Axis::kCp]), device);
  if (const int64_t heads = plan.model->alibi_heads(); heads > 0) {
    slopes_ = Constant(AlibiSlopes(heads), device);
    places_ = Constant(RingPlaces(batch.order, plan.coordinate[Axis::kCp]), device);
  }
  const int64_t bytes = batch.num_micro_batches * tokens_ * kTokenBytes;
  if (device.is_host()) {
    halves_[0].host = halves_[0].device = static_cast<char*>(device.AllocateHost(bytes));
    return;
  }
  stream_ = device.NewStream();
  for (Half& half : halves_) {
    half.host = static_cast<char*>(device.AllocateHost(bytes));
    half.device = static_cast<char*>(device.Allocate(bytes));
  }
}

int64_t StepInputs::DeviceBytes(const BatchGeometry& batch, int64_t alibi_heads) {
  // positions, lo and, a begin and an end a token, spans.
  int64_t constants = 4 * TokensOf(batch) * static_cast<int64_t>(sizeof(int32_t));
  if (alibi_heads > 0) constants += (TokensOf(batch) + alibi_heads) * static_cast<int64_t>(sizeof(int32_t));
  return 2 * batch.num_micro_batches * TokensOf(batch) * kTokenBytes + constants;
}

StepInputs::Kept StepInputs::At(char* memory, int micro_batch) const {
  char* const begin = memory + micro_batch * tokens_ * kTokenBytes;
  auto* const token_index = reinterpret_cast<int64_t*>(begin);
  auto* const ids = reinterpret_cast<int32_t*>(token_index + tokens_);
  return {ids, ids + tokens_, token_index};
}

void StepInputs::Keep(const Half& half, int micro_batch, const Samples& samples) {
  const int64_t length = plan_.batch.sequence_length;
  const Kept kept = At(half.host, micro_batch);
  for (int64_t t = 0; t < tokens_; ++t) {
    const int64_t in_stream = in_stream_[t];
    kept.ids[t] = samples.inputs[in_stream];
    kept.targets[t] = samples.labels[in_stream];
    kept.token_index[t] = samples.sample_ids[in_stream / length] * length + in_stream % length;
  }
  if (half.device == half.host) return;
  device_.SendToDevice(At(half.device, micro_batch).token_index, kept.token_index, tokens_ * kTokenBytes,
                       stream_);
}

void StepInputs::BeginStep() {
  num_kept_ = 0;
  if (!has_next_) return;
  has_next_ = false;
  current_ = 1 - current_;
  num_kept_ = static_cast<int>(plan_.batch.num_micro_batches);
  device_.StreamWait(0, device_.Record(stream_));  // of now: evaluations may have come between
}

// Chunks come to the micro-batches in orders of their own, and to each micro-batch again.
void StepInputs::Load(const Program& program, int micro_batch, const ReadSamples& read,
                      const std::vector<std::pair<ValueId, void*>>& inputs) {
  for (; num_kept_ <= micro_batch; ++num_kept_) {
    Keep(halves_[current_], num_kept_, read(num_kept_));
    if (stream_ != 0) device_.StreamWait(0, device_.Record(stream_));
  }
  for (const auto& [id, address] : inputs) {
    if (address == nullptr) continue;
    const Value& value = program.value(id);
    device_.CopyWithin(
        address, static_cast<const char*>(Source(value, micro_batch)) + ShareOf(value) * value.size_bytes(),
        value.size_bytes(), 0);
  }
}

// Of tokens, cp's shares follow each other, each of so many of tp's; of heads, tp's, each of so many of cp's.
int64_t StepInputs::ShareOf(const Value& value) const {
  const bool of_heads = value.name == "slopes";
  int64_t share = 0;
  for (Axis axis : {of_heads ? Axis::kTp : Axis::kCp, of_heads ? Axis::kCp : Axis::kTp}) {
    if (value.layout[axis].is_shard()) share = share * plan_.mesh[axis] + plan_.coordinate[axis];
  }
  return share;
}

const void* StepInputs::Source(const Value& value, int micro_batch) const {
  const Kept kept = At(halves_[current_].device, micro_batch);
  if (value.name == "ids") return kept.ids;
  if (value.name == "targets") return kept.targets;
  if (value.name == "positions" || value.name == "stream_positions") return positions_;
  if (value.name == "lo") return lo_;
  if (value.name == "spans") return spans_;
  if (value.name == "slopes") return slopes_;
  if (value.name == "places") return places_;
  CHECK_EQ(value.name, "token_index");
  return kept.token_index;
}

void StepInputs::ReadAhead(const ReadSamples& read) {
  if (device_.is_host()) return;
  CHECK(!has_next_) << "two steps read ahead";
  // The step that last read the other half has been waited for.
  for (int m = 0; m < plan_.batch.num_micro_batches; ++m) Keep(halves_[1 - current_], m, read(m));
  has_next_ = true;
}

}  // namespace trireme
