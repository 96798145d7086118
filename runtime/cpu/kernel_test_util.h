// Calls of kernels for tests: one description serves every dtype, backend and number of threads, and one set
// of checks every kernel.
#ifndef TRIREME_RUNTIME_CPU_KERNEL_TEST_UTIL_H_
#define TRIREME_RUNTIME_CPU_KERNEL_TEST_UTIL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/cpu/test_tensor.h"
#include "runtime/device.h"
#include "runtime/kernel.h"

namespace trireme {

// What an operand's dtype is: the program's compute dtype, the wide one beside it, or always the same.
enum class Role : uint8_t { kCompute, kWide, kF32, kF64, kI32, kI64 };
DType DTypeOf(Role role, DType compute);

struct Operand {
  Role role;
  Shape shape;
  std::vector<double> values;
  bool absent = false;
};

struct Result {
  Role role;
  Shape shape;
  int stored_in = -1;  // the input that the op updates in place; -1: storage of its own
};

struct KernelCase {
  std::string name;
  OpKind kind;
  Attributes attributes;
  std::vector<Operand> inputs;
  std::vector<Result> outputs;
  AxisSizes mesh = {};
  AxisSizes coordinate = {{0, 0, 0, 0}};
};

struct RunOptions {
  DType compute = DType::kF32;
  bool accumulate = false;
  unsigned passing = 0;  // KernelArguments
  int num_threads = 1;
  bool in_place = false;  // output 0 takes the storage that the op table allows
  // What an output holds before: NaN, or this one number.
  double before = __builtin_nan("");
  // Elements by which every operand lies behind an aligned address.
  int offset = 0;
  // Whose memory holds the operands, until it is destroyed, and who launches the kernel; nullptr: the host.
  Device* device = nullptr;
};

// Runs a kernel on copies of the operands; returns the outputs. The workspace holds NaN.
std::vector<TestTensor> RunCase(const KernelEntry& entry, const KernelCase& c, const RunOptions& options);

// `n` normal numbers times `scale`.
std::vector<double> Normal(int64_t n, int seed, double scale = 1.0);
// `n` whole numbers in [low, high).
std::vector<double> Integers(int64_t n, int seed, int64_t low, int64_t high);

// An operand of normal numbers.
Operand RandomOperand(Role role, Shape shape, int seed, double scale = 1.0);

// Whole numbers.
Operand Operand32(const std::vector<double>& values);

// A call of `kind` on these operands, named after it and the first one's shape.
KernelCase NewCase(OpKind kind, Attributes attributes, std::vector<Operand> inputs,
                   std::vector<Result> outputs);
// Output i of the forward kernel in double, as an operand of its gradient.
Operand Saved(const KernelCase& forward, int i);

// Rounds every operand to its dtype beside compute dtype bf16, so that a run in any dtype sees the same
// numbers.
void RoundOperands(KernelCase* c);

// The largest distance of an element (tolerances.h); infinite where one is finite and the other is not. Two
// NaNs are equal: what the definition does not write, nobody may.
double Farthest(const std::vector<double>& a, const std::vector<double>& b);

// The result lies within tolerances.h of the plain kernel's in double.
void ExpectDefined(const KernelCase& c, const KernelEntry& entry, const RunOptions& options);
// Two ways to run a kernel give the same bits.
void ExpectSameBits(const KernelCase& c, const KernelEntry& entry, const RunOptions& a, const RunOptions& b);
// With `accumulate` set, what the op table calls parameter gradients is added to, and the other results are
// not.
void ExpectAddsToParameterGradientsOnly(const KernelCase& c, const KernelEntry& entry, RunOptions options);
// Of LinearWeightBiasGradCase: a weight's gradient that passes is overwritten, and the bias's is added to.
void ExpectAddsToTheBiasAlone(const KernelCase& c, const KernelEntry& entry, RunOptions options);
// The fused op of a case (AddRmsNormCase, AddLayerNormCase) gives the bits of the addition and the norm that
// it stands for. `kernel`: the backend's table.
void ExpectSameBitsAsApart(const KernelCase& c, const KernelEntry& (*kernel)(OpKind),
                           const RunOptions& options);
// Some result holds a NaN.
void ExpectGivesANaN(const KernelCase& c, const KernelEntry& entry, const RunOptions& options);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_KERNEL_TEST_UTIL_H_
