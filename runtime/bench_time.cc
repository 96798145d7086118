#include "runtime/bench_time.h"

#include <algorithm>
#include <limits>

#include "runtime/clock.h"

namespace trireme {
namespace {

constexpr double kSecondsOfATry = 0.01;
constexpr int kMaxCalls = 1000;

template <typename T>
void Copy(const std::vector<T>& values, void* to, Device& device) {
  device.CopyToDevice(to, values.data(), static_cast<int64_t>(values.size() * sizeof(T)), 0);
  device.Synchronize(0);
}

}  // namespace

void FillWithNumbers(const View& view, Device& device) {
  constexpr int64_t kOnHost = 1 << 20;  // the rest are copies of these
  const int64_t count = view.shape.num_elements();
  const int64_t size = SizeOf(view.dtype);
  const auto value = [](int64_t i) { return static_cast<float>(i * 2654435761u >> 16 & 255) / 64.0f - 2.0f; };
  const int64_t first = std::min(count, kOnHost);
  if (view.dtype == DType::kBF16) {
    std::vector<Bf16> values(first);
    for (int64_t i = 0; i < first; ++i) values[i] = Bf16(value(i));
    Copy(values, view.data, device);
  } else {
    std::vector<float> values(first);
    for (int64_t i = 0; i < first; ++i) values[i] = value(i);
    Copy(values, view.data, device);
  }
  for (int64_t done = first; done < count;) {
    const int64_t more = std::min(done, count - done);
    device.CopyWithin(view.as<char>() + done * size, view.data, more * size, 0);
    done += more;
  }
  device.Synchronize(0);
}

void FillWith(const std::vector<int64_t>& values, const View& view, Device& device) {
  if (view.dtype == DType::kI64) return Copy(values, view.data, device);
  Copy(std::vector<int32_t>(values.begin(), values.end()), view.data, device);
}

KernelArguments ArgumentsOf(const Op& op, const std::vector<View>& inputs, const std::vector<View>& outputs,
                            bool accumulate, Device& device) {
  const KernelEntry& entry = device.kernel(op.kind);
  const int64_t bytes =
      entry.workspace_bytes == nullptr ? 0 : entry.workspace_bytes(op, inputs, outputs, device.num_threads());
  return {op, inputs, outputs, accumulate, device.Allocate(bytes), {}, {{0, 0, 0, 0}}, device.num_threads()};
}

double SecondsOfOne(const std::function<void()>& enqueue, int repetitions, Device& device) {
  const auto seconds_of = [&](int calls) {
    const double begin = NowSeconds();
    for (int i = 0; i < calls; ++i) enqueue();
    device.Synchronize(0);
    return NowSeconds() - begin;
  };
  seconds_of(1);
  int calls = 1;
  if (!device.is_host()) {
    calls = static_cast<int>(std::clamp<double>(kSecondsOfATry / seconds_of(1), 1, kMaxCalls));
  }
  double seconds = std::numeric_limits<double>::infinity();
  for (int i = 0; i < repetitions; ++i) seconds = std::min(seconds, seconds_of(calls) / calls);
  return seconds;
}

}  // namespace trireme
