#include "runtime/cpu/kernel_test_util.h"

#include <random>

#include "runtime/op_table.h"

namespace trireme {

DType DTypeOf(Role role, DType compute) {
  switch (role) {
    case Role::kCompute:
      return compute;
    case Role::kWide:
      return compute == DType::kF64 ? DType::kF64 : DType::kF32;
    case Role::kF64:
      return DType::kF64;
    case Role::kI32:
      return DType::kI32;
    case Role::kI64:
      return DType::kI64;
  }
  return DType::kF32;
}

std::vector<TestTensor> RunCase(const KernelEntry& entry, const KernelCase& c, const RunOptions& options) {
  std::vector<TestTensor> inputs;
  std::vector<View> input_views;
  for (const Operand& operand : c.inputs) {
    const DType dtype = DTypeOf(operand.role, options.compute);
    inputs.push_back(operand.absent ? TestTensor(dtype, {0})
                                    : TestTensor::Of(dtype, operand.shape, operand.values));
    input_views.push_back(operand.absent ? View{nullptr, dtype, {}} : inputs.back().view());
  }
  std::vector<TestTensor> outputs;
  std::vector<View> output_views;
  for (const Result& result : c.outputs) {
    const std::vector<double> before(result.shape.num_elements(), options.before);
    outputs.push_back(TestTensor::Of(DTypeOf(result.role, options.compute), result.shape, before));
    output_views.push_back(outputs.back().view());
    if (result.stored_in >= 0) output_views.back().data = input_views[result.stored_in].data;
  }
  if (options.in_place) output_views[0].data = input_views[Definition(c.kind).overwrites].data;
  const Op op = {.kind = c.kind, .attributes = c.attributes};
  const int64_t bytes = entry.workspace_bytes == nullptr
                            ? 0
                            : entry.workspace_bytes(op, input_views, output_views, options.num_threads);
  const AlignedBytes workspace(bytes, 0xff);
  entry.run({op, input_views, output_views, options.accumulate, bytes == 0 ? nullptr : workspace.data(),
             c.mesh, c.coordinate, options.num_threads});
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (output_views[i].data != outputs[i].view().data) {
      std::memcpy(outputs[i].view().data, output_views[i].data,
                  outputs[i].size() * SizeOf(output_views[i].dtype));
    }
  }
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

}  // namespace trireme
