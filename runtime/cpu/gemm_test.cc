#include "runtime/cpu/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <ostream>
#include <vector>

#include "runtime/cpu/test_tensor.h"

namespace trireme {

// For the messages of failing tests.
void PrintTo(const GemmSpec& s, std::ostream* out) {
  *out << s.m << " x " << s.k << " x " << s.n
       << (s.transpose_a   ? " TN"
           : s.transpose_b ? " NT"
                           : " NN")
       << " " << Name(s.input) << " -> " << Name(s.output) << (s.bias ? " bias" : "")
       << (s.accumulate ? " accumulate" : "");
}

namespace {

// Sums of a few thousand products in fp32: rounding errors of random sign.
constexpr double kF32Distance = 1e-6;
// Half a unit in the last of bf16's 8 bits, at most 2^-9 a number, and less on average.
constexpr double kBf16Distance = 2.5e-3;

double ToleranceOf(DType output) {
  return output == DType::kBF16 ? kBf16Distance : kF32Distance;
}

struct Operands {
  explicit Operands(const GemmSpec& s)
      : a(TestTensor::Random(s.input, s.transpose_a ? Shape{s.k, s.m} : Shape{s.m, s.k}, 1)),
        b(TestTensor::Random(s.input, s.transpose_b ? Shape{s.n, s.k} : Shape{s.k, s.n}, 2)),
        bias(TestTensor::Random(DType::kF32, {s.n}, 3)),
        c(s.accumulate ? TestTensor::Random(s.output, {s.m, s.n}, 4) : TestTensor(s.output, {s.m, s.n})) {}
  TestTensor a, b, bias, c;
};

// By the definition, in double.
TestTensor Expected(const GemmSpec& s, const Operands& o) {
  const std::vector<double> a = o.a.Doubles(), b = o.b.Doubles(), bias = o.bias.Doubles(), c = o.c.Doubles();
  std::vector<double> result(s.m * s.n);
  for (int64_t i = 0; i < s.m; ++i) {
    for (int64_t j = 0; j < s.n; ++j) {
      double sum = (s.bias ? bias[j] : 0) + (s.accumulate ? c[i * s.n + j] : 0);
      for (int64_t l = 0; l < s.k; ++l) {
        sum += a[s.transpose_a ? l * s.m + i : i * s.k + l] * b[s.transpose_b ? j * s.k + l : l * s.n + j];
      }
      result[i * s.n + j] = sum;
    }
  }
  return TestTensor::Of(DType::kF64, {s.m, s.n}, result);
}

using Product = void (*)(const GemmSpec&, const void*, const void*, const void*, void*, void*);

TestTensor Multiply(const GemmSpec& s, Product product, int64_t workspace_bytes) {
  Operands o(s);
  const AlignedBytes workspace(workspace_bytes, 0xff);
  product(s, o.a.view().data, o.b.view().data, s.bias ? o.bias.view().data : nullptr, o.c.view().data,
          workspace.data());
  return std::move(o.c);
}

TestTensor Multiply(const GemmSpec& s) {
  return Multiply(s, Gemm, GemmWorkspaceBytes(s));
}

// Odd sizes, vectors, and sizes that fill the library's own blocks.
std::vector<GemmSpec> ManySpecs() {
  std::vector<GemmSpec> specs;
  const int64_t sizes[][3] = {{1, 1, 1}, {7, 5, 3}, {1, 130, 67}, {129, 1, 33}, {64, 64, 64}, {200, 97, 310}};
  for (const auto& size : sizes) {
    for (const int transpose : {0, 1, 2}) {
      for (const DType input : {DType::kF32, DType::kBF16}) {
        GemmSpec s = {.m = size[0],
                      .n = size[1],
                      .k = size[2],
                      .transpose_a = transpose == 1,
                      .transpose_b = transpose == 2,
                      .input = input,
                      .output = input};
        specs.push_back(s);
        s.bias = true;
        specs.push_back(s);
        s.bias = false;
        s.accumulate = true;
        s.output = DType::kF32;
        specs.push_back(s);
      }
    }
  }
  return specs;
}

class GemmSpecTest : public testing::TestWithParam<GemmSpec> {};

TEST_P(GemmSpecTest, AgreesWithTheDefinition) {
  const GemmSpec& s = GetParam();
  EXPECT_LT(Distance(Multiply(s), Expected(s, Operands(s))), ToleranceOf(s.output));
}

TEST_P(GemmSpecTest, AgreesWithTheDefinitionByConversion) {
  const GemmSpec& s = GetParam();
  if (s.input != DType::kBF16) return;
  const TestTensor c = Multiply(s, GemmByConversion, GemmByConversionWorkspaceBytes(s));
  EXPECT_LT(Distance(c, Expected(s, Operands(s))), ToleranceOf(s.output));
}

TEST_P(GemmSpecTest, GivesTheSameBitsOnAnyNumberOfThreads) {
  if (!HasBf16Products()) GTEST_SKIP() << "without AVX-512 oneDNN splits k between threads";
  GemmSpec s = GetParam();
  const TestTensor one = Multiply(s);
  for (const int threads : {2, 3}) {
    s.num_threads = threads;
    EXPECT_TRUE(one.SameBits(Multiply(s))) << threads << " threads";
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GemmSpecTest, testing::ValuesIn(ManySpecs()));

TEST(GemmTest, GivesTheSameBitsOnTwoThreadsForLargeProducts) {
  if (!HasBf16Products()) GTEST_SKIP() << "without AVX-512 oneDNN splits k between threads";
  for (const DType input : {DType::kF32, DType::kBF16}) {
    for (const int transpose : {0, 1, 2}) {
      GemmSpec s = {.m = 384,
                    .n = 1024,
                    .k = 768,
                    .transpose_a = transpose == 1,
                    .transpose_b = transpose == 2,
                    .input = input,
                    .accumulate = transpose == 1};
      const TestTensor one = Multiply(s);
      s.num_threads = 2;
      EXPECT_TRUE(one.SameBits(Multiply(s))) << testing::PrintToString(s);
    }
  }
}

TEST(GemmTest, ConversionJoinsItsBlocks) {
  for (const int transpose : {0, 1, 2}) {
    const GemmSpec s = {.m = 1030,
                        .n = 1027,
                        .k = 1041,
                        .transpose_a = transpose == 1,
                        .transpose_b = transpose == 2,
                        .input = DType::kBF16,
                        .bias = true,
                        .num_threads = 2};
    const TestTensor blocks = Multiply(s, GemmByConversion, GemmByConversionWorkspaceBytes(s));
    const TestTensor whole = Multiply(s);
    EXPECT_LT(Distance(blocks, whole), kF32Distance) << testing::PrintToString(s);
  }
}

TEST(GemmTest, ReadsAndWritesWindowsOfLargerMatrices) {
  // A, B and C are the first columns of matrices of 40, 50 and 60.
  GemmSpec s = {.m = 9, .n = 11, .k = 13, .row_stride_a = 40, .row_stride_b = 50, .row_stride_c = 60};
  const TestTensor a = TestTensor::Random(DType::kF32, {9, 40}, 1);
  const TestTensor b = TestTensor::Random(DType::kF32, {13, 50}, 2);
  const TestTensor c(DType::kF32, {9, 60});
  const AlignedBytes workspace(GemmWorkspaceBytes(s));
  Gemm(s, a.view().data, b.view().data, nullptr, c.view().data, workspace.data());
  for (int64_t i = 0; i < 9; ++i) {
    for (int64_t j = 0; j < 11; ++j) {
      double sum = 0;
      for (int64_t l = 0; l < 13; ++l) sum += a.Doubles()[i * 40 + l] * b.Doubles()[l * 50 + j];
      EXPECT_NEAR(c.view().as<float>()[i * 60 + j], sum, 1e-4);
    }
    EXPECT_TRUE(std::isnan(c.view().as<float>()[i * 60 + 11])) << "outside of the window";
  }
}

TEST(GemmTest, AProductOverNothingIsTheBias) {
  for (const DType input : {DType::kF32, DType::kBF16}) {
    for (const bool accumulate : {false, true}) {
      const DType output = accumulate ? DType::kF32 : input;
      for (const bool bias : {false, true}) {
        const GemmSpec s = {.m = 64,
                            .n = 48,
                            .k = 0,
                            .input = input,
                            .output = output,
                            .bias = bias,
                            .accumulate = accumulate};
        EXPECT_EQ(Distance(Multiply(s), Expected(s, Operands(s)).As(output)), 0) << testing::PrintToString(s);
      }
    }
  }
}

TEST(GemmTest, AResultOfNoElementsIsLeftAlone) {
  const GemmSpec no_rows = {.m = 0, .n = 4, .k = 5}, no_columns = {.m = 4, .n = 0, .k = 5};
  EXPECT_EQ(Multiply(no_rows).size(), 0);
  EXPECT_EQ(Multiply(no_columns).size(), 0);
}

}  // namespace
}  // namespace trireme
