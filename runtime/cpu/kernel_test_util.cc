#include "runtime/cpu/kernel_test_util.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "runtime/cpu/kernels.h"
#include "runtime/cpu/tolerances.h"
#include "runtime/op_table.h"

namespace trireme {

DType DTypeOf(Role role, DType compute) {
  switch (role) {
    case Role::kCompute:
      return compute;
    case Role::kWide:
      return compute == DType::kF64 ? DType::kF64 : DType::kF32;
    case Role::kF32:
      return DType::kF32;
    case Role::kF64:
      return DType::kF64;
    case Role::kI32:
      return DType::kI32;
    case Role::kI64:
      return DType::kI64;
  }
  return DType::kF32;
}

namespace {

// The operands of one call, in memory of the host or of a device.
class CallMemory {
 public:
  explicit CallMemory(const RunOptions& options) : options_(options) {}

  // Memory that holds a copy of `bytes` bytes at `host`, `offset` bytes behind an aligned address.
  void* Place(const void* host, int64_t bytes, int64_t offset) {
    if (options_.device != nullptr) {
      void* placed = static_cast<char*>(options_.device->Allocate(offset + bytes)) + offset;
      options_.device->CopyToDevice(placed, host, bytes, 0);
      return placed;
    }
    host_blocks_.emplace_back(offset + bytes);
    char* placed = host_blocks_.back().data() + offset;
    std::memcpy(placed, host, bytes);
    return placed;
  }
  View Place(const TestTensor& tensor) {
    View view = tensor.view();
    view.data = Place(view.data, tensor.size() * SizeOf(view.dtype), options_.offset * SizeOf(view.dtype));
    return view;
  }

  void Run(const KernelEntry& entry, const KernelArguments& arguments) const {
    if (options_.device == nullptr) return entry.run(arguments);
    options_.device->Launch(entry.run, arguments, 0);
    options_.device->Synchronize(0);
  }

  // Copies what lies at `placed` back.
  void Fetch(const void* placed, const TestTensor& tensor) const {
    const int64_t bytes = tensor.size() * SizeOf(tensor.view().dtype);
    if (options_.device == nullptr) {
      std::memcpy(tensor.view().data, placed, bytes);
    } else {
      options_.device->CopyToHost(tensor.view().data, placed, bytes, 0);
      options_.device->Synchronize(0);
    }
  }

 private:
  const RunOptions& options_;
  std::vector<AlignedBytes> host_blocks_;
};

}  // namespace

std::vector<TestTensor> RunCase(const KernelEntry& entry, const KernelCase& c, const RunOptions& options) {
  CallMemory memory(options);
  std::vector<View> input_views;
  for (const Operand& operand : c.inputs) {
    const DType dtype = DTypeOf(operand.role, options.compute);
    input_views.push_back(operand.absent
                              ? View{nullptr, dtype, {}}
                              : memory.Place(TestTensor::Of(dtype, operand.shape, operand.values)));
  }
  std::vector<TestTensor> outputs;
  std::vector<View> output_views;
  for (const Result& result : c.outputs) {
    const std::vector<double> before(result.shape.num_elements(), options.before);
    outputs.push_back(TestTensor::Of(DTypeOf(result.role, options.compute), result.shape, before));
    output_views.push_back(memory.Place(outputs.back()));
    if (result.stored_in >= 0) output_views.back().data = input_views[result.stored_in].data;
  }
  if (options.in_place) output_views[0].data = input_views[Definition(c.kind).overwrites].data;
  const Op op = {.kind = c.kind, .attributes = c.attributes};
  const int64_t bytes = entry.workspace_bytes == nullptr
                            ? 0
                            : entry.workspace_bytes(op, input_views, output_views, options.num_threads);
  const AlignedBytes not_a_number(bytes, 0xff);
  void* workspace = bytes == 0 ? nullptr : memory.Place(not_a_number.data(), bytes, 0);
  memory.Run(entry, {.op = op,
                     .inputs = input_views,
                     .outputs = output_views,
                     .accumulate = options.accumulate,
                     .workspace = workspace,
                     .mesh = c.mesh,
                     .coordinate = c.coordinate,
                     .num_threads = options.num_threads,
                     .passing = options.passing});
  for (size_t i = 0; i < outputs.size(); ++i) memory.Fetch(output_views[i].data, outputs[i]);
  return outputs;
}

std::vector<double> Normal(int64_t n, int seed, double scale) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::vector<double> values(n);
  for (double& v : values) v = normal(generator);
  return values;
}

std::vector<double> Integers(int64_t n, int seed, int64_t low, int64_t high) {
  std::mt19937 generator(seed);
  std::uniform_int_distribution<int64_t> uniform(low, high - 1);
  std::vector<double> values(n);
  for (double& v : values) v = static_cast<double>(uniform(generator));
  return values;
}

Operand RandomOperand(Role role, Shape shape, int seed, double scale) {
  return {role, shape, Normal(shape.num_elements(), seed, scale)};
}

void RoundOperands(KernelCase* c) {
  for (Operand& operand : c->inputs) {
    if (!operand.absent) {
      operand.values =
          TestTensor::Of(DTypeOf(operand.role, DType::kBF16), operand.shape, operand.values).Doubles();
    }
  }
}

namespace {

double RootMeanSquare(const std::vector<double>& values) {
  double squares = 0;
  int64_t count = 0;
  for (double v : values) {
    if (!std::isfinite(v)) continue;
    squares += v * v;
    ++count;
  }
  return count == 0 ? 0 : std::sqrt(squares / static_cast<double>(count));
}

}  // namespace

double Farthest(const std::vector<double>& a, const std::vector<double>& b) {
  const double scale = RootMeanSquare(b);
  double farthest = 0;
  for (size_t i = 0; i < b.size(); ++i) {
    if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) continue;
    const double distance = std::abs(a[i] - b[i]) / (std::abs(b[i]) + scale);
    farthest = std::isfinite(distance) ? std::max(farthest, distance) : HUGE_VAL;
  }
  return farthest;
}

void ExpectDefined(const KernelCase& c, const KernelEntry& entry, const RunOptions& options) {
  const std::vector<TestTensor> wanted = RunCase(PlainKernel(c.kind), c, {.compute = DType::kF64});
  const std::vector<TestTensor> got = RunCase(entry, c, options);
  for (size_t i = 0; i < wanted.size(); ++i) {
    const DType stored = DTypeOf(c.outputs[i].role, options.compute);
    EXPECT_LE(Farthest(got[i].Doubles(), wanted[i].Doubles()), ToleranceOf(c.kind, stored, options.compute))
        << c.name << ", output " << i << " in " << Name(options.compute);
  }
}

void ExpectSameBits(const KernelCase& c, const KernelEntry& entry, const RunOptions& a, const RunOptions& b) {
  const std::vector<TestTensor> first = RunCase(entry, c, a);
  const std::vector<TestTensor> second = RunCase(entry, c, b);
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_TRUE(first[i].SameBits(second[i])) << c.name << ", output " << i << " in " << Name(a.compute);
  }
}

void ExpectAddsToParameterGradientsOnly(const KernelCase& c, const KernelEntry& entry, RunOptions options) {
  options.before = 8;
  const std::vector<TestTensor> overwritten = RunCase(entry, c, options);
  options.accumulate = true;
  const std::vector<TestTensor> added = RunCase(entry, c, options);
  for (size_t i = 0; i < added.size(); ++i) {
    std::vector<double> wanted = overwritten[i].Doubles();
    if ((Definition(c.kind).accumulates >> i & 1) == 0) {
      EXPECT_TRUE(added[i].SameBits(overwritten[i])) << c.name << ", output " << i;
      continue;
    }
    for (double& v : wanted) v += options.before;
    const DType stored = DTypeOf(c.outputs[i].role, options.compute);
    EXPECT_LE(Farthest(added[i].Doubles(), wanted), ToleranceOf(c.kind, stored, options.compute))
        << c.name << ", output " << i << " in " << Name(options.compute);
  }
}

void ExpectAddsToTheBiasAlone(const KernelCase& c, const KernelEntry& entry, RunOptions options) {
  options.before = 8;
  const std::vector<TestTensor> overwritten = RunCase(entry, c, options);
  options.accumulate = true;
  const std::vector<TestTensor> added = RunCase(entry, c, options);
  options.passing = 0b01;
  const std::vector<TestTensor> passing = RunCase(entry, c, options);
  EXPECT_TRUE(passing[0].SameBits(overwritten[0])) << c.name << " in " << Name(options.compute);
  EXPECT_TRUE(passing[1].SameBits(added[1])) << c.name << " in " << Name(options.compute);
  EXPECT_FALSE(added[1].SameBits(overwritten[1])) << c.name << " in " << Name(options.compute);
}

void ExpectSameBitsAsApart(const KernelCase& c, const KernelEntry& (*kernel)(OpKind),
                           const RunOptions& options) {
  const std::vector<TestTensor> fused = RunCase(kernel(c.kind), c, options);
  const Shape shape = c.inputs[0].shape;
  const KernelCase add = NewCase(OpKind::kAdd, {}, {c.inputs[0], c.inputs[1]}, {{Role::kCompute, shape}});
  const TestTensor sum = std::move(RunCase(kernel(OpKind::kAdd), add, options)[0]);
  EXPECT_TRUE(fused[0].SameBits(sum)) << c.name << " in " << Name(options.compute);
  std::vector<Operand> inputs = {{Role::kCompute, shape, sum.Doubles()}};
  inputs.insert(inputs.end(), c.inputs.begin() + 2, c.inputs.end());
  const OpKind kind = c.kind == OpKind::kAddRmsNorm ? OpKind::kRmsNorm : OpKind::kLayerNorm;
  const KernelCase norm = NewCase(kind, c.attributes, inputs, {c.outputs[1], c.outputs[2]});
  const std::vector<TestTensor> apart = RunCase(kernel(kind), norm, options);
  for (size_t i = 0; i < apart.size(); ++i) {
    EXPECT_TRUE(fused[i + 1].SameBits(apart[i]))
        << c.name << ", output " << i + 1 << " in " << Name(options.compute);
  }
}

void ExpectGivesANaN(const KernelCase& c, const KernelEntry& entry, const RunOptions& options) {
  int count = 0;
  for (const TestTensor& output : RunCase(entry, c, options)) {
    for (double v : output.Doubles()) count += std::isnan(v) ? 1 : 0;
  }
  EXPECT_GT(count, 0) << c.name << " in " << Name(options.compute);
}

KernelCase NewCase(OpKind kind, Attributes attributes, std::vector<Operand> inputs,
                   std::vector<Result> outputs) {
  KernelCase c = {.name = Name(kind),
                  .kind = kind,
                  .attributes = std::move(attributes),
                  .inputs = std::move(inputs),
                  .outputs = std::move(outputs)};
  for (int i = 0; i < c.inputs[0].shape.num_dims(); ++i) absl::StrAppend(&c.name, "_", c.inputs[0].shape[i]);
  return c;
}

// Output i of the forward kernel in double, as an operand of its gradient.
Operand Saved(const KernelCase& forward, int i) {
  const Result& result = forward.outputs[i];
  return {result.role, result.shape,
          RunCase(PlainKernel(forward.kind), forward, {.compute = DType::kF64})[i].Doubles()};
}

Operand Operand32(const std::vector<double>& values) {
  return {Role::kI32, {static_cast<int64_t>(values.size())}, values};
}

}  // namespace trireme
