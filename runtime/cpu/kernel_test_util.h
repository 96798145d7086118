// Calls of kernels for tests: one description serves every dtype, the plain and the fast kernel, and any
// number of threads.
#ifndef TRIREME_RUNTIME_CPU_KERNEL_TEST_UTIL_H_
#define TRIREME_RUNTIME_CPU_KERNEL_TEST_UTIL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/cpu/test_tensor.h"
#include "runtime/kernel.h"

namespace trireme {

// What an operand's dtype is: the program's compute dtype, the wide one beside it, or always the same.
enum class Role : uint8_t { kCompute, kWide, kF64, kI32, kI64 };
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
  int num_threads = 1;
  bool in_place = false;  // output 0 takes the storage that the op table allows
  // What an output holds before: NaN, or this one number.
  double before = __builtin_nan("");
};

// Runs a kernel of kernels.h on copies of the operands; returns the outputs. The workspace holds NaN.
std::vector<TestTensor> RunCase(const KernelEntry& entry, const KernelCase& c, const RunOptions& options);

// `n` normal numbers times `scale`.
std::vector<double> Normal(int64_t n, int seed, double scale = 1.0);
// `n` whole numbers in [low, high).
std::vector<double> Integers(int64_t n, int seed, int64_t low, int64_t high);

// An operand of normal numbers.
Operand RandomOperand(Role role, Shape shape, int seed, double scale = 1.0);

// Rounds every operand to its dtype beside compute dtype bf16, so that a run in any dtype sees the same
// numbers.
void RoundOperands(KernelCase* c);

}  // namespace trireme

#endif  // TRIREME_RUNTIME_CPU_KERNEL_TEST_UTIL_H_
