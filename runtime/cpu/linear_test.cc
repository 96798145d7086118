#include "runtime/cpu/linear.h"

#include <gtest/gtest.h>

#include <vector>

#include "runtime/cpu/gemm.h"
#include "runtime/cpu/kernels.h"
#include "runtime/cpu/test_tensor.h"

namespace trireme {
namespace {

constexpr KernelEntry kFast[] = {{LinearFast, LinearFastWorkspaceBytes},
                                 {LinearInputGradFast, LinearInputGradFastWorkspaceBytes},
                                 {LinearWeightGradFast, LinearWeightGradFastWorkspaceBytes}};
constexpr OpKind kKinds[] = {OpKind::kLinear, OpKind::kLinearInputGrad, OpKind::kLinearWeightGrad};

struct Case {
  OpKind kind;
  DType dtype;
  int64_t t, n, k;
  bool bias;
  bool accumulate;
};

// The op on the given kernel, with every operand in `dtype` and every wide one in `wide`.
TestTensor RunOp(const KernelEntry& entry, const Case& c, DType dtype, DType wide, int num_threads) {
  const Op op = {.kind = c.kind};
  const TestTensor x = TestTensor::Random(dtype, {c.t, c.k}, 1), w = TestTensor::Random(dtype, {c.n, c.k}, 2);
  const TestTensor dy = TestTensor::Random(dtype, {c.t, c.n}, 3), bias = TestTensor::Random(wide, {c.n}, 4);
  switch (c.kind) {
    case OpKind::kLinear: {
      TestTensor y(dtype, {c.t, c.n});
      RunKernel(entry, op, {x.view(), w.view(), c.bias ? bias.view() : View{}}, {y.view()}, false,
                num_threads);
      return y;
    }
    case OpKind::kLinearInputGrad: {
      TestTensor dx(dtype, {c.t, c.k});
      RunKernel(entry, op, {dy.view(), w.view()}, {dx.view()}, false, num_threads);
      return dx;
    }
    default: {
      TestTensor dw = c.accumulate ? TestTensor::Random(wide, {c.n, c.k}, 5) : TestTensor(wide, {c.n, c.k});
      RunKernel(entry, op, {dy.view(), x.view()}, {dw.view()}, c.accumulate, num_threads);
      return dw;
    }
  }
}

TEST(LinearFastTest, AgreesWithThePlainKernelsInDouble) {
  for (int i = 0; i < 3; ++i) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      for (const bool option : {false, true}) {
        const Case c = {kKinds[i], dtype, 75, 33, 190, option, option};
        const TestTensor fast = RunOp(kFast[i], c, dtype, DType::kF32, 2);
        const TestTensor plain = RunOp(PlainKernel(c.kind), c, DType::kF64, DType::kF64, 1);
        // fp32 sums; bf16 results are rounded to 8 bits, weight gradients are not.
        const bool rounded = dtype == DType::kBF16 && c.kind != OpKind::kLinearWeightGrad;
        EXPECT_LT(Distance(fast, plain), rounded ? 2.5e-3 : 1e-6)
            << "kernel " << i << " " << Name(dtype) << " with bias or accumulation: " << option;
      }
    }
  }
}

TEST(LinearFastTest, GivesTheSameBitsOnAnyNumberOfThreads) {
  if (!HasBf16Products()) GTEST_SKIP() << "without AVX-512 oneDNN splits k between threads";
  for (int i = 0; i < 3; ++i) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      const Case c = {kKinds[i], dtype, 256, 320, 192, true, true};
      EXPECT_TRUE(
          RunOp(kFast[i], c, dtype, DType::kF32, 1).SameBits(RunOp(kFast[i], c, dtype, DType::kF32, 2)))
          << "kernel " << i << " " << Name(dtype);
    }
  }
}

}  // namespace
}  // namespace trireme
